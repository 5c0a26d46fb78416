"""`train`, `evaluate` and `write_samples`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.api.predicting import Model
from napari_cellseg.errors import ConfigError

if TYPE_CHECKING:
    from napari_cellseg.events import TrainEvent, TrainSummary
    from training.config import TrainConfig
    from training.evaluate import Evaluation

__all__ = ["evaluate", "train", "write_samples"]

logger = logging.getLogger(__name__)


def train(
    data: str | Path,
    run_folder: str | Path,
    *,
    preset: str = "lite",
    start_from: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[TrainEvent], object] | None = None,
    **settings: Any,
) -> TrainSummary:
    """Train a model on annotated images, with the settings that fit them, as ``napari-cellseg train`` does.

    Parameters
    ----------
    data : str or Path
        Training folder of ``<image_id>/image.tif`` with ``class1.tif`` ..., a COCO file, or other annotations.
    run_folder : str or Path
        Where everything is written; new, or the folder of the run to resume.
    preset : str
        One of `napari_cellseg.model.presets.PRESETS`.
    start_from : str or Path, optional
        "imagenet", "random", "bundled", "nuclei" or a model file; if left out, the bundled model that suits the images
        for the preset lite when its network is not changed, else "imagenet".
    resume : bool
        Resume the run in the folder, however it stopped. ``preset`` and ``start_from`` are then those of the run.
    progress : callable, optional
        Called with each event of `napari_cellseg.events`, at least once per step. An exception that it raises stops the
        run; the state to resume from is kept.
    **settings
        Any setting of `training.config.TrainConfig`; a nested one has two underscores: ``optimizer__batch=4``.

    Returns
    -------
    TrainSummary
        With ``checkpoint``, the best model, and its ``metrics`` on the validation images.

    Raises
    ------
    ConfigError
        A setting is unknown or out of range, or there is no run to resume.
    TrainingError, AnnotationError, ImageReadError
        The data cannot be used, or training cannot continue.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> run = cs.train("samples/train", "run", max_steps=2, augment__crop=128, stopping__monitor="train_loss",
    ...                data__validation_fraction=0)
    >>> run.checkpoint.name
    'best.safetensors'
    """
    from napari_cellseg.events import drive
    from training.engine import train as train_steps

    config = _config(Path(data), Path(run_folder), preset, start_from, resume=resume, settings=settings)
    events = train_steps(config, Path(data), Path(run_folder), resume=resume)

    def follow(event: TrainEvent) -> None:
        if progress is not None:
            progress(event)

    return drive(events, follow)


def _config(
    data: Path, run_folder: Path, preset: str, start_from: str | Path | None, *, resume: bool, settings: dict[str, Any]
) -> TrainConfig:
    from napari_cellseg.events import drive
    from training.config import TrainConfig
    from training.fit import fit, usual_start

    if resume:
        if not (run_folder / "config.yaml").is_file():
            raise ConfigError(f"There is no run to resume in {run_folder}: it has no config.yaml.")
        config = TrainConfig.load(run_folder / "config.yaml")
    else:
        changed = (name.replace("__", ".") for name in settings)
        start = usual_start(preset, changed) if start_from is None else str(start_from)
        config, *_ = drive(fit(data, preset, start, picks=start_from is None))
    return config.with_changes(**settings) if settings else config


def evaluate(
    model: Model,
    data: str | Path,
    *,
    min_score: float | None = None,
    pixel_size_um: float | None = None,
    class_map: Mapping[str, str] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Evaluation:
    """Compare the cells that a model predicts with the ground truth of annotated images.

    Parameters
    ----------
    model : Model
        From `load_model`.
    data : str or Path
        As for `train`; images that the model was trained on give figures that are too good.
    min_score : float, optional
        Minimum score, 0..1, of cells in all metrics except average precision; if left out, the model's best for each
        class.
    pixel_size_um : float, optional
        Side of a pixel, um, if the files do not state it.
    class_map : mapping of str to str, optional
        Name of a class of the model to name of a class of the data, or to "" to leave it out; if left out, classes are
        paired by name, or by number where one side has no names.
    progress : callable, optional
        Called with the image_id before each image.

    Returns
    -------
    Evaluation
        ``mean("ap50")`` is a number, ``table()`` a text, ``to_json()`` everything.

    Raises
    ------
    AnnotationError, ImageReadError
        The data cannot be read.
    ConfigError
        The classes of the model and of the data cannot be paired.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> scores = cs.evaluate(cs.load_model(), "samples/train")
    >>> 0 <= scores.mean("ap50") <= 1
    True
    """
    from training.class_pairs import pair_classes
    from training.dataset import find_samples
    from training.evaluate import evaluate as compare
    from training.region import within_regions
    from training.truth import has_names, truth_of

    source = find_samples(Path(data))
    pairs = pair_classes(model.classes, source.classes, has_names=has_names(source), chosen=class_map)
    if pairs.text:
        logger.info(pairs.text)
    truth = truth_of(source)
    found = {}
    for sample in source.samples:
        if progress is not None:
            progress(sample.image_id)
        cells = model.predict(sample.image, pixel_size_um=pixel_size_um, image_id=sample.image_id)
        found[sample.image_id] = pairs.cells(cells.detections)
    limits = pairs.limits(model.min_scores) if model.min_scores else None
    if min_score is not None:
        limits = dict.fromkeys(pairs.classes.class_ids, min_score)
    truth, found, _ = within_regions(source.regions, truth, found)
    return compare(truth, found, pairs.classes, min_scores=limits)


def write_samples(folder: str | Path, *, images: int = 2, size: int = 256, seed: int = 0) -> Path:
    """Write synthetic tissue images to try things on; never quote an accuracy measured on them.

    Parameters
    ----------
    folder : str or Path
        Gets ``train/<image_id>/`` with ``image.tif`` and ``class1.tif`` ..., ``classes.json``, and in ``test`` one more
        image without annotations and its id file.
    images : int
        Annotated images.
    size : int
        Height and width, px.
    seed : int
        The same seed gives the same images.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ExportError
        A file cannot be written.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> sorted(path.name for path in cs.write_samples("few", images=1, size=64).iterdir())
    ['classes.json', 'test', 'train']
    """
    from napari_cellseg.commands import samples

    samples.write_samples(Path(folder), images, (size, size), seed)
    return Path(folder)
