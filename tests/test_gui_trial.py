"""After *Train 5 min*: the new model next to the former one on this image, kept or dropped with one key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_window import Window, disk, pump, wait_until
from train_window import AnsweringEngine, open_folder, square, tissue_folder

from napari_cellseg.engine_process.tasks import Compare, Predict
from napari_cellseg.events import ImageDone, PredictSummary, TileDone
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.train.before_after import GAINED, LOST, compared, figures_text
from napari_cellseg.gui.widgets.workflow import front_dock
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.review import Status
from training.comparison import ClassComparison, Comparison, ImageComparison, ModelScores
from training.split import Split

pytestmark = pytest.mark.gui

SIZE = (96, 96)
CELLS = InstanceMasks.from_crops(
    SIZE, [[10, 10], [40, 10], [70, 10], [10, 60]], [disk(16)] * 4, [1, 2, 3, 1], [0.9] * 4
)
OLD, NEW = CELLS.select([0, 1]), CELLS.select([0, 2, 3])

FIGURES = (
    "On 5 validation images with 12 cells: AP50 0.41 before, 0.47 after; PQ 0.38 before, 0.44 after; "
    "7 gained, 2 lost. 12 cells are too few to rely on."
)


def scores(ap50: float, pq: float) -> ModelScores:
    return ModelScores(ap50=ap50, pq=pq, f1=0.5, matched=3, missed=1, false=0)


def comparison() -> Comparison:
    old, new = scores(0.41, 0.38), scores(0.47, 0.44)
    row = ClassComparison(class_id=1, name="other", cells=12, old=old, new=new, gained=7, lost=2)
    nothing = np.zeros(0, np.intp)
    image = ImageComparison(
        image_id="a", truth=CELLS, old=OLD, new=NEW, gained=nothing, lost=nothing, old_false=nothing, new_false=nothing
    )
    return Comparison(
        old_name="lite", new_name="run", classes=(row,), old=old, new=new, images=(image,) * 5, seconds=1.0
    )


class TrialEngine(AnsweringEngine):
    """Trains a copy of the bundled model, predicts two cells before and three after, and compares."""

    def __call__(self, task: Any) -> Iterator[Any]:
        if isinstance(task, Predict):
            return self._predict(task)
        if isinstance(task, Compare):
            return self._compare(task)
        return super().__call__(task)

    def _train(self, run_folder: Path) -> Iterator[Any]:
        result = yield from super()._train(run_folder)
        shutil.copy(bundled(), run_folder / "best.safetensors")
        Split(train=("a",), validation=("b",), seed=0, fraction=0.2).save(run_folder / "split.json")
        return result

    def _predict(self, task: Predict) -> Iterator[Any]:
        self.tasks.append(task)
        is_new = task.options.checkpoint is not None and task.options.checkpoint.name == "best.safetensors"
        yield TileDone(image=1, images=1, tile=1, tiles=1, cells=2)
        yield ImageDone(image=1, images=1, image_id="a", instances=NEW if is_new else OLD, seconds=0.1)
        return PredictSummary(1, 0, 2, 0.1)

    def _compare(self, task: Compare) -> Iterator[Any]:
        self.tasks.append(task)
        yield None
        return comparison()


@pytest.fixture
def review(qtbot: Any, window: Window, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return *Review* once a training of five minutes ended and its model waits; one cell is decided, one proposed."""
    monkeypatch.setenv("CELLSEG_MODELS", str(tmp_path / "models"))
    training = plugin_of(window.viewer).training
    training.engine.run = TrialEngine()
    dock = window.dock("Review")
    workspace = open_folder(window.state, tissue_folder(tmp_path / "tissue"))
    window.layers.finish()
    session = window.state.session
    session.restore([], "an empty image")
    session.load_proposals(OLD, "lite")
    session.add(1, (2, 80, 8, 86), square())
    qtbot.waitUntil(lambda: not training.is_busy and dock.buttons["train"].isEnabled(), timeout=60_000)
    QTest.mouseClick(dock.buttons["train"], Qt.LeftButton)
    wait_until(lambda: "after" in dock.trial.text.text() and not training.is_busy, 60)
    pump(0.3)
    yield dock
    wait_until(lambda: not training.is_busy)
    window.state.set_trial("")
    window.state.set_current(None, None, None)
    workspace.close()
    del training.engine.run


