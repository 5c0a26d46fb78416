"""The table of exporters, for the Export dock, the commands `export` and `predict`, and the documentation.

A new format is one new module with an `Exporter` and one line here. Formats are written in the order of the table:
`RESULTS` comes first because it may refuse an image without an id before any file of the image is written.
"""

from __future__ import annotations

from collections.abc import Iterable

from napari_cellseg.errors import ConfigError, ExportError
from napari_cellseg.export.cell_labels import LABELS, LABELS_PNG
from napari_cellseg.export.cellpose import CELLPOSE
from napari_cellseg.export.class_images import CLASS_IMAGES
from napari_cellseg.export.coco_data import COCO
from napari_cellseg.export.exporter import Exporter
from napari_cellseg.export.geojson import GEOJSON
from napari_cellseg.export.imagej import ROIS
from napari_cellseg.export.labelme import LABELME
from napari_cellseg.export.measurement_parquet import PARQUET
from napari_cellseg.export.measurements import MEASUREMENTS
from napari_cellseg.export.ome_zarr import OME_ZARR
from napari_cellseg.export.overlay import OVERLAYS
from napari_cellseg.export.results import RESULTS

__all__ = ["EXPORTERS", "EXPORTER_NAMES", "exporters_of"]

EXPORTERS: tuple[Exporter, ...] = (
    RESULTS,
    CLASS_IMAGES,
    COCO,
    GEOJSON,
    ROIS,
    LABELS,
    LABELS_PNG,
    CELLPOSE,
    LABELME,
    OME_ZARR,
    MEASUREMENTS,
    PARQUET,
    OVERLAYS,
)

EXPORTER_NAMES: tuple[str, ...] = tuple(exporter.name for exporter in EXPORTERS)


def exporters_of(names: Iterable[str]) -> tuple[Exporter, ...]:
    """Return the exporters with these names, in the order of the table.

    Raises
    ------
    ConfigError
        A format does not exist.
    ExportError
        An optional package is missing.
    """
    wanted = set(names)
    if unknown := sorted(wanted.difference(EXPORTER_NAMES)):
        raise ConfigError(f"There is no export format {unknown[0]!r}; choose from {', '.join(EXPORTER_NAMES)}.")
    chosen = tuple(exporter for exporter in EXPORTERS if exporter.name in wanted)
    for exporter in chosen:
        if missing := exporter.missing():
            raise ExportError(f"{exporter.label} cannot be written: {missing}")
    return chosen
