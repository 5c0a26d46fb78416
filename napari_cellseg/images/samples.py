"""Sample images that need no download: scikit-image's IHC photograph, and synthetic tissue.

The synthetic tissue resembles an H&E stain and comes with its ground truth, for demos, tests and benchmarks. It is no
substitute for real data: never quote an accuracy measured on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage, special

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks

__all__ = ["TISSUE_CLASSES", "generate_tissue", "ihc", "write_training_folder"]

TISSUE_CLASSES = ClassTable(("other", "inflammatory", "epithelial", "spindle-shaped"))
"""Classes of the synthetic tissue: CoNSeP's, as merged by Graham et al., "HoVer-Net", Medical Image Analysis 2019."""

# Optical density of one unit of each stain in red, green, blue; near Ruifrok & Johnston (2001), AQCH 23(4).
_HAEMATOXYLIN = np.array([0.60, 0.74, 0.31], np.float32)
_EOSIN = np.array([0.14, 0.92, 0.22], np.float32)

_TRIES = 40
"""Positions tried for a cell before it is left out."""

Map = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """The appearance of a class of nuclei: sizes in px, stain in units of optical density."""

    class_id: int
    share: float
    length: float
    width: float
    spread: float
    wobble: float
    stain: float
    rim: float
    grain: float


_KINDS = (
    _Kind(class_id=1, share=0.06, length=12, width=10, spread=0.25, wobble=0.22, stain=0.85, rim=0.00, grain=0.25),
    _Kind(class_id=2, share=0.30, length=14, width=13, spread=0.10, wobble=0.05, stain=0.66, rim=0.00, grain=0.25),
    _Kind(class_id=3, share=0.38, length=27, width=18, spread=0.12, wobble=0.06, stain=0.26, rim=0.28, grain=0.22),
    _Kind(class_id=4, share=0.26, length=28, width=8, spread=0.16, wobble=0.08, stain=0.45, rim=0.05, grain=0.20),
)


def ihc() -> npt.NDArray[np.uint8]:
    """Return scikit-image's bundled photograph of colon tissue, IHC stain with a blue counterstain, (512, 512, 3)."""
    from skimage import data

    return np.asarray(data.immunohistochemistry(), np.uint8)


def generate_tissue(
    size: tuple[int, int] = (512, 512), cells: int = 150, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], InstanceMasks]:
    """Draw an H&E-like image with nuclei of the four `TISSUE_CLASSES`.

    Round dark inflammatory nuclei of 14 px, oval pale epithelial ones of 27 px in rings around gland lumina, spindles
    of 8 x 28 px along the fibres of the stroma, and small, irregular, dark nuclei of 13 px ("other"), as at 0.25 um
    per px.

    Parameters
    ----------
    size : (int, int)
        Height and width, px.
    cells : int
        Number of nuclei to place; fewer fit if there is no room. About one per 1,800 px is natural.
    seed : int
        The same seed gives the same image on the same version of numpy.

    Returns
    -------
    rgb : (H, W, 3) uint8
    instances : InstanceMasks
        The ground-truth cells; no two overlap, all scores are 1.
    """
    tissue = _Tissue(size, np.random.default_rng(seed))
    shares = np.array([kind.share for kind in _KINDS])
    # Large cells first: glands are full of epithelium, and small cells fit where large ones do not.
    for number in sorted(tissue.rng.choice(len(_KINDS), cells, p=shares).tolist(), key=lambda k: -_KINDS[k].length):
        tissue.add_cell(_KINDS[number])
    return tissue.render(), InstanceMasks.from_crops(size, tissue.offsets, tissue.masks, tissue.class_ids)


