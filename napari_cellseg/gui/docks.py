"""The docks as napari makes them, from a viewer: the entry points of napari.yaml.

Each gives a dock what it needs of the `Plugin`. A dock cannot be handed the whole plugin: the rooms would need the root
that needs the rooms. They are classes, since napari hands the viewer to the ``__init__`` of a widget, to no function.
"""

from __future__ import annotations

from typing import Any

from napari_cellseg.gui.batch.dock import BatchDock
from napari_cellseg.gui.exporting.dock import ExportDock
from napari_cellseg.gui.models.dock import ModelsDock
from napari_cellseg.gui.opening.dock import OpenDock
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.review.action import Where
from napari_cellseg.gui.review.dock import ReviewDock
from napari_cellseg.gui.review.gallery_dock import GalleryDock
from napari_cellseg.gui.review.keys import add_dock_keys
from napari_cellseg.gui.review.table_dock import TableDock
from napari_cellseg.gui.segment.dock import SegmentDock
from napari_cellseg.gui.train.dock import TrainDock

__all__ = ["Batch", "Export", "Gallery", "Models", "Open", "Review", "Segment", "Table", "Train"]

_KEYS = (Where.EVERYWHERE, Where.REVIEW)


class Open(OpenDock):
    """*Open*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.layers, plugin.slides, plugin.opener, plugin.saving)
        add_dock_keys(self, plugin.review, *_KEYS)  # else the list of images takes letters as a search


class Segment(SegmentDock):
    """*Segment*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.layers, plugin.opener, plugin.segmentation)
        add_dock_keys(self, plugin.review, *_KEYS)


class Review(ReviewDock):
    """*Review*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.layers, plugin.opener, plugin.saving, plugin.review)


class Train(TrainDock):
    """*Train*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.opener, plugin.training)


class Export(ExportDock):
    """*Export*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.slide_review)


class Batch(BatchDock):
    """*Batch*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.opener, plugin.batch)


class Models(ModelsDock):
    """*Models*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(plugin_of(napari_viewer).state)


class Gallery(GalleryDock):
    """*Gallery*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.layers, plugin.review, plugin.slides)


class Table(TableDock):
    """*Table*, for a viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        plugin = plugin_of(napari_viewer)
        super().__init__(plugin.state, plugin.layers, plugin.review, plugin.slides)
