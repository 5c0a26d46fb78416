"""The settings of a new run: a preset fitted to the data and to the model that training starts from."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from napari_cellseg.images.read import ReadOptions
from napari_cellseg.model.bundled import USUAL, start_file, start_word
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.suitability import pick_model
from training.config import TrainConfig
from training.report import DataReport, ScanStep, scan_steps
from training.suggest import continue_from, suggest

__all__ = ["fit", "pick_start", "usual_start"]


def usual_start(preset: str, changed: Iterable[str] = ()) -> str:
    """Return the default initial weights: a model trained on nuclei, if the network is that model's.

    Parameters
    ----------
    preset : str
    changed : iterable of str
        Dotted names of the settings that the user changes.
    """
    other_network = any(name.startswith("model.") for name in changed)
    return "bundled" if preset == "lite" and not other_network else "imagenet"


def pick_start(report: DataReport) -> tuple[str, str]:
    """Return the bundled model that suits most of the training images, for a user who chose none, and why.

    Parameters
    ----------
    report : DataReport

    Returns
    -------
    start_from : str
        "bundled", or "nuclei" where most images are unlike those of the usual model.
    why : str
        A sentence for the user; empty for the usual model.

    Raises
    ------
    CheckpointError
        The installation lacks a bundled model.
    """
    picks = [(image.image_id, pick_model(image.picture)) for image in report.images]
    unlike = [(image_id, picked) for image_id, picked in picks if picked.reason]
    if 2 * len(unlike) <= len(picks):
        return "bundled", ""
    image_id, picked = unlike[0]
    of = f" ({len(unlike)} of {len(picks)} images are)" if len(picks) > 1 else ""
    return start_word(picked.path), f"Training starts from the model {picked.name}. {image_id}: {picked.reason}{of}."


def fit(
    data: Path, preset: str, start_from: str, reading: ReadOptions | None = None, *, picks: bool = False
) -> Generator[ScanStep, None, tuple[TrainConfig, DataReport, str]]:
    """Check the data and return the settings that fit it, the report of the check, and why a model was picked.

    Parameters
    ----------
    data : Path
        A data folder or annotation file, see `training.dataset`.
    preset : str
        Of `napari_cellseg.model.presets.PRESETS`.
    start_from : str
        "imagenet", "random", "bundled", "nuclei" or a model file, whose network is then used too.
    reading : ReadOptions, optional
        How to read the images.
    picks : bool
        Whether "bundled" is no choice of the user, so that the bundled model that suits the images takes its place.

    Raises
    ------
    CellSegError
        The data has errors, or the model cannot be read.
    """
    report: DataReport = yield from scan_steps(data, None, reading)
    report.check()
    config, why = suggest(report, preset), ""
    if picks and start_from == "bundled":
        start_from, why = pick_start(report)
        why = why and f"{why} --start-from bundled uses {USUAL}."
    config = config.with_changes(start_from=start_from)
    if start_from in ("imagenet", "random"):
        return config, report, why
    return continue_from(config, read_header(start_file(start_from))), report, why
