"""The exports of this program are imported again through the same gate, cell by cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_cases import write_labelled

from napari_cellseg.cli import main
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.importers import Imported, ImportOptions, import_annotations


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for number in range(2):
        write_labelled(folder / "train" / f"t{number}", seed=number)
    out = folder / "out"
    kinds = ["class-images", "coco", "geojson", "rois"]
    assert main(["export", str(folder / "train"), "--out", str(out), "--to", *kinds]) == 0
    return folder


def shapes(result: Imported) -> list[tuple[str, int, list[int], bytes]]:
    found = []
    for image in result.images:
        name = image.path.parent.name if image.path.stem == "image" else image.path.stem
        cells = image.cells
        for class_id, box, mask in zip(cells.class_ids.tolist(), cells.boxes.tolist(), cells.masks, strict=True):
            found.append((name, class_id, box, mask.tobytes()))
    return sorted(found)


def truth(folder: Path) -> list[tuple[str, int, list[int], bytes]]:
    found = []
    for home in sorted((folder / "train").iterdir()):
        cells = to_instances(read_class_images(home), (96, 128))
        for class_id, box, mask in zip(cells.class_ids.tolist(), cells.boxes.tolist(), cells.masks, strict=True):
            found.append((home.name, class_id, box, mask.tobytes()))
    return sorted(found)


def files_of(exported: Path) -> dict[str, list[Path]]:
    out = exported / "out"
    return {
        "geojson": sorted(out.rglob("*.geojson")),
        "imagej": sorted(out.rglob("*.zip")),
        "coco": [file for file in sorted(out.rglob("*.json")) if b'"annotations"' in file.read_bytes()],
    }


@pytest.mark.parametrize("kind", ["geojson", "imagej", "coco"])
def test_every_cell_comes_back_to_the_pixel(exported: Path, kind: str) -> None:
    files = files_of(exported)[kind]
    assert files
    names = tuple(f"class{i}" for i in range(1, 5))
    results = [import_annotations(file, ImportOptions(images=exported / "train", classes=names)) for file in files]
    assert all(not result.left_out for result in results)
    assert sorted(shape for result in results for shape in shapes(result)) == truth(exported)
