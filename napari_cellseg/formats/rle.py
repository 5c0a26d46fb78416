"""COCO run-length encoding of mask crops as if each were placed in its full frame, without making that frame.

COCO's RLE counts the runs of a mask in column-major order, starting with background, and packs the counts into five
bits per character (``rleToString`` of cocoapi); from the fourth on, a count is stored as its difference to the count
two before.
All cells of an image are encoded in one vectorised pass whose time and memory follow the area of the crops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks

__all__ = ["MAX_CROP_PIXELS", "MAX_FRAME_PIXELS", "Decoded", "check_frame", "decode", "decode_all", "encode_all"]

MAX_FRAME_PIXELS = 2**32 - 1
"""pycocotools stores a count in 32 bits, so a frame may not have more pixels."""
MAX_CROP_PIXELS = 2**27
"""Largest box of one decoded cell, px (11,585 x 11,585): a few characters can claim a box of 4 GB."""
MOST_PIXELS = 2**30
"""Limit of the px of all boxes of a file, one byte each; a million nuclei have about this many."""

_CHARACTER_BITS, _MORE, _SIGN, _FIRST_CHARACTER = 5, 0x20, 0x10, 48
_MAX_CHARACTERS = 7  # of one count: 7 * 5 bits hold 33 bits with their sign

_GROUP_PIXELS = 1 << 24  # px painted in one step of decoding
_GROUP_CHARACTERS = 1 << 22  # of counts read in one step; each takes about 64 bytes
_MOST_CHARACTERS = 1 << 23  # of the counts of one mask

Ints = npt.NDArray[np.int64]
Decoded = tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]
"""The tight box (4,) x0, y0, x1, y1 and the mask crop of a cell."""


def encode_all(instances: InstanceMasks) -> list[str]:
    """Return the ASCII COCO counts of each cell's mask in the full frame.

    The counts are byte-identical to ``pycocotools.mask.encode`` of the (H, W) mask.

    Raises
    ------
    AnnotationError
        The image has more pixels than a count of COCO's RLE can hold.
    """
    if not len(instances):
        return []
    check_frame(instances.image_size)
    mask_index, starts, ends = _frame_runs(instances)
    counts, firsts = _counts(mask_index, starts, ends, len(instances), instances.image_size)
    return _to_strings(counts, firsts)


def decode(counts: str | bytes | Sequence[int], image_size: tuple[int, int]) -> Decoded | None:
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
    if isinstance(counts, (str, bytes)):
        return decode_all([counts], [image_size])[0]
    check_frame(image_size)
    if not all(type(count) is int and 0 <= count <= MAX_FRAME_PIXELS for count in counts):
        raise AnnotationError("The RLE counts must be whole numbers from 0 on.")
    return _decode_runs(np.array(counts, np.int64), np.array([0, len(counts)]), np.array([image_size]))[0]


def decode_all(
    counts: Sequence[str | bytes], image_sizes: Sequence[tuple[int, int]], *, most_pixels: int = MOST_PIXELS
) -> list[Decoded | None]:
    """`decode` many masks in one pass, each in its own frame; about ten times as fast as one by one.

    Raises
    ------
    AnnotationError
        The counts of a mask cannot be read or do not cover its frame (the first such mask is reported), or the boxes
        have more than ``most_pixels`` px together.
    """
    for image_size in set(image_sizes):
        check_frame(image_size)
    decoded: list[Decoded | None] = []
    for chosen in _groups(counts):
        runs, firsts = _from_strings(counts[chosen])
        found = _decode_runs(runs, firsts, np.array(image_sizes[chosen], np.int64), most_pixels)
        most_pixels -= sum(crop.size for _, crop in filter(None, found))
        decoded += found
    return decoded


def _groups(counts: Sequence[str | bytes]) -> Iterator[slice]:
    """Split the masks into groups of bounded length."""
    lengths = np.array([len(text) for text in counts], np.int64)
    if len(lengths) and lengths.max() > _MOST_CHARACTERS:
        raise AnnotationError(f"The RLE counts have {lengths.max()} characters; the limit is {_MOST_CHARACTERS}.")
    group = np.cumsum(lengths) // _GROUP_CHARACTERS
    for begin, end in pairwise([*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(lengths)]):
        yield slice(begin, end)


def _decode_runs(runs: Ints, firsts: Ints, sizes: Ints, most_pixels: int = MOST_PIXELS) -> list[Decoded | None]:
    """Decode the run lengths of all masks; those of mask i are ``runs[firsts[i]:firsts[i + 1]]``."""
    heights, pixels = sizes[:, 0], sizes.prod(1)
    totals = np.concatenate([[0], np.cumsum(runs)])
    covered = totals[firsts[1:]] - totals[firsts[:-1]]
    if (wrong := covered != pixels).any() or (runs < 0).any():
        i = int(np.argmax(wrong))
        text = (
            f"The RLE counts cover {covered[i]} px, but an image of {sizes[i, 0]} x {sizes[i, 1]} has {pixels[i]} px."
        )
        raise AnnotationError(text if wrong.any() else "The RLE counts go backwards.")
    mask_index = np.repeat(np.arange(len(sizes)), np.diff(firsts))
    is_cell = ((np.arange(len(runs)) - firsts[mask_index]) % 2 == 1) & (runs > 0)
    mask_index, lengths = mask_index[is_cell], runs[is_cell]
    starts = totals[:-1][is_cell] - totals[firsts[mask_index]]
    boxes, present = _tight_boxes(mask_index, starts, lengths, heights)
    _check_boxes(boxes, most_pixels)
    decoded: list[Decoded | None] = [None] * len(sizes)
    crops = _paint(np.searchsorted(present, mask_index), starts, lengths, boxes, heights[present])
    for i, box, crop in zip(present.tolist(), boxes.astype(np.int32), crops, strict=True):
        decoded[i] = box, crop
    return decoded


def _check_boxes(boxes: Ints, most_pixels: int) -> None:
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    if len(areas) and areas.max() > MAX_CROP_PIXELS:
        raise AnnotationError(f"The box of a cell has {areas.max()} px; the limit is {MAX_CROP_PIXELS} px.")
    if areas.sum() > most_pixels:
        raise AnnotationError(f"The boxes of all cells have {areas.sum()} px; that would take too much memory.")


def _tight_boxes(mask_index: Ints, starts: Ints, lengths: Ints, heights: Ints) -> tuple[Ints, Ints]:
    """Return the boxes (M, 4) of the masks that have pixels, and which masks these are, (M,)."""
    present, first = np.unique(mask_index, return_index=True)
    if not len(present):
        return np.zeros((0, 4), np.int64), present
    height = heights[mask_index]
    x, y = np.divmod(starts, height)
    last_x = (starts + lengths - 1) // height
    wraps = last_x > x  # a run that continues in the next column spans the height of the image
    y0 = np.minimum.reduceat(np.where(wraps, 0, y), first)
    y1 = np.maximum.reduceat(np.where(wraps, height, y + lengths), first)
    return np.stack([np.minimum.reduceat(x, first), y0, np.maximum.reduceat(last_x, first) + 1, y1], 1), present


def _paint(which: Ints, starts: Ints, lengths: Ints, boxes: Ints, heights: Ints) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the crops; they are painted in groups that bound the memory."""
    x0, y0, x1, y1 = boxes.T
    areas = (x1 - x0) * (y1 - y0)
    run_offsets = np.searchsorted(which, np.arange(len(boxes) + 1))
    group = np.cumsum(areas) // _GROUP_PIXELS
    for begin, end in pairwise([*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(boxes)]):
        chosen = slice(run_offsets[begin], run_offsets[end])
        i = which[chosen]
        offsets = np.concatenate([[0], np.cumsum(areas[begin:end])])
        # A run that wraps spans whole columns of its crop too, so it stays one run there.
        column, row = np.divmod(starts[chosen], heights[i])
        first = offsets[i - begin] + (column - x0[i]) * (y1 - y0)[i] + row - y0[i]
        change = np.zeros(int(offsets[-1]) + 1, np.int8)
        change[first] += 1
        change[first + lengths[chosen]] -= 1
        flat = np.cumsum(change, dtype=np.int8).view(np.bool_)
        for k, (start, stop) in enumerate(pairwise(offsets.tolist()), start=begin):
            yield np.ascontiguousarray(flat[start:stop].reshape(int(x1[k] - x0[k]), -1).T)


