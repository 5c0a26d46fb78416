"""Random crops and changes of training images, on the image and one label image per class, never on N masks.

Crop, working scale, zoom, shift and rotation are one resampling: the image bilinear, the label images nearest, at the
same places, so that image and cells cannot drift apart. The rest is `torchvision.transforms.v2`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from napari_cellseg.model.config import ModelConfig
from training.config import AugmentConfig
from training.dataset import TrainingImage
from training.stain import jitter_stains

__all__ = ["Augmentation", "sample_seed"]

_GREY = (0.5, 0.5, 0.5)
_ANTIALIAS_BELOW = 0.75  # a bilinear sample looks at 2 x 2 pixels: enough down to about this zoom


def sample_seed(seed: int, epoch: int, image_id: str, repeat: int = 0) -> int:
    """Return the seed of one sample: the same for the same run seed, epoch, image and repeat, on every machine."""
    words = [seed, epoch, zlib.crc32(image_id.encode()), repeat]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class _Window:
    """What is cut: ``size`` (h, w) px of output around ``centre`` (y, x) px of the image, zoomed and rotated."""

    size: tuple[int, int]
    centre: tuple[float, float]
    zoom: float
    angle: float  # radians


class Augmentation:
    """Cut and change training images at random, the same way for the same seed.

    Parameters
    ----------
    config : AugmentConfig
        What, how much and how often.
    working_scale : float
        Network px per image px.
    class_count : int
        K.
    fill : (float, float, float)
        Red, green, blue in 0..1 of what lies outside the image; the mean the network subtracts makes it neutral.
    """

    def __init__(
        self,
        config: AugmentConfig,
        *,
        working_scale: float = 1.0,
        class_count: int,
        fill: tuple[float, float, float] = _GREY,
    ) -> None:
        self.config = config
        self.working_scale = working_scale
        self.class_count = class_count
        self.fill = fill

    @classmethod
    def of(cls, config: AugmentConfig, model: ModelConfig) -> Augmentation:
        """Return the augmentation that fits a model: its working scale, classes and neutral colour."""
        return cls(
            config,
            working_scale=model.working_scale,
            class_count=model.num_classes,
            fill=model.backbone.mean or _GREY,
        )

    def __call__(self, image: TrainingImage, seed: int) -> tuple[Tensor, Tensor]:
        """Return one random view of an image.

        Returns
        -------
        rgb : (3, h, w) float32
            0..1; ``h`` and ``w`` at most ``config.crop``.
        class_maps : (K, h, w) int32
            Label images of the same places; cells that the crop cut to a sliver are gone.
        """
        rng = np.random.default_rng(seed)
        window = self._window(image, rng)
        rgb = self._cut_rgb(image.rgb, window)
        class_maps = self._cut_maps(image.class_maps, window)
        self._drop_slivers(class_maps, image, window.zoom)
        if self.config.enabled:
            rgb, class_maps = self._turn(rgb, class_maps, rng)
            rgb = self._colour(rgb, rng)
        return rgb.contiguous(), class_maps.contiguous()

    # ---- geometry ----

    def _window(self, image: TrainingImage, rng: np.random.Generator) -> _Window:
        config = self.config
        zoom, angle, shift = self.working_scale, 0.0, np.zeros(2)
        if config.enabled and rng.random() < config.shift_scale_rotate:
            zoom *= 1 + rng.uniform(-config.scale, config.scale)
            angle = float(np.deg2rad(rng.uniform(-config.rotate, config.rotate)))
            shift = rng.uniform(-config.shift, config.shift, 2)
        full = np.array(image.rgb.shape[:2], np.float64)
        size = np.maximum(np.rint(full * self.working_scale), 1)
        if config.crop is not None:
            size = np.minimum(size, config.crop)
        half = size / zoom / 2
        # Where the image is larger than the crop, the crop's place is the shift; else the image moves in its frame.
        room = full > 2 * half
        centre = np.where(room, rng.uniform(np.minimum(half, full / 2), np.maximum(full - half, full / 2)), full / 2)
        if config.crop is not None and rng.random() < config.class_balance and image.cell_count:
            centre = np.where(room, self._near_a_cell(image, half, rng), centre)
            centre = np.where(room, np.clip(centre, half, np.maximum(full - half, half)), centre)
        centre = centre + np.where(room, 0, shift * full)
        if zoom == 1 and angle == 0:  # whole pixels, so that nothing is blurred for nothing
            centre = np.floor(centre - size / 2) + size / 2
        return _Window((int(size[0]), int(size[1])), (float(centre[0]), float(centre[1])), float(zoom), angle)

    def _near_a_cell(
        self, image: TrainingImage, half: npt.NDArray[np.float64], rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        centres = image.centres[int(rng.choice(sorted(image.centres)))]
        # Not in the middle: the network would learn that there is always a cell there.
        place: npt.NDArray[np.float64] = centres[rng.integers(len(centres))] + rng.uniform(-0.8, 0.8, 2) * half
        return place

    def _cut_rgb(self, pixels: npt.NDArray[np.uint8], window: _Window) -> Tensor:
        part, window = _neighbourhood(pixels, window)
        source = torch.from_numpy(np.require(part, requirements=("C", "W"))).permute(2, 0, 1).float().div_(255)
        if window.zoom < _ANTIALIAS_BELOW:
            source, window = _shrink(source, window)
        fill = torch.tensor(self.fill, dtype=torch.float32)[:, None, None]
        # Outside the image grid_sample gives 0, so what shall be there is 0 while it samples.
        sampled = functional.grid_sample((source - fill)[None], _grid(source, window), align_corners=False)[0]
        return sampled.add_(fill).clamp_(0, 1)

    def _cut_maps(self, class_maps: Mapping[int, npt.NDArray[Any]], window: _Window) -> Tensor:
        cut = torch.zeros((self.class_count, *window.size), dtype=torch.int32)
        if not class_maps:
            return cut
        parts = [_neighbourhood(label_image, window) for label_image in class_maps.values()]
        # float32 holds whole numbers up to 2**24; read_sample renumbers cells 1..n.
        source = torch.from_numpy(np.stack([part for part, _ in parts]).astype(np.float32))
        grid = _grid(source, parts[0][1])
        sampled = functional.grid_sample(source[None], grid, mode="nearest", align_corners=False)[0]
        cut[[class_id - 1 for class_id in class_maps]] = sampled.to(torch.int32)
        return cut

    def _drop_slivers(self, class_maps: Tensor, image: TrainingImage, zoom: float) -> None:
        for class_id, areas in image.areas.items():
            label_image = class_maps[class_id - 1]
            left = torch.bincount(label_image.reshape(-1), minlength=len(areas)).numpy()
            wanted = np.maximum(areas * (zoom**2 * self.config.min_visible), self.config.min_pixels)
            slivers = (left > 0) & (left < wanted)
            slivers[0] = False
            if slivers.any():
                kept = torch.from_numpy(np.where(slivers, 0, np.arange(len(areas))).astype(np.int32))
                # index_select is five times as fast as kept[label_image].
                class_maps[class_id - 1] = kept.index_select(0, label_image.reshape(-1)).reshape(label_image.shape)

    def _turn(self, rgb: Tensor, class_maps: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        if rng.random() < self.config.flip:
            rgb, class_maps = transforms.horizontal_flip(rgb), transforms.horizontal_flip(class_maps)
        if rng.random() < self.config.flip:
            rgb, class_maps = transforms.vertical_flip(rgb), transforms.vertical_flip(class_maps)
        if rng.random() < self.config.quarter_turn:
            turns = int(rng.integers(1, 4))
            rgb, class_maps = torch.rot90(rgb, turns, (1, 2)), torch.rot90(class_maps, turns, (1, 2))
        return rgb, class_maps

    # ---- colour ----

    def _colour(self, rgb: Tensor, rng: np.random.Generator) -> Tensor:
        config = self.config
        if rng.random() < config.stain:
            strength = config.stain_strength
            factors, offsets = rng.uniform(1 - strength, 1 + strength, 3), rng.uniform(-strength, strength, 3)
            rgb = jitter_stains(rgb, factors, offsets)
        if rng.random() < config.hue_saturation_value:
            rgb = transforms.adjust_hue(rgb, rng.uniform(-config.hue, config.hue))
            rgb = transforms.adjust_saturation(rgb, 1 + rng.uniform(-config.saturation, config.saturation))
            rgb = transforms.adjust_brightness(rgb, 1 + rng.uniform(-config.value, config.value))
        if rng.random() < config.brightness_contrast:
            gain, offset = 1 + rng.uniform(-config.contrast, config.contrast), rng.uniform(-1, 1) * config.brightness
            rgb = (rgb * gain).add_(offset).clamp_(0, 1)
        if rng.random() < config.blur and config.blur_sigma > 0:
            sigma = rng.uniform(0.1, 1) * config.blur_sigma
            rgb = transforms.gaussian_blur(rgb, 2 * int(np.ceil(2 * sigma)) + 1, sigma)
        return rgb


def _neighbourhood(array: npt.NDArray[Any], window: _Window) -> tuple[npt.NDArray[Any], _Window]:
    """Return the part of an image that a window can touch, and the window in the part's coordinates."""
    height, width = array.shape[:2]
    (h, w), (cy, cx) = window.size, window.centre
    cos, sin = abs(np.cos(window.angle)), abs(np.sin(window.angle))
    # Two pixels of margin for the bilinear samples, more where the part is shrunk first.
    margin = 2 + 2 / window.zoom
    reach_y, reach_x = (h * cos + w * sin) / window.zoom / 2 + margin, (w * cos + h * sin) / window.zoom / 2 + margin
    y0, x0 = max(0, int(cy - reach_y)), max(0, int(cx - reach_x))
    y0, x0 = min(y0, height - 1), min(x0, width - 1)
    part = array[y0 : max(y0 + 1, int(np.ceil(cy + reach_y))), x0 : max(x0 + 1, int(np.ceil(cx + reach_x)))]
    return part, _Window(window.size, (cy - y0, cx - x0), window.zoom, window.angle)


