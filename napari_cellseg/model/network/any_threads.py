"""Lets a network compute the same bits on one CPU thread as on several, so that the cells are the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["same_on_any_threads"]

_SMALL_PX = 256
"""Outputs of a convolution below which oneDNN cuts it into other parts for other numbers of threads."""
_SMALL_SIDE = 16
_MANY_INPUTS = 1024
"""Inputs of a linear layer above which MKL sums parts of them in each thread."""
_ROW = 32


def same_on_any_threads(model: nn.Module) -> None:
    """Replace what rounds the last bits differently with another number of threads, in place.

    For a float32 model in evaluation mode on a CPU. Found with torch 2.14 on CPUs with AVX-512:

    - A convolution of one pixel is computed without oneDNN on one thread, but never if it is dilated. A dilation has no
      effect on a kernel of one pixel, and none on the time (2.2 s for 700 x 800 px of the bundled model either way).
    - A convolution of a map of under 256 px is padded to 16 px a side.
    - A linear layer of many inputs runs as a convolution: 20 ms instead of 16 for 700 boxes.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)
        elif isinstance(module, nn.Conv2d) and module.groups == 1 and module.stride == (1, 1) and name:
            model.set_submodule(name, _PaddedConv(module))
        elif isinstance(module, nn.Linear) and module.in_features > _MANY_INPUTS and not module.in_features % _ROW:
            model.set_submodule(name, _LinearAsConv(module))


class _PaddedConv(nn.Module):
    """A convolution that sees small maps with more zeros to the right and below: the result has the same values."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, maps: Tensor) -> Tensor:
        count, _, height, width = maps.shape
        if count * height * width >= _SMALL_PX:
            whole: Tensor = self.conv(maps)
            return whole
        padded = functional.pad(maps, (0, max(0, _SMALL_SIDE - width), 0, max(0, _SMALL_SIDE - height)))
        part: Tensor = self.conv(padded)[..., :height, :width]
        return part


class _LinearAsConv(nn.Module):
    """A linear layer, (N, inputs) -> (N, outputs), as a convolution whose kernel covers its input."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, rows: Tensor) -> Tensor:
        weight = self.linear.weight
        several = functional.pad(rows, (0, 0, 0, 1)) if len(rows) == 1 else rows  # one is cut up like a small map
        shape = -1, rows.shape[1] // _ROW, _ROW, 1
        found = functional.conv2d(several.view(shape), weight.view(shape), self.linear.bias)
        return found[: len(rows), :, 0, 0]
