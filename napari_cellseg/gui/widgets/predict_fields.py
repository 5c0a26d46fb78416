"""The fields that *Segment* and *Batch* have in common: how to predict."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import ValidationError
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox

from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import SettingsForm, tame
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.settings import config_error

__all__ = ["PixelSize", "advanced_form", "device_choice", "device_names", "prediction_options"]

_ADVANCED = ("tile", "overlap", "scale", "nms", "batch", "precision", "runtime", "test_time_augmentation")
_LABELS = {"nms": "Merge above IoU", "batch": "Tiles per batch", "test_time_augmentation": "Average flips"}
_FROM_MODEL = {"scale": "from pixel size", "nms": "from the model"}


def advanced_form() -> SettingsForm:
    """Make the form of rarely changed settings."""
    return SettingsForm(PredictOptions, _ADVANCED, _LABELS, _FROM_MODEL)


def device_choice() -> QComboBox:
    """Make the choice of a device, initially that of the preferences."""
    box = ElidedComboBox()
    tame(box)
    for name in device_names():
        box.addItem(name)
    box.setCurrentText(preferences().device)
    box.setToolTip("auto uses a GPU if there is one; the line below states the device and the reason")
    return box


def device_names() -> tuple[str, ...]:
    """Return the choices; only the engine knows which devices exist, since this process does not load torch."""
    return ("auto", "cpu", "mps") if sys.platform == "darwin" else ("auto", "cpu", "cuda")


class PixelSize(QDoubleSpinBox):
    """The side of a pixel, µm; the lowest value means that of the file."""

    def __init__(self) -> None:
        super().__init__()
        tame(self)
        self.setRange(0.0, 100.0)
        self.setDecimals(4)
        self.setSingleStep(0.05)
        self.setSuffix(" µm")
        self.setSpecialValueText("auto: from the file")
        self.setToolTip(
            "Side of a pixel. The image is magnified to the size of cells the model knows; set it if the file has "
            "no (or a wrong) pixel size."
        )

    @property
    def chosen_um(self) -> float | None:
        """Return the size set here; None for that of the file."""
        return float(self.value()) or None


def prediction_options(model: Path | None, device: QComboBox, advanced: SettingsForm) -> PredictOptions:
    """Return the settings in the fields.

    Raises
    ------
    ConfigError
        The settings contradict each other.
    """
    try:
        return PredictOptions(checkpoint=model, device=device.currentText(), **advanced.values())
    except ValidationError as error:
        raise config_error(error, "These options") from error
