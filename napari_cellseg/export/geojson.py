"""GeoJSON as QuPath reads and writes it: one feature per cell, valid polygons with holes, px of the full image."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.export.cell_details import cell_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.export.polygons import polygons_of, score_and_value
from napari_cellseg.export.stream import StreamedImage
from napari_cellseg.formats.json_gate import read_json, short
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.formats.polygon_mask import checked_rings
from napari_cellseg.formats.result_stream import json_list
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell
from napari_cellseg.review.rings import fill_rings

__all__ = ["GEOJSON", "read_geojson", "write_geojson"]


def write_geojson(path: Path, cells: Sequence[Cell], classes: ClassTable) -> None:
    """Write the cells of one image as QuPath detections, with class, colour and score.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    features = [_feature(cell, classes) for cell in cells]
    data = {"type": "FeatureCollection", "features": features}
    with export_write(path) as file:
        file.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def read_geojson(path: Path, image_size: tuple[int, int], classes: ClassTable) -> InstanceMasks:
    """Read the polygons of an image; a feature of an unknown class is an error.

    Raises
    ------
    AnnotationError
        The file is not such a GeoJSON, or has an unknown class.
    """
    data = read_json(path)
    features = data.get("features") if isinstance(data, dict) else data
    if not isinstance(features, list):
        raise AnnotationError(f"{path} is not GeoJSON: it has no list of features.")
    budget = PixelBudget(Path(path).stat().st_size)
    offsets, masks, class_ids, scores, values = [], [], [], [], []
    for number, feature in enumerate(features, start=1):
        where = f"{path}, feature {number}"
        try:
            properties, geometry = feature["properties"], feature["geometry"]
            name = properties["classification"]["name"]
            kind, coordinates = geometry["type"], geometry["coordinates"]
            polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}[kind]
            rings = checked_rings([ring for polygon in polygons for ring in polygon])
            placed = fill_rings(rings, (0, 0, image_size[1], image_size[0]))
            score, value = score_and_value(properties.get("measurements", {}), number)
            if placed is not None:
                budget.take(placed[1].size)
        except (KeyError, TypeError, ValueError, AttributeError, AnnotationError) as error:
            raise AnnotationError(f"{where}: expected a polygon with a classification ({error}).") from error
        if name not in classes.names:
            raise AnnotationError(f"{where}: there is no class {short(name)}, only {', '.join(classes.names)}.")
        if placed is not None:
            offsets.append(placed[0][:2])
            masks.append(placed[1])
            class_ids.append(classes.names.index(name) + 1)
            scores.append(score)
            values.append(value)
    return InstanceMasks.from_crops(image_size, np.reshape(offsets, (-1, 2)), masks, class_ids, scores, values)


def _feature(cell: Cell, classes: ClassTable) -> dict[str, Any]:
    polygons = [
        [[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in polygons_of(cell.mask, cell.box)
    ]
    one = len(polygons) == 1
    name, colour = classes.names[cell.class_id - 1], classes.colours[cell.class_id - 1]
    return {
        "type": "Feature",
        # QuPath requires a UUID; a cell always gets the same one.
        "id": str(uuid5(NAMESPACE_OID, f"{cell.cell_id} {cell.class_id} {cell.box}")),
        "geometry": {"type": "Polygon" if one else "MultiPolygon", "coordinates": polygons[0] if one else polygons},
        "properties": {
            "objectType": "detection",
            "name": f"#{cell.cell_id}",
            "classification": {"name": name, "color": [int(colour[i : i + 2], 16) for i in (1, 3, 5)]},
            "measurements": {"score": float(str(np.float32(cell.score))), "label_id": cell.label_value},
            "metadata": cell_details(cell),
        },
    }


def _write(job: ExportJob, image: ExportImage) -> None:
    write_geojson(job.path("geojson", f"{image.name}.geojson"), image.cells, job.classes)


def _stream(job: ExportJob, images: Sequence[StreamedImage]) -> Generator[None, None, None]:
    for image in images:
        batches = ((_feature(cell, job.classes) for cell in cells) for cells, _ in image.shown())
        with export_write(job.path("geojson", f"{image.name}.geojson")) as file:
            file.write(b'{"type":"FeatureCollection","features":')
            for data in json_list(batches):
                file.write(data)
                yield
            file.write(b"}")


GEOJSON = Exporter(
    name="geojson",
    label="GeoJSON",
    tip="One file per image, for QuPath",
    per="image",
    write=_write,
    stream=_stream,
)
