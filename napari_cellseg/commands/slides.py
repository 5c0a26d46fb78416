"""Slides on the command line: which images are read by regions, the region that is predicted, and their files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.found import FoundImage, FoundSlide, export_found
from napari_cellseg.errors import AnnotationError, ConfigError, ExportError, ImageReadError
from napari_cellseg.events import SlideDone, SlideTileDone, TileDone, drive
from napari_cellseg.export.exporter import Exporter, ExportJob, unique_names
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.export.plan import ExportPlan
from napari_cellseg.export.stream import CellBatch, StreamedImage, write_streamed
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.ids import match_ids
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.formats.polygon_mask import checked_rings
from napari_cellseg.formats.rle import MAX_FRAME_PIXELS
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import ImageFile
from napari_cellseg.images.slide import has_regions, is_slide, size_as_read
from napari_cellseg.measure import colour_sums
from napari_cellseg.model.inference.predict_item import Ring, SlideTask
from napari_cellseg.wording import about_time

__all__ = ["export_with_slides", "glass_line", "parse_region", "slide_tasks", "tile_text"]

Polygons = tuple[tuple[Ring, ...], ...]

_FOLDER = "cells"
"""Folder of the stores, in that of the results."""


def slide_tasks(
    files: Sequence[ImageFile], exporters: Sequence[Exporter], out: Path, *, skips_glass: bool, region: Polygons = ()
) -> dict[str, SlideTask]:
    """Return, by image id, the images that are read by regions and whose cells go to disk.

    Parameters
    ----------
    files : sequence of ImageFile
    exporters : sequence of Exporter
        The chosen formats; one that needs the whole image in memory leaves an image that fits there.
    out : Path
        Folder of the results.
    skips_glass : bool
    region : tuple of polygons
        From `parse_region`.

    Raises
    ------
    ExportError
        A slide is too large for a format, or for COCO's RLE.
    ConfigError
        There is a region, and not one image that can be read by regions.
    """
    if region and len(files) != 1:
        raise ConfigError(f"--region is a part of one image, and there are {len(files)}. Predict them one by one.")
    whole = [exporter.name for exporter in exporters if exporter.stream is None and not exporter.suits_slides]
    tasks: dict[str, SlideTask] = {}
    for file, name in zip(files, unique_names(file.image_id for file in files), strict=True):
        reading = file.reading or ReadOptions()
        try:
            can_be_read = has_regions(file.path, reading, any_size=bool(region))
        except ImageReadError:  # reported when the image is predicted
            continue
        if region and not can_be_read:
            raise ConfigError(
                f"--region: {file.path} cannot be read by regions. Save it as a tiled TIFF or as OME-Zarr, or leave "
                "--region out."
            )
        if not can_be_read:
            continue
        if whole and (region or is_slide(file.path, reading)):
            raise ExportError(_needs_memory(whole, file, is_region=bool(region)))
        if not whole:
            _check_frame(file, reading)
            tasks[file.image_id] = SlideTask(out / _FOLDER / f"{name}.sqlite", skips_glass, region)
    return tasks


def _needs_memory(names: Sequence[str], file: ImageFile, *, is_region: bool) -> str:
    problem = f"--to {' '.join(names)}: these formats need all of {file.path} in memory"
    advice = "leave --region out" if is_region else "choose a coarser --level"
    problem += ", and only a region is predicted" if is_region else ", and it is too large"
    return f"{problem}. Choose formats that list the cells (coco, geojson, measurements, parquet, rois), or {advice}."


def _check_frame(file: ImageFile, reading: ReadOptions) -> None:
    height, width = size_as_read(file.path, reading) or (0, 0)
    if height * width > MAX_FRAME_PIXELS:
        raise ExportError(
            f"{file.path} has {height} x {width} px, more than the {MAX_FRAME_PIXELS:,} px that COCO's RLE can "
            "describe. Choose a coarser --level."
        )


def parse_region(word: str) -> Polygons:
    """Parse ``--region``: x,y,width,height in px of level 0, or a GeoJSON file with polygons in these px.

    Raises
    ------
    ConfigError
        The word is neither.
    AnnotationError
        The file cannot be read.
    """
    path = Path(word)
    if path.suffix.lower() in (".json", ".geojson") or path.is_file():
        return _polygons_of_file(path)
    try:
        x, y, width, height = (float(part) for part in word.split(","))
    except ValueError:
        x = y = width = height = 0.0
    if not (all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0):
        raise ConfigError(
            f"--region {word}: give x,y,width,height in px of level 0, for example 20000,15000,4000,3000, or a GeoJSON "
            "file with polygons."
        )
    return ((((x, y), (x + width, y), (x + width, y + height), (x, y + height)),),)


def _polygons_of_file(path: Path) -> Polygons:
    data = read_json(path)
    features = data.get("features", [data]) if isinstance(data, dict) else data
    polygons: list[tuple[Ring, ...]] = []
    for number, feature in enumerate(features if isinstance(features, list) else [], start=1):
        geometry = feature.get("geometry", feature) if isinstance(feature, dict) else None
        try:
            for rings in _rings_of(geometry):
                corners = checked_rings(rings)
                polygons.append(tuple(tuple((float(x), float(y)) for x, y in ring) for ring in corners))
        except (AnnotationError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{path}, feature {number}: expected a polygon ({error}).") from error
    if not any(len(ring) >= 3 for rings in polygons for ring in rings):
        raise AnnotationError(f"{path} has no polygon. Draw the region as an area, and export it as GeoJSON.")
    return tuple(polygons)


def _rings_of(geometry: Any) -> list[Any]:
    """Return the polygons of a geometry, each a list of rings; points and lines have none."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        return [rings for part in geometry["geometries"] for rings in _rings_of(part)]
    found: dict[str, list[Any]] = {
        "Polygon": [geometry.get("coordinates")],
        "MultiPolygon": list(geometry.get("coordinates") or ()),
    }
    return found.get(kind, [])