def write_training_folder(folder: Path, images: int, size: tuple[int, int] = (512, 512), seed: int = 0) -> None:
    """Write synthetic tissue as training data: ``<folder>/train/tissue_<nn>/image.tif`` and ``class<k>.tif``.

    Images are RGBA, LZW; label images float64; a class without cells has no file, as in the course data
    sets. ``classes.json``, with the class names, is written next to ``train``.
    """
    for index in range(images):
        sample = folder / "train" / f"tissue_{index + 1:02d}"
        sample.mkdir(parents=True, exist_ok=True)
        rgb, truth = generate_tissue(size, max(4, size[0] * size[1] // 1800), seed + index)
        rgba = np.dstack([rgb, np.full(size, 255, np.uint8)])
        with export_write(sample / "image.tif") as file:
            tifffile.imwrite(file, rgba, compression="lzw", photometric="rgb", extrasamples=["unassalpha"])
        for class_id in np.unique(truth.class_ids).tolist():
            label_image = truth.select(truth.class_ids == class_id).paste(dtype=np.float64)
            with export_write(sample / f"class{class_id}.tif") as file:
                tifffile.imwrite(file, label_image, compression="lzw")
    names = {str(class_id): name for class_id, name, _ in TISSUE_CLASSES}
    with export_write(folder / "classes.json") as file:
        file.write(f"{json.dumps(names, indent=1)}\n".encode())


class _Tissue:
    """The two stain maps of an unfinished image, and the cells placed in it."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.size = size
        self.rng = rng
        self.offsets: list[tuple[int, int]] = []
        self.masks: list[npt.NDArray[np.bool_]] = []
        self.class_ids: list[int] = []
        self._taken = np.zeros(size, bool)
        self._grain = _noise(rng, size, 2.5)
        y, x = np.indices(size, np.float32, sparse=True)
        angle = rng.uniform(0, np.pi)
        self._phase: Map = (x * np.sin(angle) - y * np.cos(angle)) / 4.5 + 9 * _noise(rng, size, 90)
        fibres = np.sin(self._phase) + 0.6 * np.sin(2.3 * self._phase + 2 * _noise(rng, size, 25))
        loose = np.clip(_noise(rng, size, 40) - 0.7, 0, 1)  # pale gaps between the fibres
        self._eosin: Map = np.clip(0.135 + 0.03 * fibres + 0.035 * _noise(rng, size, 12) - 0.13 * loose, 0.01, None)
        self._haematoxylin: Map = np.clip(0.065 + 0.02 * _noise(rng, size, 20) - 0.05 * loose, 0.005, None)
        self._glands = self._add_glands()
        self._add_red_cells()

    def add_cell(self, kind: _Kind) -> None:
        """Draw one nucleus at a suitable position, or none if no free position was found."""
        places: dict[int, Callable[[], tuple[float, float, float]]] = {3: self._in_gland, 4: self._along_fibre}
        for attempt in range(_TRIES):
            settled = places.get(kind.class_id, self._anywhere) if attempt < _TRIES // 2 else self._anywhere
            x, y, angle = settled()
            if self._taken[int(y), int(x)]:
                continue
            window, radius = self._shape(kind, x, y, angle)
            mask = radius < 1
            if np.count_nonzero(mask) >= 12 and not (self._taken[window] & mask).any():
                self._taken[window] |= mask
                self._stain(kind, window, radius)
                self.offsets.append((window[1].start, window[0].start))
                self.masks.append(mask)
                self.class_ids.append(kind.class_id)
                return

    def render(self) -> npt.NDArray[np.uint8]:
        """Convert the stains to light (Beer-Lambert law), with the blur and noise of a camera."""
        blurred = [ndimage.gaussian_filter(stain, 0.8) for stain in (self._haematoxylin, self._eosin)]
        channels = []
        for haematoxylin, eosin in zip(_HAEMATOXYLIN, _EOSIN, strict=True):
            light = 247 * np.exp(-np.log(np.float32(10)) * (blurred[0] * haematoxylin + blurred[1] * eosin))
            channels.append(light + 2.5 * self.rng.standard_normal(self.size, np.float32))
        rgb: npt.NDArray[np.uint8] = np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)
        return rgb

    def _add_glands(self) -> list[tuple[float, float, float]]:
        height, width = self.size
        glands: list[tuple[float, float, float]] = []
        warp = 7 * _noise(self.rng, self.size, 30)
        for _ in range(height * width // 60_000):
            radius = self.rng.uniform(48, 85)
            centre_x, centre_y = self.rng.uniform(0, width), self.rng.uniform(0, height)
            if any(np.hypot(centre_x - a, centre_y - b) < radius + r + 45 for a, b, r in glands):
                continue
            glands.append((centre_x, centre_y, radius))
            window, dx, dy = self._window(centre_x, centre_y, int(radius) + 70)
            distance = np.hypot(dx, dy) + warp[window]
            epithelium = special.expit((radius + 20 - distance) / 2)
            lumen = special.expit((radius - 24 - distance) / 2)
            eosin, haematoxylin = self._eosin[window], self._haematoxylin[window]
            eosin += epithelium * (0.13 + 0.02 * self._grain[window] - eosin)
            haematoxylin += epithelium * (0.13 - haematoxylin)
            eosin += lumen * (0.015 - eosin)
            haematoxylin += lumen * (0.012 - haematoxylin)
        return glands

    def _add_red_cells(self) -> None:
        """Draw red blood cells: bright discs without a nucleus, which a model must ignore."""
        for _ in range(self.size[0] * self.size[1] // 12_000):
            x, y, angle = self._anywhere()
            window, radius = self._shape(
                _Kind(class_id=1, share=0, length=11, width=9, spread=0.1, wobble=0.1, stain=0, rim=0, grain=0),
                x,
                y,
                angle,
            )
            self._eosin[window] = np.where(radius < 1, 0.34, self._eosin[window])

    def _anywhere(self) -> tuple[float, float, float]:
        height, width = self.size
        return self.rng.uniform(0, width), self.rng.uniform(0, height), self.rng.uniform(0, np.pi)

    def _in_gland(self) -> tuple[float, float, float]:
        if not self._glands:
            return self._anywhere()
        centre_x, centre_y, radius = self._glands[int(self.rng.integers(len(self._glands)))]
        turn = self.rng.uniform(0, 2 * np.pi)
        distance = radius + self.rng.normal(0, 4)
        x, y = centre_x + distance * np.cos(turn), centre_y + distance * np.sin(turn)
        if not (0 <= x < self.size[1] and 0 <= y < self.size[0]):
            return self._anywhere()
        return x, y, turn + self.rng.normal(0, 0.15)

    def _along_fibre(self) -> tuple[float, float, float]:
        x, y, angle = self._anywhere()
        if any(np.hypot(x - a, y - b) < radius + 22 for a, b, radius in self._glands):
            return self._anywhere()
        rows, columns = (min(max(int(v), 1), n - 2) for v, n in zip((y, x), self.size, strict=True))
        if min(self.size) < 3:
            return x, y, angle
        slope_x = self._phase[rows, columns + 1] - self._phase[rows, columns - 1]
        slope_y = self._phase[rows + 1, columns] - self._phase[rows - 1, columns]
        return x, y, float(np.arctan2(slope_x, -slope_y)) + self.rng.normal(0, 0.15)

    def _window(self, x: float, y: float, reach: int) -> tuple[tuple[slice, slice], Map, Map]:
        """Return the square around a point, clipped to the image, and the dx (1, w), dy (h, 1) of its pixels."""
        left, top = max(0, int(x) - reach), max(0, int(y) - reach)
        right, bottom = min(self.size[1], int(x) + reach + 1), min(self.size[0], int(y) + reach + 1)
        dx = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
        return (slice(top, bottom), slice(left, right)), dx, dy

    def _shape(self, kind: _Kind, x: float, y: float, angle: float) -> tuple[tuple[slice, slice], Map]:
        """Return a window, and the radius map (h, w) in it of a wavy ellipse, 1 on its outline."""
        grown = np.exp(self.rng.normal(0, kind.spread, 2))
        half_length, half_width = kind.length / 2 * grown[0], kind.width / 2 * grown[1]
        reach = int(np.ceil(max(half_length, half_width) * (1 + 2 * kind.wobble))) + 1
        window, dx, dy = self._window(x, y, reach)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along = (dx * cosine + dy * sine) / np.float32(half_length)
        across = (dy * cosine - dx * sine) / np.float32(half_width)
        turn = np.arctan2(across, along)
        outline = np.ones_like(turn)
        for n in (2, 3, 5):
            wave = np.cos(n * turn + np.float32(self.rng.uniform(0, 2 * np.pi)))
            outline += np.float32(self.rng.normal(0, kind.wobble / n**0.5)) * wave
        return window, np.hypot(along, across) / np.clip(outline, 0.6, 1.5)

    def _stain(self, kind: _Kind, window: tuple[slice, slice], radius: Map) -> None:
        mask = radius < 1
        stain = kind.stain * np.exp(self.rng.normal(0, 0.14)) * (1 + kind.grain * self._grain[window])
        stain += kind.rim * np.exp(-(((radius - 0.9) / 0.13) ** 2))
        if kind.class_id == 3:  # pale nuclei show a nucleolus
            height, width = radius.shape
            y, x = np.indices((height, width), np.float32, sparse=True)
            dy, dx = y - self.rng.uniform(0.25, 0.75) * height, x - self.rng.uniform(0.25, 0.75) * width
            stain += 0.5 * np.exp(-(dx**2 + dy**2) / 4)
        if kind.class_id == 1:  # a shrunken cell leaves a pale gap around it
            gap = (radius >= 1) & (radius < 1.25) & ~self._taken[window]
            self._eosin[window][gap] *= 0.25
        self._haematoxylin[window] = np.where(mask, np.maximum(stain, 0.12), self._haematoxylin[window])
        self._eosin[window] = np.where(mask, 0.09, self._eosin[window])


def _noise(rng: np.random.Generator, size: tuple[int, int], scale: float) -> Map:
    """Return smooth noise (H, W) of unit variance with waves of about ``scale`` px."""
    knots = [int(np.ceil(n / scale)) + 2 for n in size]
    rows, columns = (_bumps(n, k, scale) for n, k in zip(size, knots, strict=True))
    return np.asarray(rows @ rng.standard_normal(knots, np.float32) @ columns.T)


def _bumps(pixels: int, knots: int, scale: float) -> Map:
    distance = (
        np.arange(pixels, dtype=np.float32)[:, None] / np.float32(scale) - np.arange(knots, dtype=np.float32) + 0.5
    )
    weights = np.exp(-2 * distance**2)
    return np.asarray(weights / np.sqrt((weights**2).sum(1, keepdims=True)), np.float32)
