"""The nuclear stain of a colour image, and the nucleus at a place by a watershed on it. No model is needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.prompts import CellAnswer, CellPrompt, Way

__all__ = ["answer_by_stain", "nuclear_stain"]

_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok & Johnston, Anal. Quant. Cytol.
Histol. 2001)."""
_UNMIX = np.linalg.inv(_STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True))

_LEVELS = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Where the outlines lie between background (0) and the clicked nucleus (1); the middle one is the first answer."""
_LEAST_CONTRAST = 0.08
"""Optical density by which a nucleus must exceed its surroundings."""
_LEAST_PX = 12


def nuclear_stain(rgb: npt.NDArray[np.uint8], sigma: float = 1.0) -> npt.NDArray[np.float32]:
    """Return the optical density of haematoxylin, (H, W) float32, smoothed by a Gaussian of ``sigma`` px.

    An image without colour is its own stain: dark on a bright background.
    """
    density = -np.log((rgb.astype(np.float32) + 1) / 256)
    is_grey = bool(np.ptp(rgb.astype(np.int16), axis=2).mean() < 4)
    stain = density.mean(2) if is_grey else density @ _UNMIX[:, 0].astype(np.float32)
    smooth: npt.NDArray[np.float32] = ndimage.gaussian_filter(stain, sigma).astype(np.float32)
    return smooth


def answer_by_stain(prompt: CellPrompt) -> CellAnswer | None:
    """Return the nucleus at a click, or in a drawn box, by a watershed on the stain; None if nothing stands out.

    A marker-controlled watershed (Meyer & Beucher, J. Vis. Commun. Image Represent. 1990) of the depth within stained
    tissue floods from the click, against all other nuclei and the cells that are there already.
    """
    from skimage.segmentation import watershed  # 0.3 s to import

    x0, y0 = prompt.region[:2]
    stain = nuclear_stain(prompt.pixels)
    reach = _reach(prompt)
    y, x = _peak(stain, prompt)
    background = float(np.percentile(stain, 20))
    contrast = float(stain[y, x]) - background
    if contrast < _LEAST_CONTRAST:
        return None
    free = reach & ~prompt.taken
    free[y, x] = True
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(free & (stain > background + contrast / 2)), 1)
    whole = watershed(-depth, _seeds(depth, y, x), mask=free) == 1
    masks = []
    for level in reversed(_LEVELS):
        pieces, _ = ndimage.label(whole & (stain > background + level * contrast))
        masks.append(ndimage.binary_fill_holes(pieces == pieces[y, x]) if pieces[y, x] else np.zeros_like(whole))
    if not _LEAST_PX <= masks[len(masks) // 2].sum() <= 0.8 * reach.sum():
        return None
    kept = [i for i, mask in enumerate(masks) if mask.sum() >= _LEAST_PX]
    cells = InstanceMasks.from_crops(
        prompt.image_size, [(x0, y0)] * len(kept), [masks[i] for i in kept], np.ones(len(kept), np.int32)
    )
    return CellAnswer(sizes=cells, first=kept.index(len(masks) // 2), way=Way.STAIN)


def _seeds(depth: npt.NDArray[np.float64], y: int, x: int) -> npt.NDArray[np.int32]:
    """Return 1 at the click, and 2, 3, ... at the middles of all nuclei that the click does not lie in."""
    peaks = (ndimage.maximum_filter(depth, 7) == depth) & (depth > 1)
    rows, columns = np.nonzero(peaks)
    own = np.hypot(rows - y, columns - x) < depth[rows, columns]
    peaks[rows[own], columns[own]] = False
    seeds, _ = ndimage.label(peaks, np.ones((3, 3)))
    numbered = np.where(seeds > 0, seeds + 1, 0).astype(np.int32)
    numbered[y, x] = 1
    return numbered


def _reach(prompt: CellPrompt) -> npt.NDArray[np.bool_]:
    """Return the pixels that the nucleus may have: the drawn box, or all but the rim of the region."""
    reach = np.zeros(prompt.pixels.shape[:2], bool)
    if prompt.drawn is None:
        reach[1:-1, 1:-1] = True
        return reach
    left, top = prompt.region[:2]
    x0, y0, x1, y1 = (round(value) for value in prompt.drawn)
    reach[max(y0 - top, 0) : y1 - top + 1, max(x0 - left, 0) : x1 - left + 1] = True
    return reach


def _peak(stain: npt.NDArray[np.float32], prompt: CellPrompt) -> tuple[int, int]:
    """Return the most stained pixel near the click, or near the middle of the box."""
    left, top = prompt.region[:2]
    if prompt.point is not None:
        y, x, near = prompt.point[0] - top, prompt.point[1] - left, 2
    else:
        assert prompt.drawn is not None, "a prompt has a point or a box"
        x0, y0, x1, y1 = prompt.drawn
        y, x, near = (y0 + y1) / 2 - top, (x0 + x1) / 2 - left, int(min(x1 - x0, y1 - y0) / 4)
    height, width = stain.shape
    row, column = min(max(round(y), 0), height - 1), min(max(round(x), 0), width - 1)
    y0, x0 = max(row - near, 0), max(column - near, 0)
    window = stain[y0 : row + near + 1, x0 : column + near + 1]
    dy, dx = np.unravel_index(int(np.argmax(window)), window.shape)
    return y0 + int(dy), x0 + int(dx)
