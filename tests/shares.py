"""Which cases of a test run by default, and which with ``-m slow`` only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_by_default(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """Return the parameters of a test: the cases named ``quick`` take part by default, the others are slow."""
    all_cases = list(cases)
    assert all(case in all_cases for case in quick)
    return [case if case in quick else _slow(case) for case in all_cases]


def _slow(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)