def tile_text(event: TileDone) -> str:
    """Return the progress within an image: tiles, and of a slide the area and the time left."""
    text = f"tile {event.tile}/{event.tiles}"
    if isinstance(event, SlideTileDone):
        if event.mm2 is not None:
            text += f", {event.mm2:.3g} of {event.mm2_in_all:.3g} mm2"
        text += f", {about_time(event.seconds_left)} left" if event.tile < event.tiles else ""
    return text


def glass_line(done: SlideDone) -> str:
    """Return how many tiles of a slide were left out."""
    verb, them = ("is glass and was", "it") if done.glass == 1 else ("are glass and were", "them")
    return f"{done.glass:,} of {done.tiles:,} tiles {verb} skipped; --no-tissue-filter predicts {them} too"


def export_with_slides(
    found: Sequence[FoundImage | FoundSlide], classes: ClassTable, plan: ExportPlan, limits: Mapping[int, float]
) -> list[Path]:
    """Write files of images of which some are slides, without all cells in memory where the format allows it.

    Raises
    ------
    ExportError
        A file cannot be written.
    AnnotationError
        An image is not in the id file, or has another size there.
    """
    exporters = exporters_of(plan.formats)
    streaming = [exporter for exporter in exporters if exporter.stream is not None]
    ids = None if plan.ids_file is None else match_ids(plan.ids_file, [image.file.image_id for image in found])
    job = ExportJob(plan, classes, ids)
    images = [_streamed(image, number, limits) for number, image in enumerate(found, start=1)]
    drive(write_streamed(streaming, job, images))
    others = frozenset(exporter.name for exporter in exporters if exporter.stream is None)
    if others:
        whole = [_in_memory(image) for image in found]
        job.files += export_found(whole, classes, replace(plan, formats=others), limits).files
    return job.files


def _streamed(image: FoundImage | FoundSlide, number: int, limits: Mapping[int, float]) -> StreamedImage:
    if isinstance(image, FoundSlide):
        with CellStore.open(image.done.store, read_only=True) as store:
            size = store.image_size
        count, um = image.done.cells, image.done.pixel_size_um
        return StreamedImage(
            file=image.file,
            number=image.number or number,
            size=size,
            count=count,
            pixel_size_um=lambda: um,
            batches=partial(_batches, image.done.store),
            limits=limits,
        )
    return StreamedImage(
        file=image.file,
        number=image.number or number,
        size=image.instances.image_size,
        count=len(image.instances),
        pixel_size_um=lambda: read_image(image.file.path, options=image.file.reading).pixel_size_um,
        batches=partial(_one_batch, image),
        limits=limits,
    )


def _batches(path: Path, colours: bool) -> Iterator[CellBatch]:
    with CellStore.open(path, read_only=True) as store:
        for batch in store.best_first():
            yield CellBatch(batch.cells, batch.colours if colours else None)


def _one_batch(image: FoundImage, colours: bool) -> Iterator[CellBatch]:
    sums = None
    if colours:
        sums = colour_sums(image.instances, read_image(image.file.path, options=image.file.reading).rgb())
    yield CellBatch(image.instances, sums)


def _in_memory(image: FoundImage | FoundSlide) -> FoundImage:
    """Return a slide with all of its cells in memory, about 1 kB each, for a format that cannot do without."""
    if isinstance(image, FoundImage):
        return image
    with CellStore.open(image.done.store, read_only=True) as store:
        cells = TileCells.concatenate([TileCells.empty(store.image_size), *store.best_first()]).cells
    return FoundImage(image.file, cells, number=image.number)
