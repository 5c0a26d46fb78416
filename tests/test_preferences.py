"""Each value of Preferences > napari-cellseg changes what the program does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from napari import settings as napari_settings

from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.gui import autosave as autosave_module
from napari_cellseg.gui import docks
from napari_cellseg.gui.canvas.colours import ColourMode, palette
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import Preferences, preferences
from napari_cellseg.gui.thresholds import first_min_scores, keep_min_scores
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.device import choose_device

CLASSES = ClassTable(("round", "oval"))
HEADER = CheckpointHeader(name="m", config=ModelConfig.preset("lite", CLASSES), thresholds=(0.3, 0.6), sha256="ab" * 32)


@pytest.fixture(autouse=True)
def settings(tmp_path):
    """The settings as napari keeps them, in a file of their own."""
    napari_settings._clear_plugin_settings_cache()
    yield napari_settings.get_plugin_settings("napari-cellseg", path_dir=tmp_path)
    napari_settings._clear_plugin_settings_cache()


def test_what_is_set_in_napari_is_what_the_program_reads(settings):
    assert preferences() == Preferences()
    settings.general.device = "cpu"
    settings.cells.min_score_percent = 25
    settings.colours.palette = "Tol muted"
    assert preferences() == Preferences(device="cpu", min_score_percent=25, palette="Tol muted")


@pytest.mark.gui
@pytest.mark.parametrize("typed", [85, 90, 100])
def test_a_number_typed_key_by_key_in_the_dialog_is_the_one_that_counts(settings, qtbot, typed):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QAbstractSpinBox

    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    form = dialog._widget_builder(
        *dialog._get_page_dict("colours", type(settings).model_fields["colours"], settings), "colours", settings
    )
    qtbot.addWidget(form)
    form.show()
    field = form.findChild(QAbstractSpinBox)
    field.setFocus()
    field.selectAll()
    for key in str(typed):
        QTest.keyClicks(field, key)
    assert preferences().fill_opacity == typed / 100
    assert field.value() == typed


def test_the_device_is_the_one_that_segment_begins_with(settings, open_dock):
    settings.general.device = "cpu"
    dock = open_dock(docks.Segment)
    assert dock.device.currentText() == "cpu"
    assert dock.options().device == "cpu"


def test_the_reader_is_the_name_in_the_decisions(settings, qtbot, plugin, project_folder):
    settings.general.reader = " Dr. Ana "
    plugin.opener.open_path(project_folder)
    qtbot.waitUntil(lambda: plugin.state.session is not None and not plugin.opener.job.is_busy, timeout=60_000)
    session = plugin.state.session
    session.accept([1])
    assert session.cells[1].by == "Dr. Ana"
    assert plugin.opener.save()
    saved = plugin.state.workspace.project.read(plugin.state.image_id)
    assert {cell.by for cell in saved.cells if cell.reviewed} == {"Dr. Ana"}


def test_a_model_begins_with_its_own_scores_or_the_preferred_one_or_those_of_last_time(settings):
    assert first_min_scores(HEADER) == {1: 0.3, 2: 0.6}
    settings.cells.min_score_percent = 45
    assert first_min_scores(HEADER) == {1: 0.45, 2: 0.45}
    keep_min_scores(HEADER, {1: 0.1, 2: 0.9})
    assert first_min_scores(HEADER) == {1: 0.1, 2: 0.9}
    other = HEADER.model_copy(update={"sha256": "cd" * 32})
    assert first_min_scores(other) == {1: 0.45, 2: 0.45}


def test_scores_of_other_classes_are_not_kept_for_a_model():
    keep_min_scores(HEADER, {1: 0.1, 2: 0.9, 3: 0.5})
    assert first_min_scores(HEADER) == {1: 0.3, 2: 0.6}


def test_autosave_follows_the_preferences_and_saves(settings, monkeypatch, plugin):
    saved = []
    monkeypatch.setattr(Opener, "save", lambda self: saved.append(self) or True)
    autosave = plugin.autosave
    assert not autosave.timer.isActive()
    settings.cells.autosave_min = 2
    assert autosave.timer.isActive()
    assert autosave.timer.interval() == 120_000
    autosave.timer.timeout.emit()
    assert len(saved) == 1
    settings.cells.autosave_min = 0
    assert not autosave.timer.isActive()


def test_autosave_gives_up_when_saving_fails(settings, monkeypatch, plugin):
    monkeypatch.setattr(autosave_module.Opener, "save", lambda _: False)
    settings.cells.autosave_min = 1
    autosave = plugin.autosave
    autosave.timer.timeout.emit()
    assert not autosave.timer.isActive()


def test_classes_that_nobody_coloured_get_the_palette(settings, plugin):
    state = plugin.state
    settings.colours.palette = "Tol bright"
    state.set_classes(CLASSES, provisional=True)
    assert state.classes.colours == ("#4477aa", "#ee6677")
    mine = ClassTable(CLASSES.names, ("#123456", "#654321"))
    state.set_classes(mine, provisional=True)
    assert state.classes == mine


def test_the_fill_of_cells():
    assert palette(ColourMode.CLASS, "#ff0000")[1, 3] == np.float32(0.4)
    assert palette(ColourMode.CLASS, "#ff0000", 0.1)[1, 3] == np.float32(0.1)


def test_the_graphics_memory_reaches_the_next_engine(settings, monkeypatch, plugin):
    monkeypatch.delenv("CELLSEG_VRAM_MIB", raising=False)
    seen = []
    engine = Engine(plugin.state)
    monkeypatch.setattr(engine._user, "run", lambda _task, _arguments, variables: seen.append(variables))
    settings.general.vram_budget_mib = 2048
    engine.run(Predict([], PredictOptions(checkpoint=Path("m.safetensors"))))
    settings.general.vram_budget_mib = 0
    engine.run(Predict([], PredictOptions(checkpoint=Path("m.safetensors"))))
    assert seen == [{"CELLSEG_VRAM_MIB": "2048"}, {"CELLSEG_VRAM_MIB": ""}]


def test_a_graphics_card_is_taken_only_as_far_as_the_budget_goes(monkeypatch):
    limits = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *limit: limits.append(limit))
    monkeypatch.delenv("CELLSEG_VRAM_MIB", raising=False)
    assert choose_device("cuda:1").reason == "Card, 8 GiB, as asked"
    monkeypatch.setenv("CELLSEG_VRAM_MIB", "2048")
    assert choose_device("cuda:1").reason == "Card, 8 GiB, as asked, at most 2.0 GiB of it"
    assert choose_device("cpu").kind == "cpu"
    assert limits == [(0.25, 1)]


def test_where_napari_has_no_settings_of_plugins_the_defaults_count(monkeypatch):
    monkeypatch.setattr("napari.settings.get_plugin_settings", lambda _: {}["missing"])
    assert preferences() == replace(Preferences())
