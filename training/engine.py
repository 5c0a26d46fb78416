"""The training loop: a generator of events that can be stopped at any event and resumed from any stop."""

from __future__ import annotations

import logging
import time
from bisect import bisect
from collections.abc import Generator, Iterator
from itertools import accumulate, islice
from pathlib import Path

import psutil
import torch
from lightning_fabric import Fabric

from napari_cellseg.events import (
    CheckpointSaved,
    EpochDone,
    Message,
    RunFinished,
    RunStarted,
    StepDone,
    StopReason,
    TrainEvent,
    TrainSummary,
)
from napari_cellseg.memory import return_free_memory
from napari_cellseg.model.device import Device
from training.chunks import Item as LoaderItem
from training.config import TrainConfig
from training.distributed import make_fabric
from training.event_log import drop_repeated
from training.prepare import Prepared, prepare
from training.records import Records
from training.run_folder import RunFolder
from training.step import Item
from training.validation import validate
from training.work_time import WorkTime

__all__ = ["train"]

logger = logging.getLogger(__name__)

Events = Generator[TrainEvent, None, None]


def train(
    config: TrainConfig, data: Path, run_folder: Path, *, resume: bool = False
) -> Generator[TrainEvent, None, TrainSummary]:
    """Train a model; close the generator to stop, which saves the state to resume from.

    Parameters
    ----------
    config : TrainConfig
        Every setting.
    data : Path
        A data folder or annotation file, see `training.dataset`.
    run_folder : Path
        Where everything is written, see `training.run_folder`; new, or the folder of the run to resume.
    resume : bool
        Resume the run in the folder, however it stopped. Then only the length of the run, early stopping, validation,
        memory and devices may differ from its settings.

    Yields
    ------
    TrainEvent
        At least one per step and one per validation image.

    Raises
    ------
    CellSegError
        The data, the settings or the folder cannot be used; or training cannot continue (a loss that is not finite,
        too little memory). What was saved is kept.
    """
    fabric, device = make_fabric(config)
    with RunFolder(run_folder, writes=fabric.is_global_zero) as folder:
        return (yield from folder.logged(_run(config, Path(data), folder, fabric, device, resume)))


def _run(
    config: TrainConfig, data: Path, folder: RunFolder, fabric: Fabric, device: Device, resume: bool
) -> Generator[TrainEvent, None, TrainSummary]:
    prepared = yield from prepare(config, data, folder, fabric, device, resume=resume)
    if resume and folder.writes:
        drop_repeated(folder.events, prepared.progress.epoch, prepared.progress.epoch_step)
    return (yield from _Run(prepared, folder).events())


