"""While layers are made, the garbage collector skips old objects; those of other parts of the program stay theirs."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from napari_cellseg.gui.canvas.old_objects import OldObjects, _others_hide_some


@pytest.fixture(autouse=True)
def _none_hidden() -> Iterator[None]:
    """Begin with nothing hidden, and hide the imports of the tests again, as they were."""
    gc.unfreeze()
    _others_hide_some.cache_clear()
    yield
    gc.freeze()
    _others_hide_some.cache_clear()


def test_old_objects_are_hidden_until_they_are_taken_back() -> None:
    old = OldObjects()
    old.set_aside()
    assert gc.get_freeze_count() > 0
    old.set_aside()
    old.take_back()
    assert gc.get_freeze_count() == 0


def test_what_one_has_hidden_is_not_taken_back_by_another() -> None:
    first, second = OldObjects(), OldObjects()
    first.set_aside()
    second.set_aside()
    second.take_back()
    assert gc.get_freeze_count() > 0
    first.take_back()
    assert gc.get_freeze_count() == 0


def test_what_another_part_of_the_program_has_hidden_stays_hidden() -> None:
    gc.freeze()
    old = OldObjects()
    old.set_aside()
    old.take_back()
    assert gc.get_freeze_count() > 0
