"""A slide of drawn tissue for the pictures of the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_cellseg.images.samples import generate_tissue

__all__ = ["write_slide"]


def write_slide(path: Path) -> None:
    """Write a pyramid of 8448 x 8448 px in JPEG tiles, of one block of tissue repeated."""
    block = generate_tissue((1056, 1056), 620, 3)[0]
    with tifffile.TiffWriter(path) as file:
        for level in range(4):
            file.write(
                np.tile(block[:: 2**level, :: 2**level], (8, 8, 1)),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                subifds=0 if level else 3,
                subfiletype=1 if level else 0,
                metadata=None,
                resolution=(40_000 / 2**level,) * 2,
                resolutionunit="CENTIMETER",
            )
