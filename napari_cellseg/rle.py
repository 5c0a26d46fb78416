"""COCO run-length encoding of mask crops, as if each were placed in its full frame, without making that frame.

COCO's RLE counts the runs of a mask in column-major order, beginning with background, and packs the counts five bits
a character (``rleToString`` of cocoapi); from the fourth on, a count is stored as the difference to the one two before.
All cells of an image are encoded in one vectorised pass whose time and memory follow the area of the crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks

__all__ = ["MAX_FRAME_PIXELS", "decode", "encode_all"]

MAX_FRAME_PIXELS = 2**32 - 1
"""pycocotools keeps a count in 32 bits, so no frame may have more pixels."""

_CHARACTER_BITS, _MORE, _SIGN, _FIRST_CHARACTER = 5, 0x20, 0x10, 48
_MAX_CHARACTERS = 7  # of one count: 7 * 5 bits hold 33 bits with their sign

Ints = npt.NDArray[np.int64]


def encode_all(instances: InstanceMasks) -> list[str]:
    """Return the ASCII COCO counts of each cell's mask in the full frame.

    They are byte-identical to ``pycocotools.mask.encode`` of the (H, W) mask.

    Raises
    ------
    AnnotationError
        The image has more pixels than a count of COCO's RLE can hold.
    """
    if not len(instances):
        return []
    _check_frame(instances.image_size)
    mask_index, starts, ends = _frame_runs(instances)
    counts, firsts = _counts(mask_index, starts, ends, len(instances), instances.image_size)
    return _to_strings(counts, firsts)


def decode(
    counts: str | bytes | Sequence[int], image_size: tuple[int, int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]] | None:
    """Return the tight box and the mask crop of one RLE.

    Parameters
    ----------
    counts : str, bytes or list of int
        ASCII counts, or the run lengths themselves ("uncompressed RLE").
    image_size : (int, int)
        Height and width of the full frame, px.

    Returns
    -------
    (box (4,) int32 x0, y0, x1, y1 half-open, crop (y1 - y0, x1 - x0) bool), or None for a mask without a pixel

    Raises
    ------
    AnnotationError
        The counts cannot be read, or do not cover the frame exactly.
    """
    _check_frame(image_size)
    height, width = image_size
    runs = _from_string(counts) if isinstance(counts, (str, bytes)) else _from_list(counts)
    if (runs < 0).any() or runs.sum() != height * width:
        raise AnnotationError(
            f"The RLE counts cover {int(runs.sum())} px, but an image of {height} x {width} has {height * width} px."
        )
    ends = np.cumsum(runs)
    cell_runs = np.flatnonzero(runs[1::2]) * 2 + 1
    if not len(cell_runs):
        return None
    x0 = int(ends[cell_runs[0] - 1]) // height
    x1 = (int(ends[cell_runs[-1]]) - 1) // height + 1
    return _tight_crop(runs, ends, (x0, x1), height)


def _tight_crop(
    runs: Ints, ends: Ints, columns: tuple[int, int], height: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Paint the runs over the columns that have cell pixels only, then cut the empty rows."""
    x0, x1 = columns
    inside = np.clip(ends, x0 * height, x1 * height)
    lengths = np.diff(inside, prepend=x0 * height)
    is_cell = np.arange(len(runs)) % 2 == 1
    slab = np.repeat(is_cell, lengths).reshape(x1 - x0, height)
    rows = np.flatnonzero(slab.any(0))
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    return np.array([x0, y0, x1, y1], np.int32), np.ascontiguousarray(slab[:, y0:y1].T)


def _check_frame(image_size: tuple[int, int]) -> None:
    height, width = image_size
    if not 0 < height * width <= MAX_FRAME_PIXELS:
        raise AnnotationError(f"COCO's RLE cannot describe an image of {height} x {width} px.")


