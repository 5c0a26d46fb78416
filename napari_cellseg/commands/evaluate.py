"""``napari-cellseg evaluate``: compares the cells of a model or a file with the ground truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.model_choice import model_for
from napari_cellseg.commands.predict import add_model_options, predict_files, prediction_options
from napari_cellseg.commands.reading import add_reading_options, reading_of

if TYPE_CHECKING:
    from napari_cellseg.classes import ClassTable
    from napari_cellseg.instances import InstanceMasks
    from training.class_pairs import ClassPairs
    from training.dataset import DataSource

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser("evaluate", help="evaluate a model or a results file against ground truth")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="training folder or COCO JSON file")
    parser.add_argument("--results", type=Path, metavar="FILE", help="test-results.json or zip, instead of a model")
    parser.add_argument("--ids", type=Path, metavar="FILE", help="JSON list of the images and ids of --results")
    parser.add_argument("--min-score", type=float, metavar="S", help="minimum score of cells in all metrics except AP")
    parser.add_argument(
        "--class-blind", action="store_true", help="compare cells alone, for a model whose classes are not the data's"
    )
    parser.add_argument(
        "--class-map",
        metavar="MODEL=TRUTH,...",
        help="pair classes of the model with those of the data, by name or number; MODEL= leaves a class out "
        "(default: by name, in any order)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers to a JSON file")
    add_model_options(parser, min_score=False)
    add_reading_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate and print the table; return 1 if annotations or images were left out, which are listed."""
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.formats.coco_images import write_json
    from training.dataset import find_samples
    from training.evaluate import evaluate
    from training.region import within_regions

    if options.results is not None and options.ids is None:
        raise ConfigError("--results needs --ids FILE, which gives the id of each image.")
    if options.results is not None and options.checkpoint is not None:
        raise ConfigError("Give either --results or --checkpoint, not both.")
    if options.class_map is not None and options.class_blind:
        raise ConfigError("Give either --class-map or --class-blind, not both.")
    source = find_samples(options.data)
    for line in source.lines():
        print(line, file=sys.stderr)
    limits: Mapping[int, float] | None = None
    if options.results is not None:
        truth, found, classes, limits, missing = _of_results(options, source)
    else:
        truth, found, classes, limits, missing = _of_model(options, source)
    if options.class_blind:
        classes, limits, truth, found = _of_cells_alone(limits, truth, found)
    if options.min_score is not None:
        limits = dict.fromkeys(classes.class_ids, options.min_score)
    truth, found, about_regions = within_regions(source.regions, truth, found)
    evaluation = evaluate(truth, found, classes, min_scores=limits)
    print(evaluation.table())
    if about_regions:
        print(about_regions)
    if options.json is not None:
        write_json(options.json, evaluation.to_json(), indent=1)
    return 1 if source.left_out or missing else 0


Cells = dict[str, "InstanceMasks"]


def _of_cells_alone(
    limits: Mapping[int, float] | None, truth: Cells, found: Cells
) -> tuple[ClassTable, Mapping[int, float] | None, Cells, Cells]:
    """Give all cells one class, with the mean of the model's score thresholds, and say so."""
    from statistics import fmean

    from napari_cellseg.classes import ClassTable

    def alone(side: Cells) -> Cells:
        return {name: replace(cells, class_ids=cells.class_ids * 0 + 1) for name, cells in side.items()}

    print("Cells alone are compared: all classes count as one, so a wrong class is no error in any figure.")
    return ClassTable(("cell",)), {1: fmean(limits.values())} if limits else None, alone(truth), alone(found)


def _pairs(options: argparse.Namespace, source: DataSource, model: ClassTable) -> ClassPairs:
    """Pair the classes of the model and of the data, and say how; by number with ``--class-blind``."""
    from training.class_pairs import ClassPairs, pair_classes, parse_class_map
    from training.truth import has_names

    if options.class_blind:
        return ClassPairs(source.classes, {class_id: class_id for class_id in model.class_ids})
    chosen = None if options.class_map is None else parse_class_map(options.class_map)
    pairs = pair_classes(model, source.classes, has_names=has_names(source), chosen=chosen)
    if pairs.text:
        print(pairs.text)
    return pairs


def _of_results(
    options: argparse.Namespace, source: DataSource
) -> tuple[Cells, Cells, ClassTable, Mapping[int, float] | None, list[str]]:
    from napari_cellseg.classes import ClassTable
    from napari_cellseg.commands.results_model import model_of_results
    from napari_cellseg.errors import AnnotationError
    from napari_cellseg.formats.coco import read_results
    from napari_cellseg.formats.ids import match_ids
    from training.truth import has_names, truth_of

    ids = match_ids(options.ids, [sample.image_id for sample in source.samples])
    images = ids.of_image
    truth = truth_of(source, images)
    if not truth:
        raise AnnotationError(f"None of the images of {options.data} is in {options.ids}.")
    missing = [sample.image_id for sample in source.samples if sample.image_id not in truth]
    if missing:
        print(f"left out, because {options.ids} does not list them: {', '.join(missing)}", file=sys.stderr)
    results = read_results(options.results, ids.entries)
    found = {image_id: results[images[image_id].id] for image_id in truth}
    highest = max(int(cells.class_ids.max(initial=1)) for cells in found.values())
    model = model_of_results(options.results)
    if model is not None or options.class_map is not None:
        pairs = _pairs(options, source, ClassTable.numbered(highest) if model is None else model.classes)
        limits = pairs.limits(model.limits) if model is not None and any(model.limits.values()) else None
        return truth, {name: pairs.cells(cells) for name, cells in found.items()}, pairs.classes, limits, missing
    more = highest > len(source.classes) and not has_names(source)
    return truth, found, ClassTable.numbered(highest) if more else source.classes, None, missing


def _of_model(
    options: argparse.Namespace, source: DataSource
) -> tuple[Cells, Cells, ClassTable, Mapping[int, float] | None, list[str]]:
    from napari_cellseg.commands.found import FoundImage
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.errors import ImageReadError
    from napari_cellseg.images.read import ImageFile
    from napari_cellseg.model.checkpoint import read_header
    from training.truth import truth_of

    given = [ImageFile(sample.image_id, sample.image) for sample in source.samples]
    settings, model, why = model_for(prediction_options(options, None), given, options)
    if why:
        print(why)
    header = read_header(model)
    pairs = _pairs(options, source, header.classes)
    reading = reading_of(options, header.config.reading)
    files = [replace(file, reading=reading) for file in given]
    limits = dict(enumerate(header.thresholds, start=1)) if header.thresholds else None
    with Bar("image", to_stderr=True) as bar:
        found, failed = predict_files(files, settings, options.pixel_size, bar, limits or {})
    for image_id, text in failed:
        print(f"{image_id}: {text}", file=sys.stderr)
    if not found:
        raise ImageReadError("No image could be read, so there is nothing to evaluate.")
    cells = {image.file.image_id: pairs.cells(image.instances) for image in found if isinstance(image, FoundImage)}
    truth = truth_of(source, cells)
    of_pairs = None if limits is None else pairs.limits(limits)
    return truth, cells, pairs.classes, of_pairs, [image_id for image_id, _ in failed]
