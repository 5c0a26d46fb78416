"""`TrainConfig`: every setting of a training run, with its range, unit and description; without torch.

The command line, the form in the viewer and the YAML file in the run folder are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError, TrainingError
from napari_cellseg.formats.yaml_gate import parse_yaml, read_yaml
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.presets import preset_of
from napari_cellseg.model.settings import changed_values, config_error

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "OptimizerConfig",
    "StoppingConfig",
    "TrainConfig",
    "ValidationConfig",
]


def _field(default: Any, description: str, unit: str = "", flag: str = "", **limits: Any) -> Any:
    """Make a field; one with a ``flag`` has its own command-line option, the others are set by ``--set``."""
    return Field(default, description=description, json_schema_extra={"unit": unit, "flag": flag}, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Section):
    """Split into training and validation set, and memory for images."""

    validation_fraction: float = _field(
        0.2, "Share of the images in the validation set, which measures each epoch; 0: no validation.", ge=0, le=0.9
    )
    groups: Path | None = _field(
        None,
        "CSV file with the columns image_id and group (a patient or slide); the split never divides a group.",
    )
    chunks: int = _field(10, "Parts that an epoch is read in; at most two are in memory.", ge=1, le=10_000)
    ram_budget_mib: int | None = _field(
        1024,
        "Memory for decoded images; an epoch gets more chunks when two would need more than this. Empty: no limit.",
        "MiB",
        "--ram-budget",
        ge=16,
    )
    views: int = _field(
        1,
        "Random views of each image in an epoch, shuffled over the whole epoch.",
        ge=1,
        le=10_000,
    )
    repeats: int = _field(
        1, "Times each chunk is used before the next is read: for fast devices and large images.", ge=1, le=1000
    )
    workers: int = _field(
        1, "Threads that augment images ahead of the training step; 0: augment between the steps.", ge=0, le=64
    )


class AugmentConfig(_Section):
    """Random augmentation of the training images. Rates are probabilities, 0..1; 0 switches an augmentation off."""

    enabled: bool = _field(
        True, "Augment the images; when off, only random crops remain, for comparisons.", flag="--no-augment"
    )
    crop: int | None = _field(
        512,
        "Side of the square crop of the scaled image. Empty: the whole image.",
        "px of the network",
        ge=64,
        le=4096,
    )
    flip: float = _field(0.5, "Rate of a left-right flip, and of an up-down flip.", ge=0, le=1)
    quarter_turn: float = _field(0.5, "Rate of a turn by 90, 180 or 270 degrees.", ge=0, le=1)
    shift_scale_rotate: float = _field(0.5, "Rate of a random shift, zoom and rotation.", ge=0, le=1)
    shift: float = _field(0.1, "Maximum shift, as a share of the image side.", ge=0, le=0.5)
    scale: float = _field(0.1, "Maximum zoom in or out, as a share.", ge=0, le=0.7)
    rotate: float = _field(15, "Maximum rotation.", "degrees", ge=0, le=180)
    brightness_contrast: float = _field(0.2, "Rate of a change of brightness and contrast.", ge=0, le=1)
    brightness: float = _field(0.2, "Maximum change of brightness, as a share of the full range.", ge=0, le=1)
    contrast: float = _field(0.2, "Maximum change of contrast, as a share.", ge=0, le=1)
    blur: float = _field(0.2, "Rate of a Gaussian blur.", ge=0, le=1)
    blur_sigma: float = _field(1.4, "Maximum standard deviation of the blur.", "px", ge=0, le=10)
    hue_saturation_value: float = _field(0.2, "Rate of a change of hue, saturation and value.", ge=0, le=1)
    hue: float = _field(0.11, "Maximum change of hue, as a share of the colour circle.", ge=0, le=0.5)
    saturation: float = _field(0.12, "Maximum change of saturation, as a share of its range.", ge=0, le=1)
    value: float = _field(0.08, "Maximum change of value, as a share of its range.", ge=0, le=1)
    stain: float = _field(
        0.0,
        "Rate of stain jitter for H&E: haematoxylin, eosin and the residual each get stronger or weaker.",
        ge=0,
        le=1,
    )
    stain_strength: float = _field(
        0.05, "Maximum change of each stain, as a share (0.05: light, 0.2: strong).", ge=0, le=0.5
    )
    tint: float = _field(
        0.0, "Rate of a tint: each of red, green and blue gets weaker, the strongest excepted.", ge=0, le=1
    )
    tint_strength: float = _field(
        1.0, "Maximum share by which a colour gets weaker (1: pure red, green or blue occur).", ge=0, le=1
    )
    invert: float = _field(
        0.0, "Rate of an inversion of the brightness: cells brighter than the background get darker.", ge=0, le=1
    )
    copies: int = _field(
        0, "Cells copied to free places in their image; their classes are drawn with equal probability.", ge=0, le=1000
    )
    class_balance: float = _field(
        0.0,
        "Share of the crops that contain a cell of a class drawn with equal probability, to show rare classes.",
        ge=0,
        le=1,
    )
    min_visible: float = _field(
        0.1, "Cells of which the crop shows a smaller share than this are not trained on.", ge=0, le=1
    )
    min_pixels: int = _field(
        4, "Cells with fewer pixels than this in the crop are not trained on.", "px of the network", ge=1
    )


class OptimizerConfig(_Section):
    """AdamW (Loshchilov & Hutter, 2019) and its schedule."""

    learning_rate: float = _field(5e-5, "Learning rate after the warm-up.", gt=0, le=1)
    weight_decay: float = _field(5e-4, "Decoupled weight decay.", ge=0, le=1)
    batch: int = _field(1, "Images per step on each device.", "images", "--batch", ge=1, le=256)
    accumulate: int = _field(1, "Batches whose gradients are summed for one step.", ge=1, le=256)
    schedule: Literal["cosine", "constant"] = _field(
        "constant", "Learning rate after the warm-up: half a cosine down to the final rate, or constant."
    )
    warmup_steps: int = _field(0, "Steps over which the learning rate rises from near zero.", "steps", ge=0)
    final_rate: float = _field(0.01, "Learning rate at the end of the cosine, as a share of the full one.", ge=0, le=1)
    clip_norm: float | None = _field(None, "Norm to which longer gradients are clipped. Empty: off.", gt=0)
    ema_decay: float | None = _field(
        None, "Decay per step of the weights' running average, which is validated and saved. Empty: off.", gt=0, lt=1
    )
    backbone_rate: float = _field(1.0, "Learning rate of the backbone, as a share of that of the heads.", ge=0, le=1)
    norm_statistics: Literal["crop", "stored"] = _field(
        "crop",
        "Statistics with which the pyramid's stored norms normalise in training: of each crop, or the stored ones, as "
        "in a prediction. stored suits a last part of the training when crops differ much, as several stains do.",
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = _field(
        "auto", "Arithmetic; auto uses bf16 on a CUDA device that supports it, 32 bit elsewhere."
    )


class ValidationConfig(_Section):
    """What is measured on the validation images, and how often."""

    every: int = _field(1, "Epochs between two validations.", "epochs", ge=1)
    max_images: int | None = _field(None, "Validate on at most this many images. Empty: all.", ge=1)
    window: int | None = _field(
        None, "Validate on the middle square of this side, to save time. Empty: the whole image.", "px", ge=64
    )
    examples: int = _field(2, "Images whose prediction is saved at each validation.", "images", ge=0, le=64)


class StoppingConfig(_Section):
    """When to stop early, and which epoch is the best."""

    monitor: Literal["ap50", "val_loss", "train_loss"] = _field(
        "ap50", "What must improve: AP50 on the validation set, its loss, or the training loss.", flag="--monitor"
    )
    patience: int | None = _field(
        10, "Validations without improvement after which the run stops. Empty: never.", flag="--patience", ge=1
    )
    min_delta: float = _field(0.0, "Smallest change that counts as an improvement.", ge=0)


class TrainConfig(_Section):
    """Every setting of a training run.

    Frozen; unknown names are errors. `with_changes` returns a changed copy.
    """

    name: str = _field("custom", "Preset that these settings started from; for information only.")
    model: ModelConfig = Field(description="The network.")
    start_from: str = _field(
        "imagenet",
        'Initial weights: "imagenet" (the backbone, if installed), "random", "bundled", "nuclei", or a model file.',
        flag="--start-from",
    )
    epochs: int = _field(150, "Maximum length of the run.", "epochs", "--epochs", ge=1, le=100_000)
    max_steps: int | None = _field(
        None, "Stop after this many optimiser steps. Empty: no limit.", "steps", "--max-steps", ge=1
    )
    max_minutes: float | None = _field(
        None,
        "Train for at most this long, without pauses; the last validation follows. Empty: no limit.",
        "min",
        "--minutes",
        ge=1,
        le=100_000,
    )
    seed: int = _field(
        0, "Seed of the split, the order, the augmentation and the initial weights.", flag="--seed", ge=0, lt=2**32
    )
    device: str = _field("auto", 'Device: "auto", "cpu", "cuda", "cuda:1" or "mps".', flag="--device")
    devices: int = _field(1, "Number of devices on each machine.", flag="--devices", ge=1, le=1024)
    num_nodes: int = _field(1, "Number of machines.", flag="--num-nodes", ge=1, le=4096)
    data: DataConfig = Field(default_factory=DataConfig, description="Images and memory.")
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="Augmentation.")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="Optimiser and schedule.")
    validation: ValidationConfig = Field(default_factory=ValidationConfig, description="Validation.")
    stopping: StoppingConfig = Field(default_factory=StoppingConfig, description="Early stopping.")

    @model_validator(mode="after")
    def _monitor_needs_validation(self) -> TrainConfig:
        if self.data.validation_fraction == 0 and self.stopping.monitor != "train_loss":
            raise ValueError(
                f"stopping.monitor {self.stopping.monitor!r} needs a validation set: set data.validation_fraction "
                "above 0, or the monitor to train_loss"
            )
        return self

    @property
    def classes(self) -> ClassTable:
        """The classes the model learns."""
        return self.model.classes

    @classmethod
    def preset(cls, name: str, classes: ClassTable) -> TrainConfig:
        """Return the settings of a preset of `model.presets` for these classes.

        Raises
        ------
        ConfigError
            There is no such preset.
        """
        return cls.parse({"name": name, "model": ModelConfig.preset(name, classes), **preset_of(name).training})

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Build from nested plain values of a file or a form.

        Raises
        ------
        ConfigError
            An unknown name or a value out of range; the message lists all of them.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise config_error(error, "The training settings") from error

    def with_changes(self, **changes: Any) -> TrainConfig:
        """Return a changed, validated copy; a nested setting is named with two underscores: ``optimizer__batch=4``.

        Raises
        ------
        ConfigError
            An unknown name or a value out of range.
        """
        return self.parse(changed_values(self, changes, "There is no training setting"))

    def to_yaml(self) -> str:
        """Return the settings as YAML text, which `from_yaml` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str, source: str = "the YAML text") -> TrainConfig:
        """Read the text of `to_yaml`; a `ConfigError` names ``source``."""
        return cls._of_yaml(parse_yaml(text, source), source)

    def save(self, path: Path) -> None:
        """Write the YAML file, atomically."""
        with export_write(path, error=TrainingError) as file:
            file.write(self.to_yaml().encode())

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read a YAML file; raise a `ConfigError` when it cannot be read or a setting is wrong."""
        return cls._of_yaml(read_yaml(path), str(path))

    @classmethod
    def _of_yaml(cls, data: Any, source: str) -> TrainConfig:
        if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
            raise ConfigError(f"{source} must contain settings as name: value lines.")
        return cls.parse(data)
