"""`PluginImage`: an image layer that belongs to the plugin, on which the keys of the review work."""

from __future__ import annotations

from typing import Any

from napari.layers import Image

from napari_cellseg.gui.canvas.cells_layer import CellsLayer

__all__ = ["PluginImage", "is_own_layer"]


class PluginImage(Image):
    """The image under review, or the examples of a training run; image layers of any other class are the user's."""

    @property
    def _type_string(self) -> str:
        return "image"  # else napari would look for writers of, and menus for, "pluginimage"


def is_own_layer(layer: Any) -> bool:
    """Return whether the plugin made a layer and keeps it up to date; a duplicate made by napari is the user's."""
    return isinstance(layer, CellsLayer | PluginImage)
