"""Lets 1 x 1 convolutions compute the same bits on one CPU thread as on several, so that the cells are the same."""

from __future__ import annotations

from torch import nn

__all__ = ["same_on_any_threads"]


def same_on_any_threads(model: nn.Module) -> None:
    """Give the 1 x 1 convolutions of a float32 model on a CPU one algorithm, in place.

    With one thread, torch computes them without oneDNN, which rounds the last bits in another way; but it never does so
    for a dilated convolution. A dilation has no effect on a kernel of one pixel, and none on the time (2.2 s for 700 x
    800 px of the bundled model with either algorithm).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)
