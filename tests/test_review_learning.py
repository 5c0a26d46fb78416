"""The queue learns what a reviewer changes: from enough decisions only, the same each time, explained in words."""

from __future__ import annotations

import time

import numpy as np
import pytest
from review_actions import disc

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Learner, QueueOrder, ReviewQueue, ReviewSession
from napari_cellseg.review.features import FEATURES
from napari_cellseg.review.logistic import PENALTY, fit

SIDE = 16
"""Cells per row of the image."""


class Reviewer:
    """Rejects small pale cells; 256 cells with sizes, stains and scores that do not depend on each other."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        count = SIDE * SIDE
        self.radii, self.is_pale = rng.integers(4, 12, count), rng.random(count) < 0.5
        size = (32 * SIDE, 32 * SIDE)
        self.rgb = rng.integers(215, 240, (*size, 3), np.uint8)
        offsets = []
        for i, radius in enumerate(self.radii.tolist()):
            y, x = 16 + 32 * (i // SIDE), 16 + 32 * (i % SIDE)
            offsets.append((x - radius, y - radius))
            self.rgb[y - radius : y + radius + 1, x - radius : x + radius + 1] -= np.uint8(
                (15 if self.is_pale[i] else 110) * disc(radius)[..., None]
            )
        scores = rng.random(count, np.float32)
        self.session = ReviewSession(size, ClassTable(("cell",)))
        self.learner = Learner()
        self.learner.begin(self.session, self.rgb)
        self.session.load_proposals(
            InstanceMasks.from_crops(size, offsets, [disc(int(r)) for r in self.radii], [1] * count, scores)
        )
        self.queue = ReviewQueue(self.session, order=QueueOrder.LEARNED, learner=self.learner)
        self.queue.items()

    def is_wrong(self, cell_id: int) -> bool:
        return bool(self.radii[cell_id - 1] < 8 and self.is_pale[cell_id - 1])

    def decide(self, cell_ids) -> None:
        for cell_id in cell_ids:
            (self.session.reject if self.is_wrong(cell_id) else self.session.accept)([cell_id])
        self.learner.learn()


def area_under_curve(values: np.ndarray, is_positive: np.ndarray) -> float:
    """Return the probability that a positive has a higher value than a negative one."""
    higher = values[is_positive][:, None] > values[~is_positive][None]
    return float(higher.mean())


def test_after_40_decisions_it_knows_small_pale_cells_from_the_rest():
    reviewer = Reviewer()
    reviewer.decide(range(1, 41))
    rest = range(41, SIDE * SIDE + 1)
    chances = np.array([reviewer.learner.chance(i) for i in rest])
    assert area_under_curve(chances, np.array([reviewer.is_wrong(i) for i in rest])) > 0.9
    assert reviewer.learner.text == "Learned from 40 decisions."
    for _ in reviewer.queue.sort_again():
        pass
    first = reviewer.queue.items(limit=20)
    assert np.mean([reviewer.is_wrong(item.cell_id) for item in first]) > 0.8
    assert [reviewer.learner.chance(item.cell_id) for item in first] == sorted(chances, reverse=True)[:20]
    assert {"small", "pale"} <= set(first[0].text.partition(": ")[2].split(", "))
    alike = reviewer.learner.like_rejected(rest)
    assert len(alike) >= 10
    assert np.mean([reviewer.is_wrong(i) for i in alike]) > 0.8


def test_the_same_decisions_teach_the_same():
    first, second = Reviewer(), Reviewer()
    for reviewer in (first, second):
        reviewer.decide(range(1, 41))
    assert [first.learner.chance(i) for i in range(1, 200)] == [second.learner.chance(i) for i in range(1, 200)]


def test_too_few_decisions_or_outcomes_leave_the_worst_first():
    reviewer = Reviewer()
    worst = [item.cell_id for item in ReviewQueue(reviewer.session).items()]
    assert [item.cell_id for item in reviewer.queue.items()] == worst
    reviewer.decide(range(1, 30))
    assert not reviewer.learner.has_learned
    assert reviewer.learner.text == "Worst first: 29 of the 30 decisions that it takes to learn."
    assert reviewer.learner.why_no_rejections == "29 of the 30 decisions that it takes to learn."
    assert reviewer.learner.like_rejected(range(30, 257)) == ()
    reviewer.decide([30])
    assert reviewer.learner.has_learned
    agreeing = Reviewer()
    agreeing.session.accept(range(1, 61))
    agreeing.learner.learn()
    assert not agreeing.learner.has_learned
    assert "3 changed and 3 other cells" in agreeing.learner.text


def test_undo_takes_a_decision_back_and_a_prediction_is_none():
    reviewer = Reviewer()
    reviewer.decide(range(1, 41))
    while reviewer.session.undo_text and "proposals" not in reviewer.session.undo_text:
        reviewer.session.undo()
    reviewer.learner.learn()
    assert reviewer.learner.text.startswith("Worst first: 0 of")
    reviewer.session.undo()  # the prediction too: its cells go, and no one rejected them
    reviewer.session.redo()
    empty = InstanceMasks.from_crops(reviewer.session.image_size, np.zeros((0, 2), int), [], [])
    reviewer.session.load_proposals(empty)
    reviewer.learner.learn()
    assert reviewer.learner.text.startswith("Worst first: 0 of")


def test_a_deleted_cell_is_like_a_rejected_one_and_an_edited_one_is_changed_only():
    reviewer = Reviewer()
    reviewer.session.delete(range(1, 21))
    reviewer.session.accept(range(21, 41))
    reviewer.learner.learn()
    assert reviewer.learner.why_no_rejections is None
    edited = Reviewer()
    edited.session.classes = ClassTable(("cell", "other"))
    edited.session.reclassify(range(1, 21), 2)
    edited.session.accept(range(21, 41))
    edited.queue.items()
    edited.learner.learn()
    assert edited.learner.has_learned
    assert "3 rejected" in str(edited.learner.why_no_rejections)


def test_what_was_learned_holds_for_the_next_image():
    first, second = Reviewer(0), Reviewer(1)
    first.decide(range(1, 61))
    first.learner.begin(second.session, second.rgb)
    queue = ReviewQueue(second.session, order=QueueOrder.LEARNED, learner=first.learner)
    items = queue.items(limit=20)
    assert np.mean([second.is_wrong(item.cell_id) for item in items]) > 0.8
    second.session.reject([items[0].cell_id])
    first.learner.learn()
    assert first.learner.text == "Learned from 61 decisions."


def test_the_fit_is_at_the_maximum_of_the_penalised_likelihood_also_for_separable_outcomes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)) * [1, 10, 0.1, 3, 0] + 7
    for y in (x[:, 1] > 9, rng.random(300) < 1 / (1 + np.exp(7 - x[:, 0]))):
        model = fit(x, y)
        residual = model.probability(x) - y
        assert abs(residual.sum()) < 1e-5
        np.testing.assert_allclose(model.standardised(x).T @ residual + PENALTY * model.weights, 0, atol=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.03])
def test_a_thousand_decisions_take_milliseconds(share):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, len(FEATURES)))
    y = x[:, 2] + rng.normal(size=1000) > np.quantile(x[:, 2] + rng.normal(size=1000), 1 - share)
    times = []
    for _ in range(5):
        start = time.process_time()
        fit(x, y)
        times.append(time.process_time() - start)
    assert min(times) < 0.02
