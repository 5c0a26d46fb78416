"""Reads levels of Zarr arrays by regions, of an OME-Zarr or a TIFF: only the plane and the channels of the picture."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images import ome_zarr
from napari_cellseg.images.levels import MAX_BLOCK_BYTES, Box, StoredImage
from napari_cellseg.images.limits import check_sides
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.planes import Stack
from napari_cellseg.images.stamp import METADATA
from napari_cellseg.images.tags import samples_last

__all__ = ["ZarrLevel", "open_stored", "stack_of"]

Pixels = npt.NDArray[Any]


def open_stored(path: Path, options: ReadOptions) -> StoredImage:
    """Open the first multiscale image of a folder; see `images.levels.open_stored`."""
    arrays, described = ome_zarr.opened(path)
    folders = [path / dataset.path for dataset in described.datasets]
    levels: list[ZarrLevel] = []
    for number in reversed(range(len(arrays))):
        size_um = ome_zarr.pixel_size_um(described, number)
        level = ZarrLevel(
            arrays[number], described.letters, options, size_um, folder=folders[number], coarser=tuple(levels)
        )
        levels.insert(0, level)
    for level in levels[1:]:
        if level.planes != levels[0].planes:
            level.problem = "it has not the planes and channels of level 0"
    stack = stack_of(arrays[0].shape, described.letters, options)
    return StoredImage(path=path, levels=tuple(levels), close=lambda: None, stack=stack, notes=levels[0].notes)


def stack_of(shape: tuple[int, ...], letters: str, options: ReadOptions) -> Stack:
    """Return the stack of an image as a stand-in of one pixel."""
    small = tuple(1 if letter in "YX" else length for letter, length in zip(letters, shape, strict=True))
    return Stack(*samples_last(Stack.stand_in(small), letters), options.channels is not None)


class ZarrLevel:
    """A level of an OME-Zarr, or of a stack in a TIFF; see `images.levels.Level`.

    Parameters
    ----------
    array : zarr.Array
    letters : str
        One for each axis, in upper case.
    options : ReadOptions
        The plane and the channels.
    size_um : float or None
    folder : Path, optional
        Of the chunks, if each is a file.
    coarser : tuple of ZarrLevel
    check : callable, optional
        Refuses a file that is damaged.
    """

    def __init__(
        self,
        array: Any,
        letters: str,
        options: ReadOptions,
        size_um: float | None,
        *,
        folder: Path | None = None,
        coarser: tuple[ZarrLevel, ...] = (),
        check: Callable[[], None] | None = None,
    ) -> None:
        self._array, self._letters, self._folder, self._coarser = array, letters, folder, coarser
        self._options, self._check = options, check
        self.size = int(array.shape[-2]), int(array.shape[-1])
        self.tile = int(array.chunks[-2]), int(array.chunks[-1])
        self.nbytes = int(array.nbytes)
        self.pixel_size_um = size_um
        self.planes = array.shape[:-2]
        stack = stack_of(array.shape, letters, options)
        self.picture_bytes = math.prod(self.size) * array.dtype.itemsize * (3 if stack.axes.endswith("S") else 1)
        self.problem = self._find_problem()
        self._lost: dict[str, bool] = {}

    def _find_problem(self) -> str:
        array = self._array
        if array.dtype.kind not in "bu":
            return f"its pixels are {array.dtype}; save it with 8 or 16 bits per value"
        chunk = math.prod(array.chunks) * array.dtype.itemsize
        if chunk > MAX_BLOCK_BYTES:
            return f"its chunks take {chunk / 2**30:.2g} GiB each; save it with chunks of about 1024 x 1024 px"
        return ""

    def check(self) -> None:
        """Refuse a level without pixels or of a side that no image has."""
        check_sides(*self.size, by_region=True)
        if self._check is not None:
            self._check()

    def notes(self) -> tuple[str, ...]:
        """Return what may be wrong with a level without coarser ones, which would tell lost chunks from blank ones."""
        if self._coarser or self.problem or self._folder is None:
            return ()
        sides = self._array.shards or self._array.chunks
        wanted = math.prod(-(-length // side) for length, side in zip(self._array.shape, sides, strict=True))
        names = (name for _, _, files in os.walk(self._folder) for name in files)
        missing = wanted - sum(name not in METADATA for name in names)
        if missing <= 0:
            return ()
        return (f"{missing:,} of its {wanted:,} chunks are not stored and are read as {self._fill}",)

    @property
    def _fill(self) -> int:
        return int(self._array.fill_value or 0)

    def read(self, box: Box) -> tuple[Pixels, str]:
        """Return the picture of a box: one plane or projection, grey or in colours."""
        stack = stack_of(self._array.shape, self._letters, self._options)
        stack.picture(self._options)  # report a missing plane or channel
        picks, letters, rest = _picks(stack, self._letters, self._options)
        x0, y0, x1, y1 = box
        where = {**picks, "Y": slice(y0, y1), "X": slice(x0, x1)}
        index = tuple(
            where.get(letter, slice(0, length)) for letter, length in zip(self._letters, self._array.shape, strict=True)
        )
        if lost := self._lost_chunk(index):
            raise ImageReadError(lost)
        try:
            pixels = np.asarray(self._array.oindex[index])
        except Exception as error:  # damaged chunks make zarr and the codecs raise anything
            height, width = self.tile
            left, top = x0 // width * width, y0 // height * height
            if x1 > left + width or y1 > top + height:  # which of the chunks?
                for part in self._tiles(box):
                    self.read(part)
            text = " ".join(str(error).split())[:200]
            raise ImageReadError(f"its data is damaged near x {left}, y {top} px ({text})") from error
        pixels, axes = samples_last(pixels, letters)
        picture, _ = Stack(pixels, axes, rest.channels is not None).picture(rest)
        return picture, "YXS" if picture.ndim == 3 else "YX"

    def _tiles(self, box: Box) -> Iterator[Box]:
        """Yield the parts of a box that lie in one tile each."""
        x0, y0, x1, y1 = box
        height, width = self.tile
        for top in range(y0 // height * height, y1, height):
            for left in range(x0 // width * width, x1, width):
                yield max(left, x0), max(top, y0), min(left + width, x1), min(top + height, y1)

    def _lost_chunk(self, index: tuple[Any, ...]) -> str:
        """Return what is lost: a chunk that is not stored though a coarser level has values there; empty if nothing is.

        The format leaves out chunks without values, so that a missing file alone is no damage.
        """
        if self._folder is None:
            return ""
        array = self._array
        sides = array.shards or array.chunks
        spans = [
            range(part.start // side, -(-part.stop // side)) if isinstance(part, slice) else {i // side for i in part}
            for part, side in zip(index, sides, strict=True)
        ]
        for place in itertools.product(*spans):
            key = array.metadata.encode_chunk_key(place)
            if (self._folder / key).exists():
                continue
            top, left = place[-2] * sides[-2], place[-1] * sides[-1]
            if key not in self._lost:
                bottom, right = min(top + sides[-2], self.size[0]), min(left + sides[-1], self.size[1])
                self._lost[key] = any(
                    level.has_values((left, top, right, bottom), self.size, self._fill) for level in self._coarser
                )
            if self._lost[key]:
                return f"its chunk near x {left}, y {top} px is missing ({self._folder.name}/{key})"
        return ""

    def has_values(self, box: Box, size: tuple[int, int], fill: int) -> bool:
        """Return whether the inside of a box of a finer level of some ``size`` is stored here as more than ``fill``."""
        y_factor, x_factor = self.size[0] / size[0], self.size[1] / size[1]
        x0, y0 = math.ceil(box[0] * x_factor) + 1, math.ceil(box[1] * y_factor) + 1
        x1, y1 = math.floor(box[2] * x_factor) - 1, math.floor(box[3] * y_factor) - 1
        if x1 <= x0 or y1 <= y0:
            return False
        try:
            values = np.asarray(self._array[..., y0:y1, x0:x1])
        except Exception:  # noqa: BLE001 - a damaged chunk had values
            return True
        return bool((values != fill).any())


def _picks(stack: Stack, letters: str, options: ReadOptions) -> tuple[dict[str, slice | list[int]], str, ReadOptions]:
    """Return by axis the part that the picture needs, the axes of that part, and how to take the picture from it."""
    picks: dict[str, slice | list[int]] = {}
    leading, channel = stack.leading, stack.channel_axis
    if channel is not None and not stack.is_three_pages:
        picks[leading[channel]] = list(options.channels or (0,))
        letters = letters.replace("C", "Q").replace(leading[channel].replace("C", "Q"), "C")
        options = options.model_copy(update={"channels": None})
    others = [i for i in range(len(leading)) if i != channel]
    if others and not isinstance(options.plane, str):
        place = np.unravel_index(options.plane or 0, [stack.pixels.shape[i] for i in others])
        picks |= {leading[i]: [int(number)] for i, number in zip(others, place, strict=True)}
        options = options.model_copy(update={"plane": None})
    return picks, letters, options
