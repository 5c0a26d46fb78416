"""The dock *Models*: its list, and its actions on a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model_cases import TINY
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui import docks
from napari_cellseg.gui.models.dock import ModelsDock
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model

LONG = "a class whose name is forty letters long"
PROVENANCE = {
    "data": "gut <1>",
    "data_sha256": "0f" * 32,
    "seed": 7,
    "train_cells": 1234,
    "versions": {"torch": "2.14"},
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    config = ModelConfig.preset("lite", ClassTable(("round", LONG))).with_changes(**TINY)
    metrics = {"ap50": 0.5, "ap50/round": 0.61, f"ap50/{LONG}": 0.39, "pq": 0.4}
    metadata = CheckpointMetadata(name="gut", metrics=metrics, thresholds=(0.3, 0.7), provenance=PROVENANCE)
    save_checkpoint(path, build_model(config), metadata)
    return path


@pytest.fixture
def viewer(viewer, monkeypatch, tmp_path):
    monkeypatch.setenv("CELLSEG_MODELS", str(tmp_path / "models"))
    return viewer


@pytest.fixture
def dock(open_dock) -> ModelsDock:
    return open_dock(docks.Models)


@pytest.fixture
def own(qtbot, dock, model_file):
    """A model of one's own, chosen in the table."""
    import_file(qtbot, dock, model_file)
    return dock.table.entry


def import_file(qtbot, dock, path):
    dock.import_file(path)
    qtbot.waitUntil(lambda: not dock.job.is_busy, timeout=60_000)


def names(dock):
    model = dock.table.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def choose(dock, name):
    dock.table.selectRow(names(dock).index(name))


def test_the_bundled_model_is_there_and_cannot_be_renamed_or_deleted(dock):
    choose(dock, "lite-consep")
    assert not dock.remove.isEnabled()
    assert dock.rename.toolTip() == "Bundled with the program. Export a copy."
    assert not dock.table.currentIndex().flags() & Qt.ItemFlag.ItemIsEditable
    assert dock.save.isEnabled()


def test_an_imported_model_is_listed_by_the_name_of_its_run_and_chosen(dock, own):
    assert names(dock) == ["gut", "lite-consep", "nuclei"]
    assert own.name == "gut"
    row = [dock.table.model().index(0, column).data() for column in range(9)]
    assert row[:5] == ["gut", "imported", "0.500", "0.400", "-"]
    assert row[8] == "gut <1>"
    assert dock.row.message.text() == "gut was added to the library."


@pytest.mark.usefixtures("own")
def test_the_details_come_from_the_file_itself(dock):
    text = dock.details.toPlainText().replace("\u200b", "")
    for part in (
        LONG,
        "0.610",
        "0.390",
        "0.700",
        "gut <1>",
        "0f" * 32,
        "Seed",
        "1,234",
        "torch 2.14",
        "test_efficientnet",
    ):
        assert part in text
    dock.copy.click()
    assert json.loads(QApplication.clipboard().text())["provenance"] == PROVENANCE


def test_a_foreign_file_is_refused_in_words(qtbot, dock, tmp_path, model_file):
    foreign, cut = tmp_path / "model.safetensors", tmp_path / "cut.safetensors"
    foreign.write_bytes(b"\x80\x04pickled")
    cut.write_bytes(model_file.read_bytes()[:-10])
    for path, words in ((foreign, "pickled file"), (cut, "SHA-256 does not match")):
        import_file(qtbot, dock, path)
        assert words in dock.row.message.text()
    assert names(dock) == ["lite-consep", "nuclei"]


def test_the_name_is_edited_in_the_table(qtbot, dock, own):
    dock.show()
    dock.rename.click()
    field = dock.table.findChild(QLineEdit)
    field.setText("Kröte 細胞")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "gut" not in names(dock), timeout=60_000)
    assert names(dock) == ["Kröte 細胞", "lite-consep", "nuclei"]
    assert dock.table.entry.path.exists()
    assert not own.path.exists()


@pytest.mark.usefixtures("own")
def test_a_name_that_is_taken_or_no_name_is_refused(qtbot, dock, model_file):
    import_file(qtbot, dock, model_file)  # another "gut", with the date
    other = next(name for name in names(dock) if name.startswith("gut "))
    choose(dock, other)
    for name, words in (("gut", "already"), ("a/b", "cannot be a model's name")):
        dock.table.renamed.emit(dock.table.entry, name)
        assert words in dock.row.message.text()
    assert other in names(dock)


def test_deleting_asks_and_takes_only_the_file_in_the_library(dock, own, model_file):
    dock.remove.click()
    assert dock.confirmation.isVisibleTo(dock)
    dock.confirmation.no.click()
    assert own.path.exists()
    dock.remove.click()
    dock.confirmation.yes.click()
    assert names(dock) == ["lite-consep", "nuclei"]
    assert not own.path.exists()
    assert model_file.exists()


@pytest.mark.usefixtures("own")
def test_choosing_another_model_takes_the_question_back(dock):
    dock.remove.click()
    choose(dock, "lite-consep")
    assert not dock.confirmation.isVisibleTo(dock)


def test_a_model_is_exported(qtbot, dock, own, tmp_path):
    dock.export_file(own, tmp_path / "copy.safetensors")
    qtbot.waitUntil(lambda: not dock.job.is_busy, timeout=60_000)
    assert (tmp_path / "copy.safetensors").read_bytes() == own.path.read_bytes()


def test_segment_uses_it_follows_its_name_and_does_without_it_when_it_is_deleted(dock, own, open_dock):
    segment = open_dock(docks.Segment)
    dock.use.click()
    assert segment.model.path == own.path
    assert dock.state.min_scores == {1: 0.3, 2: 0.7}
    assert dock.use.toolTip() == "Segment already uses this model."

    dock.table.renamed.emit(own, "mine")
    assert segment.model.path == dock.table.entry.path == own.path.with_name("mine.safetensors")
    assert segment.model.currentText() == "mine (imported)"

    dock.remove.click()
    dock.confirmation.yes.click()
    assert segment.model.path.stem == "lite-consep"
    assert dock.state.model == segment.model.path


def test_a_damaged_file_is_listed_with_its_problem(dock, own):
    (own.path.parent / "cut.safetensors").write_bytes(own.path.read_bytes()[:500])
    dock.refresh()
    choose(dock, "cut")
    assert "damaged" in dock.details.toPlainText()
    assert not dock.use.isEnabled()
    assert dock.remove.isEnabled()


def test_any_column_sorts_and_names_as_people_count(qtbot, dock, model_file):
    for name in ("run 10", "run 2"):
        dock.library.import_file(model_file, name)
    dock.refresh()
    assert names(dock) == ["lite-consep", "nuclei", "run 2", "run 10"]
    dock.table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert names(dock)[-1] == "lite-consep"  # AP50 0.36 against 0.5
    dock.table.setFocus()
    dock.table.selectRow(0)
    qtbot.keyClick(dock.table, Qt.Key.Key_Down)
    assert dock.table.currentIndex().row() == 1
    assert dock.table.entry.name == names(dock)[1]


def test_train_starts_from_it_under_its_new_name_and_from_the_bundled_one_when_it_is_deleted(dock, own, open_dock):
    train = open_dock(docks.Train)
    start = train.form.start
    start.choose(str(own.path))
    dock.table.renamed.emit(own, "mine")
    assert start.currentText() == "mine (imported)"
    assert start.path.stem == "mine"
    assert start.path.exists()

    dock.remove.click()
    dock.confirmation.yes.click()
    assert start.value == "bundled"
    assert "mine" not in [start.itemText(row) for row in range(start.count())]
