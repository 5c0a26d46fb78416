"""Stain jitter for H&E: haematoxylin, eosin and the residual each get stronger or weaker.

Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution" (2001), for the stain vectors;
Tellez et al., "Whole-slide mitosis detection in H&E breast histology ..." (IEEE TMI 2018), for the jitter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["STAIN_VECTORS", "jitter_stains"]

STAIN_VECTORS: npt.NDArray[np.float64] = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density in red, green, blue of haematoxylin, eosin and DAB (the residual), one per row."""

_DARKEST = 1 / 255  # keeps the logarithm finite


def jitter_stains(rgb: Tensor, factors: npt.ArrayLike, offsets: npt.ArrayLike) -> Tensor:
    """Return the image with the amount of each stain multiplied and shifted.

    Separating, changing and recombining the stains is one 3 x 3 matrix on optical densities, so one pass is enough.

    Parameters
    ----------
    rgb : (3, H, W) float32
        0..1; not changed.
    factors, offsets : (3,) float
        Of haematoxylin, eosin, residual; 1 and 0 change nothing. Offsets are in optical density (natural logarithm).

    Returns
    -------
    (3, H, W) float32
        0..1.
    """
    # A row vector of densities d holds stains s = d @ inverse(V); so d' = (s * factors + offsets) @ V.
    matrix = (np.linalg.inv(STAIN_VECTORS) * np.asarray(factors, np.float64)) @ STAIN_VECTORS
    shift = np.asarray(offsets, np.float64) @ STAIN_VECTORS
    log_rgb = rgb.clamp(min=_DARKEST).log_().reshape(3, -1)
    changed = torch.addmm(
        torch.tensor(-shift[:, None], dtype=rgb.dtype), torch.tensor(matrix.T, dtype=rgb.dtype), log_rgb
    )
    return changed.exp_().clamp_(0, 1).reshape(rgb.shape)
