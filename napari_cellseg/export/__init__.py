"""Exporters: reviewed cells as files for other programs, and readers of GeoJSON and ROI files."""

from __future__ import annotations

from napari_cellseg.export.exporter import Exporter
from napari_cellseg.export.exporters import EXPORTER_NAMES, EXPORTERS
from napari_cellseg.export.folder import export_folder
from napari_cellseg.export.geojson import read_geojson, write_geojson
from napari_cellseg.export.imagej import read_rois, write_rois
from napari_cellseg.export.overlay import draw_overlay, write_overlay
from napari_cellseg.export.plan import (
    CellsProgress,
    ExportItem,
    ExportPlan,
    ExportProgress,
    ExportSummary,
    Which,
    items_of,
)

__all__ = [
    "EXPORTERS",
    "EXPORTER_NAMES",
    "CellsProgress",
    "ExportItem",
    "ExportPlan",
    "ExportProgress",
    "ExportSummary",
    "Exporter",
    "Which",
    "draw_overlay",
    "export_folder",
    "items_of",
    "read_geojson",
    "read_rois",
    "write_geojson",
    "write_overlay",
    "write_rois",
]
