"""The work of *Batch* outside the window's thread: generators without Qt, for `gui.batch`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_cellseg.active_learning import ClassCounts, ImageGain, class_weights, image_gain, rank_images
from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import AnnotationError, CellSegError, EngineError, ExportError
from napari_cellseg.events import ImageDone, ImageFailed, ModelReady, PredictEvent, PredictSummary, TileDone
from napari_cellseg.export import ExportItem, ExportPlan, ExportProgress, ExportSummary, export_folder
from napari_cellseg.formats.ids import IdMatch, match_ids
from napari_cellseg.images.options import ReadOptions, words_of
from napari_cellseg.images.read import ImageFile
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.flags import given_flags
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.review import Status
from napari_cellseg.workspace import Annotations, ImageSummary, Project, look_at
from napari_cellseg.workspace.predictions import ImageState, PlannedImage, plan_images

__all__ = [
    "BatchPlan",
    "Finished",
    "items_of_folder",
    "make_plan",
    "predict_command",
    "predict_images",
    "rank_folder",
    "write_submission",
]

_MOST_DEATHS = 3
"""Consecutive deaths of the engine, each at another image, after which the run fails."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The content of a folder before a run; ``ids_problem`` states why ``ids_file`` cannot be used."""

    folder: Path
    key: str
    images: tuple[PlannedImage, ...]
    ids_file: Path | None = None
    ids: IdMatch | None = None
    ids_problem: str = ""
    every_plane: bool = False
    """Whether each plane of a stack is an image."""

    @property
    def stacks(self) -> tuple[PlannedImage, ...]:
        """The stacks of which only the first plane is read, because no one chose otherwise."""
        return tuple(image for image in self.images if image.planes_left_out)

    def with_predicted(self, image_id: str) -> BatchPlan:
        """Return the plan after an image was predicted."""
        done = (replace(i, state=ImageState.PREDICTED) if i.file.image_id == image_id else i for i in self.images)
        return replace(self, images=tuple(done))

    @property
    def reading_words(self) -> list[str]:
        """The options of a command that read all images as in the folder; empty if they are read differently."""
        left_out = {"plane"} if self.every_plane else set()
        chosen = [
            (image.file.reading or ReadOptions()).model_dump(exclude_unset=True, exclude=left_out)
            for image in self.images
        ]
        words = ["--plane", "all"] if self.every_plane else []
        is_one = all(options == chosen[0] for options in chosen)
        return words + (words_of(ReadOptions.model_validate(chosen[0])) if is_one else [])


@dataclass(frozen=True)
class Finished:
    """An image was predicted; ``is_stored`` states whether its cells are on disk."""

    event: ImageDone
    is_stored: bool


def make_plan(
    folder: Path,
    key: str,
    ids_file: Path | None,
    project: Project | None = None,
    now: Mapping[str, ImageSummary | None] | None = None,
) -> Generator[None, None, BatchPlan]:
    """Scan a folder: its images, the state of each, and the id file.

    Parameters
    ----------
    folder : Path
    key : str
        Key of the next prediction, see `prediction_key`.
    ids_file : Path or None
    project : Project, optional
        The project of the folder, if it is open.
    now : mapping of image_id to ImageSummary or None, optional
        The images under review, with the summary of their present cells.

    Raises
    ------
    ImageReadError
        The folder has no image.
    """
    project = project or look_at(folder)
    files = project.images
    planned = yield from plan_images(project, key, now)
    plan = BatchPlan(folder=folder, key=key, images=planned, ids_file=ids_file, every_plane=project.every_plane)
    if ids_file is None:
        return plan
    try:
        return replace(plan, ids=match_ids(ids_file, [file.image_id for file in files]))
    except AnnotationError as error:
        return replace(plan, ids_problem=str(error))


def predict_images(
    run: Callable[[Predict], Generator[PredictEvent | None, None, PredictSummary]],
    files: Sequence[ImageFile],
    options: PredictOptions,
    pixel_size_um: float | None,
    store: Callable[[ImageFile, ImageDone], bool],
) -> Generator[Any, None, None]:
    """Predict and store images one by one; an image that kills the engine fails, and a new engine takes the next one.

    One by one, so that a pause or a stop loses at most one image; the engine keeps the model loaded.

    Parameters
    ----------
    run : callable
        `Engine.run`.
    files : sequence of ImageFile
    options : PredictOptions
    pixel_size_um : float or None
        Replaces the pixel size in the files.
    store : callable
        Stores the cells of an image in the worker and returns whether it did; if not, the window must.

    Yields
    ------
    ModelReady once, then for each image TileDone and `Finished` or ImageFailed; Message in between

    Raises
    ------
    CheckpointError, ConfigError
        The model or the device is not available.
    EngineError
        The engine died repeatedly.
    """
    is_ready, deaths = False, 0
    for number, file in enumerate(files, 1):
        events = run(Predict([PredictItem(file.image_id, file.path, pixel_size_um, file.reading)], options))
        try:
            for event in events:
                if isinstance(event, ModelReady):
                    if not is_ready:
                        yield event
                    is_ready = True
                elif isinstance(event, TileDone | ImageFailed):
                    yield replace(event, image=number, images=len(files))
                elif isinstance(event, ImageDone):
                    yield _stored(file, replace(event, image=number, images=len(files)), store)
                else:
                    yield event
            deaths = 0
        except EngineError as error:
            deaths += 1
            if deaths == _MOST_DEATHS:
                raise
            yield ImageFailed(number, len(files), file.image_id, str(error))
        finally:
            events.close()


