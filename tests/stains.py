"""Images of other stains than H&E."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def fluorescence(side: int = 128, radius: int = 8) -> npt.NDArray[np.uint16]:
    """Return 16-bit bright discs on a dark, noisy background, one in each square of 32 px."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] % 32 - 16
    discs = 3000 * (rows**2 + columns**2 < radius**2)
    return (discs + rng.integers(0, 200, (side, side))).astype(np.uint16)
