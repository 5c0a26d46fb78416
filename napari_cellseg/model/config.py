"""The settings of models and predictions; free of torch, so that the window's process can read them.

`ModelConfig` describes a model completely: each checkpoint stores it, and the network is rebuilt from it.
An unknown setting is an error. (torchvision's own ``MaskRCNN(**kwargs)`` swallows misspelt ones.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from napari_cellseg.classes import MAX_CLASSES, ClassTable
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.model.presets import preset_of
from napari_cellseg.model.settings import Fraction, Settings, changed_values, config_error

__all__ = [
    "BackboneConfig",
    "BoxHeadConfig",
    "DetectionConfig",
    "FpnConfig",
    "MaskHeadConfig",
    "ModelConfig",
    "Norm",
    "PredictOptions",
    "RpnConfig",
]

MOST_BOXES = 100_000
"""Limit of the number of boxes (anchors, proposals or cells) of one image or tile."""
AnchorSide = Annotated[float, Field(gt=0, le=10_000)]
Ratio = Annotated[float, Field(ge=0.01, le=100)]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Norm = Literal["none", "group", "stored"]
_NamedNorm = Annotated[  # older files have true for "group"
    Norm, BeforeValidator(lambda value: ("none", "group")[value] if isinstance(value, bool) else value)
]
Switch = Annotated[  # a bool in older files and scripts
    Literal["auto", "on", "off"],
    BeforeValidator(lambda value: ("off", "on")[value] if isinstance(value, bool) else value),
]
Classes = Annotated[
    ClassTable,
    BeforeValidator(lambda data: data if isinstance(data, ClassTable) else ClassTable.from_json(data)),
    PlainSerializer(lambda table: table.to_json()),
]


class BackboneConfig(Settings):
    """The feature extractor: any timm model that supports ``features_only=True``."""

    name: str = Field("resnetrs200", min_length=1, max_length=200, description="timm model name, without a weights tag")
    weights: str = Field(
        "",
        max_length=10_000,
        description="Origin of the initial weights; empty: random. Information only",
    )
    mean: tuple[float, float, float] | None = Field(None, description="Mean of RGB input in 0..1; timm's if left out")
    std: tuple[float, float, float] | None = Field(
        None, description="Standard deviation of RGB input; timm's if left out"
    )
    batch_norm: Literal["frozen", "train"] = Field("frozen", description="Use frozen for few images per step")
    frozen_stages: int = Field(0, ge=0, le=5, description="Number of first stages (with the stem) that are not trained")
    drop_path: float = Field(0.0, ge=0, lt=1, description="Stochastic depth rate, if the backbone supports it")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


class FpnConfig(Settings):
    """Feature pyramid network (Lin et al., CVPR 2017)."""

    strides: tuple[int, ...] = Field(
        (4, 8, 16, 32), min_length=1, max_length=6, description="Levels, network px per feature"
    )
    channels: int = Field(256, ge=16, le=512)
    separable: bool = Field(False, description="Depthwise separable 3x3 convolutions")
    norm: _NamedNorm = Field(
        "none",
        description="Norm after the pyramid's convolutions. stored: statistics of training crops, so that cells do not"
        " depend on the tile; group: of each tile (Wu & He, ECCV 2018)",
    )
    extra_level: bool = Field(False, description="Additional max-pooled level at twice the last stride")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(b != 2 * a for a, b in zip(self.strides, self.strides[1:], strict=False)) or self.strides[0] not in (
            2,
            4,
            8,
        ):
            raise ValueError("strides must double from level to level and start at 2, 4 or 8")
        return self


class RpnConfig(Settings):
    """Region proposal network (Ren et al., NeurIPS 2015)."""

    anchor_sizes: tuple[Annotated[tuple[AnchorSide, ...], Field(max_length=16)], ...] = Field(
        ((16,), (32,), (64,), (128,)),
        max_length=8,
        description="Anchor sides in network px, one tuple per pyramid level; an empty tuple: none from the level",
    )
    aspect_ratios: tuple[Ratio, ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, max_length=16, description="Height over width"
    )
    separable: bool = Field(False, description="Depthwise separable 3x3 convolution")
    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    samples: int = Field(256, ge=1, le=MOST_BOXES, description="Anchors per image in the loss")
    positive_fraction: Fraction = 0.5
    pre_nms_train: int = Field(
        2000, ge=1, le=MOST_BOXES, description="Proposals per level before non-maximum suppression"
    )
    pre_nms_test: int = Field(1000, ge=1, le=MOST_BOXES, description="The same in prediction, see cap_side")
    post_nms_train: int = Field(
        2000, ge=1, le=MOST_BOXES, description="Proposals per image after non-maximum suppression"
    )
    post_nms_test: int = Field(1000, ge=1, le=MOST_BOXES, description="The same in prediction, see cap_side")
    cap_side: int | None = Field(
        768,
        ge=32,
        le=16_384,
        description="Side of the squares, network px, that pre_nms_test and post_nms_test are for; a part of a square"
        " gets its share. With 32, the grid of tiles, cells are the same in every tiling. Empty: for each tile",
    )
    nms: Fraction = 0.7
    min_score: Fraction = Field(
        0.0, description="Proposals below this score are dropped, so that the cost follows the number of cells"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        counts = {len(sizes) for sizes in self.anchor_sizes if sizes}
        if len(counts) != 1:
            raise ValueError("anchor_sizes: every level that has anchors needs the same number of them")
        if any(size <= 0 for sizes in self.anchor_sizes for size in sizes) or min(self.aspect_ratios) <= 0:
            raise ValueError("anchor sizes and aspect ratios must be above 0")
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        return self


class BoxHeadConfig(Settings):
    """Classification and box regression of each proposal."""

    pool: int = Field(7, ge=3, le=14, description="RoIAlign output side")
    canonical_scale: int = Field(
        224, ge=8, le=4096, description="Side of a box (network px) that is pooled at stride 16"
    )
    sampling_ratio: int = Field(2, ge=1, le=4, description="RoIAlign samples per bin and axis")
    hidden: int = Field(1024, ge=16, le=4096)
    class_agnostic_boxes: bool = Field(False, description="One box for all classes")
    iou_score: bool = Field(
        False,
        description="Also predict the IoU of each box with its cell; the score is then sqrt(class probability x IoU)",
    )
    dropout: float = Field(0.0, ge=0, lt=1)
    positive_iou: Fraction = 0.5
    negative_iou: Fraction = 0.5
    samples: int = Field(512, ge=1, le=MOST_BOXES, description="Proposals per image in the loss")
    positive_fraction: Fraction = Field(
        0.25, description="At most samples * positive_fraction masks per image are trained"
    )
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = Field(2.0, ge=0, le=10, description="Lin et al., ICCV 2017")
    class_weights: tuple[Weight, ...] | None = Field(
        None, max_length=MAX_CLASSES, description="Weights of the K classes; background has 1"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class MaskHeadConfig(Settings):
    """The small fully convolutional network that predicts the mask of each cell."""

    pool: int = Field(14, ge=7, le=28, description="RoIAlign output side; the mask is twice as large")
    canonical_scale: int = Field(
        224, ge=8, le=4096, description="Side of a box (network px) that is pooled at stride 16"
    )
    sampling_ratio: int = Field(2, ge=1, le=4, description="RoIAlign samples per bin and axis")
    convolutions: int = Field(4, ge=1, le=8)
    channels: int = Field(256, ge=8, le=1024)
    class_agnostic: bool = Field(False, description="One mask for all classes")
    dropout: float = Field(0.0, ge=0, lt=1)
    dice_weight: float = Field(
        0.0, ge=0, le=1000, description="Dice loss added to binary cross-entropy (Milletari 2016)"
    )
    boundary_weight: float = Field(
        0.0, ge=0, le=1000, description="Extra weight of the pixels along the outline in the loss"
    )
    samples: int | None = Field(
        None,
        ge=1,
        le=MOST_BOXES,
        description="Largest number of masks per image in the loss; all positives if left out",
    )

    @property
    def size(self) -> int:
        """Side of the predicted masks."""
        return 2 * self.pool


class DetectionConfig(Settings):
    """Filters of the network's detections."""

    min_score: Fraction = Field(
        0.05, description="Detections below this score are dropped before their mask is predicted"
    )
    nms: Fraction = 0.5
    class_agnostic_nms: bool = Field(
        False, description="Suppress across classes too, because a cell has only one class"
    )
    per_image: int = Field(
        100,
        ge=1,
        le=MOST_BOXES,
        description="Largest number of cells of a tile; more of a tile that is larger than rpn.cap_side",
    )


