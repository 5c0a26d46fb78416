"""The tree of errors, and its guarantees."""

from __future__ import annotations

import pickle
import re

import pytest

from napari_cellseg import errors
from napari_cellseg.errors import CellSegError

KINDS = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"CellSegError"}
    assert drawn == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_every_error_is_a_cellseg_error_and_no_runtime_error(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, CellSegError)
    assert not issubclass(kind, (RuntimeError, OSError, ValueError))
    assert str(pickle.loads(pickle.dumps(kind("what, where, what to do")))) == "what, where, what to do"