def _shrink(source: Tensor, window: _Window) -> tuple[Tensor, _Window]:
    height, width = source.shape[1:]
    size = [max(1, round(height * window.zoom)), max(1, round(width * window.zoom))]
    zoom_y, zoom_x = size[0] / height, size[1] / width
    small = transforms.resize(source, size, antialias=True)
    centre = (window.centre[0] * zoom_y, window.centre[1] * zoom_x)
    return small, _Window(window.size, centre, window.zoom / ((zoom_y * zoom_x) ** 0.5), window.angle)


def _grid(source: Tensor, window: _Window) -> Tensor:
    """Return where each output pixel lies in ``source``, (1, h, w, 2), in grid_sample's -1..1 (x, y)."""
    height, width = source.shape[-2:]
    (h, w), (cy, cx) = window.size, window.centre
    cos, sin = np.cos(window.angle) / window.zoom, np.sin(window.angle) / window.zoom
    rows, columns = np.arange(h) + 0.5 - h / 2, np.arange(w) + 0.5 - w / 2
    grid = torch.empty((1, h, w, 2))
    for axis, along_columns, along_rows, length in (
        (0, columns * cos, cx - rows * sin, width),
        (1, columns * sin, cy + rows * cos, height),
    ):
        across, down = (torch.from_numpy(part.astype(np.float32)) for part in (along_columns, along_rows - length / 2))
        torch.add(across[None], down[:, None], out=grid[0, ..., axis])
        grid[0, ..., axis] *= 2 / length
    return grid
