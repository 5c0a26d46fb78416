"""``napari-cellseg export``: converts annotations or results to files of other formats."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.formats import add_formats, add_ids, csv_style, match_id_file, show_id_match
from napari_cellseg.commands.reading import add_reading_options, reading_of

if TYPE_CHECKING:
    from napari_cellseg.classes import ClassTable
    from napari_cellseg.export import ExportItem, ExportProgress, ExportSummary

__all__ = ["add_parser", "is_results", "items_of_source", "run"]

_SCORE = 0.5

_EPILOG = """\
SOURCE is a reviewed folder (one that napari-cellseg saved in), a training folder of <id>/image.tif with class1.tif ...,
a COCO data set next to its images, or a test-results.json (or zip) with --ids and --images.
  napari-cellseg export data/train --out out --to coco results
  napari-cellseg export test-results.json --ids ids.json --images test --out out --to class-images --min-score 0.5"""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "export",
        help="convert annotations or results to files of other formats",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or JSON file, see below")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    add_formats(parser, required=True, what="what to write")
    add_ids(parser, "ids of the images, to read or write results (default: the file found in SOURCE or next to it)")
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="where the images of a results file or of other annotations lie"
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="names of the classes, in the order of their ids")
    parser.add_argument("--min-score", type=float, default=0.0, metavar="S", help="leave out cells with a lower score")
    parser.add_argument("--polygons", action="store_true", help="write outlines instead of RLE to the COCO data set")
    add_reading_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert; return 1 if annotations or images had to be left out, which are listed."""
    from napari_cellseg.atomic import heard_replaced
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import drive
    from napari_cellseg.export import ExportPlan, export_folder
    from napari_cellseg.wording import counted, replaced_text

    reading = reading_of(options)
    items, classes, left_out = items_of_source(options)
    items = [replace(item, file=item.file.read_as(reading)) for item in items]
    ids = _ids_to_write(options, items)
    plan = ExportPlan(
        folder=options.out,
        formats=frozenset(options.to),
        ids_file=ids,
        polygons=options.polygons,
        csv=csv_style(options),
    )
    with heard_replaced() as replaced, Bar("image") as bar:

        def show(event: ExportProgress) -> None:
            bar.at(event.image, event.images, event.image_id)

        summary: ExportSummary = drive(export_folder(items, classes, plan), show)
    for image_id, text in summary.problems:
        print(f"{image_id}: {text}", file=sys.stderr)
    if summary.hint:
        print(f"warning: {summary.hint}", file=sys.stderr)
    if replaced:
        print(replaced_text(replaced, options.out), file=sys.stderr)
    # What is left out of the source was said when it was read.
    problems = (*summary.problems, *((str(options.source), text) for text in left_out))
    print(f"{replace(summary, problems=problems)}, {counted(summary.cells, 'cell')} -> {options.out}")
    return 1 if left_out or summary.problems or summary.damaged else 0  # what is damaged was logged when it was read


def _ids_to_write(options: argparse.Namespace, items: Sequence[ExportItem]) -> Path | None:
    if "results" not in options.to:
        return None
    from napari_cellseg.images.listing import home_of

    folder = home_of(options.source)
    ids = match_id_file(options, folder, [item.file.image_id for item in items])
    show_id_match(options, ids)
    return None if ids is None else ids.path


def items_of_source(options: argparse.Namespace) -> tuple[list[ExportItem], ClassTable, list[str]]:
    """Return the images and cells that ``source``, ``images``, ``ids``, ``classes`` and ``min_score`` name.

    A ``min_score`` of None is the model's own for each class, or 0.5 where results do not name their model.
    The list has what is left out, which is also printed.
    """
    source: Path = options.source
    left_out: list[str] = []
    read = _of_folder if source.is_dir() else _of_results if is_results(source) else _of_data
    items, classes = read(options, left_out)
    return items, classes, left_out


def is_results(path: Path) -> bool:
    """Return whether a file is a results file (or a zip of one), not a COCO data set."""
    from napari_cellseg.formats.json_gate import read_json

    return path.suffix.lower() == ".zip" or isinstance(read_json(path), list)


