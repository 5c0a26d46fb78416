"""The state with which a run resumes as if it had never stopped, bit for bit on a CPU.

A missing part (a random generator, a moment of the optimiser) would change the weights without an error, so one place
saves and restores everything. The file contains only tensors and plain values and is read with ``weights_only=True``;
a SHA-256 of the content detects damaged bytes, which torch reads without an error.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import CheckpointError, TrainingError
from napari_cellseg.model.pickles import load_plain

__all__ = ["Progress", "random_state", "read_state", "set_random_state", "write_state"]

_VERSION = 1


@dataclass(kw_only=True)
class Progress:
    """The progress of a run, in plain values that can be stored.

    Attributes
    ----------
    epoch : int
        The current epoch, 1-based; after its validation, the next one.
    step : int
        Optimiser steps done in the whole run.
    epoch_step : int
        Optimiser steps done in this epoch.
    epoch_trained : bool
        Whether all steps of this epoch are done and only its validation is missing.
    loss_sums : dict
        Sum over the epoch's steps of each loss.
    epoch_seconds : float
        Time spent on this epoch so far.
    run_seconds : float
        Working time of the whole run so far, without pauses: steps and validations.
    validation_seconds : float
        Time that the latest validation took; 0 before the first.
    crop_limit : int or None
        Longest side of a training crop, network px, after memory ran out; None: it has not.
    best_metrics : dict
        The metrics of the best epoch so far.
    ended : str
        Name of the `StopReason` with which the run ended; empty before.
    """

    epoch: int = 1
    step: int = 0
    epoch_step: int = 0
    epoch_trained: bool = False
    loss_sums: dict[str, float] = field(default_factory=dict)
    epoch_seconds: float = 0.0
    run_seconds: float = 0.0
    validation_seconds: float = 0.0
    crop_limit: int | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    ended: str = ""

    def begin_epoch(self, epoch: int) -> None:
        """Reset the counts for a new epoch."""
        self.epoch, self.epoch_step, self.epoch_trained = epoch, 0, False
        self.loss_sums, self.epoch_seconds = {}, 0.0


def random_state() -> dict[str, Any]:
    """Return the state of every random generator that training may touch: torch, CUDA, numpy and Python."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 (the global one is meant)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys, np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned; CUDA only with an equal number of devices."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state, atomically.

    Raises
    ------
    TrainingError
        The file cannot be written.
    """
    content = {"version": _VERSION, "sha256": _digest(state), "state": state}
    with export_write(path, error=TrainingError) as file:
        sink = _Sink(file)
        try:
            torch.save(content, cast(IO[bytes], sink))
        except RuntimeError:  # torch reports a full disk only as "unexpected pos"
            if sink.error is not None:
                raise sink.error from None
            raise


class _Sink:
    """A file that remembers an error of the file system."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def read_state(path: Path) -> dict[str, Any]:
    """Read a file of `write_state`, onto the CPU.

    Raises
    ------
    CheckpointError
        The file is missing, damaged or of another version.
    """
    if not path.is_file():
        raise CheckpointError(f"There is nothing to resume: {path} does not exist. Start without --resume.")
    content = load_plain(path)
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise CheckpointError(f"{path} was not written by this version of napari-cellseg; start a new run folder.")
    state = content.get("state")
    if not isinstance(state, dict) or content.get("sha256") != _digest(state):
        raise CheckpointError(f"{path} is damaged (its checksum is wrong); start again in a new run folder.")
    return state


def _digest(state: object) -> str:
    digest = hashlib.sha256()
    for part in _parts(state):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: object) -> Iterator[bytes | memoryview]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        # As bytes: numpy has no bfloat16.
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, dict):
        for key, item in value.items():
            yield repr(key).encode()
            yield from _parts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()
