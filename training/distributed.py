"""Several devices and machines: Lightning Fabric starts or joins the processes, also under torchrun and SLURM."""

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

_PATIENCE = timedelta(hours=2)  # how long a process waits for the others, for example during a long validation


def make_fabric(config: TrainConfig) -> tuple[Fabric, Device]:
    """Choose the device, start the other processes if there are several, and join them.

    Under ``torchrun`` and SLURM the processes already run, and their number counts instead of the settings. Otherwise
    Fabric starts this command again for each further device of this machine.

    Raises
    ------
    ConfigError
        There is no such device, or there are too few.
    """
    device = choose_device(config.device)
    accelerator, _, index = device.name.partition(":")
    devices, num_nodes = config.devices, config.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"The settings ask for {devices} devices, but this machine has {torch.cuda.device_count()}.")
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
    # Some heads have no loss on an image without cells; DDP must know.
    return DDPStrategy(
        process_group_backend="nccl" if accelerator == "cuda" else "gloo",
        timeout=_PATIENCE,
        find_unused_parameters=True,
    )


def precision_of(wanted: str, device: str) -> Any:
    """Return Fabric's name of the precision: "auto" is mixed bf16 where CUDA supports it natively, else 32 bit.

    On a CPU without the instructions bf16 is hundreds of times slower, so a CPU uses it only when asked to.
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
