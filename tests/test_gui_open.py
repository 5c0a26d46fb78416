from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
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
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue, write_training_folder
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions, recoverable


@pytest.fixture
def dock(open_dock):
    return open_dock(docks.Open)


@pytest.fixture
def folder(tmp_path):
    write_training_folder(tmp_path, 3, (96, 96))
    return tmp_path / "train"


@pytest.fixture
def errors():
    notification_manager.records.clear()
    return lambda: [str(record.message) for record in notification_manager.records]


def finish(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.opener.job.is_busy, timeout=60_000)


def open_path(qtbot, dock, path):
    dock.opener.open_path(Path(path))
    finish(qtbot, dock)


def show(qtbot, dock, image_id):
    dock.opener.show(image_id)
    finish(qtbot, dock)


def texts(dock):
    model = dock.images.model()
    return [[model.index(row, column).data() for column in range(3)] for row in range(model.rowCount())]


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


def test_a_damaged_image_is_one_clear_error_and_the_others_open(qtbot, dock, folder, errors):
    (folder / "tissue_02" / "image.tif").write_text("not a picture")
    open_path(qtbot, dock, folder)
    show(qtbot, dock, "tissue_02")
    assert len(errors()) == 1
    assert "image.tif" in errors()[0]
    assert not dock.state.loading

    show(qtbot, dock, "tissue_03")
    assert dock.state.image_id == "tissue_03"


@pytest.mark.parametrize("damaged", ["annotations", "edits", "project"])
def test_damaged_files_of_a_project_are_told_until_the_image_is_saved(qtbot, dock, folder, errors, damaged):
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("tissue_01", (96, 96))
        workspace.set_classes(ClassTable(("a", "b")))
        session.reject([min(session.cells)])
        if damaged != "edits":
            workspace.save("tissue_01")
    (path,) = {
        "annotations": (folder / ".cellseg" / "annotations").glob("tissue_01.jsonl"),
        "edits": (folder / ".cellseg" / "journal").glob("tissue_01.jsonl"),
        "project": (folder / ".cellseg").glob("project.json"),
    }[damaged]
    lines = path.read_bytes().splitlines()
    lines[1 if damaged == "annotations" else 0] = b'{"nonsense": 1}'
    path.write_bytes(b"\n".join(lines) + b"\n")

    open_path(qtbot, dock, folder)

    (told,) = [text for text in errors() if "is damaged" in text]
    (kept,) = path.parent.glob("*.damaged-*.bak")
    assert path.name in told
    assert kept.name in told
    if damaged != "project":
        assert "damaged" in dock.saved.text()
        assert path.name in dock.saved.toolTip()
        dock.state.session.reject([max(dock.state.session.cells)])
        assert dock.saved.text().startswith("1 edit not saved yet; its file is damaged")
        assert dock.opener.save()
        qtbot.waitUntil(lambda: "damaged" not in dock.saved.text(), timeout=10_000)
    show(qtbot, dock, "tissue_02")
    assert "damaged" not in dock.saved.text()
    assert len([text for text in errors() if "is damaged" in text]) == 1