def _named(options: argparse.Namespace) -> ClassTable | None:
    from napari_cellseg.classes import ClassTable

    return ClassTable(tuple(options.classes)) if options.classes else None


def _of_folder(options: argparse.Namespace, left_out: list[str]) -> tuple[list[ExportItem], ClassTable]:
    """Read a reviewed folder as saved, and any other folder as a training folder."""
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.export import Which, items_of
    from napari_cellseg.workspace import Sessions, look_at

    if not (options.source / ".cellseg").is_dir():
        return _of_data(options, left_out)
    if options.images is not None:
        raise ConfigError(f"{options.source} holds its images itself; leave out --images.")
    if options.min_score:
        raise ConfigError(f"{options.source} keeps the minimum scores of its review; leave out --min-score.")
    with Sessions(look_at(options.source)) as sessions:  # a viewer may have the folder open
        items = list(items_of(sessions, Which.ALL))
        known = [found.classes for item in items if (found := item.read()) is not None]
        return items, _named(options) or sessions.project.classes or (known[0] if known else _no_cells(options.source))


def _no_cells(source: Path) -> ClassTable:
    from napari_cellseg.errors import AnnotationError

    raise AnnotationError(f"No image of {source} has annotations yet.")


def _of_data(options: argparse.Namespace, left_out: list[str]) -> tuple[list[ExportItem], ClassTable]:
    from napari_cellseg.commands.found import FoundImage, export_items
    from napari_cellseg.formats.label_images import to_instances
    from napari_cellseg.images.formats import image_size
    from napari_cellseg.images.read import ImageFile
    from training.dataset import find_samples, label_images_of

    source = find_samples(options.source, _named(options), images=options.images)
    for line in source.lines():
        print(line, file=sys.stderr)
    left_out += source.left_out
    remarks: list[str] = []

    def found() -> Iterator[FoundImage]:
        for sample in source.samples:
            size = image_size(sample.image)
            cells = sample.cells
            if cells is None:
                cells = to_instances(dict(label_images_of(sample, size, remarks)), size)
                for remark in remarks:
                    print(remark, file=sys.stderr)
                remarks.clear()
            yield FoundImage(ImageFile(sample.image_id, sample.image), cells, source.path.name)

    limits = dict.fromkeys(source.classes.class_ids, options.min_score or 0.0)
    return export_items(found(), source.classes, limits), source.classes


def _of_results(options: argparse.Namespace, left_out: list[str]) -> tuple[list[ExportItem], ClassTable]:
    from napari_cellseg.classes import ClassTable
    from napari_cellseg.commands.found import FoundImage, export_items
    from napari_cellseg.commands.results_model import model_of_results
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.formats.coco import read_results
    from napari_cellseg.formats.ids import find_ids, match_ids
    from napari_cellseg.images.read import list_images

    places = [folder for folder in (options.source.parent, options.images) if folder is not None]
    ids_path = options.ids or next(filter(None, map(find_ids, places)), None)
    if ids_path is None or options.images is None:
        raise ConfigError(f"{options.source} is a results file: give --ids FILE and --images DIR with it.")
    files = {file.image_id: file for file in list_images(options.images)}
    ids = match_ids(ids_path, files)
    if not ids.of_image:
        raise ConfigError(f"None of the images of {ids_path} is in {options.images}.")
    if ids.missing:
        print(f"left out, because {options.images} does not have them: {', '.join(ids.missing)}", file=sys.stderr)
        left_out += ids.missing
    results = read_results(options.source, ids.entries)
    highest = max((int(cells.class_ids.max(initial=1)) for cells in results.values()), default=1)
    model = model_of_results(options.source)
    classes = _named(options) or (ClassTable.numbered(highest) if model is None else model.classes)
    if len(classes) < highest:
        raise ConfigError(f"{options.source} has cells of class {highest}, but --classes names {len(classes)}.")
    if options.min_score is None and model is not None and len(model.classes) == len(classes):
        limits = model.limits
    else:
        limits = dict.fromkeys(classes.class_ids, _SCORE if options.min_score is None else options.min_score)
    found = (FoundImage(files[image_id], results[image.id]) for image_id, image in ids.of_image.items())
    return export_items(found, classes, limits), classes
