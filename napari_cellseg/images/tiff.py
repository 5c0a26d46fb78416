"""TIFF as a format of the table; the reader itself is in `read`."""

from napari_cellseg.images.read import count_planes as planes
from napari_cellseg.images.read import read_size as size
from napari_cellseg.images.read import read_tiff as read

__all__ = ["planes", "read", "size"]
