"""Limits the pixels of the masks of one file: packed masks can expand to thousands of times their size."""

from __future__ import annotations

from napari_cellseg.errors import AnnotationError

__all__ = ["PixelBudget"]

_BASE, _PER_BYTE = 512 * 2**20, 400  # a large round cell has about 250 px in each byte of its packed mask


class PixelBudget:
    """The pixels left for the boxes of the cells of a file, one byte of memory each.

    Parameters
    ----------
    file_bytes : int
        Size of the file on disk, from which the budget follows.
    """

    def __init__(self, file_bytes: int) -> None:
        self.whole = _BASE + _PER_BYTE * file_bytes
        self.left = self.whole

    def take(self, pixels: int) -> None:
        """Count pixels before decoding; raise an `AnnotationError` if they are too many."""
        if pixels > self.left:
            raise AnnotationError(
                f"the boxes of the cells so far have more than {self.whole / 1e6:.0f} million px, too many for a file "
                "of this size"
            )
        self.left -= pixels

    def give_back(self, pixels: int) -> None:
        """Return pixels that are no longer needed to the budget."""
        self.left += pixels
