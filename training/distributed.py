"""Several devices and machines: Lightning Fabric starts or joins the processes; torchrun and SLURM work too."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from napari_cellseg.errors import ConfigError
from napari_cellseg.model.device import Device, choose_device
from training.config import TrainConfig

__all__ = ["gather", "make_fabric", "precision_of"]

T = TypeVar("T")

_PATIENCE = timedelta(hours=2)  # a process waits so long for the others, as in a long validation


def make_fabric(config: TrainConfig) -> tuple[Fabric, Device]:
    """Choose the device, start the other processes where there are several, and join them.

    ``torchrun`` and SLURM have already started them; then their numbers count, not the settings'. Else Fabric
    starts this same command once more for each further device of this machine.

    Raises
    ------
    ConfigError
        There is no such device, or there are not enough.
    """
    device = choose_device(config.device)
    accelerator, _, index = device.name.partition(":")
    devices, num_nodes = config.devices, config.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"{devices} devices are asked for, but this machine has {torch.cuda.device_count()}.")
    several = devices * num_nodes > 1
    if several and accelerator == "mps":
        raise ConfigError("Training on several devices works with CUDA and CPU, not with mps.")
    fabric = Fabric(
        accelerator=accelerator,
        devices=[int(index)] if index and not several else devices,
        num_nodes=num_nodes,
        precision=precision_of(config.optimizer.precision, device.name),
        strategy=_strategy(accelerator) if several else "auto",
    )
    fabric.launch()
    return fabric, device


def _strategy(accelerator: str) -> DDPStrategy:
    # An image without any cell gives no loss for some heads, and DDP must know.
    return DDPStrategy(
        process_group_backend="nccl" if accelerator == "cuda" else "gloo",
        timeout=_PATIENCE,
        find_unused_parameters=True,
    )


def precision_of(wanted: str, device: str) -> Any:
    """Return Fabric's name of the arithmetic: "auto" is mixed bf16 where CUDA is fast at it, else 32 bit.

    On a CPU bf16 without the instructions is hundreds of times slower, so there it must be asked for by name.
    """
    if wanted != "auto":
        return wanted
    if device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed"
    return "32-true"


def gather(fabric: Fabric, items: list[T]) -> list[T]:
    """Return the items of all processes, by rank; on every process."""
    if fabric.world_size == 1:
        return items
    parts: list[list[T]] = [[] for _ in range(fabric.world_size)]
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]
