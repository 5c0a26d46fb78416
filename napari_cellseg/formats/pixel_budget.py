"""How many pixels the masks of one file may have: packed masks can claim thousands of times their size."""

from __future__ import annotations

from napari_cellseg.errors import AnnotationError

__all__ = ["PixelBudget"]

_BASE, _PER_BYTE = 512 * 2**20, 400  # a large round cell has about 250 px in each byte of its packed mask


class PixelBudget:
    """The pixels that the boxes of all cells of a file may still have, a byte of memory each.

    Parameters
    ----------
    file_bytes : int
        Size of the file on disk, of which the budget is taken.
    """

    def __init__(self, file_bytes: int) -> None:
        self.whole = _BASE + _PER_BYTE * file_bytes
        self.left = self.whole

    def take(self, pixels: int) -> None:
        """Count pixels that are to be decoded; an `AnnotationError` when they are too many."""
        if pixels > self.left:
            raise AnnotationError(
                f"the boxes of the cells up to here have more than {self.whole / 1e6:.0f} million px, too many for a "
                "file of this size"
            )
        self.left -= pixels

    def give_back(self, pixels: int) -> None:
        """Count pixels that are no longer needed."""
        self.left += pixels