class _Run:
    """One run; `events` is called once."""

    def __init__(self, prepared: Prepared, folder: RunFolder) -> None:
        self.parts = prepared
        self.config = prepared.config
        self.progress = prepared.progress
        self.folder = folder
        self.records = Records(folder, prepared)
        self.process = psutil.Process()
        # The state is saved between steps only: half a step cannot be resumed.
        self.between_steps = True
        self.unsaved_steps = 0
        self.time = WorkTime(self.config.max_minutes, self.progress, prepared.fabric)
        self.total_steps = prepared.steps_per_epoch * self.config.epochs
        if self.config.max_steps is not None:
            self.total_steps = min(self.total_steps, self.config.max_steps)

    def events(self) -> Generator[TrainEvent, None, TrainSummary]:
        """Train to the end."""
        if self.progress.step == 0:
            self.records.state()  # so that a run killed in its first chunk can be resumed too
        yield self._started()
        try:
            reason = yield from self._epochs()
        finally:
            self.parts.loader.close()
            if self.between_steps and self.unsaved_steps:
                self.records.state()
            self.records.close()
        yield from self._finished(reason)
        best = self.parts.stopping
        checkpoint = self.folder.best if self.folder.best.exists() else None
        yield RunFinished(
            reason=reason,
            epochs=self.progress.epoch - 1,
            best_epoch=best.best_epoch,
            best_value=best.best_value,
            checkpoint=checkpoint,
        )
        return TrainSummary(
            run_folder=self.folder.path,
            reason=reason,
            epochs=self.progress.epoch - 1,
            best_epoch=best.best_epoch,
            best_value=best.best_value,
            checkpoint=checkpoint,
            metrics=self.progress.best_metrics,
        )

    def _started(self) -> RunStarted:
        parts = self.parts
        return RunStarted(
            run_folder=self.folder.path,
            train_images=len(parts.train),
            validation_images=len(parts.validation),
            train_cells=parts.train_cells,
            class_names=self.config.classes.names,
            first_epoch=self.progress.epoch,
            epochs=self.config.epochs,
            device=parts.device.name,
            reason=parts.device.reason,
        )

    def _epochs(self) -> Generator[TrainEvent, None, StopReason]:
        progress = self.progress
        while progress.epoch <= self.config.epochs:
            if not progress.epoch_trained:
                yield from self._train_epoch()
            cut_short = self._limit_reached() is not None and not progress.epoch_trained
            yield from self._end_epoch(cut_short)
            if limit := self._limit_reached():
                return limit
            if self.parts.stopping.should_stop:
                return StopReason.NO_IMPROVEMENT
        return StopReason.FINISHED

    def _limit_reached(self) -> StopReason | None:
        """Return which limit of the whole run is reached."""
        if self.config.max_steps is not None and self.progress.step >= self.config.max_steps:
            return StopReason.MAX_STEPS
        return StopReason.MAX_MINUTES if self.time.is_up else None

    # ---- one epoch ----

    def _train_epoch(self) -> Events:
        progress, state = self.progress, self.parts.loader.state_dict()
        chunk_ends = [end * state["repeats"] for end in accumulate(state["lengths"])]
        chunks_done = bisect(chunk_ends, state["position"])
        first_step, worked_s = progress.epoch_step, 0.0  # without the consumer's time and pauses
        images, limit = 0, progress.crop_limit
        groups = self._groups()
        while self._limit_reached() is None:
            started = time.perf_counter()
            self.between_steps = False  # from here on, a Ctrl-C would find images that are taken but not trained on
            if (group := next(groups, None)) is None:
                break
            losses, rate = self._step(group)
            trained = self.time.count(started)
            progress.epoch_seconds += trained - started
            images += sum(map(len, group)) * self.parts.fabric.world_size
            last = group[-1][-1]
            done = bisect(chunk_ends, last.position * self.parts.fabric.world_size)
            if done > chunks_done:
                chunks_done = done
                self.records.state()
                self.unsaved_steps = 0
                return_free_memory()
            self.records.step(losses)
            worked_s += self.time.count(trained) - started
            self.time.check()
            a_step = worked_s / (progress.epoch_step - first_step)
            yield self._step_done(last, losses, rate, images / worked_s, a_step)
            if progress.crop_limit != limit:
                limit = progress.crop_limit
                yield Message("warning", f"Out of memory: crops are now at most {limit} px.")
        self.between_steps = True
        loader = self.parts.loader
        if loader.epoch > progress.epoch or loader.state_dict()["position"] >= chunk_ends[-1]:
            next(groups, None)  # exhausts the loader, which then moves to the next epoch
            progress.epoch_trained = True
            self.records.state()
            self.unsaved_steps = 0

    def _step_done(
        self, item: LoaderItem[Item], losses: dict[str, float], rate: float, images_per_s: float, seconds: float
    ) -> StepDone:
        steps, done = self.parts.steps_per_epoch, self.progress.epoch_step
        on_gpu = self.parts.fabric.device.type == "cuda"
        return StepDone(
            epoch=self.progress.epoch,
            chunk=item.chunk + 1,
            chunks=item.chunks,
            step=done,
            steps=steps,
            losses=losses,
            learning_rate=rate,
            images_per_s=images_per_s,
            seconds_left=seconds * max(0, steps - done),
            ram_mib=self.process.memory_info().rss / 2**20,
            vram_mib=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0.0,
        )

    def _groups(self) -> Iterator[list[list[LoaderItem[Item]]]]:
        """Yield the batches of each step; the last step of an epoch may have fewer."""
        batch, batches = self.config.optimizer.batch, self.config.optimizer.accumulate
        items = iter(self.parts.loader)
        while group := list(islice(items, batch * batches)):
            yield [group[start : start + batch] for start in range(0, len(group), batch)]

    def _step(self, group: list[list[LoaderItem[Item]]]) -> tuple[dict[str, float], float]:
        progress, stepper = self.progress, self.parts.stepper
        batches = [[item.data for item in batch] for batch in group]
        losses, rate = stepper.step(batches, progress.step, self.total_steps)
        for name, value in losses.items():
            progress.loss_sums[name] = progress.loss_sums.get(name, 0.0) + value
        progress.step += 1
        progress.epoch_step += 1
        progress.crop_limit = stepper.crop_limit
        self.between_steps = True
        self.unsaved_steps += 1
        return losses, rate

    def _end_epoch(self, cut_short: bool) -> Events:
        """Validate, keep the best model, write metrics, plots and examples, save the state; then report the epoch."""
        progress, started = self.progress, time.perf_counter()
        epoch, steps = progress.epoch, max(1, progress.epoch_step)
        losses = {name: value / steps for name, value in progress.loss_sums.items()}
        validation = None
        if self._validates():
            parts = self.parts
            images = validate(parts.fabric, parts.evaluated, self.config, parts.validation, epoch)
            validation = yield from self.time.timed(images)
        metrics = validation.flat() if validation else {}
        values = {**metrics, "train_loss": losses.get("loss", float("nan"))}
        monitor, stopping = self.config.stopping.monitor, self.parts.stopping
        is_best = monitor in values and stopping.update(epoch, values[monitor], whole=not cut_short)
        if is_best:
            progress.best_metrics = dict(values)
            self.records.best(validation)
        seconds = progress.epoch_seconds + time.perf_counter() - started
        self.records.epoch(losses, metrics, seconds, validation)
        if not cut_short:
            progress.begin_epoch(epoch + 1)
        self.records.state(self._ended())
        self.unsaved_steps = 0
        if is_best:
            yield CheckpointSaved(self.folder.best, "best", epoch)
        yield CheckpointSaved(self.folder.last, "last", epoch)
        yield EpochDone(
            epoch=epoch,
            losses=losses,
            metrics=metrics,
            monitor=monitor,
            is_best=is_best,
            best_epoch=stopping.best_epoch,
            best_value=stopping.best_value,
            epochs_without_improvement=stopping.waited,
            stops_in=stopping.stops_in,
            seconds=seconds,
        )

    def _validates(self) -> bool:
        epoch, last = self.progress.epoch, self.config.epochs
        due = epoch % self.config.validation.every == 0 or epoch == last or self._limit_reached() is not None
        return bool(self.parts.validation) and due

    def _ended(self) -> str:
        if limit := self._limit_reached():
            return limit.name
        if self.progress.epoch > self.config.epochs:
            return StopReason.FINISHED.name
        return StopReason.NO_IMPROVEMENT.name if self.parts.stopping.should_stop else ""

    def _finished(self, reason: StopReason) -> Events:
        """Make sure that a run that ended normally leaves a model, even when nothing could be measured."""
        if not self.folder.best.exists() and self.progress.step:
            monitor = self.config.stopping.monitor
            yield Message("warning", f"{monitor} was never measured, so the last model is kept as the best.")
            self.records.best(None)
            yield CheckpointSaved(self.folder.best, "best", self.progress.epoch - 1)
        logger.info("Training in %s ended: %s", self.folder.path, reason.value)
