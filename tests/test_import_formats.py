"""Features of single formats: holes, groups, files of other libraries, label images of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from import_cases import areas, ring, squares
from import_writers import SIZE, image, write_json
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.io import savemat

from napari_cellseg.importers import Imported, ImportOptions, import_annotations


def class_names(result: Imported) -> list[str]:
    return [result.classes.name(i) for each in result.images for i in each.cells.class_ids.tolist()]


# ---- QuPath ----


def feature(geometry: Any, name: str | None = "tumour", kind: str = "detection", **more: Any) -> dict[str, Any]:
    classification = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind, **classification, **more}}


def test_geojson_keeps_holes_several_polygons_colours_and_scores(tmp_path: Path) -> None:
    image(tmp_path)
    hole = {"type": "Polygon", "coordinates": [ring(2, 2, 10), ring(5, 5, 3)]}
    two = {"type": "MultiPolygon", "coordinates": [[ring(20, 2, 4)], [ring(30, 2, 6), ring(32, 4, 2)]]}
    mixed = {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 1]}, hole]}
    features = [
        feature(hole, measurements={"score": 0.25, "label_id": 9}),
        feature(two, measurements=[{"name": "score", "value": 0.5}]),
        feature(mixed, "other"),
    ]
    write_json(tmp_path / "a.geojson", features)
    result = import_annotations(tmp_path / "a.geojson")
    assert areas(result) == [100 - 9, 16 + 36 - 4, 100 - 9]
    assert result.images[0].cells.scores.tolist() == [0.25, 0.5, 1]
    assert result.images[0].cells.values[0] == 9
    assert (result.classes.names, result.classes.colours[0]) == (("tumour", "other"), "#010203")


def test_a_region_around_detections_is_no_cell_and_annotations_alone_are(tmp_path: Path) -> None:
    image(tmp_path)
    region = feature({"type": "Polygon", "coordinates": [ring(0, 0, 40)]}, None, "annotation")
    cell = feature({"type": "Polygon", "coordinates": [ring(3, 3, 5)]})
    write_json(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": [region, cell]})
    result = import_annotations(tmp_path)
    assert areas(result) == [25]
    assert "a region around the detections" in result.left_out[0].reason
    write_json(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": [region]})
    assert areas(import_annotations(tmp_path)) == [1600]


# ---- COCO by pycocotools, and odd values ----


def test_what_pycocotools_reads_comes_in_the_same(tmp_path: Path) -> None:
    image(tmp_path)
    rng = np.random.default_rng(0)
    annotations = []
    for number in range(1, 21):
        corners = rng.uniform(-3, 50, (rng.integers(3, 9), 2)).round(2)
        annotations.append({"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1})
        annotations[-1]["segmentation"] = [corners.clip(0, 47).ravel().tolist()]
    data = {
        "images": [{"id": 1, "file_name": "a.tif", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": annotations,
    }
    data["categories"] = [{"id": 1, "name": "x"}]
    write_json(tmp_path / "d.json", data)
    reference = COCO(str(tmp_path / "d.json"))
    cells = import_annotations(tmp_path).images[0].cells
    masks = [reference.annToMask(row).astype(bool) for row in reference.loadAnns(reference.getAnnIds())]
    masks = [mask for mask in masks if mask.any()]
    assert len(cells) == len(masks)
    for (x0, y0, x1, y1), crop, mask in zip(cells.boxes.tolist(), cells.masks, masks, strict=True):
        full = np.zeros(SIZE, bool)
        full[y0:y1, x0:x1] = crop
        np.testing.assert_array_equal(full, mask)


def test_ids_of_any_kind_and_repeated_ones(tmp_path: Path) -> None:
    image(tmp_path)
    image(tmp_path, "b.tif")
    row = {"id": 1, "category_id": "7", "segmentation": [1, 1, 9, 1, 9, 9, 1, 9]}
    data = {
        "images": [{"id": "x1", "file_name": "a.tif"}, {"id": 2.0, "file_name": "b.tif", "height": None}],
        "categories": [{"id": 7.0, "name": "x"}, {"id": "k", "name": ""}, {"id": 8, "name": "x"}],
        "annotations": [row | {"image_id": "x1"}, row | {"image_id": 2}, row | {"image_id": True}],
    }
    write_json(tmp_path / "d.json", data)
    result = import_annotations(tmp_path)
    assert areas(result) == [64, 64]
    assert [item.reason for item in result.left_out] == ["its image is not in the file"]
    assert any("2 annotations with the id of another one" in note for note in result.notes)
    assert any("several categories are named x" in note for note in result.notes)
    data["images"][1]["id"] = "x1"  # type: ignore[index]
    write_json(tmp_path / "d.json", data)
    assert import_annotations(tmp_path).kept == 0


def test_classes_are_chosen_ordered_renamed_and_joined(tmp_path: Path) -> None:
    image(tmp_path)
    row = {"image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
    data = {
        "images": [{"id": 1, "file_name": "a.tif"}],
        "categories": [{"id": i, "name": n} for i, n in enumerate("abc")],
    }
    write_json(tmp_path / "d.json", data | {"annotations": [row | {"category_id": i} for i in range(3)]})
    result = import_annotations(tmp_path, ImportOptions(classes=("c", "a")))
    assert result.classes.names == ("c", "a")
    assert class_names(result) == ["a", "c"]
    assert result.left_out[0].reason == "its class 'b' is not among the requested classes"
    joined = import_annotations(tmp_path, ImportOptions(rename={"a": "round", "c": "round"}))
    assert joined.classes.names == ("round", "b")


# ---- labelme, Datumaro: several shapes of one cell ----


def test_shapes_of_one_group_are_one_cell(tmp_path: Path) -> None:
    image(tmp_path)
    shapes = [
        {"label": "x", "points": ring(2, 2, 4)[:-1], "group_id": 1, "shape_type": "polygon"},
        {"label": "x", "points": ring(20, 2, 4)[:-1], "group_id": 1, "shape_type": "polygon"},
        {"label": "y", "points": ring(30, 2, 4)[:-1], "group_id": 1, "shape_type": "polygon"},
        {"label": "x", "points": [[40, 20], [44, 20]], "group_id": None, "shape_type": "circle"},
    ]
    write_json(tmp_path / "a.json", {"shapes": shapes, "imagePath": "a.tif"})
    result = import_annotations(tmp_path)
    assert (result.rows, result.kept, result.joined) == (4, 3, 1)
    assert areas(result)[:2] == [32, 16]
    assert areas(result)[2] == pytest.approx(np.pi * 16, abs=4)


def test_masks_and_groups_of_datumaro(tmp_path: Path) -> None:
    image(tmp_path)
    packed = coco_mask.encode(np.asfortranarray(squares((3, 3))))
    rle = {"size": list(SIZE), "counts": packed["counts"].decode()}
    part = {"type": "polygon", "label_id": 0, "group": 4, "points": [20, 2, 24, 2, 24, 6, 20, 6]}
    annotations = [
        {"type": "mask", "label_id": 0, "rle": rle, "group": 0},
        part,
        part | {"points": [30, 2, 34, 2, 34, 6]},
    ]
    items = [{"id": "sub/a", "annotations": annotations}]
    write_json(tmp_path / "d.json", {"categories": {"label": {"labels": [{"name": "x"}]}}, "items": items})
    result = import_annotations(tmp_path)
    assert (result.kept, result.joined) == (2, 1)
    assert areas(result)[0] == 25


def test_the_box_of_a_group_of_datumaro_is_no_cell_left_out_and_another_box_is(tmp_path: Path) -> None:
    """Datumaro writes a box next to each mask that it read from COCO, in the same group."""
    image(tmp_path)
    box = {"type": "bbox", "label_id": 0, "group": 4, "bbox": [20, 2, 4, 4]}
    part = {"type": "polygon", "label_id": 0, "group": 4, "points": [20, 2, 24, 2, 24, 6, 20, 6]}
    others = [box | {"bbox": [1, 30, 4, 4]}, box | {"label_id": 1}, box | {"group": 0}, box | {"bbox": [1]}]
    items = [{"id": "a", "annotations": [box, part, *others]}]
    labels = [{"name": "x"}, {"name": "y"}]
    write_json(tmp_path / "d.json", {"categories": {"label": {"labels": labels}}, "items": items})
    result = import_annotations(tmp_path)
    assert (result.kept, result.joined, areas(result)) == (1, 1, [16])
    assert [row.row for row in result.left_out] == [3, 4, 5, 6]
    assert [row.reason for row in result.left_out[:3]] == ["it is a box without a mask"] * 3


# ---- ImageJ ----


def test_rois_of_every_kind(tmp_path: Path) -> None:
    image(tmp_path)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, left=10, top=10, right=20, bottom=18, group=2, version=228)
    traced = roifile.ImagejRoi.frompoints(np.array([[30, 5], [36, 5], [36, 11], [30, 11]], np.float32))
    traced.name = "b"
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x1=1, y1=1, x2=5, y2=5, version=228)
    roifile.roiwrite(tmp_path / "RoiSet.zip", [oval, traced, line], mode="w")
    result = import_annotations(tmp_path)
    assert areas(result)[0] == pytest.approx(np.pi * 5 * 4, rel=0.1)
    assert areas(result)[1] == 36
    assert class_names(result) == ["group 2", "cell"]
    assert result.left_out[0].reason == "it is a line, which has no area"


# ---- label images ----


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]
)
def test_label_images_of_any_type(tmp_path: Path, dtype: Any) -> None:
    image(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "a.tif", squares((2, 2), (20, 20), dtype=dtype))
    result = import_annotations(tmp_path)
    assert areas(result) == [25, 25]
    assert result.images[0].path == tmp_path / "images" / "a.tif"
    assert result.notes == ()


def test_fractions_nan_and_negative_values_are_named(tmp_path: Path) -> None:
    image(tmp_path)
    labels = squares((2, 2), (20, 20), dtype=np.float32)
    labels[30:33, 30:33], labels[40, :10], labels[10, 40:44] = 2.5, np.nan, -3
    labels[0] = -1
    tifffile.imwrite(tmp_path / "a_masks.tif", labels)
    result = import_annotations(tmp_path)
    assert areas(result) == [25, 25]
    assert sorted(item.reason for item in result.left_out) == [
        "its value -3 is below 0",
        "its value 2.5 is not a whole number",
    ]
    assert len(result.notes) == 2


def test_grey_saved_as_colour_palettes_and_colours_are_read(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    labels = squares((2, 2), (20, 20))
    path = tmp_path / "a_mask.png"
    Image.fromarray(np.stack([labels] * 3, 2)).save(path)
    assert areas(import_annotations(tmp_path)) == [25, 25]
    palette = Image.fromarray(labels, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    palette.save(path)
    assert areas(import_annotations(tmp_path)) == [25, 25]
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    Image.fromarray(colours[labels]).save(path)
    assert areas(import_annotations(tmp_path)) == [25, 25]


def test_a_table_of_colours_gives_classes_and_names_what_is_not_in_it(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    colours = np.array([[0, 0, 0], [255, 0, 0], [255, 0, 0], [0, 0, 255], [9, 9, 0]], np.uint8)
    labels = squares((2, 2), (2, 20), (20, 20), (30, 40))
    Image.fromarray(colours[labels]).save(tmp_path / "a_mask.png")
    options = ImportOptions(colours={(255, 0, 0): "red", (0, 0, 255): "blue"})
    result = import_annotations(tmp_path, options)
    assert class_names(result) == ["red", "red", "blue"]
    assert result.left_out[0].reason == "its colour #090900 is not in the table of colours"


def test_a_binary_mask_is_said_and_split_on_request(tmp_path: Path) -> None:
    image(tmp_path)
    mask = (squares((2, 2), (2, 30), side=12) > 0).astype(np.uint8) * 255
    mask[2:14, 14:20] = 255  # and two discs that touch
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    mask[((x - 20) ** 2 + (y - 32) ** 2 < 64) | ((x - 33) ** 2 + (y - 32) ** 2 < 64)] = 255
    tifffile.imwrite(tmp_path / "a_mask.tif", mask)
    result = import_annotations(tmp_path)
    assert result.kept == 1
    assert "looks like a binary mask: 3 separate regions share 1 value" in result.notes[0]
    assert import_annotations(tmp_path, ImportOptions(split="parts")).kept == 3
    assert import_annotations(tmp_path, ImportOptions(split="touching")).kept >= 4


def test_a_separate_map_of_classes(tmp_path: Path) -> None:
    image(tmp_path)
    labels = squares((2, 2), (20, 20), (30, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a_instances.tif", labels)
    tifffile.imwrite(tmp_path / "a_classes.tif", np.array([0, 2, 1, 0], np.uint8)[labels])
    write_json(tmp_path / "classes.json", ["round", "long"])
    result = import_annotations(tmp_path)
    assert class_names(result) == ["long", "round"]
    assert result.left_out[0].reason == "the class map has no class for it"


def test_lizard_lists_its_classes_by_id(tmp_path: Path) -> None:
    image(tmp_path / "images", "a.png")
    (tmp_path / "Labels").mkdir()
    content = {"inst_map": squares((2, 2), (20, 20), dtype=np.int32), "id": [[2], [1]], "class": [[6], [3]]}
    savemat(tmp_path / "Labels" / "a.mat", content)
    result = import_annotations(tmp_path)
    assert class_names(result) == ["lymphocyte", "connective"]


def test_an_xml_with_entities_and_broken_files_are_left_out_by_name(tmp_path: Path) -> None:
    image(tmp_path)
    (tmp_path / "a.xml").write_text('<!DOCTYPE x [<!ENTITY a "aaa">]><Annotations>&a;</Annotations>')
    result = import_annotations(tmp_path)
    assert (result.rows, result.left_out[0].source) == (1, "a.xml")
    assert "entities" in result.left_out[0].reason
