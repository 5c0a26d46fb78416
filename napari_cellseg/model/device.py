"""Chooses the device and the precision of the computation."""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch

from napari_cellseg.errors import ConfigError

__all__ = ["Device", "autocast", "bf16_pays", "choose_device", "choose_precision"]

VRAM_LIMIT = "CELLSEG_VRAM_MIB"
"""The environment variable that limits the memory of a CUDA device for this process, MiB."""

_PAYS = 1.2
"""bf16 is used on a CPU when it is this many times as fast; 1.9 on one with AVX512-BF16, busy or not."""
_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Device:
    """``name`` for torch ("cpu", "cuda:0", "mps"); ``reason`` explains the choice to the user."""

    name: str
    reason: str

    @property
    def kind(self) -> str:
        """The name without its number: "cpu", "cuda" or "mps"."""
        return self.name.partition(":")[0]


def choose_device(name: str = "auto") -> Device:
    """Choose the device.

    Parameters
    ----------
    name : "auto" | "cpu" | "cuda" | "cuda:N" | "mps"
        "auto": the first CUDA device, else Apple's MPS, else the CPU.

    Raises
    ------
    ConfigError
        The name is unknown, or this machine has no such device.

    Notes
    -----
    ``$CELLSEG_VRAM_MIB`` limits the memory of a CUDA device for this process; more is an out-of-memory error.
    """
    return _limited(_named(name))


def _named(name: str) -> Device:
    if name == "auto":
        return _automatic()
    if name == "cpu":
        return Device("cpu", "CPU, as asked")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError('This machine has no usable MPS device (Apple GPU); use "cpu" or "auto".')
        return Device("mps", "Apple GPU (MPS), as asked")
    wanted = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not wanted:
        raise ConfigError(f"There is no device {name!r}; use auto, cpu, cuda, cuda:N or mps.")
    index, count = int(wanted[1] or 0), _cuda_count()
    if index >= count:
        found = f"it has {count}, numbered from 0" if count else f"it has none ({_why_no_cuda()})"
        raise ConfigError(f'There is no CUDA device {index} on this machine: {found}. Use "cpu" or "auto".')
    return Device(f"cuda:{index}", f"{_cuda_name(index)}, as asked")


def choose_precision(device: Device, precision: str = "auto") -> str:
    """Return "fp32", "fp16" or "bf16".

    "auto" is half precision on CUDA, and bf16 on a CPU on which `bf16_pays`.

    Raises
    ------
    ConfigError
        The name is unknown, or the device does not support the precision.
    """
    if precision == "auto":
        if device.kind == "cpu":
            return "bf16" if bf16_pays() else "fp32"
        if device.kind != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.get_device_capability(device.name)[0] >= 8 else "fp16"
    if precision not in ("fp32", *_HALF):
        raise ConfigError(f"There is no precision {precision!r}; use auto, fp32, fp16 or bf16.")
    if precision != "fp32" and device.kind != "cuda" and not (device.kind, precision) == ("cpu", "bf16"):
        raise ConfigError(f'{precision} does not run on {device.name}; use "auto" or "fp32".')
    if precision == "bf16" and device.kind == "cpu" and not bf16_pays():
        raise ConfigError('bf16 is no faster than fp32 on this CPU; use "auto" or "fp32".')
    return precision


@cache
def bf16_pays() -> bool:
    """Return whether this CPU convolves faster in bf16 than in fp32, measured once per process in about 50 ms.

    With the instructions (AVX512-BF16, AMX) a prediction takes half the time; on a CPU without them it took 350 times
    as long, so torch is asked for them before anything is timed.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    # Nothing random: a prediction must not change the random numbers of a training run.
    image = torch.ones(1, 96, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(96, 96, 3, 3).contiguous(memory_format=torch.channels_last)
    seconds = {True: math.inf, False: math.inf}
    with torch.inference_mode():
        for half in (False, True) * 4:  # in turn, so that a busy machine slows both
            begin = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                torch.nn.functional.conv2d(image, weight, padding=1)
            seconds[half] = min(seconds[half], time.perf_counter() - begin)
    return seconds[False] > _PAYS * seconds[True]


def autocast(device: Device, precision: str) -> AbstractContextManager[object]:
    """Return the context that runs the model in a precision from `choose_precision`."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.kind, dtype=_HALF[precision])


def _limited(device: Device) -> Device:
    budget = os.environ.get(VRAM_LIMIT, "")
    if device.kind != "cuda" or not budget.isdecimal() or not int(budget):
        return device
    index = int(device.name.partition(":")[2])
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, int(budget) * 2**20 / total), index)
    return Device(device.name, f"{device.reason}, at most {int(budget) / 1024:.1f} GiB of it")


def _automatic() -> Device:
    if _cuda_count():
        return Device("cuda:0", f"auto: {_cuda_name(0)}")
    if torch.backends.mps.is_available():
        return Device("mps", "auto: Apple GPU (MPS)")
    return Device("cpu", f"auto: CPU, {_why_no_cuda()}")


def _cuda_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _cuda_name(index: int) -> str:
    memory = torch.cuda.get_device_properties(index).total_memory / 2**30
    return f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    return "no CUDA device found"
