"""Pixel-edge outlines: exact for any mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_cellseg.formats.outlines import outlines, signed_area


def filled(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Fill by the even-odd rule at pixel centres: count the vertical edges to the left of each."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
            if x0 == x1:
                crossings[min(y0, y1) : max(y0, y1), x0] += 1
    return np.cumsum(crossings, 1)[:, :-1] % 2 == 1


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=150, deadline=None)
def test_filling_the_outlines_gives_the_mask_back(mask: np.ndarray) -> None:
    rings = outlines(mask)
    np.testing.assert_array_equal(filled(rings, mask.shape), mask)
    assert sum(signed_area(ring) for ring in rings) == np.count_nonzero(mask)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=100, deadline=None)
def test_one_outer_ring_for_each_part_and_one_for_each_hole(mask: np.ndarray) -> None:
    rings = outlines(mask)
    parts = ndimage.label(mask)[1]
    holes = ndimage.label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))[1] - 1
    assert sum(signed_area(ring) > 0 for ring in rings) == parts
    assert sum(signed_area(ring) < 0 for ring in rings) == holes


def test_straight_runs_have_no_points_between_and_the_offset_is_added() -> None:
    (ring,) = outlines(np.ones((3, 5), bool), 10, 20)
    assert {tuple(p) for p in ring.tolist()} == {(10, 20), (15, 20), (15, 23), (10, 23)}
    assert outlines(np.zeros((3, 3), bool)) == []
