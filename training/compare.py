"""Compare two models on the same annotated images: which cells the new model gains, and which it loses."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from napari_cellseg.class_match import is_placeholder
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import Message
from napari_cellseg.images.formats import read_image
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, choose_device
from napari_cellseg.model.inference.predict import ModelCache
from napari_cellseg.model.inference.predictor import Predictor
from training.class_pairs import pair_classes
from training.comparison import ClassComparison, Comparison, ComparisonStep, ImageComparison, ModelScores
from training.dataset import Sample, TrainingImage, find_samples, label_images_of, training_image
from training.evaluate import Evaluation, evaluate
from training.metrics import PanopticCounts, overlaps, panoptic_counts, same_cells
from training.truth import has_names
from training.validation import truth_of, window

__all__ = ["compare"]

Cells = dict[str, InstanceMasks]
_Which = Literal["old", "new"]
_REMEDY = "Compare on data with the classes of the model, or run evaluate with --class-map."


def compare(
    data: Path,
    old: Path | None,
    new: Path,
    *,
    image_ids: Sequence[str] | None = None,
    device: str = "auto",
    side: int | None = None,
) -> Generator[ComparisonStep | Message, None, Comparison]:
    """Predict annotated images with two models, and compare the predictions.

    Each model uses the score thresholds in its file; a model without any gets the best ones on these images.

    Parameters
    ----------
    data : Path
        Training folder or COCO file, see `training.dataset`.
    old : Path or None
        Checkpoint of the old model; None: the bundled one. Its classes are matched to those of the data by name.
    new : Path
        Checkpoint of the new model. Its classes are paired with those of the data as `evaluate` does, see
        `training.class_pairs`.
    image_ids : sequence of str, optional
        The images, for example the validation set of `training.split.Split`; all when left out.
    device : str
        "auto", "cpu", "cuda", ...
    side : int, optional
        Side of the middle square of each image that is compared, px; the whole image when left out.

    Yields
    ------
    ComparisonStep
        After each tile.

    Raises
    ------
    CheckpointError
        A model cannot be loaded.
    AnnotationError, ConfigError, ImageReadError
        The data cannot be used, an image is unknown, or the classes cannot be paired.
    """
    begin, chosen = time.perf_counter(), choose_device(device)
    newer = _Model.load("new", new, chosen)
    source = find_samples(data, reading=newer.predictor.model.config.reading)
    pairs = pair_classes(newer.classes, source.classes, has_names=has_names(source), remedy=_REMEDY)
    newer, classes = newer.with_classes(pairs.of_model), pairs.classes
    older = _Model.load("old", old or bundled(), chosen)
    older = older.with_classes(_by_name(older.classes, classes))
    if unknown := [name for class_id, name, _ in classes if class_id not in older.class_ids.values()]:
        yield Message("warning", f"{older.name} does not know {', '.join(unknown)}; only its other classes count.")
    truth: Cells = {}
    found: dict[_Which, Cells] = {"old": {}, "new": {}}
    samples = _samples(data, source.samples, image_ids)
    for number, sample in enumerate(samples, 1):
        image, pixel_size_um = _read(sample, side)
        truth[image.image_id] = truth_of(image)
        for model in (older, newer):
            place = (number, len(samples))
            found[model.which][image.image_id] = yield from model.cells(image, pixel_size_um, place)
    evaluations = {
        model.which: evaluate(truth, found[model.which], classes, min_scores=model.thresholds)
        for model in (older, newer)
    }
    kept = {which: _kept(found[which], evaluation) for which, evaluation in evaluations.items()}
    images = tuple(_compare_image(name, truth[name], kept["old"][name], kept["new"][name]) for name in truth)
    compared = _compare_classes(classes, set(older.class_ids.values()), images, evaluations)
    return Comparison(
        old_name=older.name,
        new_name=newer.name,
        classes=compared,
        old=_together([scores.old for scores in compared if scores.old is not None]),
        new=_together([scores.new for scores in compared if scores.old is not None]),
        images=images,
        seconds=time.perf_counter() - begin,
        by_number=is_placeholder(older.classes) or is_placeholder(classes),
        table=classes,
        pairing=pairs.text,
    )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One of the two models; ``class_ids`` maps its classes to those of the data, which index ``thresholds``."""

    which: _Which
    name: str
    classes: ClassTable
    class_ids: Mapping[int, int]
    thresholds: Mapping[int, float] | None
    predictor: Predictor

    @classmethod
    def load(cls, which: _Which, path: Path, device: Device) -> _Model:
        network, header = ModelCache().get(Path(path), device)
        limits = None if header.thresholds is None else dict(enumerate(header.thresholds, 1))
        predictor = Predictor(network, header, device, PredictOptions(test_time_augmentation="off"))
        return cls(
            which=which,
            name=header.name or Path(path).stem,
            classes=header.classes,
            class_ids={class_id: class_id for class_id in header.classes.class_ids},
            thresholds=limits,
            predictor=predictor,
        )

    def with_classes(self, class_ids: Mapping[int, int]) -> _Model:
        """Return the model with other class_ids for its classes."""
        limits = self.thresholds
        if limits is not None:
            limits = {class_ids[own]: limit for own, limit in limits.items() if own in class_ids}
        return replace(self, class_ids=class_ids, thresholds=limits)

    def cells(
        self, image: TrainingImage, pixel_size_um: float | None, place: tuple[int, int]
    ) -> Generator[ComparisonStep, None, InstanceMasks]:
        """Predict an image, without cells of classes that the data does not have."""
        tiles = self.predictor.image(image.rgb, pixel_size_um, place=place)
        while True:
            try:
                step = next(tiles)
            except StopIteration as end:
                cells: InstanceMasks = end.value
                break
            yield ComparisonStep(
                image=step.image,
                images=step.images,
                image_id=image.image_id,
                model=self.which,
                tile=step.tile,
                tiles=step.tiles,
            )
        table = np.zeros(len(self.classes) + 1, np.int32)
        table[list(self.class_ids)] = list(self.class_ids.values())
        cells = cells.select(table[cells.class_ids] > 0)
        return replace(cells, class_ids=table[cells.class_ids])


