"""Summary statistics of the images of a training set, and the distance of another image from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ImageStatistics", "PictureFacts", "picture_facts", "sampled", "summarise"]

_SAMPLED_SIDE = 512
_FAR_DEVIATIONS, _FAR_LEVELS = 4.0, 70.0  # both must be exceeded: a set of similar images has a tiny deviation
# Chroma below the first is grey, above the second is colour. A pale H&E tile, nearly all of it background, has 4.
_GREY, _COLOURED = 2.0, 15.0


@dataclass(frozen=True)
class PictureFacts:
    """The statistics of one picture: means over its pixels, each 0..255.

    Attributes
    ----------
    colour : (float, float, float)
        Mean red, green, blue.
    contrast : float
        Standard deviation of the brightness.
    chroma : float
        Mean difference of the largest and the smallest of R, G, B; near 0 for grey pictures.
    """

    colour: tuple[float, float, float]
    contrast: float
    chroma: float

    @property
    def brightness(self) -> float:
        """Mean of the three colours."""
        return sum(self.colour) / 3


class ImageStatistics(BaseModel):
    """The statistics of a training set; pairs are the mean and the standard deviation over its images, 0..255."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    colour: tuple[float, float, float]
    brightness: tuple[float, float]
    contrast: tuple[float, float]
    chroma: tuple[float, float]
    cell_side_px: float | None = Field(
        None, description="Median of sqrt(width x height) of the cells' boxes, px of the training images"
    )

    def difference(self, facts: PictureFacts) -> str | None:
        """Describe how a picture differs from all training images; None if it could be one of them."""
        far = []
        mean, deviation = self.brightness
        if abs(facts.brightness - mean) > max(_FAR_DEVIATIONS * deviation, _FAR_LEVELS):
            word = "dark" if facts.brightness < mean else "bright"
            far.append(f"{word} (mean {facts.brightness:.0f} of 255, they have {mean:.0f} ± {deviation:.0f})")
        if self.chroma[0] > _COLOURED and facts.chroma < _GREY:
            far.append("grey, they are coloured")
        elif self.chroma[0] < _GREY and facts.chroma > _COLOURED:
            far.append("coloured, they are grey")
        return " and ".join(far) or None


def picture_facts(rgb: npt.NDArray[np.uint8]) -> PictureFacts:
    """Return the statistics of a picture (H, W, 3), from an even grid of its pixels."""
    pixels = sampled(rgb).reshape(-1, 3).astype(np.float32)
    red, green, blue = (float(value) for value in pixels.mean(0))
    return PictureFacts((red, green, blue), float(pixels.mean(1).std()), float(np.ptp(pixels, axis=1).mean()))


def sampled(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an even grid of the pixels of a picture (H, W, ...), at most 512 x 512; all of a small one."""
    steps = tuple(slice(None, None, -(-side // _SAMPLED_SIDE)) for side in picture.shape[:2])
    return np.asarray(picture[steps])


def summarise(pictures: Sequence[PictureFacts], cell_sides: npt.NDArray[np.float32]) -> ImageStatistics:
    """Return the statistics of a training set.

    Parameters
    ----------
    pictures : sequence of PictureFacts
        One per image, at least one.
    cell_sides : (N,) float32
        sqrt(width x height) of each cell's box, px.
    """

    def pair(values: list[float]) -> tuple[float, float]:
        return round(float(np.mean(values)), 1), round(float(np.std(values)), 1)

    red, green, blue = (round(float(value), 1) for value in np.mean([facts.colour for facts in pictures], axis=0))
    return ImageStatistics(
        images=len(pictures),
        colour=(red, green, blue),
        brightness=pair([facts.brightness for facts in pictures]),
        contrast=pair([facts.contrast for facts in pictures]),
        chroma=pair([facts.chroma for facts in pictures]),
        cell_side_px=round(float(np.median(cell_sides)), 1) if len(cell_sides) else None,
    )