def test_a_folder_without_images_is_one_clear_error_and_the_open_one_stays(qtbot, dock, folder, tmp_path, errors):
    open_path(qtbot, dock, folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    open_path(qtbot, dock, empty)
    assert len(errors()) == 1
    assert "There is no image in" in errors()[0]
    assert dock.state.image_id == "tissue_01"
    assert dock.folder_button.isEnabled()


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


def test_a_renamed_class_reaches_the_layers_and_the_project(qtbot, dock, viewer, folder, plugin):
    open_path(qtbot, dock, folder)
    plugin.layers.finish()
    line = dock.classes.names[0]
    line.setText("mitosis: 有糸分裂")
    line.editingFinished.emit()

    assert dock.state.classes.names[0] == "mitosis: 有糸分裂"
    assert viewer.layers[1].name == "mitosis: 有糸分裂"
    project = json.loads((folder / ".cellseg" / "project.json").read_text())
    assert project["classes"]["names"][0] == "mitosis: 有糸分裂"


def test_a_name_twice_is_refused_in_words(qtbot, dock, folder):
    open_path(qtbot, dock, folder)
    line = dock.classes.names[0]
    line.setText(TISSUE_CLASSES.names[1])
    line.editingFinished.emit()
    assert "used twice" in dock.classes.problem.text()
    assert dock.state.classes.names == TISSUE_CLASSES.names


def test_class_files_changed_by_another_program_are_told_and_can_be_taken(qtbot, dock, folder, errors):
    open_path(qtbot, dock, folder)
    session = dock.state.session
    first = min(session.cells)
    session.reject([first])
    assert dock.opener.save()
    count = session.count(statuses=[Status.GIVEN])
    show(qtbot, dock, "tissue_02")
    path = folder / "tissue_01" / "class1.tif"
    tifffile.imwrite(path, tifffile.imread(path) * 0)
    show(qtbot, dock, "tissue_01")
    assert dock.state.session.count(statuses=[Status.GIVEN]) == count, "the annotations are what is shown"
    assert any("changed after its annotations" in text for text in errors())

    (_, begin_anew) = notification_manager.records[-1].actions[0]
    begin_anew()
    finish(qtbot, dock)

    assert dock.state.session.count(1) == 0
    assert dock.state.session.cells
    assert {cell.status for cell in dock.state.session.cells.values()} == {Status.GIVEN}


def test_a_large_image_is_shown_in_two_turns_and_none_is_lost(qtbot, dock, tmp_path):
    for i in range(2):
        rgb, _ = generate_tissue((1800, 1800), 3, i)
        tifffile.imwrite(tmp_path / f"{i}.tif", rgb, photometric="rgb")
    open_path(qtbot, dock, tmp_path)
    dock.opener.show("1")  # before the first one is on the canvas
    qtbot.waitUntil(lambda: dock.state.image_id == "1", timeout=60_000)
    assert dock.state.workspace.is_open("1")
    assert not dock.state.workspace.is_open("0")


def test_a_class_can_be_added_and_the_last_one_removed(qtbot, dock, viewer, folder, plugin):
    open_path(qtbot, dock, folder)
    plugin.layers.finish()
    dock.classes.add_button.click()
    plugin.layers.finish()
    assert dock.state.classes.names[-1] == "class5"
    assert viewer.layers[-1].name == "class5"

    dock.classes.remove_button.click()
    assert dock.state.classes.names == TISSUE_CLASSES.names
    assert [layer.name for layer in viewer.layers[1:]] == list(TISSUE_CLASSES.names)


def test_a_class_that_cells_have_or_could_have_again_by_undo_is_not_removed(qtbot, dock, folder):
    open_path(qtbot, dock, folder)
    dock.classes.add_button.click()
    dock.state.session.reclassify([min(dock.state.session.cells)], 5)
    dock.classes.refresh_buttons()
    assert "have the last class" in dock.classes.remove_button.toolTip()

    dock.state.session.undo()
    dock.classes.refresh_buttons()
    dock.classes.remove_button.click()
    assert "class 5" in dock.classes.problem.text()
    assert len(dock.state.classes) == 5


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


@pytest.fixture
def other_folder(tmp_path):
    write_training_folder(tmp_path / "other", 3, (80, 112))
    return tmp_path / "other" / "train"


def test_a_folder_whose_first_images_are_damaged_opens_at_the_first_readable_one(
    qtbot, dock, viewer, folder, other_folder, plugin, errors
):
    open_path(qtbot, dock, folder)
    plugin.layers.finish()
    for name in ("tissue_01", "tissue_02"):
        (other_folder / name / "image.tif").write_text("not a picture")
    open_path(qtbot, dock, other_folder)
    qtbot.waitUntil(lambda: dock.state.image_id == "tissue_03", timeout=60_000)
    plugin.layers.finish()

    assert [text for text in errors() if "tissue_01" in text] == errors()
    assert len(errors()) == 1
    assert [row[2] for row in texts(dock)] == ["unreadable", "unreadable", "given"]
    tip = dock.images.model().index(1, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert "image.tif" in tip
    assert [index.row() for index in dock.images.selectionModel().selectedRows()] == [2]
    assert viewer.layers[0].data.shape == (80, 112, 3)
    assert viewer.layers[0].visible
    assert dock._row.message.text() == ""  # the failure of the first image is not that of the folder


def test_a_folder_without_a_readable_image_leaves_nothing_of_the_folder_before(
    qtbot, dock, viewer, folder, other_folder, plugin, errors
):
    open_path(qtbot, dock, folder)
    plugin.layers.finish()
    before = dock.state.session
    cells = dict(before.cells)
    for path in other_folder.glob("*/image.tif"):
        path.write_text("not a picture")
    open_path(qtbot, dock, other_folder)
    qtbot.waitUntil(lambda: not dock.state.loading and len(errors()) == 2, timeout=60_000)

    assert "No image of this folder can be opened" in errors()[1]
    assert [row[2] for row in texts(dock)] == ["unreadable"] * 3
    assert dock.state.session is None
    assert "tissue_01" not in [layer.name for layer in viewer.layers]
    for layer in viewer.layers:
        assert not layer.visible
        assert not layer.data.any()
    assert not viewer.layers[0].thumbnail[..., :3].any()
    for layer in viewer.layers[1:]:
        assert not layer.editable
        layer.visible = True
        layer.paint((0, 0), 1)
    assert before.cells == cells

    open_path(qtbot, dock, folder)
    plugin.layers.finish()
    assert [layer.name for layer in viewer.layers] == ["tissue_01", *TISSUE_CLASSES.names]
    assert all(layer.visible and layer.editable for layer in viewer.layers)


def test_another_folder_brings_its_own_classes(qtbot, dock, tmp_path):
    labelled, plain = tmp_path / "labelled" / "a", tmp_path / "plain"
    white, cells = np.full((60, 60, 3), 200, np.uint8), np.zeros((60, 60), np.uint16)
    cells[10:30, 10:30] = 1
    for folder in (labelled, plain):
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "image.tif", white, photometric="rgb")
    tifffile.imwrite(labelled / "class1.tif", cells)
    open_path(qtbot, dock, labelled.parent)
    assert dock.state.classes.names == ("class1",)
    open_path(qtbot, dock, plain)
    expected = read_header(dock.state.model).classes.names if dock.state.model else ("class1",)
    assert dock.state.classes.names == expected, "those of the model, and not of the folder before"
    assert dock.state.session.classes.names == expected
    assert dock.state.classes_are_provisional
