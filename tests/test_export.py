"""Exports of a project: which images and cells, what is told, and that no half file is left."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from export_cases import CLASSES, SIZE, odd_cells
from review_actions import some_cells

from napari_cellseg.cli import main
from napari_cellseg.errors import ExportError
from napari_cellseg.events import drive
from napari_cellseg.export import (
    EXPORTER_NAMES,
    ExportPlan,
    ExportSummary,
    Which,
    export_folder,
    items_of,
    read_geojson,
    read_rois,
)
from napari_cellseg.formats.coco import (
    read_dataset,
    read_image_ids,
    read_results,
    write_image_ids,
)
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.ids import IDS_NAME
from napari_cellseg.formats.label_images import read_class_images, to_instances, write_class_images
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import instances_of
from napari_cellseg.workspace import Sessions


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
        session.load_proposals(instances_of(odd_cells(), SIZE))
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
