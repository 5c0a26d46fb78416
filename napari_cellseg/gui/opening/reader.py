"""Opens a folder under the name of the reader, which goes into each decision."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from napari_cellseg.gui.preferences import preferences
from napari_cellseg.workspace.open_any import OpenedFolder, open_folder

__all__ = ["folder_opener"]


def folder_opener() -> Callable[..., Generator[None, None, OpenedFolder]]:
    """Return `open_folder` with the reader of the preferences; to be called in the window's thread."""
    return partial(open_folder, user=preferences().reader.strip() or None)
