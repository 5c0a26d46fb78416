"""The settings of a new run: a preset fitted to the data and to the model that training starts from."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from napari_cellseg.images.read import ReadOptions
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header
from training.config import TrainConfig
from training.report import DataReport, ScanStep, scan_steps
from training.suggest import continue_from, suggest

__all__ = ["fit", "usual_start"]


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


def fit(
    data: Path, preset: str, start_from: str, reading: ReadOptions | None = None
) -> Generator[ScanStep, None, tuple[TrainConfig, DataReport]]:
    """Check the data and return the settings that fit it, with the report of the check.

    Parameters
    ----------
    data : Path
        A data folder or annotation file, see `training.dataset`.
    preset : str
        Of `napari_cellseg.model.presets.PRESETS`.
    start_from : str
        "imagenet", "random", "bundled" or a model file, whose network is then used too.
    reading : ReadOptions, optional
        How to read the images.

    Raises
    ------
    CellSegError
        The data has errors, or the model cannot be read.
    """
    report: DataReport = yield from scan_steps(data, None, reading)
    report.check()
    config = suggest(report, preset)
    if start_from in ("imagenet", "random"):
        return config.with_changes(start_from=start_from), report
    model = bundled() if start_from == "bundled" else Path(start_from)
    return continue_from(config.with_changes(start_from=start_from), read_header(model)), report