class ModelConfig(Settings):
    """Everything that defines a network; see `preset`."""

    name: str = Field("custom", max_length=200, description="The preset of these settings; information only")
    classes: Classes
    pixel_size_um: float | None = Field(None, ge=1e-4, le=1000, description="Pixel size of the training images")
    reading: ReadOptions = Field(ReadOptions(), description="How the training images were read")
    working_scale: float = Field(1.0, ge=0.01, le=8, description="Network px per image px")
    min_size: int | None = Field(
        None, ge=64, le=16_384, description="Also resize to this shorter side, as torchvision does"
    )
    max_size: int | None = Field(None, ge=64, le=16_384, description="... with the longer side at most this")
    channels_last: bool = Field(True, description="Memory layout; faster on most devices")
    backbone: BackboneConfig = BackboneConfig()
    fpn: FpnConfig = FpnConfig()
    rpn: RpnConfig = RpnConfig()
    box_head: BoxHeadConfig = BoxHeadConfig()
    mask_head: MaskHeadConfig = MaskHeadConfig()
    detection: DetectionConfig = DetectionConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        levels = len(self.fpn.strides) + self.fpn.extra_level
        if len(self.rpn.anchor_sizes) != levels:
            raise ValueError(f"rpn.anchor_sizes has {len(self.rpn.anchor_sizes)} levels, the pyramid has {levels}")
        weights = self.box_head.class_weights
        if weights is not None and (len(weights) != len(self.classes) or min(weights) <= 0):
            raise ValueError(f"box_head.class_weights needs {len(self.classes)} numbers above 0, one per class")
        if (self.min_size is None) != (self.max_size is None) or (self.min_size or 0) > (self.max_size or 0):
            raise ValueError("min_size and max_size go together, min_size not above max_size")
        return self

    @property
    def num_classes(self) -> int:
        """K, without background."""
        return len(self.classes)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Check settings that come from a file or a form.

        Raises
        ------
        ConfigError
            An unknown name or a value out of range; the message lists all of them.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise config_error(error, "The model's settings") from error

    @classmethod
    def preset(cls, name: str, classes: ClassTable) -> ModelConfig:
        """Return the settings of a preset of `model.presets`.

        Parameters
        ----------
        name : str
            A name of `PRESETS`.
        classes : ClassTable
            The classes of the model.

        Raises
        ------
        ConfigError
            The preset does not exist.
        """
        return cls.parse({"name": name, "classes": classes, **preset_of(name).network})

    def with_changes(self, **changes: Any) -> ModelConfig:
        """Return a checked copy; two underscores denote a nested setting: ``rpn__nms=0.5``.

        Raises
        ------
        ConfigError
            An unknown name or a value out of range.
        """
        return ModelConfig.parse(changed_values(self, changes, "The model has no setting"))


