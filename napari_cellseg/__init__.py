"""napari-cellseg: multi-class cell instance segmentation in colour microscopy, in napari and headless.

Importing this package loads neither torch nor Qt.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("napari-cellseg")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
