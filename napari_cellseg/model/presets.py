"""The presets: the network, the training settings and the purpose of each; plain values, free of torch.

The command line, the Train dock, `ModelConfig.preset` and `TrainConfig.preset` use this table; a new preset is one
entry. Settings that an entry leaves out have the defaults of `ModelConfig` or `TrainConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_cellseg.errors import ConfigError

__all__ = ["PRESETS", "Preset", "preset_of"]

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A preset.

    Attributes
    ----------
    tip : str
        The model, and the machine it suits.
    network : mapping
        Settings of `ModelConfig`, nested.
    training : mapping
        Settings of `TrainConfig`, nested.
    fits_data : bool
        Whether scale, anchors and schedule are fitted to the data before training, unless ``--as-is`` is given.
    """

    tip: str
    network: Settings
    training: Settings
    fits_data: bool = True


# The large backbones of the original work, with anchors, detections and targets made for cells.
_CELL_SIZED: Settings = {
    "working_scale": 2.0,
    "rpn": {
        "anchor_sizes": ((16, 24), (32, 48), (64, 96), (128, 192)),
        "post_nms_test": 2000,
        "positive_iou": 0.6,
    },
    "detection": {"per_image": 1000, "class_agnostic_nms": True},
}
# The optimiser and augmentations of the original work are the defaults of `TrainConfig`.
_LARGE_TRAINING: Settings = {"augment": {"crop": 800}, "optimizer": {"warmup_steps": 100, "clip_norm": 10.0}}

_LITE_NETWORK: Settings = {
    "working_scale": 2.0,
    "backbone": {"name": "tf_efficientnet_lite0"},
    "fpn": {"channels": 96, "norm": "stored"},
    "rpn": {
        # Nuclei of 8 to 60 px at scale 2. Three sizes at stride 8 reach 93 % of CoNSeP's with an IoU of 0.6; one
        # size a level from stride 4 on reaches 73 %, with more anchors.
        "anchor_sizes": ((), (16, 24, 36), (54, 80, 120), (180, 260, 380)),
        "separable": True,
        "positive_iou": 0.6,
        "pre_nms_train": 1000,
        "post_nms_train": 1000,
        # In each square of 32 px: the cost follows the cells, and no crowd takes the proposals of other cells.
        "cap_side": 32,
        "pre_nms_test": 5,
        "post_nms_test": 15,
        "min_score": 0.4,
    },
    "box_head": {
        "hidden": 256,
        "canonical_scale": 112,
        "sampling_ratio": 1,
        "class_agnostic_boxes": True,
        "iou_score": True,
        "samples": 384,
        "positive_fraction": 0.4,
    },
    "mask_head": {
        "convolutions": 3,
        "channels": 64,
        "canonical_scale": 112,
        "sampling_ratio": 1,
        "class_agnostic": True,
        "samples": 96,  # all 153 positives would cost an eighth of a step more
    },
    # 0.12 with the IoU in the score is about 0.05 without.
    "detection": {"min_score": 0.12, "per_image": 1000, "class_agnostic_nms": True},
}
# The bundled recipe: small crops of the magnified image, balanced over classes; see docs/experiments.md.
_LITE_TRAINING: Settings = {
    "epochs": 150,
    "data": {"views": 4},
    "augment": {"crop": 512, "scale": 0.2, "rotate": 45, "stain": 0.5, "class_balance": 0.5},
    "optimizer": {
        "learning_rate": 6e-4,
        "weight_decay": 1e-2,
        "batch": 2,
        "schedule": "cosine",
        "warmup_steps": 200,
        "clip_norm": 10.0,
        "ema_decay": 0.998,
    },
}

# The effective settings of the original work: torchvision's photo-sized anchors, resizing to 800..1333 px, 100
# detections, and torchvision's heads, which have no dropout.
_ORIGINAL_NETWORK: Settings = {
    "backbone": {"name": "resnetrs200", "batch_norm": "train"},
    "fpn": {"extra_level": True},
    "rpn": {"anchor_sizes": ((32,), (64,), (128,), (256,), (512,)), "cap_side": None},
    "box_head": {"dropout": 0.0},
    "mask_head": {"dropout": 0.0},
    "detection": {"per_image": 100},
    "min_size": 800,
    "max_size": 1333,
}
# Whole images, stopping on the training loss.
_ORIGINAL_TRAINING: Settings = {"augment": {"crop": None}, "stopping": {"monitor": "train_loss"}}

PRESETS: dict[str, Preset] = {
    "lite": Preset(
        tip="EfficientNet-Lite0, 4.7 million parameters: made for a laptop",
        network=_LITE_NETWORK,
        training=_LITE_TRAINING,
    ),
    "reference": Preset(
        tip="ResNet-RS-200, 93 million parameters: for a GPU",
        network={"backbone": {"name": "resnetrs200"}, **_CELL_SIZED},
        training=_LARGE_TRAINING,
    ),
    "seresnextaa101d": Preset(
        tip="SE-ResNeXt-101d, the second large backbone of the original work: for a GPU with a lot of memory",
        network={"backbone": {"name": "seresnextaa101d_32x8d"}, **_CELL_SIZED},
        training=_LARGE_TRAINING,
    ),
    "original": Preset(
        tip="The recipe of the original work, on whole images: for a GPU with a lot of memory",
        network=_ORIGINAL_NETWORK,
        training=_ORIGINAL_TRAINING,
        fits_data=False,
    ),
}


def preset_of(name: str) -> Preset:
    """Return a preset.

    Raises
    ------
    ConfigError
        The preset does not exist.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
