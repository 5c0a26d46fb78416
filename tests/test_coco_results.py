"""test-results.json and its zip: checked when written, read back exactly, and validated row by row."""

from __future__ import annotations

import copy
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.coco import ImageId, check_results, read_results, result_rows, write_results
from napari_cellseg.instances import InstanceMasks

IMAGES = (ImageId("a.tif", 7, 30, 40), ImageId("b.tif", 3, 20, 20))


@pytest.fixture
def cells() -> InstanceMasks:
    generator = np.random.default_rng(0)
    masks = [generator.random((6, 9)) > 0.4 for _ in range(5)]
    offsets = generator.integers(0, 20, (5, 2))
    return InstanceMasks.from_crops((30, 40), offsets, masks, [1, 2, 3, 4, 1], generator.random(5, np.float32))


@pytest.fixture
def rows(cells: InstanceMasks) -> list[dict[str, Any]]:
    return result_rows(cells, 7)


def test_rows_are_what_coco_wants(cells: InstanceMasks, rows: list[dict[str, Any]]) -> None:
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}
    for i, row in enumerate(rows):
        frame = coco_mask.decode(row["segmentation"])
        x0, y0, x1, y1 = cells.boxes[i]
        np.testing.assert_array_equal(frame[y0:y1, x0:x1], cells.masks[i])
        assert frame.sum() == cells.masks[i].sum()
        assert row["bbox"] == coco_mask.toBbox(row["segmentation"]).tolist()
        assert np.float32(row["score"]) == cells.scores[i]
        assert row["segmentation"]["counts"].isascii()


def test_json_and_zip_hold_the_same_and_read_back_exactly(
    tmp_path: Path, cells: InstanceMasks, rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_results(tmp_path / "new", rows, IMAGES)
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in path.parent.iterdir()) == ["test-results.json", "test-results.zip"]
    with zipfile.ZipFile(path.with_suffix(".zip")) as archive:
        assert archive.namelist() == ["test-results.json"]
        assert archive.read("test-results.json") == path.read_bytes()
    for file in (path, path.with_suffix(".zip")):
        found = read_results(file, IMAGES)
        assert list(found) == [7, 3]
        assert found[7].equals(cells)
        assert len(found[3]) == 0
        assert check_results(file, IMAGES, 4) == []


def test_coco_loads_the_file(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = write_results(tmp_path, rows)
    truth = COCO()
    truth.dataset = {"images": [{"id": 7}], "annotations": [], "categories": []}
    truth.createIndex()
    assert len(truth.loadRes(str(path)).anns) == len(rows)


def test_equal_results_are_equal_files(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    first = write_results(tmp_path / "1", rows).with_suffix(".zip").read_bytes()
    assert write_results(tmp_path / "2", rows).with_suffix(".zip").read_bytes() == first


def test_no_cells_at_all_is_an_empty_list(tmp_path: Path) -> None:
    path = write_results(tmp_path, [], IMAGES)
    assert json.loads(path.read_text()) == []
    assert [len(cells) for cells in read_results(path, IMAGES).values()] == [0, 0]


def changed(row: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    row = copy.deepcopy(row)
    if key in ("size", "counts"):
        row["segmentation"][key] = value
    else:
        row[key] = value
    return row


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_id", 99, "image_id 99 is not in the id file"),
        ("image_id", "7", "image_id '7' is not in the id file"),
        ("image_id", [], "is not in the id file"),
        ("category_id", 10**30, "is not a whole number"),
        ("category_id", 0, "category_id 0"),
        ("category_id", 5, "category_id 5"),
        ("category_id", 1.0, "category_id 1.0"),
        ("category_id", True, "category_id True"),
        ("score", 1.5, "score 1.5"),
        ("score", float("nan"), "score nan"),
        ("score", "high", "score 'high'"),
        ("size", [40, 30], r"size \[40, 30\], but a.tif is \[30, 40\]"),
        ("counts", "~~", "alphabet"),
        ("counts", "1", "cover 1 px"),
        ("counts", [1200], "not a string"),
        ("bbox", [0, 0, 39, 29], "does not match the mask"),
        ("bbox", [0, 0, 5], r"is not \[x, y, width, height\]"),
        ("bbox", [0, 0, 5, float("inf")], r"is not \[x, y, width, height\]"),
        ("segmentation", [[0, 0, 5, 5, 0, 5]], "not RLE"),
    ],
)
def test_each_wrong_row_is_named(
    tmp_path: Path, rows: list[dict[str, Any]], key: str, value: Any, message: str
) -> None:
    rows[2] = changed(rows[2], key, value)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(rows))
    (problem,) = check_results(path, IMAGES, 4)
    assert problem.row == 2
    assert re.search(message, problem.text)


def test_an_empty_mask_a_repeated_row_and_a_missing_key_are_named(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    empty = coco_mask.encode(np.zeros((30, 40), np.uint8, "F"))["counts"].decode()
    rows[1] = changed(rows[1], "counts", empty)
    rows.append(copy.deepcopy(rows[0]))
    del rows[3]["score"]
    rows.append("not a row")  # type: ignore[arg-type]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(rows))
    assert [str(problem) for problem in check_results(path, IMAGES)] == [
        "row 1: the mask has no pixel",
        "row 3: score missing",
        "row 5: the same cell as row 0",
        "row 6: expected an object with image_id, category_id, bbox, score, segmentation",
    ]
    with pytest.raises(AnnotationError, match=r"row 1: the mask has no pixel \(3 in all"):
        read_results(path, IMAGES)


def test_wrong_rows_are_never_written(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    rows[0] = changed(rows[0], "bbox", [0, 0, 39, 29])
    with pytest.raises(ExportError, match="not written"):
        write_results(tmp_path / "out", rows, IMAGES)
    assert not (tmp_path / "out").exists()


def test_rows_of_an_image_that_is_not_listed_are_never_written(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ExportError, match="not in the id file"):
        write_results(tmp_path / "out", rows, IMAGES[1:])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[", "is not JSON"), (b"\xff\xfe\x00", "UTF-8"), (b"", "empty"), (b"[" * 200_000, "is not JSON")],
)
def test_a_file_that_is_not_json_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        check_results(path, IMAGES)


def test_an_object_instead_of_a_list_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("{}")
    assert [str(p) for p in check_results(path, IMAGES)] == ["the file must hold a list of rows, not dict"]
    with pytest.raises(AnnotationError, match="not a list"):
        read_results(path, IMAGES)


def test_a_zip_with_more_or_other_files_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("results/test-results.json", "[]")
    with pytest.raises(AnnotationError, match="nothing else"):
        check_results(path, IMAGES)
    path.write_text("no zip")
    with pytest.raises(AnnotationError, match="not an intact zip"):
        check_results(path, IMAGES)
