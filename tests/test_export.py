"""Exports: readable formats round-trip to the pixel, for any shape of cell."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import roifile
import shapely
import shapely.geometry
import tifffile
from review_actions import disc, some_cells

from napari_cellseg.classes import ClassTable
from napari_cellseg.cli import main
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.events import drive
from napari_cellseg.export import (
    EXPORTER_NAMES,
    EXPORTERS,
    ExportPlan,
    ExportSummary,
    Which,
    draw_overlay,
    export_folder,
    items_of,
    read_geojson,
    read_rois,
    write_geojson,
    write_rois,
)
from napari_cellseg.export.polygons import polygons_of
from napari_cellseg.formats.coco import (
    CocoDataset,
    read_dataset,
    read_image_ids,
    read_results,
    write_dataset,
    write_image_ids,
)
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.ids import IDS_NAME, match_ids
from napari_cellseg.formats.label_images import read_class_images, to_instances, write_class_images
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import BoolMask, Cell, Status, cells_from, instances_of
from napari_cellseg.workspace import Sessions

SIZE = (90, 120)
CLASSES = ClassTable(("epithelial", "=spindle/shaped", "細胞"))


def odd_cells() -> list[Cell]:
    """Return a disc, a ring with an islet, two parts, corners that touch, one pixel, and one that fills the border."""
    ring = disc(8) & ~np.pad(disc(5), 3)
    ring[8, 8] = True
    parts = np.zeros((6, 12), bool)
    parts[:3, :4] = parts[4:, 8:] = True
    frame = np.ones((9, 9), bool)
    frame[1:-1, 1:-1] = False
    masks = [disc(6), ring, parts, np.eye(5, dtype=bool), np.ones((1, 1), bool), frame, np.eye(6, dtype=bool) == 0]
    places = [(0, 0), (20, 10), (50, 10), (70, 20), (119, 89), (80, 60), (30, 50)]
    instances = InstanceMasks.from_crops(
        SIZE, places, masks, [1, 2, 3, 1, 2, 3, 1], np.linspace(0.1, 1, 7), [5, 7, 2, 9, 1, 4, 6]
    )
    return cells_from(instances, Status.ACCEPTED, "ana", 0.0)


FORMATS = pytest.mark.parametrize(
    ("write", "read", "suffix"), [(write_geojson, read_geojson, "geojson"), (write_rois, read_rois, "zip")]
)


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


# ---- a folder ----


@pytest.fixture
def workspace(tmp_path: Path):
    """Give a project: a is annotated, b has only labels, c was saved without cells, d was never looked at."""
    folder = tmp_path / "images"
    for name in "abcd":
        (folder / name).mkdir(parents=True)
        pixels = np.random.default_rng(ord(name)).integers(0, 255, (*SIZE, 3), np.uint8)
        tifffile.imwrite(
            folder / name / "image.tif", pixels, photometric="rgb", resolution=(20000, 20000), resolutionunit=3
        )
    write_class_images(folder / "b", some_cells(6, 1, SIZE))
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        session.load_proposals(as_instances(odd_cells()))
        session.reject([5])
        session.set_min_scores({1: 0.5})
        workspace.open_session("c", SIZE)
        workspace.save("c")
        workspace.close_session("c")
        yield workspace


def export(workspace: Sessions, folder: Path, *formats: str, which: Which = Which.ALL, **options) -> ExportSummary:
    plan = ExportPlan(folder=folder, formats=frozenset(formats or EXPORTER_NAMES), **options)
    return drive(export_folder(items_of(workspace, which, "a"), CLASSES, plan))


def shown(workspace: Sessions, image_id: str) -> InstanceMasks:
    return workspace.read(image_id).instances()


def test_a_summary_in_one_line(workspace, tmp_path):
    summary = export(workspace, tmp_path / "out")
    assert (
        str(summary)
        == "3 images, 1 without cells, 1 not annotated and left out, 5 of 11 cells are not reviewed, 0 problems"
    )
    assert summary.cells == len(shown(workspace, "a")) + len(shown(workspace, "b"))
    assert len(shown(workspace, "a")) == 5  # of seven, one is rejected, one lies below the minimum score
    assert all(path.is_dir() if path.name.endswith(".ome.zarr") else path.is_file() for path in summary.files)


def test_class_images_make_a_training_folder(workspace, tmp_path):
    export(workspace, tmp_path / "out", "class-images")
    training = tmp_path / "out" / "training"
    assert sorted(path.name for path in training.iterdir()) == ["a", "b", "c", "classes.json"]
    found = to_instances(read_class_images(training / "b", SIZE), SIZE)
    assert found.equals(to_instances(read_class_images(workspace.project.folder / "b"), SIZE))
    assert (training / "a" / "image.tif").read_bytes() == (workspace.project.folder / "a" / "image.tif").read_bytes()
    assert json.loads((training / "classes.json").read_text()) == {
        "1": "epithelial",
        "2": "=spindle/shaped",
        "3": "細胞",
    }
    with Sessions.of_folder(training) as again:
        assert again.project.classes.names == CLASSES.names
        assert len(again.open_session("a", SIZE).cells) == 5


def test_results_and_data_set_come_back_unchanged(workspace, tmp_path):
    out = tmp_path / "out"
    export(workspace, out, "results", "coco")
    ids = read_image_ids(out / IDS_NAME)
    results = read_results(out / "test-results.json", ids)
    dataset = read_dataset(out / "coco.json")
    assert dataset.classes == CLASSES
    assert [image.file_name for image in dataset.images] == ["a/image.tif", "b/image.tif", "c/image.tif"]
    for image, listed in zip(ids, dataset.images, strict=True):
        wanted = shown(workspace, image.image_id)
        assert dataset.instances(listed).equals(wanted)
        assert results[image.id].class_ids.tolist() == wanted.class_ids.tolist()
        assert all(np.array_equal(a, b) for a, b in zip(results[image.id].masks, wanted.masks, strict=True))
        assert np.array_equal(results[image.id].scores, wanted.scores)


def test_results_take_their_ids_from_a_file_and_say_what_it_lacks(workspace, tmp_path):
    write_image_ids(tmp_path / "ids.json", [ImageId("a.tif", 77, *SIZE), ImageId("b.tif", 5, 10, 10)])
    summary = export(workspace, tmp_path / "out", "results", ids_file=tmp_path / "ids.json")
    rows = json.loads((tmp_path / "out" / "test-results.json").read_text())
    assert {row["image_id"] for row in rows} == {77}
    assert [image_id for image_id, _ in summary.problems] == ["b", "c"]
    assert "2 problems" in str(summary)


def test_geojson_and_rois_of_each_image(workspace, tmp_path):
    out = tmp_path / "out"
    export(workspace, out, "geojson", "rois")
    wanted = shown(workspace, "b")
    assert read_geojson(out / "geojson" / "b.geojson", SIZE, CLASSES).equals(wanted)
    assert read_rois(out / "rois" / "b.zip", SIZE, CLASSES).equals(wanted)


def test_measurements_have_a_row_a_cell_and_harmless_names(workspace, tmp_path):
    export(workspace, tmp_path / "out", "measurements")
    with (tmp_path / "out" / "measurements.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a"] * 5 + ["b"] * 6
    assert {row["class"] for row in rows} <= {"epithelial", "'=spindle/shaped", "細胞"}
    assert [int(row["area_px"]) for row in rows[:5]] == shown(workspace, "a").areas.tolist()
    assert float(rows[0]["area_um2"]) == pytest.approx(float(rows[0]["area_px"]) * 0.25)


def test_overlays_are_pictures_of_the_images(workspace, tmp_path):
    export(workspace, tmp_path / "out", "overlays")
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["a.png", "b.png", "c.png"]
    picture = imagecodecs.png_decode((tmp_path / "out" / "overlays" / "c.png").read_bytes())
    assert np.array_equal(picture, tifffile.imread(workspace.project.folder / "c" / "image.tif"))


def test_reviewed_images_or_this_one_only(workspace, tmp_path):
    assert export(workspace, tmp_path / "x", "coco", which=Which.REVIEWED).images == 1  # c
    assert export(workspace, tmp_path / "y", "coco", which=Which.ONE).images == 1
    session = workspace.open_session("a", SIZE)
    session.accept(session.cells)
    assert export(workspace, tmp_path / "z", "coco", which=Which.REVIEWED).images == 2


def test_a_bad_image_is_a_problem_and_the_others_go_on(workspace, tmp_path):
    (workspace.project.folder / "b" / "image.tif").write_bytes(b"no image")
    summary = export(workspace, tmp_path / "out", "overlays", "geojson")
    assert summary.images == 2
    assert [image_id for image_id, _ in summary.problems] == ["b"]
    assert not (tmp_path / "out" / "geojson" / "b.geojson").exists()


def test_a_damaged_image_is_exported_as_far_as_it_goes_and_told(workspace, tmp_path, capsys, caplog):
    folder, image_id = workspace.project.path, workspace.project.images[0].image_id
    workspace.save(image_id)
    path = workspace.project.annotations_file(image_id)
    workspace.close()
    lines = path.read_bytes().splitlines()
    lines[2] = b"nonsense"
    path.write_bytes(b"\n".join(lines))

    assert main(["export", str(folder), "--out", str(tmp_path / "out"), "--to", "geojson"]) == 1

    assert f"{path} is damaged" in caplog.text
    assert "1 image with damaged annotations, which are incomplete" in capsys.readouterr().out


def test_what_is_edited_after_the_call_is_not_exported(workspace, tmp_path):
    items = items_of(workspace, Which.ONE, "a")
    before = shown(workspace, "a")
    session = workspace.open_session("a", SIZE)
    session.delete(session.cells)
    for _ in export_folder(items, CLASSES, ExportPlan(folder=tmp_path / "out", formats=frozenset({"geojson"}))):
        pass
    assert len(read_geojson(tmp_path / "out" / "geojson" / "a.geojson", SIZE, CLASSES)) == len(before)


def test_stopped_midway_no_half_file_is_left(workspace, tmp_path):
    plan = ExportPlan(folder=tmp_path / "out", formats=frozenset(EXPORTER_NAMES))
    generator = export_folder(items_of(workspace, Which.ALL), CLASSES, plan)
    next(generator)
    generator.close()
    names = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "coco.json" not in names
    assert not any(name.endswith(".tmp") for name in names)


def test_a_folder_that_cannot_be_made_is_an_export_error(workspace, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ExportError, match="Cannot create the folder"):
        export(workspace, tmp_path / "out" / "deeper", "coco")


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


def shapes_of(path: Path) -> list[shapely.Geometry]:
    return [shapely.geometry.shape(feature["geometry"]) for feature in json.loads(path.read_text())["features"]]


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


# ---- images of one name in two folders ----


@pytest.fixture
def two_of_a_name(tmp_path: Path) -> Path:
    """Give a COCO data set with slide1/tile.tif and slide2/tile.tif, of 3 and 5 cells."""
    data = tmp_path / "data"
    images, cells = [], {}
    for number, count in ((1, 3), (2, 5)):
        folder = data / f"slide{number}"
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
        tifffile.imwrite(folder / "tile.tif", pixels, photometric="rgb")
        images.append(ImageId(f"slide{number}/tile.tif", number, *SIZE))
        cells[number] = some_cells(count, number, SIZE)
    write_dataset(data / "instances.json", CocoDataset(tuple(images), CLASSES, cells))
    return data


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_same_named_images_of_two_folders_stay_two(tmp_path, two_of_a_name, exporter):
    out = tmp_path / "out"
    arguments = ["export", str(two_of_a_name / "instances.json"), "--out", str(out), "--to", exporter.name]
    assert main(arguments) == 0
    files = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    if exporter.per == "image":
        assert any("slide1" in name for name in files)
        assert any("slide2" in name for name in files)


def test_what_is_written_for_two_of_a_name_is_read_again(tmp_path, two_of_a_name):
    out, again = tmp_path / "out", tmp_path / "again"
    source = str(two_of_a_name / "instances.json")
    assert main(["export", source, "--out", str(out), "--to", "coco", "results", "class-images"]) == 0
    ids = match_ids(out / IDS_NAME, ["slide1/tile", "slide2/tile"])
    results = read_results(out / "test-results.json", ids.entries)
    assert [len(results[ids.entry(f"slide{n}/tile", SIZE).id]) for n in (1, 2)] == [3, 5]
    (two_of_a_name / "coco.json").write_bytes((out / "coco.json").read_bytes())  # next to its images
    assert main(["export", str(two_of_a_name / "coco.json"), "--out", str(again), "--to", "geojson"]) == 0
    assert [len(shapes_of(again / "geojson" / f"slide{n}" / "tile.geojson")) for n in (1, 2)] == [3, 5]
    assert sorted(path.name for path in (out / "training").iterdir()) == ["classes.json", "slide1_tile", "slide2_tile"]
    assert main(["export", str(out / "training"), "--out", str(tmp_path / "third"), "--to", "coco"]) == 0
    assert sum(map(len, read_dataset(tmp_path / "third" / "coco.json").cells.values())) == 8


# ---- tables for spreadsheets ----


def test_cells_that_the_user_labelled_are_not_proposals(tmp_path, two_of_a_name):
    source = str(two_of_a_name / "instances.json")
    assert main(["export", source, "--out", str(tmp_path / "o"), "--to", "measurements"]) == 0
    with (tmp_path / "o" / "measurements.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["status"], row["by"]) for row in rows} == {("given", "instances.json")}
    assert {row["image"] for row in rows} == {"slide1/tile", "slide2/tile"}


def test_decimal_commas_come_with_another_separator(tmp_path, two_of_a_name):
    source = str(two_of_a_name / "instances.json")
    out = str(tmp_path / "o")
    assert main(["export", source, "--out", out, "--to", "measurements", "--csv-style", "semicolon"]) == 0
    with (tmp_path / "o" / "measurements.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert len(rows) == 8
    assert all("," in row["mean_red"] or row["mean_red"].isdigit() for row in rows)
    assert all("." not in row["mean_red"] for row in rows)
