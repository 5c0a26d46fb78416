"""Compare settings: train every combination of a small grid on the same split, and tabulate the results.

::

    FOLDER/<variant>/    one run folder per variant
           results.csv   one row per variant
           results.txt   the same as a table
           curves.png    losses and AP50 of all variants over the epochs
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import ConfigError, TrainingError
from napari_cellseg.events import Message, TrainEvent
from training.config import TrainConfig
from training.engine import train
from training.metric_table import metrics_for
from training.past_runs import logged_lines
from training.plots import draw_curve, finish_axes, save_figure
from training.run_folder import RunFolder

__all__ = ["Result", "Variant", "experiment", "grid", "table"]

_COLUMNS = tuple(metric.name for metric in metrics_for("experiment"))


@dataclass(frozen=True)
class Variant:
    """One combination of settings; ``changes`` maps dotted names (``model.backbone.name``) to values."""

    name: str
    changes: Mapping[str, Any]

    @property
    def folder_name(self) -> str:
        """A name that is valid in every file system."""
        return re.sub(r"[^\w.=,-]+", "_", self.name)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one variant: its best epoch by the monitored metric, that epoch's metrics, and the run time."""

    variant: Variant
    epochs: int
    best_epoch: int
    metrics: Mapping[str, float]
    seconds: float
    rows: tuple[Mapping[str, float], ...]


def grid(values: Mapping[str, Sequence[Any]]) -> tuple[Variant, ...]:
    """Return every combination, named by what differs: ``name=resnet18, enabled=False``.

    Raises
    ------
    ConfigError
        No setting, a setting without values, or a duplicate value.
    """
    if not values or not all(values.values()):
        raise ConfigError("An experiment needs one or more settings to vary, each with its values.")
    short = {name: name.rpartition(".")[2] for name in values}
    if len(set(short.values())) < len(short):
        short = {name: name for name in values}
    variants = []
    for chosen in itertools.product(*values.values()):
        changes = dict(zip(values, chosen, strict=True))
        variants.append(Variant(", ".join(f"{short[name]}={value}" for name, value in changes.items()), changes))
    if len({variant.folder_name for variant in variants}) < len(variants):
        raise ConfigError("Two combinations of the experiment are equal; give each value once.")
    return tuple(variants)


def experiment(
    config: TrainConfig, variants: Sequence[Variant], data: Path, folder: Path
) -> Generator[TrainEvent, None, tuple[Result, ...]]:
    """Train every variant in turn; close the generator to stop, call the function again to resume.

    Parameters
    ----------
    config : TrainConfig
        The settings that all variants share; the shared seed gives all of them the same split.
    variants : sequence of Variant
        See `grid`.
    data, folder : Path
        The training data, and the folder of the run folders and results.

    Yields
    ------
    TrainEvent
        A `Message` before each run, then the events of the run.

    Raises
    ------
    CellSegError
        As `training.engine.train`; all settings are checked before the first run.
    """
    configs = [_changed(config, variant) for variant in variants]
    results: list[Result] = []
    for number, (variant, own) in enumerate(zip(variants, configs, strict=True), 1):
        run_folder = Path(folder) / variant.folder_name
        if _is_finished(run_folder):
            yield Message("info", f"Variant {number} of {len(variants)} is already trained: {variant.name}")
        else:
            yield Message("info", f"Variant {number} of {len(variants)}: {variant.name}")
            yield from train(own, data, run_folder, resume=(run_folder / "last.pt").exists())
        results.append(_result(variant, run_folder, own.stopping.monitor))
        _write(Path(folder), results)
    return tuple(results)


def table(results: Sequence[Result]) -> str:
    """Return the results as text, best AP50 first."""
    width = max(7, *(len(result.variant.name) for result in results))
    lines = [f"{'variant':{width}}  best/epochs  minutes  " + "  ".join(f"{name:>11}" for name in _COLUMNS)]
    ranked = sorted(results, key=lambda result: -_finite(result.metrics.get("ap50", math.nan)))
    for result in ranked:
        numbers = [result.metrics.get(name, math.nan) for name in _COLUMNS]
        cells = "  ".join(f"{'-' if math.isnan(number) else f'{number:.3f}':>11}" for number in numbers)
        epochs = f"{result.best_epoch}/{result.epochs}"
        lines.append(f"{result.variant.name:{width}}  {epochs:>11}  {result.seconds / 60:7.1f}  {cells}")
    return "\n".join(lines)


def _changed(config: TrainConfig, variant: Variant) -> TrainConfig:
    return config.with_changes(**{name.replace(".", "__"): value for name, value in variant.changes.items()})


def _is_finished(run_folder: Path) -> bool:
    events = run_folder / "events.jsonl"
    if not events.exists():
        return False
    last = logged_lines(events)[1][-1:]
    return bool(last) and last[0].event == "RunFinished"


def _result(variant: Variant, run_folder: Path, monitor: str) -> Result:
    rows = RunFolder(run_folder).read_metrics()
    sign = 1 if monitor == "ap50" else -1
    measured = [row for row in rows if math.isfinite(row.get(monitor, math.nan))]
    best = max(measured, key=lambda row: sign * row[monitor], default=rows[-1] if rows else {})
    seconds = sum(row["seconds"] for row in rows)
    return Result(
        variant=variant,
        epochs=len(rows),
        best_epoch=int(best.get("epoch", 0)),
        metrics=best,
        seconds=seconds,
        rows=tuple(rows),
    )


def _write(folder: Path, results: Sequence[Result]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for result in results for name in result.metrics if name != "epoch"))
    settings = list(results[0].variant.changes)
    writer.writerow([*settings, "epochs", "best_epoch", "total_seconds", *names])
    for result in results:
        chosen = [result.variant.changes[name] for name in settings]
        numbers = [result.metrics.get(name, "") for name in names]
        writer.writerow([*chosen, result.epochs, result.best_epoch, round(result.seconds, 1), *numbers])
    for name, content in (("results.csv", text.getvalue()), ("results.txt", table(results) + "\n")):
        with export_write(folder / name, error=TrainingError) as file:
            file.write(content.encode())
    _plot(folder / "curves.png", results)


def _plot(path: Path, results: Sequence[Result]) -> None:
    figure = Figure(figsize=(15, 4.5))
    figure.subplots_adjust(0.04, 0.12, 0.99, 0.92, 0.14)
    panels = (
        ("train_loss", "Training loss", None),
        ("val_loss", "Validation loss", None),
        ("ap50", "AP50", (0.0, 1.0)),
    )
    for axes, (name, title, limits) in zip(figure.subplots(1, 3), panels, strict=True):
        for result in results:
            draw_curve(axes, result.rows, name, result.variant.name)
        finish_axes(axes, title, limits)
    save_figure(figure, path)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -1.0
