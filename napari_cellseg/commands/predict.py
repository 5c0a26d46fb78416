"""``napari-cellseg predict``: segments the cells of images and writes them to files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.formats import add_formats, add_ids, csv_style, match_id_file, show_id_match
from napari_cellseg.commands.model_choice import model_for
from napari_cellseg.commands.options import add_flags, given, when_used
from napari_cellseg.commands.reading import add_reading_options, as_read, check_readable
from napari_cellseg.commands.scheduler import add_scheduler, lost_line, workers_of

if TYPE_CHECKING:
    from napari_cellseg.classes import ClassTable
    from napari_cellseg.commands.found import FoundImage, FoundSlide
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import PredictEvent
    from napari_cellseg.formats.ids import IdMatch
    from napari_cellseg.images.read import ImageFile
    from napari_cellseg.model.config import PredictOptions
    from napari_cellseg.model.flags import Flag
    from napari_cellseg.model.inference.predict import Workers
    from napari_cellseg.model.inference.predict_item import SlideTask

    Found = FoundImage | FoundSlide

__all__ = [
    "add_model_options",
    "add_parser",
    "list_inputs",
    "predict_files",
    "prediction_options",
    "run",
    "total_line",
]

_EPILOG = """\
DIR/test-results.json (and .zip) has every cell down to a low score, as average precision requires. The other files have
the cells that reach the minimum score of their class, the best one on the model's validation images; --min-score sets
one minimum score for all files. The counts name both numbers.
A large TIFF, slide or OME-Zarr is read by regions, and its cells go to DIR/cells tile by tile: after a stop, the same
command resumes there.
With --scheduler the workers of a Dask cluster predict, and this process writes the files: the same bytes."""

_MODEL_HELP = "model file, or the name of a model of the library (default: the bundled one that suits the images)"
_FORMER_FLAGS = {"--masks": "class-images", "--csv": "measurements", "--overlay": "overlays", "--geojson": "geojson"}
"""Flags of these formats before ``--to``, kept for existing scripts."""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "predict",
        help="segment the cells of images",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", type=Path, help="TIFF files, folders of <id>.tif or of <id>/image.tif")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_ids(parser, "JSON list of file_name, id, height, width (default: the file found in IMAGES or next to it)")
    add_model_options(parser, min_score=True)
    add_reading_options(parser)
    _add_slide_options(parser)
    add_scheduler(parser)
    add_formats(parser, required=False, what="also write these files")
    for flag, name in _FORMER_FLAGS.items():
        parser.add_argument(flag, action="append_const", dest="to", const=name, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=run)


def _add_slide_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("slides")
    group.add_argument(
        "--region",
        metavar="REGION",
        help="predict only this part of one slide: x,y,width,height in px of level 0, or a GeoJSON file with polygons",
    )
    group.add_argument(
        "--no-tissue-filter",
        dest="tissue_filter",
        action="store_false",
        help="predict glass too; by default tiles without tissue are skipped and counted",
    )


def add_model_options(parser: argparse.ArgumentParser, *, min_score: bool) -> None:
    """Add the options of the model and the prediction: the fields of `PredictOptions`."""

    def add(parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("model")
        add_flags(group, _model_flags(min_score=min_score))
        group.add_argument(
            "--pixel-size", type=float, metavar="UM", help="um per image px, if the files do not state it"
        )

    when_used(parser, add)


def _model_flags(*, min_score: bool) -> tuple[Flag, ...]:
    from napari_cellseg.model.config import PredictOptions
    from napari_cellseg.model.flags import flags_of

    flags = (flag for flag in flags_of(PredictOptions) if min_score or flag.setting != "min_score")
    return tuple(replace(flag, help=_MODEL_HELP) if flag.setting == "checkpoint" else flag for flag in flags)


def prediction_options(options: argparse.Namespace, min_score: float | None) -> PredictOptions:
    """Check the model options; a `ConfigError` names the invalid ones."""
    from napari_cellseg.model.config import PredictOptions

    return PredictOptions.parse({**given(options, _model_flags(min_score=False)), "min_score": min_score})


def run(options: argparse.Namespace) -> int:
    """Predict, write, and return the exit code."""
    from napari_cellseg.atomic import heard_replaced
    from napari_cellseg.commands.found import write_found
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.commands.slides import parse_region, slide_tasks
    from napari_cellseg.export.exporters import exporters_of
    from napari_cellseg.images.listing import home_of
    from napari_cellseg.memory import bound_shape_caches
    from napari_cellseg.model.checkpoint import read_header
    from napari_cellseg.wording import counted, replaced_text

    bound_shape_caches()
    region = parse_region(options.region) if options.region else ()
    files = list_inputs(options.images)
    exporters = exporters_of(options.to)  # refuse an unavailable format before anything is computed
    settings = prediction_options(options, options.min_score)
    settings, model, why = model_for(settings, files, options)
    header = read_header(model)
    files = as_read(files, options, header.config.reading)
    if options.plane not in (None, "all"):
        check_readable(files)
    tasks = slide_tasks(files, exporters, options.out, skips_glass=options.tissue_filter, region=region)
    ids = match_id_file(options, home_of(options.images[0]), [file.image_id for file in files])
    _check_ids(files, ids)
    if not options.quiet:
        show_id_match(options, ids)
        if why:
            print(why, file=sys.stderr if options.json else sys.stdout)
    limits = dict(enumerate(header.thresholds or (), start=1))
    if options.min_score is not None:
        limits = dict.fromkeys(header.classes.class_ids, options.min_score)
    place = {file.image_id: number for number, file in enumerate(files, start=1)}
    lost: tuple[int, int] = (0, 0)
    with (
        Bar("image", to_stderr=options.json, quiet=options.quiet) as bar,
        workers_of(options.scheduler, bar.line) as workers,
    ):
        start = time.monotonic()
        found, failed = predict_files(files, settings, options.pixel_size, bar, limits, tasks, workers)
        found = [replace(image, number=place[image.file.image_id]) for image in found]
        bar.line(total_line(found, time.monotonic() - start, limits))
        if workers is not None:
            lost = workers.lost()
            bar.line(lost_line(*lost) or f"{counted(workers.workers, 'worker')}, none died")
    _refuse_if_all_failed(failed, files)
    id_file = None if ids is None else ids.path
    with heard_replaced() as replaced:
        written = write_found(
            options.out, found, header.classes, limits, frozenset(options.to), id_file, csv_style(options)
        )
    if replaced and not options.quiet:
        print(replaced_text(replaced, options.out), file=sys.stderr)
    _report(options, found, failed, written, header.classes, limits, lost)
    return 1 if failed else 0


def list_inputs(paths: Sequence[Path]) -> list[ImageFile]:
    """List the images of all paths, and report files that look like images but are left out.

    Images of several paths that would share an id get their path below the common folder as id.
    """
    from napari_cellseg.images.listing import find_images, with_unique_ids

    listings = [find_images(path) for path in paths]
    for line in (line for listing in listings for line in listing.skipped_lines()):
        print(line, file=sys.stderr)
    return with_unique_ids([file for listing in listings for file in listing.images])


def _check_ids(files: Sequence[ImageFile], ids: IdMatch | None) -> None:
    """Refuse, before anything is computed, images that the id file lacks or lists with another size."""
    from contextlib import suppress

    from napari_cellseg.errors import ImageReadError

    if ids is None:
        return
    for file in files:
        ids.entry(file.image_id)
        with suppress(ImageReadError):  # reported when the image is predicted
            ids.entry(file.image_id, _size_as_read(file))


def _size_as_read(file: ImageFile) -> tuple[int, int]:
    """Return height and width, px, of the resolution level that will be read."""
    from napari_cellseg.images.formats import image_size, read_image
    from napari_cellseg.images.slide import size_as_read

    if file.reading is not None and (size := size_as_read(file.path, file.reading)) is not None:
        return size
    if file.reading is None or not file.reading.level:
        return image_size(file.path)
    return read_image(file.path, options=file.reading).size


def predict_files(
    files: Sequence[ImageFile],
    settings: PredictOptions,
    pixel_size_um: float | None,
    bar: Bar,
    limits: Mapping[int, float],
    tasks: Mapping[str, SlideTask] = MappingProxyType({}),
    workers: Workers | None = None,
) -> tuple[list[Found], list[tuple[str, str]]]:
    """Predict; return the cells of each image, and (image id, problem) of each failed image.

    The line of an image says how many cells reach ``limits``, the minimum scores by class_id. The cells of images
    with a task, by image id, go to disk. ``workers`` predict instead of this process.
    """
    from napari_cellseg.commands.found import FoundImage, FoundSlide, reaching_of
    from napari_cellseg.commands.slides import glass_line, tile_text
    from napari_cellseg.events import ImageDone, ImageFailed, Message, ModelReady, SlideDone, TileDone, drive
    from napari_cellseg.model.inference.predict import PredictItem, predict

    by_id = {file.image_id: file for file in files}
    found: list[Found] = []
    failed: list[tuple[str, str]] = []

    def show(event: PredictEvent) -> None:
        if isinstance(event, TileDone):
            bar.at(event.image - 1 + event.tile / event.tiles, event.images, tile_text(event))
        elif isinstance(event, ImageDone | SlideDone):
            file = by_id[event.image_id]
            found.append(FoundSlide(file, event) if isinstance(event, SlideDone) else FoundImage(file, event.instances))
            bar.line(f"{event.image_id}: {reaching_of(found[-1:], limits)} ({event.seconds:.1f} s)")
            if isinstance(event, SlideDone) and event.glass:
                bar.line(f"{event.image_id}: {glass_line(event)}")
        elif isinstance(event, ImageFailed):
            failed.append((event.image_id, event.message))
            bar.line(f"{event.image_id}: failed")
        elif isinstance(event, ModelReady):
            bar.line(f"model {event.model_name} on {event.device} ({event.reason})")
        elif isinstance(event, Message):
            bar.line(f"{event.level}: {event.text}" if event.level == "warning" else event.text)

    items = [
        PredictItem(file.image_id, file.path, pixel_size_um, file.reading, slide=tasks.get(file.image_id))
        for file in files
    ]
    try:
        drive(predict(items, settings, workers=workers), show)
    except KeyboardInterrupt:
        if any(task.store.exists() for task in tasks.values()):
            bar.line("The cells of the finished tiles are kept. The same command resumes the run.")
        raise
    return found, failed


def total_line(found: Sequence[Found], seconds: float, limits: Mapping[int, float]) -> str:
    """Return a summary of all images of all processes; ``limits`` are the minimum scores by class_id."""
    from napari_cellseg.commands.found import reaching_of
    from napari_cellseg.wording import counted

    return f"{counted(len(found), 'image')}, {reaching_of(found, limits)}, {seconds:.1f} s"


def _refuse_if_all_failed(failed: Sequence[tuple[str, str]], files: Sequence[ImageFile]) -> None:
    from napari_cellseg.errors import ImageReadError

    if len(failed) == len(files):
        more = f" (and {len(failed) - 1} more like it; nothing was written)" if len(failed) > 1 else ""
        raise ImageReadError(failed[0][1] + more)


def _report(
    options: argparse.Namespace,
    found: Sequence[Found],
    failed: Sequence[tuple[str, str]],
    written: Sequence[Path],
    classes: ClassTable,
    limits: Mapping[int, float],
    lost: tuple[int, int],
) -> None:
    for image_id, text in failed:
        print(f"{image_id}: {text}", file=sys.stderr)
    if options.json:
        summary = {
            "images": _by_name(found, classes, limits),
            "min_scores": {name: limits.get(class_id, 0.0) for class_id, name, _ in classes},
            "predicted": _by_name(found, classes, {}),
            "failed": dict(failed),
            **_slides(found),
            **({"workers": {"died": lost[0], "repeated tasks": lost[1]}} if options.scheduler else {}),
            "files": [str(path) for path in written],
        }
        print(json.dumps(summary, indent=1, ensure_ascii=False))
    elif not options.quiet:
        others = " (cells that reach the minimum score)" if options.to and any(limits.values()) else ""
        print(f"-> {written[0]} (all predicted cells) and {len(written) - 1} more files{others}")


def _slides(found: Sequence[Found]) -> dict[str, Any]:
    """Return for the summary how much of each slide was predicted, and where its cells are; nothing without slides."""
    done = {image.file.image_id: image.done for image in found if hasattr(image, "done")}
    slides = {name: {"tiles": one.tiles, "glass": one.glass, "cells": str(one.store)} for name, one in done.items()}
    return {"slides": slides} if slides else {}


def _by_name(found: Sequence[Found], classes: ClassTable, limits: Mapping[int, float]) -> dict[str, dict[str, int]]:
    """Return by image and class how many cells reach ``limits``."""
    counts = {image.file.image_id: image.counts(limits) for image in found}
    return {image_id: {name: count[i] for i, name, _ in classes} for image_id, count in counts.items()}
