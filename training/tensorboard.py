"""Curves for TensorBoard, if that package is installed (``pip install napari-cellseg[tensorboard]``)."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from training.run_folder import RunFolder

__all__ = ["ScalarLog"]


class ScalarLog:
    """Writes numbers to ``RUN/tensorboard``; does nothing without the package or on a process that does not write."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._on = folder.writes and importlib.util.find_spec("tensorboard") is not None
        self._writer: Any = None

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add one point to the curve ``group/name`` of each number; NaN is left out."""
        if not self._on:
            return
        if self._writer is None:  # imported late, because it takes seconds
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder.path / "tensorboard"))
        for name, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
