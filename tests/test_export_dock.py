"""The dock *Export*: choices, states, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from napari_cellseg.export import EXPORTER_NAMES, Which
from napari_cellseg.formats.coco_images import ImageId, write_image_ids
from napari_cellseg.gui import docks
from napari_cellseg.gui.exporting.dock import ExportDock
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.images.samples import write_training_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_training_folder(tmp_path, 2, (96, 96))
    return tmp_path / "train"


@pytest.fixture
def dock(open_dock: Any) -> Any:
    return open_dock(docks.Export)


def open_folder(qtbot: Any, dock: ExportDock, folder: Path) -> None:
    opener = plugin_of(dock.state.viewer).opener
    opener.open_path(folder)
    qtbot.waitUntil(lambda: not opener.job.is_busy and dock.state.session is not None, timeout=60_000)


def export(qtbot: Any, dock: ExportDock) -> None:
    assert dock.export_button.isEnabled(), dock.export_button.toolTip()
    dock.export_button.click()
    qtbot.waitUntil(lambda: not dock.job.is_busy, timeout=60_000)


def test_the_button_says_what_is_missing(qtbot, dock, folder):
    assert not dock.export_button.isEnabled()
    assert dock.export_button.toolTip() == "Open a folder of images first."
    open_folder(qtbot, dock, folder)
    assert dock.export_button.isEnabled()
    assert dock.folder.text() == str(folder.parent / "train-export")
    dock.choose(frozenset(), Which.ALL, folder.parent / "out")
    assert dock.export_button.toolTip() == "Tick what to export first."
    dock.choose(frozenset({"coco"}), Which.ALL, Path())
    dock.folder.setText(" ")
    assert dock.export_button.toolTip() == "Choose a folder first."
    assert not dock.ids_button.isEnabled()
    assert dock.polygons.isEnabled()


def test_all_formats_of_all_images_are_written_and_summed_up(qtbot, dock, folder, tmp_path):
    open_folder(qtbot, dock, folder)
    out = tmp_path / "out"
    dock.choose(frozenset(EXPORTER_NAMES), Which.ALL, out)
    export(qtbot, dock)
    names = {path.relative_to(out).parts[0] for path in out.rglob("*") if path.is_file()}
    assert {"test-results.json", "test-results.zip", "coco.json", "measurements.csv"} <= names
    assert {"training", "geojson", "rois", "overlays"} <= names
    cells = len(json.loads((out / "test-results.json").read_text()))
    assert cells == len(json.loads((out / "coco.json").read_text())["annotations"]) > 0
    assert "2 images" in dock.row.message.text()
    assert dock.open_button.isVisibleTo(dock)


def test_an_export_of_nothing_is_a_warning_with_the_way_out(qtbot, dock, folder, tmp_path):
    for path in folder.glob("*/class*.tif"):
        path.unlink()
    open_folder(qtbot, dock, folder)
    dock.choose(frozenset({"coco"}), Which.ALL, tmp_path / "out")
    export(qtbot, dock)
    assert dock.problems.isVisibleTo(dock)
    assert "Nothing was exported: 2 images without annotations." in dock.problems.text()
    assert "run Batch" in dock.problems.text()


def test_one_image_as_it_is_on_the_canvas_saved_or_not(qtbot, dock, folder, tmp_path):
    open_folder(qtbot, dock, folder)
    session = dock.state.session
    session.reject([min(session.cells)])
    dock.choose(frozenset({"results"}), Which.ONE, tmp_path / "one")
    export(qtbot, dock)
    assert len(json.loads((tmp_path / "one" / "test-results.json").read_text())) == len(session.cells) - 1


def test_image_ids_come_from_the_file_and_a_missing_one_is_a_problem(qtbot, dock, folder, tmp_path):
    open_folder(qtbot, dock, folder)
    ids = tmp_path / "test_image_name_to_ids.json"
    write_image_ids(ids, [ImageId("tissue_01.tif", 17, 96, 96)])
    dock.choose(frozenset({"results"}), Which.ALL, tmp_path / "out")
    dock.set_ids(ids)
    export(qtbot, dock)
    shown = dock.problems.text() + dock.row.message.text()
    assert "tissue_02" in shown, "the image without an id is named"
    dock.set_ids(None)
    dock.choose(frozenset({"results"}), Which.ONE, tmp_path / "out")
    dock.set_ids(ids)
    export(qtbot, dock)
    assert {row["image_id"] for row in json.loads((tmp_path / "out" / "test-results.json").read_text())} == {17}


def test_a_folder_that_cannot_be_written_is_one_line_and_the_button_works_again(qtbot, dock, folder, tmp_path):
    open_folder(qtbot, dock, folder)
    (tmp_path / "taken").write_text("a file, not a folder")
    dock.choose(frozenset({"coco"}), Which.ALL, tmp_path / "taken")
    export(qtbot, dock)
    assert "taken" in dock.row.message.text()
    assert dock.export_button.isEnabled()
    dock.choose(frozenset({"coco"}), Which.ALL, tmp_path / "free")
    export(qtbot, dock)
    assert (tmp_path / "free" / "coco.json").is_file()


def test_the_formats_chosen_are_remembered(qtbot, dock, folder, tmp_path, open_dock):
    open_folder(qtbot, dock, folder)
    dock.choose(frozenset({"geojson", "rois"}), Which.ALL, tmp_path / "out")
    export(qtbot, dock)
    again = open_dock(docks.Export)
    assert again.formats == {"geojson", "rois"}


def test_an_id_file_of_the_folder_is_found_and_its_match_shown(qtbot, dock, folder):
    write_image_ids(folder / "test_image_name_to_ids.json", [ImageId(f"tissue_0{n}.tif", n, 96, 96) for n in (1, 9)])
    open_folder(qtbot, dock, folder)
    assert dock.ids_preview.text().splitlines() == [
        "1 of 2 images in the id file",
        "Not in this folder, so without a row: tissue_09",
        "Not in the id file, so left out: tissue_02",
    ]
    assert dock.ids_preview.isVisibleTo(dock)
    dock.choose(frozenset({"coco"}), Which.ALL, folder.parent / "out")
    assert not dock.ids_preview.isVisibleTo(dock)
    assert not dock.ids_button.isVisibleTo(dock)
    assert dock.polygons.isVisibleTo(dock)


def test_the_report_is_one_page_about_the_chosen_images(qtbot, dock, folder):
    assert dock.report.button.toolTip() == "Open a folder of images first."
    open_folder(qtbot, dock, folder)
    dock.choose(frozenset(), Which.ALL, folder.parent / "out")
    assert dock.report.button.isEnabled()
    dock.report.button.click()
    assert not dock.report.button.isEnabled()
    qtbot.waitUntil(lambda: not dock.report.job.is_busy, timeout=60_000)
    page = (folder.parent / "out/report.html").read_text(encoding="utf-8")
    assert "tissue_01: " in page
    assert "tissue_02: " in page
    assert dock.report.row.message.text().startswith("2 images, ")
    assert not dock.report.open_button.isHidden()
    dock.choose(frozenset(), Which.ONE, folder.parent / "one")
    dock.report.button.click()
    qtbot.waitUntil(lambda: not dock.report.job.is_busy, timeout=60_000)
    assert dock.report.row.message.text().startswith("1 image, ")


def test_a_report_without_cells_says_what_to_do(qtbot, dock, folder):
    open_folder(qtbot, dock, folder)
    for path in folder.rglob("class*.tif"):
        path.unlink()
    dock._which[Which.REVIEWED].setChecked(True)
    dock.folder.setText(str(folder.parent / "out"))
    dock.report._items = lambda: ()
    dock.report.button.click()
    qtbot.waitUntil(lambda: not dock.report.job.is_busy, timeout=60_000)
    assert "There is nothing to report" in dock.report.row.message.text()
    assert dock.report.open_button.isHidden()
