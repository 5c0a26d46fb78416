from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from import_writers import CLASSES, FAULTS, SIZE, WRITERS, Written, coco

from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import drive
from napari_cellseg.images.formats import image_size
from napari_cellseg.importers import IMPORTERS, Imported, import_annotations
from napari_cellseg.workspace.open_any import open_folder
from training.dataset import find_samples

_ROWS = st.lists(
    st.builds(
        Written,
        x=st.integers(0, 40),
        y=st.integers(0, 30),
        side=st.integers(2, 12),
        class_id=st.integers(1, 2),
        fault=st.sampled_from(["", "", "", *FAULTS]),
    ),
    max_size=8,
)

# What a format cannot get wrong, its writer writes as a sound cell.
_SOUND = {
    "coco": (),
    "datumaro": ("orphan", "wrong size", "bad counts"),
    "via": ("orphan", "wrong size", "bad counts"),
    "via3": ("wrong size", "bad counts"),
    "label-studio": ("orphan",),
    "cvat": ("orphan",),
    "labelme": ("orphan", "wrong size", "bad counts"),
    "geojson": ("orphan", "wrong size", "bad counts"),
    "imagej": ("orphan", "wrong size", "bad counts"),
    "aperio": ("orphan", "wrong size", "bad counts"),
}


def test_every_importer_of_the_table_has_a_writer_here() -> None:
    assert set(WRITERS) == {importer.name for importer in IMPORTERS}


@pytest.mark.parametrize("name", WRITERS)
@given(rows=_ROWS)
@example(rows=[Written(3, 4, 5, 1), Written(3, 4, 9, 1), Written(30, 20, 4, 2), Written(20, 20, 3, 2, "huge")])
@example(rows=[Written(0, 0, 2, 1, "no class"), Written(9, 9, 2, 1, "no row")])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_is_a_cell_or_left_out_with_a_reason(name: str, rows: list[Written]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = WRITERS[name](Path(folder), rows)
        result = import_annotations(Path(folder), format_name=name)
    assert result.rows == len(written)
    assert result.kept + result.joined + len(result.left_out) == len(written)
    harmless = _SOUND.get(name, ())
    if name in ("via", "via3") and all(row.fault in ("no class", "no row") for row in written):
        harmless = (*harmless, "no class")  # a file that names no class anywhere has cells of one class
    sound = [row for row in written if not row.fault or row.fault in harmless]
    assert result.kept == len(sound)
    assert all(item.reason and item.source for item in result.left_out)
    assert sorted(map(pixels, sound)) == sorted(cells_of(result))


def pixels(row: Written) -> tuple[int, ...]:
    return row.x, row.y, row.x + row.side, row.y + row.side, row.side**2


def cells_of(result: Imported) -> list[tuple[int, ...]]:
    """Return box and area of every cell."""
    return [
        (*box.tolist(), int(area))
        for image in result.images
        for box, area in zip(image.cells.boxes, image.cells.areas, strict=True)
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_the_format_is_recognised_and_classes_are_kept(name: str, tmp_path: Path) -> None:
    written = WRITERS[name](tmp_path, [Written(3, 4, 5, 1), Written(20, 21, 6, 1), Written(40, 20, 4, 2)])
    result = import_annotations(tmp_path)
    assert result.format_name == next(importer.title for importer in IMPORTERS if importer.name == name)
    names = [result.classes.name(i) for image in result.images for i in image.cells.class_ids.tolist()]
    expected = {
        "labels": ["class1", "class1", "class2"],
        "cellpose": ["cell"] * 2,
        "bowl": ["nucleus"] * 3,
        "mat": ["other", "other", "inflammatory"],
        "pannuke": ["neoplastic", "neoplastic", "inflammatory"],
    }.get(name, [CLASSES[0], CLASSES[0], CLASSES[1]])
    assert sorted(names) == sorted(expected)
    assert result.images[0].size == SIZE
    assert result.kept == sum(not row.fault for row in written)


def test_masks_come_in_to_the_pixel(tmp_path: Path) -> None:
    rows = [Written(3, 4, 5, 1), Written(5, 6, 12, 2)]
    coco(tmp_path, rows, rle=True)
    cells = import_annotations(tmp_path).images[0].cells
    for row, box, mask in zip(rows, cells.boxes.tolist(), cells.masks, strict=True):
        dense = np.zeros(SIZE, bool)
        dense[box[1] : box[3], box[0] : box[2]] = mask
        np.testing.assert_array_equal(dense, row.mask)


_DOCS = Path(__file__).parents[1] / "docs" / "file-formats.md"


def documented() -> dict[str, list[str]]:
    """Return the cells of each row of the table in the documentation, by ``--format``."""
    lines = _DOCS.read_text("utf-8").split("## Annotations of other tools")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    return {row[1].strip("`"): row for row in rows}


def test_the_documentation_lists_every_importer() -> None:
    assert set(documented()) == set(WRITERS)
    assert all(row[3] == "yes" for row in documented().values())


@pytest.mark.parametrize("name", WRITERS)
def test_training_reads_what_the_documentation_says(name: str, tmp_path: Path) -> None:
    written = WRITERS[name](tmp_path, [Written(3, 4, 5, 1), Written(20, 21, 6, 1), Written(40, 20, 4, 1)])
    if documented()[name][4] != "yes":
        with pytest.raises(AnnotationError, match="napari-cellseg import"):
            find_samples(tmp_path)
        return
    samples = find_samples(tmp_path).samples
    assert sum(len(sample.cells) for sample in samples if sample.cells is not None) == sum(not w.fault for w in written)
    assert all(image_size(sample.image) == SIZE for sample in samples)


@pytest.mark.parametrize("name", [name for name in WRITERS if documented()[name][5] == "yes"])
def test_open_reads_what_the_documentation_says(name: str, tmp_path: Path) -> None:
    written = WRITERS[name](tmp_path, [Written(3, 4, 5, 1), Written(20, 21, 6, 1), Written(40, 20, 4, 1)])
    suffixes = (".json", ".geojson", ".xml", ".npy", ".mat")
    (file,) = (file for file in tmp_path.rglob("*") if file.suffix in suffixes and file.name != "images.npy")
    opened = drive(open_folder(file))
    opened.project.close()
    assert sum(len(cells) for cells in opened.imported.cells.values()) == sum(not row.fault for row in written)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_an_image_that_is_not_there_does_not_get_the_image_of_another_entry(tmp_path, order) -> None:
    # Found by its last part alone, "b/image.tif" would be a/image.tif, and its cells would lie on the wrong tissue.
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a/image.tif", np.zeros((40, 50, 3), np.uint8), photometric="rgb")
    box = [[5, 5, 15, 5, 15, 15, 5, 15]]
    data = {
        "images": [
            {"id": n, "file_name": f"{name}/image.tif", "width": 50, "height": 40} for n, name in enumerate(order)
        ],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "segmentation": box} for n in range(2)],
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    result = import_annotations(tmp_path / "data.json")
    assert [(image.name, len(image.cells)) for image in result.images] == [("a/image.tif", 1)]
    assert [item.reason for item in result.left_out] == [f"the image b/image.tif is not in {tmp_path}"]
    assert result.left_out[0].row == order.index("b") + 1
