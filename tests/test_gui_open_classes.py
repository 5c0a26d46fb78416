"""The classes of a project in *Open*."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from open_dock_steps import open_path, opening_dock, training_folder

from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.model.checkpoint import read_header

dock = pytest.fixture(opening_dock)
folder = pytest.fixture(training_folder)


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