def _by_name(own: ClassTable, classes: ClassTable) -> dict[int, int]:
    """Return the class_id in ``classes`` of each own class, by name, or by number where one side has no names."""
    if is_placeholder(own) or is_placeholder(classes):
        return {class_id: class_id for class_id in own.class_ids if class_id <= len(classes)}
    return {class_id: classes.class_id(name) for class_id, name, _ in own if name in classes.names}


def _samples(data: Path, samples: Sequence[Sample], image_ids: Sequence[str] | None) -> list[Sample]:
    if image_ids is None:
        return list(samples)
    by_id = {sample.image_id: sample for sample in samples}
    if unknown := [image_id for image_id in image_ids if image_id not in by_id]:
        raise AnnotationError(f"{data} has no image {unknown[0]!r}. Restore it if it was renamed or removed.")
    return [by_id[image_id] for image_id in image_ids]


def _read(sample: Sample, side: int | None) -> tuple[TrainingImage, float | None]:
    file = read_image(sample.image, options=sample.reading)
    label_images = label_images_of(sample, file.size)
    return window(training_image(sample, file.rgb(), label_images), side), file.pixel_size_um


def _kept(found: Cells, evaluation: Evaluation) -> Cells:
    """Return the cells at or above the score thresholds of the evaluation."""
    limits = np.array([0.0, *evaluation.thresholds.values()])
    return {name: cells.select(cells.scores >= limits[cells.class_ids]) for name, cells in found.items()}


def _compare_image(image_id: str, truth: InstanceMasks, old: InstanceMasks, new: InstanceMasks) -> ImageComparison:
    by_old, right_old = same_cells(overlaps(truth, old))
    by_new, right_new = same_cells(overlaps(truth, new))
    return ImageComparison(
        image_id=image_id,
        truth=truth,
        old=old,
        new=new,
        gained=np.setdiff1d(by_new, by_old),
        lost=np.setdiff1d(by_old, by_new),
        old_false=np.setdiff1d(np.arange(len(old)), right_old),
        new_false=np.setdiff1d(np.arange(len(new)), right_new),
    )


def _compare_classes(
    classes: ClassTable, known: set[int], images: Sequence[ImageComparison], evaluations: Mapping[_Which, Evaluation]
) -> tuple[ClassComparison, ...]:
    tables = {which: [overlaps(image.truth, getattr(image, which)) for image in images] for which in ("old", "new")}
    compared = []
    for class_id, name, _ in classes:
        scores = {}
        for which, evaluation in evaluations.items():
            counts = sum((panoptic_counts(table, class_id) for table in tables[which]), PanopticCounts())
            of = evaluation.classes[class_id - 1]
            scores[which] = ModelScores(
                ap50=of.ap50,
                pq=of.pq,
                f1=of.f1,
                matched=counts.matched,
                missed=counts.missed,
                false=counts.false,
                min_score=of.min_score,
            )
        compared.append(
            ClassComparison(
                class_id=class_id,
                name=name,
                cells=evaluations["new"].classes[class_id - 1].cells,
                old=scores["old"] if class_id in known else None,
                new=scores["new"],
                gained=sum(image.count("gained", class_id) for image in images),
                lost=sum(image.count("lost", class_id) for image in images),
            )
        )
    return tuple(compared)


def _together(classes: Sequence[ModelScores]) -> ModelScores:
    """Return the means of the metrics that are finite, and the sums of the counts."""
    means = []
    for name in ("ap50", "pq", "f1"):
        values = [value for scores in classes if math.isfinite(value := getattr(scores, name))]
        means.append(sum(values) / len(values) if values else math.nan)
    matched, missed, false = (
        sum(getattr(scores, name) for scores in classes) for name in ("matched", "missed", "false")
    )
    ap50, pq, f1 = means
    return ModelScores(ap50=ap50, pq=pq, f1=f1, matched=matched, missed=missed, false=false)
