from __future__ import annotations

import numpy as np
import pytest

from napari_cellseg.active_learning import ClassCounts, class_weights, image_gain, rank_images
from napari_cellseg.classes import ClassTable
from napari_cellseg.review import Cell, Status

CLASSES = ClassTable(("other", "inflammatory", "epithelial"))
EVEN = dict.fromkeys(CLASSES.class_ids, 1.0)
HALF = dict.fromkeys(CLASSES.class_ids, 0.5)
SIZE = (400, 400)


def cells(*scores, class_id=1, status=Status.PROPOSED, first=1):
    """Squares of 10 px side by side, 20 px apart."""
    made = []
    for i, score in enumerate(scores, first - 1):
        y, x = 20 * (i // 20), 20 * (i % 20)
        made.append(
            Cell(
                cell_id=i + 1,
                class_id=class_id,
                score=score,
                status=status,
                box=(x, y, x + 10, y + 10),
                mask=np.ones((10, 10), bool),
            )
        )
    return made


def gain(image_id, proposals, weights=EVEN, thresholds=HALF):
    return image_gain(image_id, proposals, SIZE, CLASSES, thresholds, weights)


def order(*images):
    return [image.image_id for image in rank_images(images)]


def entropy(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


AT_THRESHOLD = entropy(0.25)
"""What a cell at its threshold is worth, bits."""
EVEN_ODDS = 1 / (1 + 3**-0.5)
"""The score, for a threshold of 0.5, at which a proposal is as likely right as wrong: twice its logit is log 3."""


def test_a_cell_is_worth_one_bit_where_it_is_as_likely_right_as_wrong_and_almost_nothing_where_it_is_sure():
    assert gain("a", cells(EVEN_ODDS)).gain == pytest.approx(1.0)
    assert gain("a", cells(0.5)).gain == pytest.approx(AT_THRESHOLD)
    assert gain("a", cells(0.99)).gain < 0.02
    assert gain("a", cells(0.02)).gain < 0.03


def test_the_threshold_is_that_of_the_class():
    thresholds = {1: 0.3, 2: 0.8, 3: 0.5}
    assert gain("a", cells(0.3), thresholds=thresholds).gain == pytest.approx(AT_THRESHOLD)
    assert gain("a", cells(0.8, class_id=2), thresholds=thresholds).gain == pytest.approx(AT_THRESHOLD)
    assert gain("a", cells(0.5, class_id=2), thresholds=thresholds).gain < 0.3


def test_images_with_more_undecided_cells_come_first():
    sure = gain("sure", cells(*[0.97] * 40))
    one = gain("one", cells(0.5, *[0.97] * 20))
    many = gain("many", cells(*[0.55, 0.65] * 5))
    nothing = gain("nothing", [])
    assert order(nothing, sure, one, many) == ["many", "one", "sure", "nothing"]
    assert many.text == "10 cells near the threshold"
    assert one.text == "1 cell near the threshold"
    assert sure.text == "the model is sure of 40 cells"
    assert nothing.text == "no cell was found"


def test_many_hopeless_proposals_are_not_worth_a_few_undecided_ones():
    assert order(gain("noise", cells(*[0.05] * 100)), gain("undecided", cells(*[0.5] * 6))) == ["undecided", "noise"]


def test_of_equally_unsure_images_the_one_with_the_rare_class_comes_first():
    counts = {1: 10, 2: 500, 3: 490}
    weights = class_weights(counts, CLASSES)
    rare = gain("rare", cells(0.5, 0.5, class_id=1), weights)
    common = gain("common", cells(0.5, 0.5, class_id=2), weights)
    assert order(common, rare) == ["rare", "common"]
    assert rare.text == "2 cells near the threshold; 2 of the rare class other"
    assert not common.rare


def test_two_classes_on_one_cell_are_one_ambiguous_cell():
    first, second = cells(0.9)[0], cells(0.9, class_id=2)[0]
    clear = gain("clear", [first])
    both = gain(
        "both",
        [first, Cell(cell_id=2, class_id=2, score=0.9, status=Status.PROPOSED, box=second.box, mask=second.mask)],
    )
    likely = 27 / 28  # logit 0.9 is log 9, twice that log 81, less log 3
    assert both.gain - clear.gain == pytest.approx(likely * 1.0)  # one bit: either class is as likely
    assert both.ambiguous == 1
    assert both.text == "1 between two classes"


def test_two_proposals_of_one_class_on_one_cell_are_one_cell():
    first = cells(0.5)[0]
    twice = gain(
        "twice", [first, Cell(cell_id=2, class_id=1, score=0.4, status=Status.PROPOSED, box=first.box, mask=first.mask)]
    )
    assert twice.gain == pytest.approx(AT_THRESHOLD)
    assert twice.undecided == 1


def test_cells_a_person_decided_about_are_worth_nothing():
    decided = [
        cell
        for i, status in enumerate((Status.ACCEPTED, Status.EDITED, Status.REJECTED), 1)
        for cell in cells(0.5, first=i, status=status)
    ]
    assert gain("a", decided).gain == 0
    assert gain("a", decided + cells(0.5, first=9)).gain == pytest.approx(AT_THRESHOLD)


def test_equal_images_keep_their_order():
    assert order(*(gain(name, cells(0.5)) for name in "bca")) == ["b", "c", "a"]


def test_the_order_of_the_cells_changes_nothing():
    proposals = [*cells(0.5, 0.7, 0.2), *cells(0.6, 0.4, class_id=3, first=2)]
    assert gain("a", proposals).gain == pytest.approx(gain("a", proposals[::-1]).gain, abs=1e-12)


def test_weights_are_even_without_cells_and_bounded():
    assert class_weights({}, CLASSES) == EVEN
    weights = class_weights({2: 1_000_000}, CLASSES)
    assert weights == {1: 3.0, 2: pytest.approx((1 / 3) ** 0.5, rel=1e-5), 3: 3.0}
    assert class_weights({1: 99, 2: 99, 3: 99}, CLASSES)[1] == pytest.approx(1.0, abs=0.01)


def test_reviewed_cells_tell_how_rare_a_class_is_as_soon_as_there_are_enough():
    counts = ClassCounts()
    counts.add(cells(0.9, 0.9, 0.1), HALF)
    counts.add(cells(0.9, class_id=2, status=Status.REJECTED), HALF)
    assert counts.known == {1: 2}
    counts.add(cells(*[1.0] * 60, class_id=2, status=Status.ACCEPTED), HALF)
    assert counts.known == {2: 60}
