"""The answer of a model next to the labels of an image: matched, false and missed cells."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_cellseg.events import drive
from napari_cellseg.gui.review.truth_picture import FALSE, MATCHED, MISSED, against_labels
from napari_cellseg.instances import InstanceMasks
from tests.review_window import SIZE, Window, make_session, pump
from tests.test_gui_given import given_session
from training.evaluate import evaluate

pytestmark = pytest.mark.gui


def answer() -> InstanceMasks:
    """All labels but #1 are predicted; #2 is of another class, and the score of #3 is low."""
    cells = given_session().instances()
    class_ids, scores = cells.class_ids.copy(), np.full(len(cells), 0.9, np.float32)
    class_ids[1], scores[2] = 4, 0.1
    return replace(cells, class_ids=class_ids, scores=scores).select(np.arange(len(cells)) > 0)


def truth_layers(window: Window) -> list[Any]:
    return [layer for layer in window.viewer.layers if layer.visible and layer.name.startswith("model against")]


def wait(window: Window, is_so: Any) -> None:
    for _ in range(200):
        pump(0.02)
        if is_so():
            return
    raise AssertionError(window.review.truth.why_not)


def test_cells_are_matched_and_counted_as_in_evaluation() -> None:
    labels, found = given_session().instances(), answer()
    picture = drive(against_labels(np.zeros((*SIZE, 3), np.uint8), labels, found))
    assert (picture.matched, picture.false, picture.missed) == (18, 1, 2)
    classes = given_session().classes
    measured = evaluate({"a": labels}, {"a": found}, classes, min_scores=dict.fromkeys(classes.class_ids, 0.0))
    assert picture.pq == pytest.approx(measured.mean("pq"))
    seen = {tuple(pixel) for pixel in picture.rgb.reshape(-1, 3).tolist()}
    assert {MATCHED, FALSE, MISSED} <= seen


def test_the_view_comes_and_goes_with_its_key_and_leaves_with_the_image(window: Window) -> None:
    dock = window.dock("Review")
    window.open(make_session())
    window.press("T")
    assert not truth_layers(window)
    assert dock.buttons["truth"].toolTip() == "The image has no labels: no cell is given, accepted or edited."

    session = window.open(given_session())
    dock.refresh()
    assert dock.buttons["truth"].toolTip().startswith("Segment the image first")
    window.state.answered.emit(window.state.image_id, answer())
    window.press("T")
    wait(window, lambda: bool(truth_layers(window)))
    assert "18 matched (blue), 1 false (red), 2 missed (yellow)" in window.review.truth.picture.text
    dock.refresh()
    assert dock._agreement.text() == window.review.truth.picture.text
    assert window.review.opener.summaries.quality["tissue"] > 0.8
    assert truth_layers(window)[0].translate[-1] > SIZE[1], "next to the image, not over it"
    if folder := os.environ.get("CELLSEG_SHOTS"):
        dock.refresh()
        pump(0.3)
        window.viewer.window._qt_window.grab().save(f"{folder}/truth.png")

    window.state.set_min_scores(dict.fromkeys(session.classes.class_ids, 0.5))
    wait(window, lambda: "17 matched" in window.review.truth.picture.text)
    window.press("T")
    assert not truth_layers(window)
    window.press("T")
    wait(window, lambda: bool(truth_layers(window)))
    window.open(make_session())
    assert not truth_layers(window)


def test_a_model_just_trained_is_shown_next_to_the_labels(window: Window) -> None:
    window.open(given_session())
    window.state.wants_comparison = True
    window.state.answered.emit(window.state.image_id, answer())
    wait(window, lambda: bool(truth_layers(window)))
    assert not window.state.wants_comparison
