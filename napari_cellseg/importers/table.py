"""The table of importers. To add one: a file with ``find`` and ``read``, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cellseg.importers import (
    aperio,
    bowl,
    cellpose,
    coco,
    datumaro,
    geojson,
    imagej,
    label_files,
    labelme,
    mat,
    pannuke,
    via,
)
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.source import Source

__all__ = ["IMPORTERS", "Importer"]


@dataclass(frozen=True)
class Importer:
    """One format that annotations are read from.

    Attributes
    ----------
    name : str
        For ``--format``.
    title : str
        For people.
    find : callable
        Returns which files of a source are of this format; none when the source is another.
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
    Importer("labelme", "labelme JSON", labelme.find, labelme.read),
    Importer("geojson", "QuPath GeoJSON", geojson.find, geojson.read),
    Importer("imagej", "ImageJ ROIs", imagej.find, imagej.read),
    Importer("aperio", "Aperio XML (MoNuSAC, MoNuSeg)", aperio.find, aperio.read),
    Importer("mat", "MATLAB instance maps (CoNSeP, Lizard)", mat.find, mat.read),
    Importer("pannuke", "PanNuke", pannuke.find, pannuke.read),
    Importer("cellpose", "Cellpose masks", cellpose.find, cellpose.read),
    Importer("bowl", "Data Science Bowl masks", bowl.find, bowl.read),
    Importer("labels", "label images", label_files.find, label_files.read),
)
"""In the order in which they are tried."""
