"""One optimiser step: forward, backward, accumulation, clipping, running average, and the handling of its errors."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from napari_cellseg.errors import TrainingError, is_out_of_memory
from training.config import TrainConfig
from training.schedule import set_learning_rate
from training.targets import Target, map_classes_of, targets_from_maps

__all__ = ["SMALLEST_CROP", "Item", "Stepper", "shrink"]

SMALLEST_CROP = 128
"""Smallest crop to which a crop is cut when memory runs out, network px."""


@dataclass(frozen=True)
class Item:
    """One training crop: (3, H, W) float 0..1 and its target (see `training.targets`)."""

    image_id: str
    rgb: Tensor
    target: Target


class Stepper:
    """Runs optimiser steps.

    Parameters
    ----------
    fabric : Fabric
        Device, precision and processes.
    model, optimizer
        As `Fabric.setup` returned them; the model gives a dict of losses for (images, targets).
    averaged : AveragedModel or None
        The running average of the weights.
    config : TrainConfig
        Settings.
    crop_limit : int or None
        Longest side of a crop, px, if memory ran out earlier in the run.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Any,
        optimizer: Any,
        averaged: AveragedModel | None,
        config: TrainConfig,
        crop_limit: int | None = None,
    ) -> None:
        self.fabric = fabric
        self.model = model
        self.optimizer = optimizer
        self.averaged = averaged
        self.config = config
        self.crop_limit = crop_limit

    def step(self, batches: Sequence[Sequence[Item]], step: int, total_steps: int) -> tuple[dict[str, float], float]:
        """Train on the batches of one step that belong to this process.

        Parameters
        ----------
        batches : sequence of sequences of Item
            The batches whose gradients are accumulated.
        step, total_steps : int
            The 0-based number of the step in the run, and the number of all steps: for the learning rate.

        Returns
        -------
        losses : dict
            Means over the batches of all processes; ``loss`` is their sum.
        learning_rate : float

        Raises
        ------
        TrainingError
            A loss or gradient that is not finite, or not enough memory even for small crops.
        """
        rate = set_learning_rate(self.optimizer, self.config.optimizer, step, total_steps)
        # One seed per batch of the whole step, drawn equally on every process: the sampling of boxes then depends
        # neither on the number of processes nor on a retry.
        seeds = torch.randint(2**62, (self.fabric.world_size * len(batches),)).tolist()
        mine = seeds[self.fabric.global_rank :: self.fabric.world_size]
        retried = False
        while True:
            try:
                return self._attempt(batches, mine), rate
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error).splitlines()[0]
            # Outside `except`: there the traceback still holds the tensors of the failed step.
            self._free()
            if self.fabric.world_size > 1:
                raise self._memory_error(message)
            if retried:
                self._lower_crop_limit(batches, message)
            retried = True

    def _attempt(self, batches: Sequence[Sequence[Item]], seeds: Sequence[int]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for number, (items, seed) in enumerate(zip(batches, seeds, strict=True), 1):
            if self.crop_limit is not None:
                items = [shrink(item, self.crop_limit) for item in items]
            waits = number < len(batches) and self.fabric.world_size > 1
            with self.fabric.no_backward_sync(self.model) if waits else nullcontext():
                for name, value in self._backward(items, seed, 1 / len(batches)).items():
                    sums[name] = sums.get(name, 0.0) + value / len(batches)
        self._update([item.image_id for items in batches for item in items])
        if self.fabric.world_size > 1:
            tensors = {name: torch.tensor(value, device=self.fabric.device) for name, value in sums.items()}
            sums = {name: float(value) for name, value in self.fabric.all_reduce(tensors).items()}
        return sums

    def _backward(self, items: Sequence[Item], seed: int, weight: float) -> dict[str, float]:
        images = [self.fabric.to_device(item.rgb) for item in items]
        targets = [self.fabric.to_device(item.target) for item in items]
        cuda = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            losses: dict[str, Tensor] = self.model(images, targets)
        total = torch.stack([value.float() for value in losses.values()]).sum()
        values = torch.stack([total.detach(), *(value.detach().float() for value in losses.values())]).tolist()
        found = dict(zip(("loss", *losses), values, strict=True))
        if not all(map(math.isfinite, values)):
            raise TrainingError(self._not_finite("loss", [item.image_id for item in items], found))
        self.fabric.backward(total * weight)
        return found

    def _update(self, image_ids: Sequence[str]) -> None:
        limit = self.config.optimizer.clip_norm
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=math.inf if limit is None else limit, error_if_nonfinite=False
        )
        # The loss scaler of fp16 skips a step with infinite gradients and lowers its scale: not an error.
        scaled = getattr(self.fabric.strategy.precision, "scaler", None) is not None
        if not scaled and not math.isfinite(float(norm)):
            self.optimizer.zero_grad(set_to_none=True)
            raise TrainingError(self._not_finite("gradient", image_ids, {"norm": float(norm)}))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model.module)

    def _not_finite(self, what: str, image_ids: Sequence[str], values: dict[str, float]) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        rate = self.optimizer.param_groups[0]["lr"]
        return (
            f"The {what} is not a finite number on the image(s) {', '.join(image_ids)} ({numbers}; learning rate "
            f"{rate:.3g}). The best model so far is kept. Check these images and their masks, lower the learning "
            "rate, use gradient clipping, or train in 32-bit precision."
        )

    # ---- memory ----

    def _free(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()

    def _lower_crop_limit(self, batches: Sequence[Sequence[Item]], message: str) -> None:
        longest = max(max(item.rgb.shape[1:]) for items in batches for item in items)
        limit = min(longest, self.crop_limit or longest)
        if limit <= SMALLEST_CROP:
            raise self._memory_error(message)
        self.crop_limit = max(SMALLEST_CROP, int(limit * 0.75) // 32 * 32)

    def _memory_error(self, message: str) -> TrainingError:
        error = TrainingError(
            f"There is not enough memory on {self.fabric.device} for a training step ({message}). Use a smaller batch "
            "(optimizer.batch) or crop (augment.crop), a smaller model, or close other programs."
        )
        error.__cause__ = MemoryError(message)
        return error


def shrink(item: Item, limit: int) -> Item:
    """Cut the middle out of a crop whose sides are longer than ``limit`` px, with the target to match."""
    height, width = item.rgb.shape[1:]
    h, w = min(height, limit), min(width, limit)
    if (h, w) == (height, width):
        return item
    y, x = (height - h) // 2, (width - w) // 2
    maps = item.target["class_maps"][:, y : y + h, x : x + w].contiguous()
    return Item(
        item.image_id,
        item.rgb[:, y : y + h, x : x + w].contiguous(),
        targets_from_maps(maps, map_classes_of(item.target)),
    )
