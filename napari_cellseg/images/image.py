"""`Image`: decoded pixels, which of them are the picture, and how they become 8-bit RGB."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.images.brightness import Scaling, brightness_warnings, choose_limits, to_8bit
from napari_cellseg.images.options import ReadOptions

__all__ = ["Image"]


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image.

    Attributes
    ----------
    pixels : (H, W), (H, W, 3|4), or either of them with leading axes (Z, T, C, ...)
        The values as stored (palettes and inverted greys resolved, colours divided by a premultiplied alpha).
    axes : str
        One letter an axis, as tifffile's: "YX", "YXS", "ZYX", "ZYXS", ...
    pixel_size_um : float or None
        Side of a pixel of these ``pixels``.
    path : Path
    options : ReadOptions
        Which limits, plane and channels make the picture.
    """

    pixels: npt.NDArray[Any]
    axes: str
    pixel_size_um: float | None
    path: Path
    options: ReadOptions = field(default_factory=ReadOptions)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        y = self.axes.index("Y")
        return int(self.pixels.shape[y]), int(self.pixels.shape[y + 1])

    @property
    def planes(self) -> int:
        """Number of planes (H, W) or (H, W, 3|4)."""
        return int(np.prod(self.pixels.shape[: self.axes.index("Y")], dtype=int))

    @cached_property
    def scaling(self) -> Scaling:
        """Which values of the picture become black and white."""
        picture, alpha = self._picture(0)
        return choose_limits(picture, self.options.limits, alpha)

    def with_options(self, options: ReadOptions) -> Image:
        """Return the same pixels, read in another way."""
        return replace(self, options=options)

    def rgb(self, plane: int = 0) -> npt.NDArray[np.uint8]:
        """Return one plane as (H, W, 3) uint8: alpha is dropped, grey repeated, values scaled by ``scaling``."""
        picture = self._picture(plane)[0]
        pixels = to_8bit(picture if picture.ndim == 3 else picture[..., None], self.scaling)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def warnings(self) -> list[str]:
        """Return what the user should know before believing the picture, each as the rest of a sentence on "it"."""
        picture, alpha = self._picture(0)
        return brightness_warnings(picture, self.scaling, alpha)

    def _picture(self, plane: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """Return (H, W) or (H, W, 3) values as stored, and alpha (H, W) if there is one."""
        pixels = self.pixels.reshape(-1, *self.pixels.shape[self.axes.index("Y") :])[plane]
        if not self.axes.endswith("S"):
            return pixels, None
        return pixels[..., :3], pixels[..., 3] if pixels.shape[-1] == 4 else None
