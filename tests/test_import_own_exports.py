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


def test_two_images_of_one_name_stay_two_and_label_images_are_not_taken_for_images(tmp_path: Path) -> None:
    """As geti#7496: slide1/tile.tif and slide2/tile.tif; next to the COCO file written are labels/slide1/tile.tif."""
    for number in (1, 2):
        write_labelled(tmp_path / "made" / f"t{number}", seed=number)
        (tmp_path / "images" / f"slide{number}").mkdir(parents=True)
        (tmp_path / "made" / f"t{number}" / "image.tif").rename(tmp_path / "images" / f"slide{number}" / "tile.tif")
        for file in (tmp_path / "made" / f"t{number}").glob("class*.tif"):
            file.rename(tmp_path / "images" / f"slide{number}" / file.name)
        folder = tmp_path / "images" / f"slide{number}"
        (folder / "tile.tif").rename(folder / "image.tif")
    out, images, again = tmp_path / "out", tmp_path / "images", tmp_path / "again"
    assert main(["export", str(images), "--out", str(out), "--to", "coco", "labels", "results"]) == 0
    for folder in images.iterdir():
        (folder / "image.tif").rename(folder / "tile.tif")
        for file in folder.glob("class*.tif"):
            file.unlink()
    coco = out / "coco.json"
    coco.write_text(coco.read_text().replace("/image.tif", "/tile.tif"))
    for labels in (out / "labels").glob("slide*.tif"):
        (out / "labels" / labels.stem).mkdir()
        labels.rename(out / "labels" / labels.stem / "tile.tif")

    alone = import_annotations(coco)
    assert not alone.kept
    assert {row.reason.partition(" is not in ")[0] for row in alone.left_out} == {
        "the image slide1/tile.tif", "the image slide2/tile.tif",
    }  # fmt: skip
    assert main(["export", str(coco), "--images", str(images), "--out", str(again), "--to", "class-images"]) == 0
    written = sorted((again / "training").glob("*/image.tif"))
    assert [path.parent.name for path in written] == ["slide1_tile", "slide2_tile"]
    for path, number in zip(written, (1, 2), strict=True):
        assert path.read_bytes() == (images / f"slide{number}" / "tile.tif").read_bytes()


def test_export_says_when_images_has_no_effect(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = str(exported / "train")
    assert main(["export", folder, "--images", folder, "--out", str(tmp_path / "o"), "--to", "coco"]) == 2
    assert "holds its images itself" in capsys.readouterr().err
