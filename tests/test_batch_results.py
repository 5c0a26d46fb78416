"""What *Batch* makes of a folder: the results file and its ids, planes of stacks, and the same by a command."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from batch_window import (
    FOUND,
    RGB,
    batch_dock,
    fake_engine,
    make_folder,
    open_folder,
    predict,
    settle,
    tiles_folder,
)
from qtpy.QtWidgets import QApplication

from napari_cellseg.batch import predict_command
from napari_cellseg.commands.parser import make_parser
from napari_cellseg.commands.predict import prediction_options
from napari_cellseg.commands.reading import reading_of
from napari_cellseg.formats.coco import ImageId, read_image_ids, write_image_ids
from napari_cellseg.formats.coco_results import check_results
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.workspace import Sessions

folder = pytest.fixture(tiles_folder)
engine = pytest.fixture(fake_engine)
dock = pytest.fixture(batch_dock)


def ids_beside(folder: Path, names: str) -> Path:
    path = folder.parent / "test_image_name_to_ids.json"
    write_image_ids(path, [ImageId(f"{name}.tif", 10 + i, 96, 96) for i, name in enumerate(names)])
    return path


def test_the_id_file_is_found_and_what_does_not_fit_is_named(qtbot, dock, folder):
    ids_beside(folder, "abx")
    open_folder(qtbot, dock, folder)
    assert dock.results.ids.text().splitlines() == [
        "2 of 3 images in the id file",
        "Not in this folder, so without a row: x",
        "Not in the id file, so left out: c",
    ]
    assert dock.results.ids_name.toolTip().endswith("test_image_name_to_ids.json")


def test_the_results_have_every_cell_nobody_rejected_and_are_valid(qtbot, dock, folder, tmp_path):
    ids = ids_beside(folder, "abx")
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    dock.state.session.reject([1])
    dock.results.folder.setText(str(tmp_path / "out"))
    dock.results.write.click()
    qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
    assert dock.results.row.message.text().startswith(f"Written and checked: {2 * len(FOUND) - 1} cells, 2 images")
    assert dock.results.problems.text() == "Not in this folder, so without a row: x"
    for name in ("test-results.json", "test-results.zip"):
        assert check_results(tmp_path / "out" / name, read_image_ids(ids), 4) == []


def test_results_before_a_prediction_are_refused(qtbot, dock, folder, tmp_path):
    open_folder(qtbot, dock, folder)
    dock.results.folder.setText(str(tmp_path / "out"))
    dock.results.write.click()
    qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
    assert "No image is predicted yet" in dock.results.row.message.text()


def test_ids_made_without_an_id_file_stay_when_a_broken_image_is_repaired(qtbot, dock, engine, folder, tmp_path):
    engine.behaviour["b"] = "Cannot read b.tif: it is cut off."
    open_folder(qtbot, dock, folder)
    ids = []
    for number in range(2):
        predict(qtbot, dock)
        dock.results.folder.setText(str(tmp_path / f"out{number}"))
        qtbot.waitUntil(lambda: dock.results.write.isEnabled(), timeout=60_000)
        dock.results.write.click()
        qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
        entries = read_image_ids(tmp_path / f"out{number}" / "test_image_name_to_ids.json")
        ids.append({entry.file_name: entry.id for entry in entries})
        engine.behaviour.clear()
    assert ids == [{"a.tif": 1, "c.tif": 3}, {"a.tif": 1, "b.tif": 2, "c.tif": 3}]


def add_stack(folder):
    stack = np.stack([RGB, RGB // 2, RGB // 3])
    tifffile.imwrite(folder / "z.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    return folder


@pytest.mark.parametrize("is_open", [True, False])
def test_of_a_stack_the_planes_left_out_are_counted_and_each_can_be_an_image(qtbot, dock, folder, tmp_path, is_open):
    add_stack(folder)
    open_folder(qtbot, dock, folder if is_open else make_folder(tmp_path / "other", "x"))
    dock.use_folder(folder)
    settle(qtbot, dock)
    assert dock.stacks.isVisibleTo(dock)
    assert dock.stacks.text() == "z is a stack: only plane 0 is predicted, 2 planes left out."
    dock.every_plane.click()
    qtbot.waitUntil(lambda: dock.batch.plan is not None and dock.batch.plan.every_plane, timeout=60_000)
    settle(qtbot, dock)
    assert not dock.stacks.isVisibleTo(dock)
    assert dock.counts.text() == "6 images: 6 to do"
    predict(qtbot, dock)
    assert dock.counts.text() == "6 images: 6 predicted"
    words = dock.results.command()
    assert words[words.index("--plane") + 1] == "all"

    dock.results.folder.setText(str(tmp_path / "out"))
    qtbot.waitUntil(lambda: dock.results.write.isEnabled(), timeout=60_000)
    dock.results.write.click()
    qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
    ids = read_image_ids(tmp_path / "out" / "test_image_name_to_ids.json")
    assert [each.file_name for each in ids][-3:] == ["z_plane0.tif", "z_plane1.tif", "z_plane2.tif"]

    dock.every_plane.click()
    qtbot.waitUntil(lambda: dock.batch.plan is not None and not dock.batch.plan.every_plane, timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "4 images: 1 to do, 3 predicted"


def test_each_plane_gets_the_pixels_of_its_plane(qtbot, dock, engine, folder):
    Sessions.of_folder(add_stack(folder)).set_every_plane(True)
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    planes = {item.image_id: item.reading.plane for item in engine.items if item.reading is not None}
    assert planes == {"z_plane0": 0, "z_plane1": 1, "z_plane2": 2}


def test_another_plane_for_all_images_is_another_prediction_and_stands_on_the_command_line(qtbot, dock, folder):
    (folder / "a.tif").unlink()
    (folder / "b.tif").unlink()
    (folder / "c.tif").unlink()
    open_folder(qtbot, dock, add_stack(folder))
    predict(qtbot, dock)
    assert dock.counts.text() == "1 image: 1 predicted"
    dock.opener.read_as(dock.state.image.options.changed(plane="max", limits=(0, 250)))
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.plane == "max", timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "1 image: 1 to do"
    parsed = make_parser().parse_args(dock.results.command()[1:])
    assert reading_of(parsed) == ReadOptions(plane="max", limits=(0, 250))


def test_the_command_line_is_the_same_prediction(qtbot, dock, folder, tmp_path):
    ids = ids_beside(folder, "abc")
    open_folder(qtbot, dock, folder)
    dock.device.setCurrentText("cpu")
    dock.pixel_size.setValue(0.25)
    dock.advanced.set_values({"tile": 512, "overlap": 64, "nms": 0.4, "test_time_augmentation": "on"})
    dock.results.folder.setText(str(tmp_path / "my out"))
    dock.results.copy.click()
    program, *arguments = shlex.split(QApplication.clipboard().text())
    parsed = make_parser().parse_args(arguments)
    assert program == "napari-cellseg"
    assert (parsed.images, parsed.out, parsed.ids) == ([folder], tmp_path / "my out", ids)
    model = dock.chosen_model()
    assert prediction_options(parsed, parsed.min_score) == model.options
    assert parsed.pixel_size == model.pixel_size_um == 0.25


@pytest.mark.parametrize(
    "options",
    [
        PredictOptions(),
        PredictOptions(checkpoint=Path("my model.safetensors"), device="cuda:1", batch=4, precision="fp16", scale=1.5),
        PredictOptions(min_score=0.2, nms=0.7, overlap=0),
    ],
)
def test_every_option_has_its_place_on_the_command_line(options):
    _, *arguments = predict_command(options, Path("/images"), Path("/out"))
    parsed = make_parser().parse_args(arguments)
    assert prediction_options(parsed, parsed.min_score) == options
