"""The settings of *Train*: start model, preset, memory, and the rest under *Advanced*."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QVBoxLayout, QWidget

from napari_cellseg.errors import CellSegError, CheckpointError, ConfigError
from napari_cellseg.gui.preferences import recall, remember
from napari_cellseg.gui.train.settings import epoch_seconds, fitted, start_hint
from napari_cellseg.gui.widgets.dock import Section, form_layout, small_label
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import SettingsForm, tame
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.gui.widgets.predict_fields import device_choice
from napari_cellseg.model.bundled import start_file, start_word
from napari_cellseg.model.checkpoint import CheckpointHeader, read_header
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.model.presets import PRESETS
from napari_cellseg.wording import about_time, counted
from training.config import (
    AugmentConfig,
    DataConfig,
    OptimizerConfig,
    StoppingConfig,
    TrainConfig,
    ValidationConfig,
)
from training.fit import pick_start
from training.report import DataReport

__all__ = ["StartPicker", "TrainForm"]

_OTHER = "Other file..."
_PARTS: dict[str, tuple[str, type[BaseModel]]] = {
    "data": ("Images", DataConfig),
    "augment": ("Augmentation", AugmentConfig),
    "optimizer": ("Optimiser", OptimizerConfig),
    "validation": ("Validation", ValidationConfig),
    "stopping": ("Stopping", StoppingConfig),
}
_LABELS = {
    "max_steps": "At most",
    "groups": "Groups (CSV)",
    "validation_fraction": "Validation fraction",
    "shift_scale_rotate": "Shift, zoom, rotate",
    "shift": "Max. shift",
    "scale": "Max. zoom",
    "rotate": "Max. rotation",
    "brightness_contrast": "Brightness, contrast",
    "brightness": "Max. brightness",
    "contrast": "Max. contrast",
    "hue_saturation_value": "Hue, saturation",
    "hue": "Max. hue",
    "saturation": "Max. saturation",
    "value": "Max. value",
    "stain": "Stain jitter",
    "copies": "Copy-paste cells",
    "ema_decay": "EMA decay",
    "every": "Validate every",
    "max_images": "At most",
    "examples": "Example images",
}
_EMPTY = {
    "max_steps": "no limit",
    "max_minutes": "no limit",
    "groups": "none",
    "ram_budget_mib": "no limit",
    "crop": "whole image",
    "clip_norm": "off",
    "ema_decay": "off",
    "max_images": "all",
    "window": "whole image",
    "patience": "never stop early",
}


class StartPicker(ElidedComboBox):
    """The start weights: ImageNet, a model of the library, or any other file."""

    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        tame(self)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self._value = recall("start_from", "bundled")
        self._is_choice = bool(recall("start_from"))
        self._sha256: str | None = None  # of the chosen model, to recognise it under another name
        self.activated.connect(self._on_activated)
        self.refresh()

    @property
    def value(self) -> str:
        """The value for `TrainConfig.start_from`: "imagenet", "random", "bundled", "nuclei" or a file."""
        return self._value

    @property
    def path(self) -> Path | None:
        """The model file to start from; None for ImageNet's and random weights."""
        if self._value in ("imagenet", "random"):
            return None
        return start_file(self._value)

    @property
    def header(self) -> CheckpointHeader | None:
        """Return the header of the chosen model."""
        try:
            return None if self.path is None else read_header(self.path)
        except CheckpointError:
            return None

    def refresh(self) -> None:
        """List the models again; the choice stays if it still exists, also under another file name."""
        before = self._value
        self.clear()
        self._add("ImageNet weights", "imagenet", "Weights of the backbone only; the rest starts at random")
        self._add("random weights", "random", "For comparisons. Needs many more images.")
        entries = ModelLibrary().entries()
        for entry in entries:
            if entry.header is not None:
                value = start_word(entry.path)
                about = f"{entry.path}\n{entry.header.config.name}: {', '.join(entry.class_names)}"
                self._add(f"{entry.name} ({entry.origin})", value, about)
        if self.findData(self._value) < 0:
            if self.header is not None:
                self._add(Path(self._value).stem, self._value, self._value)
            else:
                same = (str(e.path) for e in entries if e.header is not None and e.header.sha256 == self._sha256)
                self._value = next(same, "bundled")
        self.addItem(_OTHER, None)
        self.setCurrentIndex(max(0, self.findData(self._value)))
        self._keep(self.currentData(), before)

    def choose(self, value: str) -> None:
        """Choose "imagenet", "random", "bundled", "nuclei" or a model file.

        Raises
        ------
        CheckpointError
            The file is not a model of this program.
        """
        if value not in ("imagenet", "random"):
            read_header(start_file(value))
        if self.findData(value) < 0:
            self.insertItem(self.count() - 1, Path(value).stem, value)
        self.setCurrentIndex(self.findData(value))
        self._is_choice = True
        remember("start_from", value)  # also the one that was proposed
        self._keep(value, self._value)

    def propose(self, value: str) -> bool:
        """Take a bundled model, unless the user has chosen; return whether it is the one to start from."""
        if not self._is_choice:
            self._value = value
            self.setCurrentIndex(max(0, self.findData(value)))
        return self._value == value

    def _keep(self, value: str, before: str) -> None:
        self._value = value
        header = self.header
        self._sha256 = None if header is None else header.sha256
        if value != before:
            remember("start_from", value)
            self.chosen.emit()

    def _add(self, text: str, value: str, tip: str) -> None:
        self.addItem(text, value)
        self.setItemData(self.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _on_activated(self, row: int) -> None:
        value = self.itemData(row)
        if value is None:
            name, _ = QFileDialog.getOpenFileName(
                self, "Start from a model", recall("folder"), "Models (*.safetensors)"
            )
            value = name or self._value
        try:
            self.choose(value)
        except CellSegError as error:
            show_error(error, self.window())
            self.setCurrentIndex(self.findData(self._value))


class TrainForm(QWidget):
    """Fields that start with what fits the data; values changed by hand stay when the rest is fitted again."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._report: DataReport | None = None
        self._fitted: TrainConfig | None = None
        self._problem = ""
        self._why = ""
        self._is_fitting = False
        self._shown: dict[str, Any] = {}
        self.start = StartPicker()
        self.start.setToolTip("The weights before the first step. Better weights need fewer images.")
        self.hint = small_label()
        self.preset = ElidedComboBox()
        tame(self.preset)
        for name, preset in PRESETS.items():
            self.preset.addItem(name)
            self.preset.setItemData(self.preset.count() - 1, preset.tip, Qt.ItemDataRole.ToolTipRole)
        self.preset.setCurrentText(recall("preset", "lite"))
        self.time = small_label()
        self.device = device_choice()
        self.device.setToolTip("auto uses a GPU if there is one; the log states the device and the reason")
        self.ram = SettingsForm(DataConfig, ("ram_budget_mib",), {"ram_budget_mib": "RAM budget"}, _EMPTY)
        self.limit = SettingsForm(TrainConfig, ("max_minutes",), None, _EMPTY)
        self.forms = self._make_forms()
        self._fill()
        self.start.chosen.connect(self._on_start)
        self.preset.currentTextChanged.connect(self._on_preset)
        self.device.currentTextChanged.connect(self._on_edit)
        self._fit()

    def _make_forms(self) -> dict[str, SettingsForm]:
        forms = {"": SettingsForm(TrainConfig, ("epochs", "max_steps", "seed"), _LABELS, _EMPTY)}
        for part, (_, kind) in _PARTS.items():
            names = [name for name in kind.model_fields if name != "ram_budget_mib"]
            forms[part] = SettingsForm(kind, names, _LABELS, _EMPTY)
        for form in (self.ram, self.limit, *forms.values()):
            form.changed.connect(self._on_edit)
        return forms

    def _fill(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.rows = form = form_layout()
        form.addRow("Start from", self.start)
        form.addRow(self.hint)
        form.addRow("Preset", self.preset)
        form.addRow("Device", self.device)
        form.addRow("RAM budget", self.ram.widget("ram_budget_mib"))
        form.addRow("Time limit", self.limit.widget("max_minutes"))
        form.addRow(self.time)
        for emptied in (self.ram, self.limit):  # their fields stand in the rows above
            emptied.setParent(self)
            emptied.hide()
        column.addLayout(form)
        inside = QWidget()
        parts = QVBoxLayout(inside)
        parts.setContentsMargins(8, 0, 0, 0)
        parts.setSpacing(4)
        parts.addWidget(self.forms[""])
        for part, (title, _) in _PARTS.items():
            parts.addWidget(Section(title, self.forms[part]))
        self.advanced = Section("Advanced", inside)
        column.addWidget(self.advanced)

    def set_report(self, report: DataReport | None) -> None:
        """Fit the settings to other data."""
        if report is not self._report:
            self._report = report
            self._why = ""
            if report is not None and report.images:
                proposed, why = pick_start(report)
                self._why = why if self.start.propose(proposed) else ""
            self._fit()

    def config(self) -> TrainConfig:
        """Return the settings as they are shown.

        Raises
        ------
        ConfigError
            The settings contradict each other, or no data has been checked.
        """
        if self._fitted is None:
            raise ConfigError(self._problem or "Check the data first; the settings depend on it.")
        return self._fitted.with_changes(device=self.device.currentText(), **self._edits())

    @property
    def is_ready(self) -> bool:
        """Return whether data has been checked, so that `config` is known."""
        return self._fitted is not None

    def _values(self) -> dict[str, Any]:
        values = {"data__ram_budget_mib": self.ram.values()["ram_budget_mib"], **self.limit.values()}
        for part, form in self.forms.items():
            values |= {f"{part}__{name}" if part else name: value for name, value in form.values().items()}
        return values

    def _edits(self) -> dict[str, Any]:
        """Return the values changed by hand."""
        return {name: value for name, value in self._values().items() if value != self._shown.get(name)}

    def _set(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            part, _, setting = name.rpartition("__")
            apart = {"ram_budget_mib": self.ram, "max_minutes": self.limit}
            apart.get(setting, self.forms[part]).set_values({setting: value})

    def _on_start(self) -> None:
        self._why = ""  # it is the user's choice now
        self._fit()

    def _on_preset(self, name: str) -> None:
        remember("preset", name)
        self._fit()

    def _fit(self) -> None:
        """Show what fits the data, the preset and the start model, with the user's changes applied."""
        report, header = self._report, self.start.header
        edits = self._edits() if self._shown else {}
        self._fitted, self._problem = None, ""
        if report is not None and report.images and len(report.sides):
            try:
                self._fitted = fitted(report, self.preset.currentText(), self.start.value, header)
            except ConfigError as error:
                self._problem = str(error)
        name = "" if report is None else report.path.name
        hint = "" if report is None else start_hint(header, report.classes, self.preset.currentText(), name)
        self.hint.setText(self._problem or f"{self._why} {hint}".strip())
        self.hint.setVisible(bool(self.hint.text()))
        self._is_fitting = True
        if self._fitted is not None:
            self._set(self._plain(self._fitted))
        self._shown = self._values()
        self._set(edits)
        self._is_fitting = False
        self._on_edit()

    def _plain(self, config: TrainConfig) -> dict[str, Any]:
        values = {name: getattr(config, name) for name in (*self.forms[""].values(), *self.limit.values())}
        for part in _PARTS:
            values |= {f"{part}__{name}": value for name, value in getattr(config, part)}
        return values

    def _on_edit(self) -> None:
        if not self._is_fitting:
            self.show_time()
            self.changed.emit()

    def show_time(self) -> None:
        """Show how long an epoch and the run will take, as far as is known."""
        self.time.setText(self._time_text())
        self.time.setVisible(bool(self.time.text()))

    def _time_text(self) -> str:
        if self._report is None or self._fitted is None:
            return ""
        try:
            config = self.config()
        except ConfigError as error:
            return str(error)
        seconds = epoch_seconds(config, self._report)
        if config.max_minutes is not None and (seconds is None or seconds * config.epochs > 60 * config.max_minutes):
            of = "" if seconds is None else f" An epoch takes {about_time(seconds)}."
            return f"At most {config.max_minutes:g} min, then the validation.{of}"
        if seconds is None:
            return f"At most {counted(config.epochs, 'epoch')}; the first steps tell how long the run takes."
        whole = about_time(seconds * config.epochs).capitalize()
        sooner = "" if config.stopping.patience is None else ", usually stops earlier"
        return f"{whole} at most{sooner}: {counted(config.epochs, 'epoch')} of {about_time(seconds)}, plus validation."
