"""Chooses the device and the precision of the computation."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch

from napari_cellseg.errors import ConfigError

__all__ = ["Device", "autocast", "bf16_pays", "choose_device", "choose_precision", "torchvision_problem"]

VRAM_LIMIT = "CELLSEG_VRAM_MIB"
"""The environment variable that limits the memory of a CUDA device for this process, MiB."""

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


def torchvision_problem() -> str:
    """Return why torchvision cannot be used, and what to do; empty if it can.

    A torch for the CPU with the torchvision of PyPI, which is built for CUDA, is the usual case.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: its operators are built for another torch
        return (
            f"torchvision does not load ({error}): it was built for another torch than the installed "
            f"{torch.__version__}. Install both from the same index, for example: "
            "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu"
        )
    return ""


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


def choose_precision(device: Device, precision: str = "auto", runtime: str = "torch") -> str:
    """Return "fp32", "fp16" or "bf16".

    "auto" is half precision on CUDA, and bf16 on a CPU on which `bf16_pays`. The runtime "openvino" has only fp32.

    Raises
    ------
    ConfigError
        The name is unknown, or the device or the runtime does not support the precision.
    """
    if runtime == "openvino":
        if device.kind != "cpu":
            raise ConfigError(f"The runtime openvino is for a CPU, not for {device.name}; choose runtime torch.")
        if precision not in ("auto", "fp32"):
            raise ConfigError(f'The runtime openvino computes in fp32, not in {precision}; use "auto" or "fp32".')
        return "fp32"
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
        raise ConfigError('This CPU has no instructions for bf16, which would be slow; use "auto" or "fp32".')
    return precision


@cache
def bf16_pays() -> bool:
    """Return whether this CPU has instructions for bf16 (AVX512-BF16 or AMX): then a prediction takes half the time.

    Without them bf16 took 350 times as long. The answer depends on the CPU alone and not on a measurement: a busy
    machine would choose fp32 now and bf16 later, and show slightly different cells of the same image.
    """
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


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