def press(window: Window, key: Any, modifier: Any = Qt.NoModifier) -> None:
    QTest.keyClick(window.canvas, key, modifier)
    pump(0.1)


def test_it_shows_both_answers_and_keep_uses_the_new_one_with_one_undo(window: Window, review: Any) -> None:
    state, session = window.state, window.state.session
    assert review.trial.isVisible()
    assert front_dock(state.window).windowTitle().endswith("Review")
    assert review.trial.text.text().splitlines() == [
        "Keep or drop the new model?",
        "On this image: 2 cells before (left), 3 after (right); 2 gained (green), 1 lost (orange).",
        FIGURES,
    ]
    (picture,) = [layer for layer in window.viewer.layers if layer.name == "before and after: 2 gained, 1 lost"]
    assert picture.data.shape[1] > 2 * SIZE[1]
    if folder := os.environ.get("CELLSEG_SHOTS"):
        window.viewer.window._qt_window.grab().save(f"{folder}/trial.png")
    before = state.model
    press(window, Qt.Key_Y)
    wait_until(lambda: state.model != before)
    pump(0.1)
    assert state.model in [entry.path for entry in ModelLibrary().entries() if entry.origin == "run"]
    statuses = [cell.status for cell in session.cells.values()]
    assert (statuses.count(Status.PROPOSED), statuses.count(Status.EDITED)) == (3, 1)
    assert not review.trial.isVisible()
    assert not picture.visible
    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert [cell.by for cell in session.cells.values() if cell.status is Status.PROPOSED] == ["lite"] * 2
    state.set_model(before)


def test_drop_leaves_the_former_model_the_cells_and_the_files(window: Window, review: Any) -> None:
    state, cells = window.state, dict(window.state.session.cells)
    before, best = state.model, plugin_of(window.viewer).training.best
    press(window, Qt.Key_D)
    assert state.model == before
    assert window.state.session.cells == cells
    assert not review.trial.isVisible()
    assert not [x for x in window.viewer.layers if x.visible and x.name.startswith("before and after")]
    assert best is not None
    assert best.is_file()
    assert not [entry for entry in ModelLibrary().entries() if entry.origin == "run"]


def test_without_a_new_model_the_keys_say_so_and_change_nothing(window: Window) -> None:
    window.open()
    before = window.state.model
    press(window, Qt.Key_Y)
    assert window.viewer.status == "No new model waits: Train 5 min makes one."
    assert window.state.model == before


def test_gained_and_lost_cells_are_outlined_in_their_colours_each_on_its_side() -> None:
    result = compared(np.full((*SIZE, 3), 100, np.uint8), OLD, NEW, ({}, {}))
    assert (result.before, result.after, result.gained, result.lost) == (2, 3, 2, 1)
    left, right = result.picture[:, : SIZE[1]], result.picture[:, -SIZE[1] :]
    for side, own, other in ((left, LOST, GAINED), (right, GAINED, LOST)):
        seen = {tuple(pixel) for pixel in side.reshape(-1, 3).tolist()}
        assert own in seen
        assert other not in seen
    assert compared(result.picture[:, : SIZE[1]], OLD, NEW, ({}, {1: 1.0, 3: 1.0})).after == 0


def test_figures_that_could_not_be_measured_are_unknown() -> None:
    compared_models = comparison()
    object.__setattr__(compared_models, "old", scores(float("nan"), 0.3))
    assert "AP50 unknown before, 0.47 after" in figures_text(compared_models)
