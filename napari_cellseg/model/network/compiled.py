"""Backbone and pyramid compiled by OpenVINO: the same features up to rounding, in two thirds of the time on a CPU."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from napari_cellseg.errors import ConfigError
from napari_cellseg.model.network.backbone import PyramidBackbone

__all__ = ["CompiledBackbone"]

_SHAPES = 4
"""Compiled shapes that are kept: the tiles of an image have one, or two at its edges."""
_TOLERANCE = 1e-3
"""Largest difference of a feature by rounding, relative to the largest feature."""


class CompiledBackbone(nn.Module):
    """Stands in for a `PyramidBackbone` in evaluation mode, on a CPU, in float32.

    Converting takes about 3 s, and each new shape of a batch 0.2 s: code for one shape is faster than code for any.
    OpenVINO's converter reports its use to its makers; its reader of traced networks, used here, does not.

    Parameters
    ----------
    backbone : PyramidBackbone
        With folded norms, see `fold_norms`.

    Raises
    ------
    ConfigError
        OpenVINO is not installed, or it cannot convert this network.
    """

    def __init__(self, backbone: PyramidBackbone) -> None:
        super().__init__()
        self.out_channels = backbone.out_channels
        self._network = _converted(backbone)
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        image = torch.randn((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            if _differ(backbone(image), self(image)):
                raise ConfigError("OpenVINO computes other features than torch for this model; choose runtime torch.")

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the pyramid's levels, finest first, with channels last in memory."""
        compiled = self._of_shape(tuple(images.shape))
        found = compiled({0: images.permute(0, 2, 3, 1).contiguous().numpy()})
        # A copy: the memory is used again for the next image.
        levels = [torch.from_numpy(found[i].copy()).permute(0, 3, 1, 2) for i in range(len(compiled.outputs))]
        return OrderedDict((str(i), level) for i, level in enumerate(levels))

    def _of_shape(self, shape: tuple[int, ...]) -> Any:
        if shape in self._compiled:
            self._compiled.move_to_end(shape)
        else:
            while len(self._compiled) >= _SHAPES:
                self._compiled.popitem(last=False)
            self._compiled[shape] = _compiled(self._network, shape)
        return self._compiled[shape]


def _converted(backbone: PyramidBackbone) -> Any:
    try:
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise ConfigError(
            f"The runtime openvino needs the package openvino ({error}). Install it:"
            ' pip install "napari-cellseg[openvino]"'
        ) from error
    example = torch.zeros((1, 3, 64, 96))
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # torch announces that it will trace in another way
            decoder = TorchScriptPythonDecoder(_Levels(backbone).eval(), example_input=(example,))
            frontend = FrontEndManager().load_by_framework("pytorch")
            return frontend.convert(frontend.load(decoder))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"OpenVINO cannot convert this model ({str(error)[:300]}); choose runtime torch.") from error


def _compiled(network: Any, shape: tuple[int, ...]) -> Any:
    """Return the network for one shape (B, 3, H, W); its input and outputs have the channels last."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    fixed = network.clone()
    fixed.reshape(openvino.PartialShape(list(shape)))
    layout = PrePostProcessor(fixed)
    for end in (layout.input(), *(layout.output(i) for i in range(len(fixed.outputs)))):
        end.model().set_layout(openvino.Layout("NCHW"))
        end.tensor().set_layout(openvino.Layout("NHWC"))
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    return openvino.Core().compile_model(layout.build(), "CPU", settings)


class _Levels(nn.Module):
    """The levels as a tuple, which can be traced."""

    def __init__(self, backbone: PyramidBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(images).values())


def _differ(ours: OrderedDict[str, Tensor], theirs: OrderedDict[str, Tensor]) -> bool:
    pairs = [(ours[name], theirs[name]) for name in ours]
    return any((a - b).abs().max() > _TOLERANCE * a.abs().max() for a, b in pairs)
