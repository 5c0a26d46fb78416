from __future__ import annotations

import math

import pytest

from napari_cellseg.errors import TrainingError
from training.early_stopping import EarlyStopping


def test_it_stops_after_patience_without_improvement() -> None:
    stopping = EarlyStopping(patience=3)
    best = [stopping.update(epoch, value) for epoch, value in enumerate([0.1, 0.5, 0.5, 0.4], start=1)]
    assert best == [True, True, False, False]
    assert (stopping.best_epoch, stopping.best_value, stopping.stops_in) == (2, 0.5, 1)
    assert not stopping.should_stop
    stopping.update(5, 0.3)
    assert stopping.should_stop


def test_an_improvement_starts_the_count_again() -> None:
    stopping = EarlyStopping(patience=2)
    for epoch, value in enumerate([0.1, 0.0, 0.2, 0.0], start=1):
        stopping.update(epoch, value)
    assert stopping.stops_in == 1


def test_a_part_of_an_epoch_may_be_the_best_but_is_not_counted() -> None:
    stopping = EarlyStopping(patience=2)
    assert stopping.update(1, 0.1, whole=False)
    assert not stopping.update(1, 0.1, whole=False)
    assert not stopping.update(1, 0.0, whole=False)
    assert stopping.waited == 0
    assert not stopping.update(1, 0.1)
    assert stopping.waited == 1


def test_min_delta_must_be_exceeded_in_both_modes() -> None:
    up, down = EarlyStopping(min_delta=0.01), EarlyStopping(min_delta=0.01, mode="min")
    assert up.update(1, 0.5)
    assert down.update(1, 0.5)
    assert not up.update(2, 0.509)
    assert not down.update(2, 0.491)
    assert up.update(3, 0.52)
    assert down.update(3, 0.48)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_nan_and_infinity_are_never_best(mode) -> None:
    stopping = EarlyStopping(patience=10, mode=mode)
    for epoch, value in enumerate([math.nan, math.inf, -math.inf], start=1):
        assert not stopping.update(epoch, value)
    assert stopping.best_epoch == 0
    assert stopping.waited == 3
    assert stopping.update(4, 0.1)
    assert not stopping.update(5, math.nan)
    assert stopping.best_value == 0.1


def test_without_patience_it_never_stops() -> None:
    stopping = EarlyStopping(patience=None)
    for epoch in range(1, 100):
        stopping.update(epoch, -epoch)
    assert not stopping.should_stop
    assert stopping.stops_in is None


def test_state_goes_on_where_it_was_and_refuses_the_other_mode() -> None:
    stopping = EarlyStopping(patience=3)
    stopping.update(1, 0.4)
    stopping.update(2, 0.3)
    again = EarlyStopping(patience=5)
    again.load_state_dict(stopping.state_dict())
    assert (again.best_value, again.best_epoch, again.waited, again.stops_in) == (0.4, 1, 1, 4)
    with pytest.raises(TrainingError, match="monitor"):
        EarlyStopping(mode="min").load_state_dict(stopping.state_dict())


def test_the_state_before_the_first_validation_survives() -> None:
    again = EarlyStopping()
    again.load_state_dict(EarlyStopping().state_dict())
    assert again.update(1, 0.0)
