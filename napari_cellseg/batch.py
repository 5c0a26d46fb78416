"""What *Batch* does away from the window: generators without Qt, for `gui.batch`."""

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
from napari_cellseg.images.read import ImageFile
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.flags import given_flags
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.workspace import Annotations, ImageSummary, Project, look_at
from napari_cellseg.workspace.predictions import PlannedImage, plan_images

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
"""Engine processes that may die one after the other, each at another image, before the whole run has failed."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What is in a folder, before anything is computed; ``ids_problem`` says why ``ids_file`` cannot be used."""

    folder: Path
    key: str
    images: tuple[PlannedImage, ...]
    ids_file: Path | None = None
    ids: IdMatch | None = None
    ids_problem: str = ""


@dataclass(frozen=True)
class Finished:
    """An image is predicted; ``is_stored`` says whether its cells are on disk."""

    event: ImageDone
    is_stored: bool


def make_plan(
    folder: Path,
    key: str,
    ids_file: Path | None,
    project: Project | None = None,
    now: Mapping[str, ImageSummary | None] | None = None,
) -> Generator[None, None, BatchPlan]:
    """Look what is in a folder and how each image stands.

    Parameters
    ----------
    folder : Path
    key : str
        Of the prediction to come, see `prediction_key`.
    ids_file : Path or None
    project : Project, optional
        The folder's, when it is open.
    now : mapping of image_id to ImageSummary or None, optional
        The images under review, and their cells as they are now.

    Raises
    ------
    ImageReadError
        There is no image.
    """
    project = project or look_at(folder)
    files = project.images
    planned = yield from plan_images(project, key, now)
    if ids_file is None:
        return BatchPlan(folder=folder, key=key, images=planned)
    try:
        ids = match_ids(ids_file, [file.image_id for file in files])
    except AnnotationError as error:
        return BatchPlan(folder=folder, key=key, images=planned, ids_file=ids_file, ids_problem=str(error))
    return BatchPlan(folder=folder, key=key, images=planned, ids_file=ids_file, ids=ids)


def predict_images(
    run: Callable[[Predict], Generator[PredictEvent | None, None, PredictSummary]],
    files: Sequence[ImageFile],
    options: PredictOptions,
    pixel_size_um: float | None,
    store: Callable[[ImageFile, ImageDone], bool],
) -> Generator[Any, None, None]:
    """Predict and store images one by one; one that kills the engine has failed, the others go on with a new engine.

    One by one, so that a pause or a stop is never more than one image behind; the engine keeps the model.

    Parameters
    ----------
    run : callable
        `Engine.run`.
    files : sequence of ImageFile
    options : PredictOptions
    pixel_size_um : float or None
        In place of what the files say.
    store : callable
        Stores the cells of an image, here in the worker, and returns whether it did; if not, the window has to.

    Yields
    ------
    ModelReady once, then for each image TileDone and `Finished` or ImageFailed; Message in between

    Raises
    ------
    CheckpointError, ConfigError
        The model or the device is not to be had.
    EngineError
        The engine died again and again.
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
    """Order the images that have proposals nobody decided about by what reviewing them is expected to give.

    Parameters
    ----------
    items : sequence of ExportItem
        All images of the project: the reviewed ones tell which classes are rare.
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
    """Return the images of a folder that is not open, with their annotations as they are on disk."""
    project = look_at(folder)

    def reader(image_id: str) -> Callable[[], Annotations | None]:
        return lambda: None if project.annotations_file(image_id) is None else project.read(image_id)

    return tuple(ExportItem(file, reader(file.image_id)) for file in project.images)


def write_submission(
    items: Sequence[ExportItem], classes: ClassTable, folder: Path, ids_file: Path | None
) -> Generator[ExportProgress, None, ExportSummary]:
    """Write ``test-results.json`` and its zip with every cell that nobody rejected, down to the lowest score.

    Average precision wants the low scores too; the minimum scores are for looking. Both files are read back, checked
    row by row against the ids and loaded with pycocotools.

    Raises
    ------
    ExportError
        No image has cells to hand in, or the files cannot be written.
    AnnotationError
        The id file is wrong.
    """
    plan = ExportPlan(folder=folder, formats=frozenset({"results"}), ids_file=ids_file)
    wanted = items
    if ids_file is not None:
        listed = match_ids(ids_file, [item.file.image_id for item in items]).of_image
        wanted = [item for item in items if item.file.image_id in listed]
        if not wanted:
            raise ExportError(f"None of the {len(items)} images here is listed in {ids_file}; choose another id file.")
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
    except AnnotationError:  # told when the image is opened
        return None


def _has_proposals(annotations: Annotations, thresholds: Mapping[int, float]) -> bool:
    """Whether something is left to decide: proposals that are shown, or none decided about yet."""
    shown = replace(annotations, min_scores=thresholds).shown()
    return any(not cell.reviewed for cell in shown) or not any(cell.reviewed for cell in annotations.cells)


def predict_command(
    options: PredictOptions,
    images: Path,
    out: Path,
    ids: Path | None = None,
    pixel_size_um: float | None = None,
) -> list[str]:
    """Return the command that predicts with these options, as a list of arguments; what is default is left out."""
    given = {"--out": out, "--ids": ids, "--pixel-size": pixel_size_um}
    # With "=", since a value may begin with "-".
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    return ["napari-cellseg", "predict", str(images), *words, *given_flags(options)]
