"""Importers for annotations of other tools, which report what was kept, what was left out, and why."""

from napari_cellseg.importers.gate import FORMATS, import_annotations, is_recognised
from napari_cellseg.importers.result import Imported, ImportedImage, ImportOptions, LeftOut
from napari_cellseg.importers.table import IMPORTERS, Importer

__all__ = [
    "FORMATS",
    "IMPORTERS",
    "ImportOptions",
    "Imported",
    "ImportedImage",
    "Importer",
    "LeftOut",
    "import_annotations",
    "is_recognised",
]
