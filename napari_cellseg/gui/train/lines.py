"""The lines that *Train* shows about a run."""

from __future__ import annotations

import math

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import StepDone, ValidationStep
from napari_cellseg.gui.widgets.job_row import clock
from napari_cellseg.wording import about_time, counted
from training.history import RunHistory, monitor_name

__all__ = ["end_text", "progress_of", "resource_text", "step_text", "stopped_text"]


def progress_of(history: RunHistory) -> tuple[int, int, str]:
    """Return progress and epoch as a short text."""
    now = history.now
    if isinstance(now, StepDone):
        return now.step, now.steps, f"epoch {now.epoch}/{history.epochs}"
    if isinstance(now, ValidationStep):
        return now.image, now.images, f"epoch {now.epoch}/{history.epochs}"
    return 0, 0, "Checking the data"


def step_text(history: RunHistory, limit_min: float | None = None) -> str:
    """Return "Chunk 3/10, step 12/40, 0:41 left in the epoch; about 3 h at most, usually stops earlier".

    With a time limit, minutes, that is shorter: "...; at most 5 min, then the validation".
    """
    now = history.now
    if isinstance(now, ValidationStep):
        return f"Validating image {now.image} of {now.images}"
    if not isinstance(now, StepDone):
        return ""
    promise = "" if limit_min is None else f"; at most {limit_min:g} min, then the validation"
    text = f"Chunk {now.chunk}/{now.chunks}, step {now.step}/{now.steps}, {clock(now.seconds_left)} left in the epoch"
    seconds = [row["seconds"] for row in history.rows if "seconds" in row]
    if seconds:
        an_epoch = sum(seconds) / len(seconds)
    elif now.step < now.steps:  # in the first epoch: as fast as it was so far
        an_epoch = now.seconds_left * now.steps / (now.steps - now.step)
    else:
        return text + promise
    rest = now.seconds_left + an_epoch * max(0, history.epochs - now.epoch)
    if limit_min is not None and rest > 60 * limit_min:
        return text + promise
    return f"{text}; {about_time(rest)} at most, usually stops earlier"


def resource_text(history: RunHistory, budget_mib: int | None, total_mib: float, vram_budget_mib: int = 0) -> str:
    """Return memory against its budget (of VRAM 0: none), speed and learning rate of the last step."""
    step = history.step
    if step is None:
        return ""
    images = "" if budget_mib is None else f", images at most {_gib(budget_mib)}"
    parts = [f"RAM {_gib(step.ram_mib)} of {_gib(total_mib)}{images}"]
    if step.vram_mib:
        parts.append(f"VRAM {_gib(step.vram_mib)}" + (f" of {_gib(vram_budget_mib)}" if vram_budget_mib else ""))
    parts += [f"{step.images_per_s:.2g} images/s", f"learning rate {step.learning_rate:.2g}"]
    return "; ".join(parts)


def stopped_text(history: RunHistory) -> str:
    """Return a line about a stopped run."""
    kept = "best and last model kept" if history.has_model else "nothing measured yet"
    return f"Stopped ({kept}). Resume continues where the run stopped."


def end_text(history: RunHistory, classes: ClassTable) -> str:
    """Return the summary of a finished run: the reason, the best epoch, and its metrics."""
    end = history.finished
    if end is None:
        return ""
    lines = [f"Finished after {counted(end.epochs, 'epoch')}: {end.reason.value}."]
    if end.best_epoch and math.isfinite(end.best_value):
        lines.append(f"Best epoch {end.best_epoch}: {monitor_name(history.monitor)} {end.best_value:.3f}.")
    if of_classes := history.precision_text(history.best_row, classes.names):
        lines.append(f"AP50: {of_classes}.")
    if basis := history.basis_text(history.best_row, classes.names):
        lines.append(basis)
    return " ".join(lines)


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f} GB"
