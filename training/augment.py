"""Random crops and augmentations of training images: on the image and one label image per class, never on N masks.

Crop, working scale, zoom, shift and rotation are one resampling, bilinear for the image and nearest for the label
images, at the same positions, so that image and cells stay aligned. The resampling works in strips and writes into a
flipped and turned view of the result, so memory holds little more than the result. `torchvision.transforms.v2` changes
colours and shrinks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
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
from training.copy_paste import copy_cells
from training.dataset import TrainingImage
from training.stain import jitter_stains

__all__ = ["Augmentation", "sample_seed"]

_GREY = (0.5, 0.5, 0.5)
_STRIP = 128  # px
_ANTIALIAS_BELOW = 0.75  # a bilinear sample looks at 2 x 2 pixels: enough down to about this zoom


def sample_seed(seed: int, epoch: int, image_id: str, repeat: int = 0) -> int:
    """Return the seed of one sample; run seed, epoch, image and repeat determine it on every machine."""
    words = [seed, epoch, zlib.crc32(image_id.encode()), repeat]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class _Window:
    """The window to cut: ``size`` (h, w) px of output around ``centre`` (y, x) px of the image, zoomed and rotated."""

    size: tuple[int, int]
    centre: tuple[float, float]
    zoom: float
    angle: float  # radians


@dataclass(frozen=True)
class _Turn:
    """Flips, then quarter turns, of the crop."""

    left_right: bool = False
    up_down: bool = False
    quarters: int = 0

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after the turn."""
        return (width, height) if self.quarters % 2 else (height, width)

    def undone(self, turned: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the view (..., h, w) of a turned array into which the unturned pixels are written."""
        view = np.rot90(turned, -self.quarters, (-2, -1))
        return view[..., :: -1 if self.up_down else 1, :: -1 if self.left_right else 1]


class Augmentation:
    """Crop and augment training images at random; the same seed gives the same result.

    Parameters
    ----------
    config : AugmentConfig
        Which augmentations, how strong and how often.
    working_scale : float
        Network px per image px.
    class_count : int
        K.
    fill : (float, float, float)
        Red, green, blue in 0..1 for pixels outside the image; the mean that the network subtracts makes them neutral.
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
        class_maps : (M, h, w) int32
            Label images of the same window, in the order of `map_classes`; without cells that the crop cut to a sliver.
        """
        rng = np.random.default_rng(seed)
        if self.config.enabled and self.config.copies:
            image = copy_cells(image, self.config.copies, rng)
        window = self._window(image, rng)
        turn = self._turn(rng) if self.config.enabled else _Turn()
        rgb, class_maps = self._cut(image, window, turn)
        return (self._colour(rgb, rng) if self.config.enabled else rgb), class_maps

    def map_classes(self, image: TrainingImage) -> list[int]:
        """Return the class_id of each label image of a view: 1..K, then those of overlapping cells."""
        return [*range(1, self.class_count + 1), *(layer.class_id for layer in image.overlaps)]

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
        if zoom == 1 and angle == 0:  # whole pixels, so that an unrotated crop is not blurred
            centre = np.floor(centre - size / 2) + size / 2
        return _Window((int(size[0]), int(size[1])), (float(centre[0]), float(centre[1])), float(zoom), angle)

    def _near_a_cell(
        self, image: TrainingImage, half: npt.NDArray[np.float64], rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        centres = image.centres[int(rng.choice(sorted(image.centres)))]
        # Not in the middle: the network would learn that there is always a cell there.
        place: npt.NDArray[np.float64] = centres[rng.integers(len(centres))] + rng.uniform(-0.8, 0.8, 2) * half
        return place

    def _turn(self, rng: np.random.Generator) -> _Turn:
        left_right, up_down = (bool(chance) for chance in rng.random(2) < self.config.flip)
        quarters = int(rng.integers(1, 4)) if rng.random() < self.config.quarter_turn else 0
        return _Turn(left_right, up_down, quarters)

    def _cut(self, image: TrainingImage, window: _Window, turn: _Turn) -> tuple[Tensor, Tensor]:
        size = turn.size(*window.size)
        maps = [
            (class_id - 1, label_image, image.areas[class_id]) for class_id, label_image in image.class_maps.items()
        ]
        maps += [(self.class_count + i, each.label_image, each.areas) for i, each in enumerate(image.overlaps)]
        rgb = np.empty((3, *size), np.float32)
        class_maps = np.zeros((self.class_count + len(image.overlaps), *size), np.int32)
        rgb_view, maps_view = turn.undone(rgb), turn.undone(class_maps)
        present = set()
        for rows, strip in _strips(window):
            place, inner = _neighbourhood(image.rgb.shape[:2], strip)
            part = image.rgb[place]
            grid = _grid(part.shape[:2], inner)
            rgb_view[:, rows] = self._sample(part, grid, window.zoom)
            for index, label_image, _ in maps:
                if (cells := label_image[place]).any():
                    maps_view[index, rows] = _sample_nearest(cells, grid)
                    present.add(index)
        for index, _, areas in maps:
            if index in present:
                self._drop_slivers(class_maps[index], areas * window.zoom**2)
        return torch.from_numpy(rgb), torch.from_numpy(class_maps)

    def _sample(self, pixels: npt.NDArray[np.uint8], grid: Tensor, zoom: float) -> Tensor:
        source = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(2, 0, 1).float().div_(255)
        if zoom < _ANTIALIAS_BELOW:
            # The grid runs from -1 to 1 across the image, whatever its size.
            small = [max(1, round(side * zoom)) for side in pixels.shape[:2]]
            source = transforms.resize(source, small, antialias=True)
        fill = torch.tensor(self.fill)[:, None, None]
        # grid_sample gives 0 outside the image, so the fill colour is shifted to 0 while it samples.
        sampled = functional.grid_sample(source.sub_(fill)[None], grid, align_corners=False)[0]
        return sampled.add_(fill).clamp_(0, 1)

    def _drop_slivers(self, label_image: npt.NDArray[np.int32], areas: npt.NDArray[Any]) -> None:
        flat = torch.from_numpy(label_image).reshape(-1)
        left = torch.bincount(flat, minlength=len(areas)).numpy()
        wanted = np.maximum(areas * self.config.min_visible, self.config.min_pixels)
        slivers = (left > 0) & (left < wanted)
        slivers[0] = False
        if slivers.any():
            kept = torch.from_numpy(np.where(slivers, 0, np.arange(len(areas))).astype(np.int32))
            # index_select is five times as fast as kept[label_image].
            label_image[:] = kept.index_select(0, flat).reshape(label_image.shape).numpy()

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
        # Last, and without a random number where the rate is 0: older runs can be repeated.
        if config.tint and rng.random() < config.tint:
            tint = 1 - config.tint_strength * rng.random(3).astype(np.float32)
            rgb = rgb * torch.from_numpy(tint / max(tint.max(), 1e-3))[:, None, None]
        if config.invert and rng.random() < config.invert:
            rgb = 1 - rgb
        return rgb


def _neighbourhood(image_size: tuple[int, ...], window: _Window) -> tuple[tuple[slice, slice], _Window]:
    """Return the part of an image that a window can touch, and the window in the coordinates of that part."""
    (h, w), (cy, cx) = window.size, window.centre
    cos, sin = abs(np.cos(window.angle)), abs(np.sin(window.angle))
    # Two pixels of margin for the bilinear samples, more where the part is shrunk first.
    margin = 2 + 2 / window.zoom
    reach = (h * cos + w * sin) / window.zoom / 2 + margin, (w * cos + h * sin) / window.zoom / 2 + margin
    starts, ends = [], []
    for centre, far, length in zip(window.centre, reach, image_size, strict=True):
        starts.append(min(max(0, int(centre - far)), length - 1))
        ends.append(max(starts[-1] + 1, int(np.ceil(centre + far))))
    place = (slice(starts[0], ends[0]), slice(starts[1], ends[1]))
    return place, _Window(window.size, (cy - starts[0], cx - starts[1]), window.zoom, window.angle)


def _sample_nearest(label_image: npt.NDArray[Any], grid: Tensor) -> Tensor:
    # float32 holds whole numbers up to 2**24; read_sample renumbers cells 1..n.
    source = torch.from_numpy(label_image.astype(np.float32))[None, None]
    return functional.grid_sample(source, grid, mode="nearest", align_corners=False)[0, 0]


def _strips(window: _Window) -> Iterator[tuple[slice, _Window]]:
    """Cut a window into strips; yield the rows of each strip, and the strip as a window."""
    (height, width), (cy, cx) = window.size, window.centre
    cos, sin = np.cos(window.angle) / window.zoom, np.sin(window.angle) / window.zoom
    for top in range(0, height, _STRIP):
        rows = min(_STRIP, height - top)
        down = top + rows / 2 - height / 2
        centre = (float(cy + down * cos), float(cx - down * sin))
        yield slice(top, top + rows), _Window((rows, width), centre, window.zoom, window.angle)


def _grid(size: tuple[int, ...], window: _Window) -> Tensor:
    """Return the position of each output pixel in an image of a size, (1, h, w, 2), in grid_sample's -1..1 (x, y)."""
    height, width = size
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