def check_frame(image_size: tuple[int, int]) -> None:
    """Raise an `AnnotationError` for an image that has no pixel, or more than COCO's RLE can count."""
    height, width = image_size
    if not 0 < height * width <= MAX_FRAME_PIXELS:
        raise AnnotationError(f"COCO's RLE cannot describe an image of {height} x {width} px.")


def _frame_runs(instances: InstanceMasks) -> tuple[Ints, Ints, Ints]:
    """Return (cell index, start, end half-open) of every run of cell pixels, in frame positions, column-major."""
    height = instances.image_size[0]
    x0, y0, x1, y1 = instances.boxes.T.astype(np.int64)
    tall = y1 - y0 + 1  # one background pixel below each column ends its runs there
    offsets = np.concatenate([[0], np.cumsum((x1 - x0) * tall)])
    flat = np.zeros(int(offsets[-1]) + 1, bool)  # the pixel in front lets a run start with the first pixel
    for i, mask in enumerate(instances.masks):
        columns = flat[offsets[i] + 1 : offsets[i + 1] + 1].reshape(-1, int(tall[i]))
        columns[:, :-1] = mask.T
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    mask_index = np.repeat(np.arange(len(instances)), np.diff(np.searchsorted(starts, offsets)))
    column, row = np.divmod(starts - offsets[mask_index], tall[mask_index])
    starts = (x0[mask_index] + column) * height + y0[mask_index] + row
    ends = starts + lengths
    # A run at the bottom of a column of the image continues at the top of the next.
    goes_on = (mask_index[1:] == mask_index[:-1]) & (starts[1:] == ends[:-1])
    first, last = np.concatenate([[True], ~goes_on]), np.concatenate([~goes_on, [True]])
    first, last = first[: len(starts)], last[: len(starts)]
    return mask_index[first], starts[first], ends[last]


