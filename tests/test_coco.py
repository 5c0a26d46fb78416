"""COCO image lists and data sets, read and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import data_folder
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.coco import (
    CocoDataset,
    ImageId,
    read_dataset,
    read_image_ids,
    read_results,
    result_rows,
    write_dataset,
    write_image_ids,
    write_results,
)
from napari_cellseg.formats.label_images import from_instances, read_class_images, to_instances
from napari_cellseg.images.read import list_images, read_tiff
from napari_cellseg.instances import InstanceMasks


def test_image_ids_make_the_round_trip(tmp_path: Path) -> None:
    images = (ImageId("a b.tif", 5, 10, 20), ImageId("ü.tif", 0, 1, 1))
    write_image_ids(tmp_path / "ids.json", images)
    assert read_image_ids(tmp_path / "ids.json") == images
    assert [image.image_id for image in images] == ["a b", "ü"]


def entry(**changes: Any) -> dict[str, Any]:
    return {"file_name": "a.tif", "id": 1, "height": 4, "width": 5} | changes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([entry(file_name="../x.tif")], r"'../x.tif' is not a name inside"),
        ([entry(file_name="/etc/x.tif")], "not a name inside"),
        ([entry(file_name="..\\x.tif")], "not a name inside"),
        ([entry(file_name="C:x.tif")], "not a name inside"),
        ([entry(file_name="")], "not a name inside"),
        ([entry(file_name="a\0.tif")], "not a name inside"),
        ([entry(), entry(file_name="b.tif")], "id 1 is used twice"),
        ([entry(), entry(id=2)], "a.tif is listed twice"),
        ([entry(height=0)], "height must be a whole number, not 0"),
        ([entry(width=-5)], "width must be"),
        ([entry(width=5.0)], "width must be"),
        ([entry(width="5")], "width must be"),
        ([entry(id=True)], "id must be"),
        ([entry(id=-1)], "id must be"),
        ([{"file_name": "a.tif"}], "id must be a whole number, not None"),
        ([entry(height=2**20, width=2**20)], "larger than COCO"),
        (["a.tif"], "entry 1: expected"),
        ([], "expected a list"),
        ("a", "expected a list"),
    ],
)
def test_a_wrong_id_file_is_one_clear_error(tmp_path: Path, rows: Any, message: str) -> None:
    path = tmp_path / "ids.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(AnnotationError, match=message) as caught:
        read_image_ids(path)
    assert str(path) in str(caught.value)


def test_the_real_id_file_is_read() -> None:
    images = read_image_ids(data_folder("hw3-sample") / "test_image_name_to_ids.json")
    assert len(images) == 101
    assert (images[0].id, images[0].size) == (1, (446, 512))


@pytest.fixture
def dataset() -> CocoDataset:
    generator = np.random.default_rng(0)
    masks = [generator.random((7, 5)) > 0.3 for _ in range(6)]
    offsets = generator.integers(0, 20, (6, 2))
    cells = InstanceMasks.from_crops(
        (30, 30), offsets, masks, [1, 2, 2, 1, 2, 1], generator.random(6, np.float32), [9, 8, 70, 6, 5, 4]
    )
    images = (ImageId("a.tif", 4, 30, 30), ImageId("b/image.tif", 2, 10, 10))
    return CocoDataset(images, ClassTable(("tumour", "stroma"), ("#ff0000", "#00ff00")), {4: cells})


def test_a_data_set_makes_the_round_trip(tmp_path: Path, dataset: CocoDataset) -> None:
    path = tmp_path / "d.json"
    write_dataset(path, dataset)
    again = read_dataset(path)
    assert (again.images, again.classes) == (dataset.images, dataset.classes)
    assert again.images[1].image_id == "b"
    for image in dataset.images:
        assert again.instances(image).equals(dataset.instances(image))


def test_pycocotools_reads_the_data_set(
    tmp_path: Path, dataset: CocoDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "d.json", dataset)
    coco = COCO(str(tmp_path / "d.json"))
    capsys.readouterr()
    assert len(coco.anns) == 6
    for annotation, mask in zip(coco.anns.values(), dataset.cells[4].masks, strict=True):
        assert coco.annToMask(annotation).sum() == annotation["area"] == mask.sum()


def test_polygons_are_exact_for_masks_without_holes(tmp_path: Path) -> None:
    y, x = np.mgrid[:15, :15]
    masks = [np.hypot(y - 7, x - 7) < r for r in (1, 3.3, 7.5)] + [np.eye(4, dtype=bool), x[:5, :5] > y[:5, :5]]
    cells = InstanceMasks.from_crops((40, 40), [(0, 0), (3, 20), (20, 3), (36, 36), (25, 25)], masks, [1] * 5)
    write_dataset(
        tmp_path / "d.json",
        CocoDataset((ImageId("a.tif", 1, 40, 40),), ClassTable(("cell",)), {1: cells}),
        polygons=True,
    )
    assert isinstance(json.loads((tmp_path / "d.json").read_text())["annotations"][0]["segmentation"], list)
    assert read_dataset(tmp_path / "d.json").cells[1].equals(cells)


def foreign(**changes: Any) -> dict[str, Any]:
    annotation = {"id": 1, "image_id": 1, "category_id": 40, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]], "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8, "license": 3}],
        "categories": [{"id": 40, "name": "b"}, {"id": 7, "name": "a"}],
        "annotations": [annotation | changes],
    }


def read(tmp_path: Path, data: Any) -> CocoDataset:
    path = tmp_path / "d.json"
    path.write_text(json.dumps(data))
    return read_dataset(path)


def test_category_ids_need_not_be_consecutive(tmp_path: Path) -> None:
    dataset = read(tmp_path, foreign())
    assert dataset.classes.names == ("a", "b")
    assert dataset.cells[1].class_ids.tolist() == [2]
    assert dataset.cells[1].boxes.tolist() == [[1, 1, 4, 3]]
    assert dataset.cells[1].masks[0].all()


def test_run_lengths_are_read_and_crowds_left_out(tmp_path: Path) -> None:
    frame = np.zeros((6, 8), np.uint8)
    frame[2:4, 3] = 1
    runs = {"size": [6, 8], "counts": [20, 2, 26]}
    cells = read(tmp_path, foreign(segmentation=runs)).cells[1]
    assert cells.boxes.tolist() == [[3, 2, 4, 4]]
    as_text = {"size": [6, 8], "counts": coco_mask.encode(np.asfortranarray(frame))["counts"].decode()}
    assert read(tmp_path, foreign(segmentation=as_text)).cells[1].equals(cells)
    assert len(read(tmp_path, foreign(iscrowd=1)).cells[1]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 2}, "no image"),
        ({"image_id": []}, "no image"),
        ({"category_id": []}, "no category"),
        ({"segmentation": {"size": [6, 8], "counts": "~"}}, "alphabet"),
        ({"category_id": 1}, "no category 1"),
        ({"segmentation": []}, "no segmentation"),
        ({"segmentation": [[1, 1, 2, 2]]}, "three or more"),
        ({"segmentation": [[1, 1, 2, 2, None, 3]]}, "three or more|needs numbers"),
        ({"segmentation": ["abc"]}, "neither RLE nor polygons|needs three or more points"),
        ({"segmentation": {"size": [8, 6], "counts": [48]}}, "not the image's"),
        ({"segmentation": {"size": [6, 8], "counts": {"a": 1}}}, "whole numbers|neither"),
        ({"score": 2}, "score"),
        ({"label_id": "x"}, "label_id"),
    ],
)
def test_a_wrong_annotation_is_one_clear_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, foreign(**changes))
    assert "annotation 0" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"images": []},
        foreign() | {"categories": [{"id": 40}]},
        foreign() | {"categories": [{"id": 40, "name": "a"}, {"id": 40, "name": "b"}]},
        foreign() | {"categories": []},
        foreign() | {"images": [{"id": 1, "file_name": "../a.png", "height": 6, "width": 8}]},
    ],
)
def test_a_wrong_data_set_is_one_clear_error(tmp_path: Path, data: Any) -> None:
    with pytest.raises(AnnotationError, match=r"d\.json"):
        read(tmp_path, data)


@pytest.mark.data
@pytest.mark.parametrize(("tiles", "cells_in_all"), [(2, None), pytest.param(27, 15_555, marks=pytest.mark.slow)])
def test_real_tiles_make_the_round_trip_unchanged(
    consep: Path, tmp_path: Path, tiles: int, cells_in_all: int | None
) -> None:
    """Label maps -> InstanceMasks -> results JSON and data set JSON -> InstanceMasks -> label maps."""
    files = list_images(consep / "train")[:tiles]
    images, stored, cells = [], {}, {}
    for number, file in enumerate(files, start=1):
        size = read_tiff(file.path).size
        images.append(ImageId(f"{file.image_id}.tif", number, *size))
        stored[number] = read_class_images(file.path.parent, size, 4)
        cells[number] = to_instances(stored[number], size)
    count = sum(map(len, cells.values()))
    assert count == (cells_in_all or count) > 0
    path = write_results(tmp_path, [row for i in images for row in result_rows(cells[i.id], i.id)], images)
    results = read_results(path, images)
    write_dataset(tmp_path / "d.json", CocoDataset(tuple(images), ClassTable.numbered(4), cells))
    dataset = read_dataset(tmp_path / "d.json")
    for image in images:
        assert dataset.instances(image).equals(cells[image.id])
        for class_id, label_image in from_instances(dataset.instances(image), range(1, 5)).items():
            expected = stored[image.id].get(class_id, np.zeros(image.size))
            np.testing.assert_array_equal(label_image, expected)
        for i, mask in enumerate(results[image.id].masks):  # results keep no label values, all else
            assert np.array_equal(mask, cells[image.id].masks[i])
        np.testing.assert_array_equal(results[image.id].boxes, cells[image.id].boxes)
        np.testing.assert_array_equal(results[image.id].class_ids, cells[image.id].class_ids)
