"""Damaged images and files in *Open*, and files that another program changed."""

from __future__ import annotations

import pytest
import tifffile
from napari.utils.notifications import notification_manager
from open_dock_steps import errors_shown, finish, open_path, opening_dock, show, texts, training_folder
from qtpy.QtCore import Qt

from napari_cellseg.classes import ClassTable
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions

dock = pytest.fixture(opening_dock)
folder = pytest.fixture(training_folder)
errors = pytest.fixture(errors_shown)


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