def _counts(mask_index: Ints, starts: Ints, ends: Ints, cells: int, image_size: tuple[int, int]) -> tuple[Ints, Ints]:
    """Return the counts of all cells in one array, and the start of each cell's counts, (cells + 1,)."""
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
    heads = (firsts[:-1, None] + np.arange(3)).ravel()  # the first three counts of a cell are stored unchanged
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


def _from_strings(texts: Sequence[str | bytes]) -> tuple[Ints, Ints]:
    """Return the run lengths of all masks in one array, and the start of each mask's runs, (masks + 1,)."""
    packed, bounds = _six_bits(texts)
    is_last = packed & _MORE == 0
    ends_inside = bounds[1:] == bounds[:-1]
    ends_inside[~ends_inside] = ~is_last[bounds[1:][~ends_inside] - 1]
    _refuse(texts, ends_inside, "end in the middle of a number")
    lasts = np.flatnonzero(is_last)
    begins = np.concatenate([[0], lasts[:-1] + 1])
    used = lasts - begins + 1
    firsts = np.searchsorted(begins, bounds)
    too_long = np.maximum.reduceat(used, firsts[:-1]) > _MAX_CHARACTERS
    _refuse(texts, too_long, f"hold a number of more than {_MAX_CHARACTERS} characters")
    shift = (np.arange(len(packed)) - np.repeat(begins, used)) * _CHARACTER_BITS
    values = np.add.reduceat((packed & 0x1F) << shift, begins)
    negative = packed[lasts] & _SIGN != 0
    values[negative] -= np.int64(1) << (used[negative] * _CHARACTER_BITS)
    return _undo_differences(values, firsts), firsts


def _six_bits(texts: Sequence[str | bytes]) -> tuple[Ints, Ints]:
    """Return the characters of all texts as numbers 0..63, and the start of each text."""
    encoded = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]
    bounds = np.concatenate([[0], np.cumsum([len(text) for text in encoded])])
    packed = np.frombuffer(b"".join(encoded), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    foreign = np.flatnonzero((packed < 0) | (packed > 63))
    has_foreign = np.zeros(len(texts), bool)
    has_foreign[np.searchsorted(bounds, foreign, "right") - 1] = True
    _refuse(texts, has_foreign, "have a character outside COCO's alphabet")
    return packed, bounds


def _undo_differences(values: Ints, firsts: Ints) -> Ints:
    """Sum up every second value of a mask: odd ones from the first odd one, even ones from the third value on."""
    sums = np.zeros(len(values) + 1, np.int64)  # one zero in front, for masks at the start of the array
    sums[1::2] = np.cumsum(values[::2])
    sums[2::2] = np.cumsum(values[1::2])
    first = np.repeat(firsts[:-1], np.diff(firsts))
    place = np.arange(len(values)) - first
    counts = np.where(place % 2 == 1, sums[1:] - sums[first], sums[1:] - sums[first + 1])
    counts[firsts[:-1]] = values[firsts[:-1]]
    return counts


def _refuse(texts: Sequence[str | bytes], wrong: npt.NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        raise AnnotationError(f"The RLE counts {texts[int(np.argmax(wrong))][:20]!r} {what}.")
