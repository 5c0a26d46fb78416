"""Extracts the picture from a stack: a plane or a projection, and one channel as grey or three as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.options import ReadOptions

__all__ = ["Stack"]

Pixels = npt.NDArray[Any]

_NAMELESS = ("Q", "I")  # pages whose meaning the file does not state


@dataclass(frozen=True, eq=False)
class Stack:
    """Pixels with leading axes, viewed as planes of channels.

    Attributes
    ----------
    pixels : (..., H, W) or (..., H, W, 3|4)
    axes : str
        One letter per axis, ending in "YX" or "YXS".
    channels_chosen : bool
        Whether the options choose channels; if so, the only axis counts as the channel axis even without a name.
    """

    pixels: Pixels
    axes: str
    channels_chosen: bool = False

    @staticmethod
    def stand_in(shape: Sequence[int]) -> Pixels:
        """Return an array of a shape that takes no memory, to count planes and channels without decoding."""
        return np.broadcast_to(np.zeros((), np.uint8), tuple(shape))

    @property
    def leading(self) -> str:
        """The axes before Y."""
        return self.axes[: self.axes.index("Y")]

    @property
    def is_three_pages(self) -> bool:
        """Whether the stack is three grey pages of unstated meaning, which are read as red, green and blue."""
        return self.leading in _NAMELESS and self.pixels.shape[0] == 3 and not self.axes.endswith("S")

    @property
    def channel_axis(self) -> int | None:
        """The channel axis; None if there is one channel, or the colours are samples."""
        if "C" in self.leading:
            return self.leading.index("C")
        if self.is_three_pages or (self.channels_chosen and len(self.leading) == 1):
            return 0
        return None

    @property
    def channels(self) -> int:
        """Number of channels to choose from."""
        return 1 if self.channel_axis is None else int(self.pixels.shape[self.channel_axis])

    @property
    def planes(self) -> int:
        """Number of planes along all axes except the channel axis."""
        return int(np.prod(self.pixels.shape[: len(self.leading)], dtype=int)) // self.channels

    def picture(self, options: ReadOptions) -> tuple[Pixels, str]:
        """Return (H, W) or (H, W, 3|4) values as stored, and a description of the part (empty: the whole image).

        Raises
        ------
        ImageReadError
            The plane or channel does not exist. The message lacks the path.
        """
        pixels = self.pixels
        if self.channel_axis is not None:
            pixels = np.moveaxis(pixels, self.channel_axis, len(self.leading) - 1)
        pixels = pixels.reshape(self.planes, self.channels, *pixels.shape[len(self.leading) :])
        plane, of_planes = self._plane(pixels, options)
        picture, of_channels = self._channels(plane, options)
        return picture, ", ".join(part for part in (of_planes, of_channels) if part)

    def _plane(self, pixels: Pixels, options: ReadOptions) -> tuple[Pixels, str]:
        """Return (channels, H, W, ...) of one plane or projection."""
        chosen = 0 if options.plane is None else options.plane
        if chosen == "max":
            return pixels.max(0), f"maximum of {self.planes} planes" if self.planes > 1 else ""
        if chosen == "mean":
            mean = pixels.mean(0)
            mean = mean if pixels.dtype.kind == "f" else np.rint(mean)
            return mean.astype(pixels.dtype), f"mean of {self.planes} planes" if self.planes > 1 else ""
        if chosen >= self.planes:
            raise ImageReadError(f"it has no plane {chosen}; there are {self.planes}, counted from 0")
        return pixels[chosen], f"plane {chosen} of {self.planes}" if self.planes > 1 else ""

    def _channels(self, plane: Pixels, options: ReadOptions) -> tuple[Pixels, str]:
        chosen = options.channels
        if chosen is None and self.is_three_pages:
            chosen = (0, 1, 2)
        if chosen is None:
            return plane[0], f"channel 0 of {self.channels}" if self.channels > 1 else ""
        if self.channel_axis is None and self.axes.endswith("S"):  # of a colour image
            plane = np.moveaxis(plane[0], -1, 0)
        wrong = [number for number in chosen if number >= len(plane)]
        if wrong:
            raise ImageReadError(f"it has no channel {wrong[0]}; there are {len(plane)}, counted from 0")
        if len(chosen) == 1:
            return plane[chosen[0]], f"channel {chosen[0]} of {len(plane)}"
        picture = np.ascontiguousarray(np.moveaxis(plane[list(chosen)], 0, -1))
        kind = "pages" if self.is_three_pages else "channels"
        return picture, f"{kind} {', '.join(map(str, chosen))} as red, green, blue"
