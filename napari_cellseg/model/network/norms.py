"""The norms of the feature pyramid: group norm, or one with stored statistics, which does not look at the tile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_cellseg.model.config import Norm

__all__ = ["StoredNorm", "calibrate", "make_norm", "stored_norms"]


class StoredNorm(nn.Module):
    """Normalise each channel with a stored mean and variance, then scale and shift it: (B, C, H, W) -> the same.

    Training changes scale and shift, never the statistics, so that a feature depends on the pixels around it alone:
    a group norm takes its statistics from the tile, and a cell then depends on the tile that it lies in. A prediction
    folds the norm into the convolution before it (`model.network.folding`).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
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
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    # Groups of 16 channels: one image per step is enough (Wu & He, ECCV 2018).
    "group": lambda channels: nn.GroupNorm(max(1, channels // 16), channels),
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
        variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    hooks = [norm.register_forward_pre_hook(before) for norm in stored_norms(network)]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
