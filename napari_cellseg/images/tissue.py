"""Tells tissue from glass in a bright-field slide, so that a prediction can leave the glass out.

The test is one-sided: a rectangle is glass only if all of it is as bright as the empty slide. Dust, pen and the black
around a scan count as tissue, which costs time but no cell. In a dark field nothing is glass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from napari_cellseg.images.slide import Slide

__all__ = ["glass_boxes", "is_glass", "white_of"]

_BRIGHT = 170
"""A slide whose white is darker than this in any colour is not a bright field."""
_DARK = 100
"""A dark field has a median below this: most of a fluorescence image is background."""
_TONE = 0.06
"""Glass differs from white by less than this share: uneven light does, a nucleus in an eighth of a pixel does not."""
_BLOCK = 4
"""Side of the blocks that are averaged at full resolution, px: noise is no tissue."""

Pixels = npt.NDArray[np.uint8]
White = npt.NDArray[np.float32]


def white_of(rgb: Pixels) -> White | None:
    """Return the colour of the empty slide, (3,) float32 0..255.

    None if the picture (H, W, 3) is not a bright field: half of its pixels are dark, or none are bright.
    """
    means = _means(rgb, _BLOCK).reshape(-1, 3)
    white: White = np.percentile(means, 99, axis=0).astype(np.float32)
    is_dark_field = float(np.median(means.max(1))) < _DARK
    return None if is_dark_field or white.min() < _BRIGHT else white


def is_glass(rgb: Pixels, white: White, block: int = _BLOCK) -> bool:
    """Return whether all of a rectangle (h, w, 3) is as bright as the empty slide.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    white : (3,)
        From `white_of`.
    block : int
        Pixels are averaged in blocks of this side.
    """
    return bool((_means(rgb, block) >= (1 - _TONE) * white).all())


def _means(rgb: Pixels, block: int) -> npt.NDArray[np.float32]:
    """Return the means of blocks, (h', w', 3); the last row and column of blocks may overlap those before."""
    height, width = rgb.shape[:2]
    rows, columns = min(block, height), min(block, width)
    sums = np.zeros((-(-height // rows), -(-width // columns), 3), np.float32)
    tops = np.minimum(np.arange(len(sums)) * rows, height - rows)
    lefts = np.minimum(np.arange(sums.shape[1]) * columns, width - columns)
    for y in range(rows):
        line = rgb[tops + y]
        for x in range(columns):
            sums += line[:, lefts + x]
    sums /= rows * columns
    return sums


def glass_boxes(slide: Slide, boxes: Sequence[tuple[int, int, int, int]], white: White) -> Iterator[bool]:
    """Yield for each box (x0, y0, x1, y1), px of the slide, whether it is glass in the coarse level of the slide.

    Boxes of the same rows that follow each other are read together.

    Raises
    ------
    ImageReadError
        A tile of the file is damaged.
    """
    coarse = slide.coarse
    assert coarse is not None  # the caller looks
    y_factor, x_factor = coarse.shape[0] / slide.shape[0], coarse.shape[1] / slide.shape[1]
    rows = (-1, -1)
    strip = np.zeros((0, 0, 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        wanted = max(0, int(y0 * y_factor) - 1), int(y1 * y_factor) + 2
        if wanted != rows:
            rows = wanted
            strip = coarse[slice(*rows), 0 : coarse.shape[1]]
        yield is_glass(strip[:, max(0, int(x0 * x_factor) - 1) : int(x1 * x_factor) + 2], white, 1)
