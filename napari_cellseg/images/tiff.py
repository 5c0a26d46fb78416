"""TIFF as one format of the table; the gate itself is `read`."""

from napari_cellseg.images.read import read_size as size
from napari_cellseg.images.read import read_tiff as read

__all__ = ["read", "size"]