def _frame_runs(instances: InstanceMasks) -> tuple[Ints, Ints, Ints]:
    """Return (cell index, start, end half-open) of every run of cell pixels, in frame positions, column-major."""
    height = instances.image_size[0]
    x0, y0, x1, y1 = instances.boxes.T.astype(np.int64)
    tall = y1 - y0 + 1  # one background pixel below each column ends its runs there
    offsets = np.concatenate([[0], np.cumsum((x1 - x0) * tall)])
    flat = np.zeros(int(offsets[-1]) + 1, bool)  # the pixel in front lets a run begin at once
    for i, mask in enumerate(instances.masks):
        columns = flat[offsets[i] + 1 : offsets[i + 1] + 1].reshape(-1, int(tall[i]))
        columns[:, :-1] = mask.T
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    mask_index = np.repeat(np.arange(len(instances)), np.diff(np.searchsorted(starts, offsets)))
    column, row = np.divmod(starts - offsets[mask_index], tall[mask_index])
    starts = (x0[mask_index] + column) * height + y0[mask_index] + row
    ends = starts + lengths
    # A run at the foot of a column of the image goes on at the head of the next.
    goes_on = (mask_index[1:] == mask_index[:-1]) & (starts[1:] == ends[:-1])
    first, last = np.concatenate([[True], ~goes_on]), np.concatenate([~goes_on, [True]])
    first, last = first[: len(starts)], last[: len(starts)]
    return mask_index[first], starts[first], ends[last]


def _counts(mask_index: Ints, starts: Ints, ends: Ints, cells: int, image_size: tuple[int, int]) -> tuple[Ints, Ints]:
    """Return the counts of all cells in one array, and where each cell's begin, (cells + 1,)."""
    pixels = image_size[0] * image_size[1]
    runs = np.bincount(mask_index, minlength=cells)
    run_offsets = np.concatenate([[0], np.cumsum(runs)])
    last_end = np.zeros(cells, np.int64)
    last_end[mask_index] = ends  # of repeated indices numpy keeps the last
    rest = pixels - last_end
    firsts = np.concatenate([[0], np.cumsum(2 * runs + (rest > 0))])
    counts = np.zeros(int(firsts[-1]), np.int64)
    within = np.arange(len(starts)) - run_offsets[mask_index]
    place = firsts[mask_index] + 2 * within
    previous_end = np.concatenate([[0], ends])[: len(ends)]
    counts[place] = starts - np.where(within == 0, 0, previous_end)
    counts[place + 1] = ends - starts
    has_rest = rest > 0
    counts[firsts[1:][has_rest] - 1] = rest[has_rest]
    return counts, firsts


def _to_strings(counts: Ints, firsts: Ints) -> list[str]:
    values = counts.copy()
    values[2:] -= counts[:-2]
    heads = (firsts[:-1, None] + np.arange(3)).ravel()  # the first three counts of a cell are stored as they are
    heads = heads[heads < np.repeat(firsts[1:], 3)]
    values[heads] = counts[heads]
    characters = np.zeros((len(values), _MAX_CHARACTERS), np.uint8)
    used = np.zeros(len(values), np.int64)
    active = np.arange(len(values))
    for k in range(_MAX_CHARACTERS):
        low = values & 0x1F
        values = values >> _CHARACTER_BITS
        more = np.where(low & _SIGN, values != -1, values != 0)
        characters[active, k] = low + more * _MORE + _FIRST_CHARACTER
        used[active] = k + 1
        active, values = active[more], values[more]
        if not len(active):
            break
    text = characters[np.arange(_MAX_CHARACTERS) < used[:, None]].tobytes().decode("ascii")
    bounds = np.concatenate([[0], np.cumsum(used)])[firsts].tolist()
    return [text[a:b] for a, b in pairwise(bounds)]


def _from_string(text: str | bytes) -> Ints:
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise AnnotationError(f"The RLE counts {text[:20]!r} have a character that is not ASCII.") from None
    packed = np.frombuffer(data, np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if ((packed < 0) | (packed > 63)).any():
        raise AnnotationError(f"The RLE counts {data[:20]!r} have a character that is not of COCO's alphabet.")
    is_last = packed & _MORE == 0
    if not len(packed) or not is_last[-1]:
        raise AnnotationError(f"The RLE counts {data[:20]!r} end in the middle of a number.")
    lasts = np.flatnonzero(is_last)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    used = lasts - firsts + 1
    if used.max() > _MAX_CHARACTERS:
        raise AnnotationError(f"The RLE counts {data[:20]!r} hold a number of more than {_MAX_CHARACTERS} characters.")
    shift = (np.arange(len(packed)) - np.repeat(firsts, used)) * _CHARACTER_BITS
    values = np.add.reduceat((packed & 0x1F) << shift, firsts)
    negative = packed[lasts] & _SIGN != 0
    values[negative] -= np.int64(1) << (used[negative] * _CHARACTER_BITS)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _from_list(counts: Sequence[int]) -> Ints:
    if not all(isinstance(c, int) and 0 <= c <= MAX_FRAME_PIXELS for c in counts):
        raise AnnotationError("The RLE counts must be whole numbers from 0 on.")
    return np.array(counts, np.int64)
