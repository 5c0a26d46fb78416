"""Early stopping: when a run no longer improves, and which epoch is the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_cellseg.errors import TrainingError

__all__ = ["EarlyStopping"]


@dataclass(kw_only=True)
class EarlyStopping:
    """Track the best value of a metric and count the validations since.

    Parameters
    ----------
    patience : int or None
        Validations without improvement after which `should_stop` is True; None: never.
    min_delta : float
        A new best value must be better by more than this.
    mode : "max" or "min"
        Whether larger or smaller values are better.

    Attributes
    ----------
    best_value : float
        NaN until the first finite value.
    best_epoch : int
        1-based; 0 until the first finite value.
    waited : int
        Validations since the best one, without those of epochs that were cut short.
    """

    patience: int | None = 10
    min_delta: float = 0.0
    mode: Literal["max", "min"] = "max"
    best_value: float = field(default=math.nan, init=False)
    best_epoch: int = field(default=0, init=False)
    waited: int = field(default=0, init=False)

    def update(self, epoch: int, value: float, *, whole: bool = True) -> bool:
        """Add the value of one validation; return whether it is the best so far. NaN and infinities never are.

        Without `whole` the epoch was cut short by a limit of the run: its value may be the best, but the epoch is
        counted when it ends, however often the run reaches a limit within it.
        """
        if self._is_better(value):
            self.best_value, self.best_epoch, self.waited = float(value), epoch, 0
            return True
        self.waited += whole
        return False

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if math.isnan(self.best_value):
            return True
        gain = value - self.best_value if self.mode == "max" else self.best_value - value
        return gain > self.min_delta

    @property
    def stops_in(self) -> int | None:
        """Further validations without improvement before the run stops; None when it never stops."""
        return None if self.patience is None else max(0, self.patience - self.waited)

    @property
    def should_stop(self) -> bool:
        """Whether the patience is used up."""
        return self.stops_in == 0

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a resume file."""
        return {
            "mode": self.mode,
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; patience and min_delta keep their current values, so a resume may change them.

        Raises
        ------
        TrainingError
            The state is of the other mode, so its best value is meaningless here.
        """
        if state["mode"] != self.mode:
            raise TrainingError(
                f"This run monitored a metric whose best value is its {state['mode']}imum; the settings ask for the "
                f"{self.mode}imum. Keep the earlier stopping.monitor, or start a new run."
            )
        self.best_value, self.best_epoch = float(state["best_value"]), int(state["best_epoch"])
        self.waited = int(state["waited"])
