"""napari-cellseg: multi-class cell instance segmentation in colour microscopy, in napari and headless.

Importing this package loads neither torch nor Qt, and little else: the command must be able to answer a Ctrl-C soon.
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-cellseg")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"
