"""The table of importers. A new importer is one module with ``find`` and ``read``, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cellseg.importers import (
    aperio,
    bowl,
    cellpose,
    coco,
    cvat,
    datumaro,
    geojson,
    imagej,
    label_files,
    label_studio,
    labelme,
    mat,
    pannuke,
    via,
    via3,
)
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.source import Source

__all__ = ["IMPORTERS", "Importer"]


@dataclass(frozen=True)
class Importer:
    """An annotation format.

    Attributes
    ----------
    name : str
        Name for ``--format``.
    title : str
        Name for display.
    find : callable
        Returns the files of a source that have this format; none if the source has another format.
    read : callable
        Reads them into a `Collector`.
    """

    name: str
    title: str
    find: Callable[[Source], list[Path]]
    read: Callable[[Source, Sequence[Path], Collector], None]


IMPORTERS: tuple[Importer, ...] = (
    Importer("coco", "COCO data set", coco.find, coco.read),
    Importer("datumaro", "Datumaro JSON", datumaro.find, datumaro.read),
    Importer("via", "VGG Image Annotator JSON", via.find, via.read),
    Importer("via3", "VGG Image Annotator 3 JSON", via3.find, via3.read),
    Importer("label-studio", "Label Studio JSON", label_studio.find, label_studio.read),
    Importer("labelme", "labelme JSON", labelme.find, labelme.read),
    Importer("geojson", "QuPath GeoJSON", geojson.find, geojson.read),
    Importer("imagej", "ImageJ ROIs", imagej.find, imagej.read),
    Importer("aperio", "Aperio XML (MoNuSAC, MoNuSeg)", aperio.find, aperio.read),
    Importer("cvat", "CVAT for images XML", cvat.find, cvat.read),
    Importer("mat", "MATLAB instance maps (CoNSeP, Lizard)", mat.find, mat.read),
    Importer("pannuke", "PanNuke", pannuke.find, pannuke.read),
    Importer("cellpose", "Cellpose masks", cellpose.find, cellpose.read),
    Importer("bowl", "Data Science Bowl masks", bowl.find, bowl.read),
    Importer("labels", "label images", label_files.find, label_files.read),
)
"""The importers in the order in which they are tried."""
