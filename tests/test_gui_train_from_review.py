"""*Train 5 min* in Review: from a corrected cell to a run with a time limit, with real clicks."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from review_window import pump
from train_window import AnsweringEngine, open_folder, square, tissue_folder

from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.workflow import is_in_front
from training.sources import DataSource

pytestmark = pytest.mark.gui


@pytest.fixture
def engine(window):
    engine = AnsweringEngine()
    plugin_of(window.viewer).training.engine.run = engine
    return engine


def test_corrections_are_trained_on_for_five_minutes(qtbot, window, engine, tmp_path):
    training = plugin_of(window.viewer).training
    review = window.dock("Review")
    button = review.buttons["train"]
    review.refresh()
    assert (button.isEnabled(), button.toolTip()) == (False, "Open a folder of images first.")

    workspace = open_folder(window.state, tissue_folder(tmp_path / "tissue"))
    qtbot.waitUntil(lambda: not training.is_busy, timeout=60_000)
    review.refresh()
    assert button.toolTip() == "Nothing is reviewed yet. Accept or correct some cells first."

    window.state.session.add(1, (2, 2, 8, 8), square())
    qtbot.waitUntil(button.isEnabled, timeout=10_000)
    assert "at most 5 min, then the validation" in button.toolTip()
    engine.wait_s = 0.5  # until the button was seen
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    train = window.dock("Train")
    qtbot.waitUntil(lambda: bool(engine.trained), timeout=60_000)
    pump()
    assert is_in_front(train)
    qtbot.waitUntil(lambda: button.toolTip() == "Train is running. Wait for the end or stop it.", timeout=10_000)
    engine.wait_s = 0
    qtbot.waitUntil(lambda: not training.is_busy, timeout=60_000)
    (call,) = engine.trained
    assert "stopped" not in train.check_row.message.text()  # the check of other data is of no interest
    assert call.config.max_minutes == 5
    assert call.config.start_from == train.form.start.value
    assert train.source.choice.currentData() is DataSource.ANNOTATED
    assert call.data == workspace.project.state_folder / "training"

    train.button.click()  # the limit was for that run only
    qtbot.waitUntil(lambda: len(engine.trained) == 2 and not training.is_busy, timeout=60_000)
    assert engine.trained[1].config.max_minutes is None
    window.state.set_current(None, None, None)
    workspace.close()
