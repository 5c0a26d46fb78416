"""Folds norms with stored statistics into the preceding convolutions: the same network, half the time on a CPU.

In evaluation such a norm is a fixed scale and shift of each channel, which the convolution can include.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN

__all__ = ["fold_batch_norms", "fold_norms"]

logger = logging.getLogger(__name__)

_Features = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
_TOLERANCE = 1e-3
"""Largest difference of a feature by rounding, relative to the largest feature."""


def fold_norms(model: CellMaskRCNN) -> None:
    """Fold the norms of the backbone and of the pyramid, in place; the model must be in evaluation mode."""
    model.backbone.body = fold_batch_norms(model.backbone.body)
    model.backbone = fold_batch_norms(model.backbone)  # type: ignore[assignment]  # a copy


def fold_batch_norms(body: nn.Module, channels: int = 3) -> nn.Module:
    """Return a copy of a network without the batch norms that directly follow a convolution.

    The order of the layers is traced in a run of the network, not guessed from names, and the copy is compared with
    the original; if they differ (an unusual architecture), the original is returned.

    Parameters
    ----------
    body : Module
        In evaluation mode; (B, channels, H, W) -> Tensor, or a sequence or mapping of them.
    channels : int
        Number of input channels.
    """
    generator = torch.Generator().manual_seed(0)
    parameter = next(body.parameters())
    image = torch.randn((1, channels, 64, 64), generator=generator).to(parameter.device, parameter.dtype)
    folded = copy.deepcopy(body)
    with torch.inference_mode(False), torch.no_grad():
        names = {module: name for name, module in folded.named_modules()}
        for convolution, norm in _pairs(folded, image):
            _fold(convolution, norm)
            folded.set_submodule(names[norm], _rest(norm))
        if _differ(body(image), folded(image)):
            logger.warning(
                "The batch norms of %s cannot be folded; the network is used unchanged.", type(body).__name__
            )
            return body
    return folded.eval()


def _is_norm(module: nn.Module) -> bool:
    return hasattr(module, "running_mean") and hasattr(module, "running_var") and module.running_mean is not None


def _pairs(body: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Run the network and return each convolution with the batch norm of its output, if both are used only once."""
    made_by: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps the tensors alive, so that no id is reused
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []
    uses: Counter[nn.Module] = Counter()

    def after(module: nn.Module, _: object, output: Tensor) -> None:
        uses[module] += 1
        made_by[id(output)] = (module, output)  # type: ignore[assignment]

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        uses[module] += 1
        if id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])][0], module))

    hooks = []
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after))
        elif _is_norm(module):
            hooks.append(module.register_forward_pre_hook(before))
    try:
        body(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if uses[pair[0]] == uses[pair[1]] == 1]


def _fold(convolution: nn.Conv2d, norm: nn.Module) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    scale = torch.rsqrt(variance + float(norm.eps))  # type: ignore[arg-type]
    shift = -mean * scale
    if isinstance(norm.weight, Tensor):
        scale, shift = scale * norm.weight, shift * norm.weight
    if isinstance(norm.bias, Tensor):
        shift = shift + norm.bias
    if convolution.bias is not None:
        shift = shift + convolution.bias * scale
    convolution.weight.mul_(scale[:, None, None, None])
    convolution.bias = nn.Parameter(shift, requires_grad=False)


def _rest(norm: nn.Module) -> nn.Module:
    """Return the activation that timm's batch norms include."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()


def _differ(first: _Features, second: _Features) -> bool:
    pairs = zip(_tensors(first), _tensors(second), strict=True)
    return any(bool((a - b).abs().max() > _TOLERANCE * a.abs().max()) for a, b in pairs)


def _tensors(features: _Features) -> Sequence[Tensor]:
    if isinstance(features, Mapping):
        return list(features.values())
    return [features] if isinstance(features, Tensor) else features
