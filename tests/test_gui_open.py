"""The dock *Open*: folders, images, saving and leaving."""

from __future__ import annotations

import pytest
import tifffile
from napari.components import ViewerModel
from open_dock_steps import finish, open_path, opening_dock, show, texts, training_folder
from qtpy.QtWidgets import QFileDialog

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ExportError
from napari_cellseg.formats.coco import CocoDataset, write_dataset
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.gui import docks
from napari_cellseg.gui.opening import leaving, opening
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.questions import Answer
from napari_cellseg.images.formats import FORMATS
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions, recoverable

dock = pytest.fixture(opening_dock)
folder = pytest.fixture(training_folder)


def test_before_anything_is_open_there_is_a_welcome_and_no_empty_list(dock):
    assert dock.welcome.isVisibleTo(dock)
    assert not dock.images.isVisibleTo(dock)
    assert not dock.classes.isVisibleTo(dock)


def test_a_folder_shows_its_images_classes_and_the_first_image_with_its_cells(qtbot, dock, viewer, folder, plugin):
    open_path(qtbot, dock, folder)
    plugin.layers.finish()

    assert [row[0] for row in texts(dock)] == ["tissue_01", "tissue_02", "tissue_03"]
    assert texts(dock)[0][1:] == [str(dock.state.session.count()), "given"]
    qtbot.waitUntil(lambda: all(row[2] == "given" for row in texts(dock)), timeout=60_000)
    assert all(int(row[1]) > 0 for row in texts(dock)), "those that were never opened are counted too"
    before = texts(dock)[1]
    show(qtbot, dock, "tissue_02")
    show(qtbot, dock, "tissue_01")
    assert texts(dock)[1] == before, "opened or not"
    assert dock.state.classes.names == TISSUE_CLASSES.names
    assert [layer.name for layer in viewer.layers] == ["tissue_01", *TISSUE_CLASSES.names]
    assert not dock.welcome.isVisibleTo(dock)
    assert dock.images_title.text() == "<b>Images</b> (3)"


def test_next_and_previous_go_through_the_list_and_say_why_not_at_its_ends(qtbot, dock, viewer, folder):
    open_path(qtbot, dock, folder)
    assert dock.back.toolTip() == "This is the first image."
    assert not dock.back.isEnabled()

    dock.forward.click()
    finish(qtbot, dock)
    assert dock.state.image_id == "tissue_02"
    assert [layer.name for layer in viewer.layers if layer._type_string == "image"] == ["tissue_02"]
    dock.forward.click()
    finish(qtbot, dock)
    assert dock.forward.toolTip() == "This is the last image."
    dock.back.click()
    finish(qtbot, dock)
    assert dock.state.image_id == "tissue_02"


def test_many_quick_steps_end_at_the_last_wish(qtbot, dock, folder):
    open_path(qtbot, dock, folder)
    dock.opener.step(1)
    dock.opener.step(1)
    finish(qtbot, dock)
    qtbot.waitUntil(lambda: not dock.state.loading, timeout=60_000)
    assert dock.state.image_id == "tissue_03"


def test_an_edited_image_is_saved_when_it_is_left(qtbot, dock, folder):
    open_path(qtbot, dock, folder)
    cell_id = min(dock.state.session.cells)
    dock.state.session.reject([cell_id])

    show(qtbot, dock, "tissue_02")

    assert dock.state.image_id == "tissue_02"
    show(qtbot, dock, "tissue_01")
    assert dock.state.session.cells[cell_id].status is Status.REJECTED


