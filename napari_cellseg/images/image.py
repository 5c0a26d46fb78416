"""`Image`: decoded pixels, the plane and channels that make the picture, and its conversion to 8-bit RGB."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.brightness import (
    Histogram,
    Scaling,
    brightness_warnings,
    choose_limits,
    histogram_of,
    to_8bit,
)
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.planes import Stack
from napari_cellseg.images.statistics import PictureFacts, picture_facts, sampled

__all__ = ["Image"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Image:
    """A decoded image.

    Attributes
    ----------
    pixels : (H, W), (H, W, 3|4), or either of them with leading axes (Z, T, C, ...)
        The values as stored (palettes and inverted greys resolved, colours divided by a premultiplied alpha).
    axes : str
        One letter per axis, as in tifffile: "YX", "YXS", "ZYX", "ZYXS", ...
    pixel_size_um : float or None
        Pixel size of ``pixels``.
    path : Path
    options : ReadOptions
        The limits, plane and channels of the picture.
    levels_skipped : int
        Finer resolution levels of the file that do not fit into memory.
    stack : Stack, optional
        The stack of which ``pixels`` is already the chosen picture, as a stand-in; None if ``pixels`` is all of it.
    notes : tuple of str
        More warnings about the file, as clauses.
    limits_of : Image, optional
        The overview whose brightness limits are used: those of a large image, which may also be read by regions.
    """

    pixels: npt.NDArray[Any]
    axes: str
    pixel_size_um: float | None
    path: Path
    options: ReadOptions = field(default_factory=ReadOptions)
    levels_skipped: int = 0
    stack: Stack | None = None
    notes: tuple[str, ...] = ()
    limits_of: Image | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        y = self.axes.index("Y")
        return int(self.pixels.shape[y]), int(self.pixels.shape[y + 1])

    @property
    def planes(self) -> int:
        """Number of (H, W) or (H, W, 3|4) arrays in ``pixels``."""
        return int(np.prod(self.pixels.shape[: self.axes.index("Y")], dtype=int))

    @property
    def choices(self) -> tuple[int, int]:
        """Numbers of planes and channels to choose from; (1, 1) for a plain image."""
        return self._stack.planes, self._stack.channels

    @property
    def shown(self) -> str:
        """Description of the part of a stack that the picture shows; empty if it shows the whole image."""
        return self._picture[1]

    @cached_property
    def scaling(self) -> Scaling:
        """The values of the picture that become black and white."""
        if self.limits_of is not None and _part(self.limits_of.options) == _part(self.options):
            return self.limits_of.with_options(self.options).scaling
        return choose_limits(*_colours(self._picture[0]), self.options.limits)

    @cached_property
    def histogram(self) -> Histogram:
        """How often each value occurs in the picture."""
        return histogram_of(*_colours(self._picture[0]))

    @cached_property
    def facts(self) -> PictureFacts:
        """Statistics of the picture, from an even grid of its pixels: without converting a large picture."""
        picture, _ = _colours(self._picture[0])
        grid = sampled(picture)
        return picture_facts(to_8bit(grid if grid.ndim == 3 else grid[..., None].repeat(3, -1), self.scaling))

    def with_options(self, options: ReadOptions) -> Image:
        """Return the same pixels with other options."""
        return replace(self, options=options)

    def rgb(self, plane: int | None = None) -> npt.NDArray[np.uint8]:
        """Return the picture as (H, W, 3) uint8: alpha is dropped, grey repeated, values scaled by ``scaling``.

        Raises
        ------
        ImageReadError
            The image has no such plane or channel.
        """
        if plane is not None and plane != self.options.plane:
            return self.with_options(self.options.model_copy(update={"plane": plane})).rgb()
        return self.rgb_between(self.scaling)

    def rgb_between(self, scaling: Scaling) -> npt.NDArray[np.uint8]:
        """Return what `rgb` would with these limits of brightness; for a preview."""
        picture, _ = _colours(self._picture[0])
        pixels = to_8bit(picture if picture.ndim == 3 else picture[..., None], scaling)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def rgb_of(self, pixels: npt.NDArray[Any], axes: str) -> npt.NDArray[np.uint8]:
        """Return a part of the file, or another resolution of it, as `rgb` does with the limits of this image."""
        return replace(self, pixels=pixels, axes=axes).rgb_between(self.scaling)

    def warnings(self) -> list[str]:
        """Return warnings about how the file was read, each as a clause that follows the file name."""
        notes = self.notes if self.limits_of is None else self.limits_of.notes
        found = [*notes, *brightness_warnings(*_colours(self._picture[0]), self.scaling)]
        if level := self.levels_skipped:
            found.append(
                f"it is read at resolution level {level}, the finest that fits into memory; "
                "napari-cellseg predict --level 0 reads the finest by regions"
            )
        planes, channels = self.choices
        if planes > 1 and self.options.plane is None:
            found.append(f"it has {planes} planes, and plane 0 is read; --plane chooses another, max, mean or all")
        if channels > 1 and self.options.channels is None:
            what = "its three pages are read as red, green and blue"
            if not self._stack.is_three_pages:
                what = f"it has {channels} channels, and channel 0 is read as grey"
            found.append(f"{what}; --channels chooses others")
        return found

    @cached_property
    def _stack(self) -> Stack:
        return self.stack or Stack(self.pixels, self.axes, self.options.channels is not None)

    @cached_property
    def _picture(self) -> tuple[npt.NDArray[Any], str]:
        try:
            picture, part = self._stack.picture(self.options)
            return (picture if self.stack is None else self.pixels), part
        except ImageReadError as error:
            raise ImageReadError(f"Cannot read {self.path}: {error}.") from error


def _part(options: ReadOptions) -> tuple[Any, ...]:
    """Return which part of a stack the options choose."""
    return options.plane or 0, options.channels


def _colours(picture: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return (H, W) or (H, W, 3) values, and alpha (H, W) if there is one."""
    if picture.ndim == 3 and picture.shape[-1] == 4:
        return picture[..., :3], picture[..., 3]
    return picture, None