def _stored(file: ImageFile, event: ImageDone, store: Callable[[ImageFile, ImageDone], bool]) -> Finished | ImageFailed:
    try:
        return Finished(event, store(file, event))
    except CellSegError as error:
        return ImageFailed(event.image, event.images, file.image_id, str(error))


def rank_folder(
    items: Sequence[ExportItem], classes: ClassTable, thresholds: Mapping[int, float]
) -> Generator[None, None, list[ImageGain]]:
    """Sort the images with undecided proposals by the expected gain of reviewing them.

    Parameters
    ----------
    items : sequence of ExportItem
        All images of the project; the reviewed ones determine which classes are rare.
    classes : ClassTable
    thresholds : mapping of class_id to float
    """
    counts = ClassCounts()
    for item in items:
        yield None
        annotations = _read(item)
        if annotations is not None:
            counts.add(annotations.cells, thresholds)
    weights = class_weights(counts.known, classes)
    gains = []
    for item in items:
        yield None
        annotations = _read(item)
        if annotations is not None and (not annotations.cells or _has_proposals(annotations, thresholds)):
            gains.append(
                image_gain(item.file.image_id, annotations.cells, annotations.image_size, classes, thresholds, weights)
            )
    return rank_images(gains)


def items_of_folder(folder: Path) -> tuple[ExportItem, ...]:
    """Return the images of a folder that is not open, with their annotations on disk."""
    project = look_at(folder)

    def reader(image_id: str) -> Callable[[], Annotations | None]:
        return lambda: None if project.annotations_file(image_id) is None else project.read(image_id)

    return tuple(ExportItem(file, reader(file.image_id)) for file in project.images)


def write_submission(
    items: Sequence[ExportItem], classes: ClassTable, folder: Path, ids_file: Path | None
) -> Generator[ExportProgress, None, ExportSummary]:
    """Write ``test-results.json`` and its zip with every cell that was not rejected, down to the lowest score.

    Average precision needs the low scores; minimum scores are for viewing only. Both files are read back, checked row
    by row against the ids, and loaded with pycocotools.

    Raises
    ------
    ExportError
        No image has cells to submit, or the files cannot be written.
    AnnotationError
        The id file is invalid.
    """
    plan = ExportPlan(folder=folder, formats=frozenset({"results"}), ids_file=ids_file)
    wanted = items
    if ids_file is not None:
        listed = match_ids(ids_file, [item.file.image_id for item in items]).of_image
        wanted = [item for item in items if item.file.image_id in listed]
        if not wanted:
            raise ExportError(
                f"{ids_file} lists none of the {len(items)} images of this folder. Choose another id file."
            )
    if not any(item.read() is not None for item in wanted):
        raise ExportError("No image is predicted yet; predict the folder first.")
    return (yield from export_folder([ExportItem(item.file, _all_scores(item)) for item in wanted], classes, plan))


def _all_scores(item: ExportItem) -> Callable[[], Annotations | None]:
    def read() -> Annotations | None:
        found = item.read()
        return None if found is None else replace(found, min_scores={})

    return read


def _read(item: ExportItem) -> Annotations | None:
    try:
        return item.read()
    except AnnotationError:  # reported when the image is opened
        return None


def _has_proposals(annotations: Annotations, thresholds: Mapping[int, float]) -> bool:
    """Return whether decisions are left: visible proposals, or no decided cell yet."""
    shown = replace(annotations, min_scores=thresholds).shown()
    return any(cell.status is Status.PROPOSED for cell in shown) or not any(cell.is_kept for cell in annotations.cells)


def predict_command(
    options: PredictOptions,
    images: Path,
    out: Path,
    ids: Path | None = None,
    pixel_size_um: float | None = None,
    reading: Sequence[str] = (),
) -> list[str]:
    """Return the command that predicts with these options, as a list of arguments without defaults.

    ``reading`` are the words of `BatchPlan.reading_words`.
    """
    given = {"--out": out, "--ids": ids, "--pixel-size": pixel_size_um}
    # With "=", because a value may start with "-".
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    return ["napari-cellseg", "predict", str(images), *words, *reading, *given_flags(options)]