class PredictOptions(Settings):
    """The options of a prediction; every field has a default."""

    checkpoint: Path | None = Field(None, description="Model file (default: the bundled model for H&E)")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N or mps")
    tile: int = Field(1024, ge=128, le=4096, multiple_of=32, description="Side of a tile, network px")
    overlap: int = Field(
        192,
        ge=0,
        description="Least overlap of neighbouring tiles, network px; less depends more on the tiling, and larger cells"
        " need more",
    )
    scale: float | None = Field(
        None, ge=0.01, le=16, description="Network px per image px; if left out, from the model and the pixel size"
    )
    min_score: Fraction | None = Field(
        None, description="Lowest score kept; if left out, the model's, and 0.4 of it for cells that overlap others"
    )
    nms: Fraction | None = Field(
        None, description="IoU above which two detections are one cell; if left out, the model's"
    )
    batch: int = Field(1, ge=1, le=64, description="Tiles per batch")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="auto: half precision where it is faster"
    )
    runtime: Literal["torch", "openvino"] = Field(
        "torch",
        description="openvino: compile the backbone for a CPU without bf16; faster by a third, after 3 s more to start",
    )
    test_time_augmentation: Switch = Field(
        "auto",
        description="Average over four flips: better, and four times as slow. auto: for images of at most 1 Mpx of the"
        " network",
        json_schema_extra={"flag": "--tta"},
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "overlap" in self.model_fields_set and 2 * self.overlap > self.tile:  # small tiles use less than the default
            raise ValueError("overlap must be at most half a tile")
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> PredictOptions:
        """Check options that come from a command line or a form.

        Raises
        ------
        ConfigError
            An unknown name or a value out of range.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise config_error(error, "The prediction options") from error