@pytest.mark.parametrize("answer", Answer)
def test_an_image_that_cannot_be_saved_is_only_left_after_an_answer(qtbot, dock, folder, monkeypatch, answer, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    asked = []
    monkeypatch.setattr(leaving, "ask_about_unsaved", lambda _, *what: asked.append(what) or answer)
    open_path(qtbot, dock, folder)
    cell_id = min(dock.state.session.cells)
    dock.state.session.reject([cell_id])
    with monkeypatch.context() as full:
        full.setattr(Sessions, "save", lambda *_: (_ for _ in ()).throw(ExportError("No space left on device.")))
        show(qtbot, dock, "tissue_02")

    assert asked == [("1 edit of tissue_01", "No space left on device.")]
    assert dock.state.image_id == ("tissue_01" if answer is Answer.CANCEL else "tissue_02")
    if answer is Answer.CANCEL:
        assert dock.state.session.cells[cell_id].status is Status.REJECTED
        return
    offered = []
    monkeypatch.setattr(opening, "ask_about_recovery", lambda _, edits: offered.append(edits) or Answer.SAVE)
    show(qtbot, dock, "tissue_01")
    assert len(offered) == (answer is Answer.SAVE)
    kept = dock.state.session.cells[cell_id].status
    assert kept is (Status.REJECTED if answer is Answer.SAVE else Status.GIVEN)


def test_proposals_that_nobody_touched_are_saved(qtbot, dock, tmp_path):
    rgb, truth = generate_tissue((96, 96), 8)
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", rgb, photometric="rgb")
    open_path(qtbot, dock, tmp_path)
    dock.state.set_classes(TISSUE_CLASSES)
    dock.state.session.load_proposals(truth)

    show(qtbot, dock, "b")

    assert texts(dock)[0] == ["a", str(len(truth)), "predicted"]
    show(qtbot, dock, "a")
    assert dock.state.session.count() == len(truth)


@pytest.mark.parametrize("answer", [Answer.SAVE, Answer.DISCARD, Answer.CANCEL])
def test_edits_of_a_viewer_that_was_killed_are_offered(qtbot, dock, folder, monkeypatch, answer):
    asked = []
    monkeypatch.setattr(opening, "ask_about_recovery", lambda _, recovery: asked.append(recovery) or answer)
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("tissue_01", (96, 96))
        cell_id = min(session.cells)
        session.reject([cell_id])

    open_path(qtbot, dock, folder)

    assert asked[0].edits == 1
    if answer is Answer.CANCEL:
        assert dock.state.workspace is None, "nothing was opened"
    else:
        expected = Status.REJECTED if answer is Answer.SAVE else Status.GIVEN
        assert dock.state.session.cells[cell_id].status is expected


def test_closing_the_viewer_saves(qtbot, dock, folder, plugin):
    open_path(qtbot, dock, folder)
    cell_id = min(dock.state.session.cells)
    dock.state.session.reject([cell_id])

    plugin.close()

    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "tissue_01") is None
        assert workspace.open_session("tissue_01", (96, 96)).cells[cell_id].status is Status.REJECTED


def test_a_coco_data_set_proposes_its_cells(qtbot, dock, tmp_path):
    rgb, truth = generate_tissue((96, 96), 8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    write_dataset(tmp_path / "data.json", CocoDataset((ImageId("a.tif", 1, 96, 96),), TISSUE_CLASSES, {1: truth}))

    open_path(qtbot, dock, tmp_path / "data.json")

    assert dock.state.classes.names == TISSUE_CLASSES.names
    assert dock.state.session.count() == len(truth)
    assert {cell.status for cell in dock.state.session.cells.values()} == {Status.PROPOSED}


def test_a_folder_that_another_viewer_has_open_says_so_and_can_be_taken_over(qtbot, dock, folder):
    other = ViewerModel()
    theirs = docks.Open(other)
    qtbot.addWidget(theirs)
    open_path(qtbot, theirs, folder)

    open_path(qtbot, dock, folder)
    assert "read-only: Open in another window" in dock.saved.text()
    assert not dock.classes.isEnabled()
    assert dock.state.session is not None
    dock.take_over.click()
    finish(qtbot, dock)

    assert not dock.state.workspace.read_only
    assert dock.saved.text() == "saved"
    assert not dock.take_over.isVisibleTo(dock)
    plugin_of(other).close()


def test_the_sample_opens_with_one_click_and_is_remembered(qtbot, dock, another_viewer, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    dock.welcome.sample.click()
    finish(qtbot, dock)
    assert [row[0] for row in texts(dock)] == ["colon_ihc", "drawn_tissue"]
    assert dock.state.image.size == (512, 512)

    again = docks.Open(another_viewer)
    qtbot.addWidget(again)
    assert again.welcome.last.isVisibleTo(again)
    assert "samples" in again.welcome.last.toolTip()


# ---- the class table ----


def test_a_large_image_is_shown_in_two_turns_and_none_is_lost(qtbot, dock, tmp_path):
    for i in range(2):
        rgb, _ = generate_tissue((1800, 1800), 3, i)
        tifffile.imwrite(tmp_path / f"{i}.tif", rgb, photometric="rgb")
    open_path(qtbot, dock, tmp_path)
    dock.opener.show("1")  # before the first one is on the canvas
    qtbot.waitUntil(lambda: dock.state.image_id == "1", timeout=60_000)
    assert dock.state.workspace.is_open("1")
    assert not dock.state.workspace.is_open("0")


@pytest.mark.usefixtures("qapp")
def test_a_viewer_has_one_plugin(viewer, plugin, another_viewer):
    first, second = viewer, another_viewer
    assert plugin_of(first) is plugin
    assert plugin_of(first) is plugin_of(first)
    assert plugin_of(first) is not plugin_of(second)
    assert plugin_of(first).state.classes == ClassTable.numbered(1)


def test_the_file_dialog_offers_every_image_format_that_can_be_read(dock, monkeypatch):
    asked = []
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: asked.append(arguments[-1]) or ("", ""))
    dock.file_button.click()
    wanted = {f"*{suffix}" for kind in FORMATS if not (kind.is_folder or kind.problem) for suffix in kind.suffixes}
    assert wanted | {"*.json"} == set(asked[0].split("(")[1].split(")")[0].split())
    assert {"*.tf8", "*.j2k"} < wanted
