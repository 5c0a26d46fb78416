"""The score thresholds: one for "is it a cell", moved for classes with enough ground-truth cells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellseg.instances import InstanceMasks
from training.score_thresholds import best_scores

SQUARE = np.ones((8, 8), bool)
SIZE = (100, 3000)


def cells(count: int, row: int, class_id: int, scores: tuple[float, float] = (1.0, 1.0)) -> InstanceMasks:
    """A row of squares of one class with evenly spread scores."""
    offsets = [(12 * i, 12 * row) for i in range(count)]
    return InstanceMasks.from_crops(SIZE, offsets, [SQUARE] * count, [class_id] * count, np.linspace(*scores, count))


def thresholds(truth: list[InstanceMasks], found: list[InstanceMasks], classes: int) -> dict[int, float]:
    return best_scores({"a": InstanceMasks.concatenate(truth)}, {"a": InstanceMasks.concatenate(found)}, classes)


def test_a_threshold_lies_in_the_middle_between_right_and_wrong_cells() -> None:
    right, wrong = cells(40, 0, 1, (0.8, 0.9)), cells(40, 1, 1, (0.2, 0.3))
    assert thresholds([cells(40, 0, 1)], [right, wrong], 1)[1] == pytest.approx(0.55, abs=0.02)


def test_right_cells_with_lower_scores_stay_when_hiding_them_gains_nothing() -> None:
    """One wrong cell among the last right ones must not raise the threshold above them all."""
    right, wrong = cells(60, 0, 1, (0.4, 0.9)), cells(1, 1, 1, (0.5, 0.5))
    assert thresholds([cells(60, 0, 1)], [right, wrong], 1)[1] < 0.4


def test_a_cell_of_the_wrong_class_is_still_a_cell() -> None:
    found = [cells(50, 0, 2, (0.6, 0.9)), cells(50, 1, 1, (0.1, 0.2))]
    assert thresholds([cells(50, 0, 1)], found, 2)[2] == pytest.approx(0.4, abs=0.02)


def test_the_threshold_of_a_class_moves_from_the_common_one_with_its_number_of_cells() -> None:
    common_only, own = {}, {}
    for count in (3, 200):
        truth = [cells(200, 0, 1), cells(count, 2, 2)]
        found = [cells(200, 0, 1, (0.5, 0.9)), cells(200, 1, 1, (0.1, 0.2)), cells(count, 2, 2, (0.9, 0.95))]
        found.append(cells(count, 3, 2, (0.7, 0.75)))
        result = thresholds(truth, found, 2)
        common_only[count], own[count] = result[1], result[2]
    assert abs(own[3] - common_only[3]) < 0.03
    assert own[200] > common_only[200] + 0.15


def test_without_a_right_cell_the_threshold_is_a_half() -> None:
    nothing = InstanceMasks.empty(SIZE)
    assert thresholds([cells(5, 0, 1)], [nothing], 2) == {1: 0.5, 2: 0.5}
    assert thresholds([nothing], [cells(5, 0, 1, (0.2, 0.9))], 1) == {1: 0.5}
