"""GeoJSON, ImageJ ROIs and overlays: what is written is read again, and other programs accept it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import roifile
import shapely
import shapely.geometry
from export_cases import CLASSES, SIZE, odd_cells, shapes_of

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.export import (
    draw_overlay,
    read_geojson,
    read_rois,
    write_geojson,
    write_rois,
)
from napari_cellseg.export.polygons import polygons_of
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import BoolMask, Cell, Status, cells_from, instances_of


def as_instances(cells: list[Cell]) -> InstanceMasks:
    return instances_of(cells, SIZE)


@pytest.mark.parametrize(
    ("write", "read", "suffix"), [(write_geojson, read_geojson, "geojson"), (write_rois, read_rois, "zip")]
)
def test_odd_shapes_come_back_unchanged(tmp_path, write, read, suffix):
    path = tmp_path / f"x.{suffix}"
    write(path, odd_cells(), CLASSES)
    assert read(path, SIZE, CLASSES).equals(as_instances(odd_cells()))
    write(path, [], CLASSES)
    assert read(path, SIZE, CLASSES).equals(InstanceMasks.empty(SIZE))


@pytest.mark.parametrize(
    ("write", "read", "suffix"), [(write_geojson, read_geojson, "geojson"), (write_rois, read_rois, "zip")]
)
def test_random_blobs_come_back_unchanged(tmp_path, write, read, suffix):
    rng = np.random.default_rng(0)
    masks = [rng.random((12, 15)) < share for share in rng.uniform(0.1, 0.9, 40)]
    instances = InstanceMasks.from_crops(
        SIZE, rng.integers(0, 70, (40, 2)), masks, rng.integers(1, 4, 40), rng.random(40)
    )
    cells = cells_from(instances, Status.ACCEPTED, "ana", 0.0)
    write(tmp_path / f"x.{suffix}", cells, CLASSES)
    assert read(tmp_path / f"x.{suffix}", SIZE, CLASSES).equals(instances)


def test_geojson_is_what_qupath_reads(tmp_path):
    write_geojson(tmp_path / "x.geojson", odd_cells(), CLASSES)
    data = json.loads((tmp_path / "x.geojson").read_text())
    assert data["type"] == "FeatureCollection"
    first, ring, parts = data["features"][:3]
    assert first["geometry"]["type"] == "Polygon"
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"] == {"name": "epithelial", "color": [230, 159, 0]}
    assert first["properties"]["measurements"]["score"] == pytest.approx(0.1)
    assert ring["geometry"]["type"] == parts["geometry"]["type"] == "MultiPolygon"
    outer, hole = ring["geometry"]["coordinates"][0]
    assert outer[0] == outer[-1]
    assert hole[0] == hole[-1]
    assert len({feature["id"] for feature in data["features"]}) == 7


UNKNOWN = {
    "properties": {"classification": {"name": "x"}},
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9]]]},
}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "no list of features"),
        ('{"features": [{"geometry": null}]}', "feature 1: expected a polygon"),
        (
            json.dumps({"features": [UNKNOWN]}),
            "no class 'x', only epithelial",
        ),
    ],
)
def test_wrong_geojson_is_one_clear_error(tmp_path, content, says):
    (tmp_path / "x.geojson").write_text(content)
    with pytest.raises(AnnotationError, match=says):
        read_geojson(tmp_path / "x.geojson", SIZE, CLASSES)


def test_rois_have_names_groups_and_colours(tmp_path):
    write_rois(tmp_path / "x.zip", odd_cells(), CLASSES)
    rois = roifile.roiread(tmp_path / "x.zip")
    assert [roi.group for roi in rois] == [1, 2, 3, 1, 2, 3, 1]
    assert rois[0].name == "00001-epithelial"
    assert rois[1].name == "00002-_spindle_shaped"
    assert rois[0].stroke_color == b"\xff\xe6\x9f\x00"
    assert (rois[0].left, rois[0].top, rois[0].right, rois[0].bottom) == odd_cells()[0].box


def test_a_roi_of_no_class_is_told(tmp_path):
    write_rois(tmp_path / "x.zip", odd_cells(), CLASSES)
    with pytest.raises(AnnotationError, match="its group is 2, but there are 1 classes"):
        read_rois(tmp_path / "x.zip", SIZE, ClassTable(("a",)))
    (tmp_path / "y.zip").write_bytes(b"no zip")
    with pytest.raises(AnnotationError, match="not an intact zip file"):
        read_rois(tmp_path / "y.zip", SIZE, CLASSES)


def test_an_overlay_paints_rims_inside_the_cells_only():
    picture = np.full((*SIZE, 3), 200, np.uint8)
    cells = odd_cells()
    drawn = draw_overlay(picture, cells, CLASSES)
    assert (picture == 200).all()
    covered = as_instances(cells).paste() > 0
    assert (drawn[~covered] == 200).all()
    assert drawn[0, 6].tolist() == [230, 159, 0]
    assert drawn[6, 6].tolist() == [200, 200, 200]


# ---- polygons that other programs accept ----


def touching_itself() -> BoolMask:
    """Return a part whose outline meets itself at a corner: an arm bends back until it touches diagonally."""
    mask = np.zeros((6, 6), bool)
    mask[0, :5] = mask[:5, 0] = mask[4, :4] = True
    mask[1:4, 4] = True  # (3, 4) and (4, 3) touch at a corner
    mask[4, 4] = False
    return mask


def test_an_outline_that_touches_itself_becomes_an_outer_ring_and_a_hole():
    (polygon,) = polygons_of(touching_itself(), (10, 20, 16, 26))
    assert len(polygon) == 2
    assert shapely.Polygon(polygon[0], polygon[1:]).is_valid
    assert shapely.Polygon(polygon[0], polygon[1:]).area == touching_itself().sum()


def test_every_polygon_is_valid_and_has_the_area_of_its_cell(tmp_path):
    rng = np.random.default_rng(1)
    masks = [rng.random((12, 15)) < share for share in rng.uniform(0.1, 0.9, 200)]
    instances = InstanceMasks.from_crops(SIZE, rng.integers(0, 70, (200, 2)), masks, np.ones(200), rng.random(200))
    cells = [*odd_cells(), *cells_from(instances, Status.ACCEPTED, "ana", 0.0)]
    write_geojson(tmp_path / "x.geojson", cells, CLASSES)
    shapes = shapes_of(tmp_path / "x.geojson")
    assert [shapely.is_valid_reason(shape) for shape in shapes] == ["Valid Geometry"] * len(cells)
    assert [shape.area for shape in shapes] == [cell.area for cell in cells]


@pytest.mark.data
@pytest.mark.parametrize(("tiles", "cells_in_all"), [(1, None), pytest.param(27, 15_555, marks=pytest.mark.slow)])
def test_consep_cells_are_valid_polygons_and_come_back(tmp_path, consep, tiles, cells_in_all):
    count = 0
    for folder in sorted((consep / "train").iterdir())[:tiles]:
        label_images = read_class_images(folder)
        instances = to_instances(label_images, next(iter(label_images.values())).shape)
        cells = cells_from(instances, Status.ACCEPTED, "x", 0.0)
        write_geojson(tmp_path / "x.geojson", cells, ClassTable.numbered(4))
        assert all(shape.is_valid for shape in shapes_of(tmp_path / "x.geojson")), folder.name
        again = read_geojson(tmp_path / "x.geojson", instances.image_size, ClassTable.numbered(4))
        assert again.equals(instances_of(cells, instances.image_size)), folder.name
        count += len(cells)
    assert count == (cells_in_all or count) > 0
