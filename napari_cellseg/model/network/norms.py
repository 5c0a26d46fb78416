"""The norms of the feature pyramid: group norm, or one with stored statistics, which does not look at the tile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_cellseg.model.config import Norm

__all__ = ["StoredNorm", "calibrate", "make_norm", "stored_norms"]


_GROUP = 16
"""Channels of a group: one image per step is enough (Wu & He, ECCV 2018)."""
_MOMENTUM = 0.02
"""Weight of a training step in the stored statistics: they are of the last 50 steps or so."""


class StoredNorm(nn.Module):
    """Group norm in training, with stored statistics in a prediction: (B, C, H, W) -> the same.

    A group norm takes its statistics from the tile, and a cell then depends on the tile that it lies in. Here, a
    training step normalises each crop by its own statistics, which makes learning quick, and moves the stored mean and
    standard deviation of each group towards them. A prediction uses the stored ones, so that a feature depends on the
    pixels around it alone; it folds the norm into the convolution before it (`model.network.folding`).

    Where the crops of a training differ much (dark fluorescence, bright tissue), no stored statistics are right for all
    of them. With ``is_fixed`` a training step uses the stored statistics and leaves them, so that weights and biases
    learn what a prediction needs.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups = max(1, channels // _GROUP)
        self.eps = eps
        self.is_fixed = False
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @property
    def calibrated(self) -> bool:
        """Whether statistics were set; those of a new norm change nothing."""
        return bool(self.running_mean.any())

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised features."""
        if self.is_fixed or not self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        if torch.is_grad_enabled():
            self.store(x, _MOMENTUM)
        return functional.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    @torch.no_grad()
    def store(self, x: Tensor, momentum: float) -> None:
        """Move the stored mean and standard deviation of each group towards those of a batch, by ``momentum`` 0..1.

        Standard deviations are averaged, not their inverses: a crop of empty glass has one near 0.
        """
        groups = x.float().reshape(len(x), self.groups, -1)  # (B, groups, values)
        deviation, mean = torch.std_mean(groups, 2, correction=0)
        channels = self.running_mean.numel() // self.groups
        new_mean, new_deviation = (part.mean(0).repeat_interleave(channels) for part in (mean, deviation))
        self.running_mean.lerp_(new_mean, momentum)
        self.running_var.copy_(self.running_var.sqrt().lerp(new_deviation, momentum).square())


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": lambda channels: nn.GroupNorm(max(1, channels // _GROUP), channels),
    "stored": StoredNorm,
}


def make_norm(kind: Norm) -> Callable[[int], nn.Module] | None:
    """Return the function that makes the norm of so many channels; None for no norm."""
    return _NORMS.get(kind)


def stored_norms(network: nn.Module) -> list[StoredNorm]:
    """Return the norms of a network that have stored statistics."""
    return [module for module in network.modules() if isinstance(module, StoredNorm)]


@torch.no_grad()
def calibrate(network: nn.Module, images: Tensor) -> None:
    """Set the statistics of every `StoredNorm` to those of its inputs on a batch of images.

    Parameters
    ----------
    network : Module
        (B, 3, H, W) -> features. Each norm gets its statistics before it computes, so those after it see normal input.
    images : (B, 3, H, W) float
        Network input; some twenty crops are enough, as each gives thousands of pixels.
    """

    def before(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, StoredNorm)
        norm.store(inputs[0], 1.0)

    hooks = [norm.register_forward_pre_hook(before) for norm in stored_norms(network)]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
