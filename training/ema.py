"""The running average of the weights, which is validated and saved in place of the latest weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["averaged"]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` that follows it as an exponential moving average.

    Call ``update_parameters(model)`` after each step; ``.module`` is the averaged model. Early on the decay is
    (1 + n) / (10 + n) for n updates, as in TensorFlow's ExponentialMovingAverage: with the fixed decay the untrained
    weights would count for a thousand steps. Buffers are copied, not averaged.
    """
    return AveragedModel(model, multi_avg_fn=_moving_average(decay))


def _moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def average(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        updates = int(count)
        weight = 1 - min(decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(list(averages), list(current), weight)

    return average
