"""How the image on the canvas is read: its brightness limits, and the plane and channels of a stack."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_cellseg.gui.opening.limit_sliders import LimitSliders
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import WARNING, explain, form_layout, small_label
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import tame
from napari_cellseg.images.brightness import Scaling
from napari_cellseg.images.image import Image

__all__ = ["ReadingRows"]

_SETTLED_MS = 600
_MOST_CHANNELS = 8
_AUTO_TIP = "Decide the limits from the image: not from padding, saturated or transparent pixels"
_FULL_TIP = "From the lowest to the highest value that this type of pixel can hold"
_EVERY_PLANE = "all"
_PREVIEW_MS = 30
_MOST_PREVIEWED = 16 * 2**20
"""Pixels of an image that is shown with other limits while a handle is dragged; a larger one follows afterwards."""


class ReadingRows(QWidget):
    """The limits of the current image, and, only where there is a choice, its plane and channels.

    A change reads the image again, as a change of image does: what was edited is saved or asked about first.
    """

    def __init__(self, state: AppState, opener: Opener) -> None:
        super().__init__()
        self._state = state
        self._opener = opener
        self.low, self.high = (
            _limit("Black", "Values up to this one are shown black"),
            _limit("White", "Values from this one on are white"),
        )
        self.sliders = LimitSliders()
        self.auto, self.full = QPushButton("Auto"), QPushButton("Full range")
        self.plane, self.channels = ElidedComboBox(), ElidedComboBox()
        for box in (self.plane, self.channels):
            tame(box)
            box.setMinimumWidth(1)
        self.all_images = QCheckBox("for all images")
        self.all_images.setToolTip("Read all images of the folder like this one, also in Batch")
        self.warning = small_label()
        self.warning.setStyleSheet(f"color: {WARNING};")
        self._form = form_layout(self)
        self._form.addRow(self.sliders)
        self._form.addRow("Brightness", _side_by_side(self.low, QLabel("to"), self.high))
        self._form.addRow("", _side_by_side(self.auto, self.full))
        self._form.addRow("Plane", self.plane)
        self._form.addRow("Channels", self.channels)
        self._form.addRow("", self.all_images)
        self._form.addRow(self.warning)
        self._soon = QTimer(self)  # typing a number changes it digit by digit
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SETTLED_MS)
        self._soon.timeout.connect(self._read_with_limits)
        self._preview_turn = QTimer(self)
        self._preview_turn.setSingleShot(True)
        self._preview_turn.setInterval(_PREVIEW_MS)
        self._preview_turn.timeout.connect(self._preview)
        self.low.valueChanged.connect(self._on_number)
        self.high.valueChanged.connect(self._on_number)
        self.sliders.moved.connect(self._on_slider)
        self.sliders.settled.connect(self._read_with_limits)
        self.auto.clicked.connect(lambda: self._read(limits="auto"))
        self.full.clicked.connect(lambda: self._read(limits="dtype"))
        self.plane.activated.connect(lambda _: self._on_plane())
        self.whole_stacks = QPushButton("One image per stack")
        self.whole_stacks.setToolTip("Show each stack as one image again, with a choice of its plane")
        self.whole_stacks.clicked.connect(lambda: self._opener.separate_planes(False))
        self._form.insertRow(4, "", self.whole_stacks)
        self.channels.activated.connect(lambda _: self._read(channels=self.channels.currentData()))
        state.current_changed.connect(self._show)
        self._show()

    @property
    def _image(self) -> Image | None:
        """The current image, or the overview of a slide."""
        slide = self._state.slide
        return self._state.image if slide is None else slide.levels.overview

    def _show(self) -> None:
        """Show how the current image is read; nothing for a layer that has no file."""
        self._soon.stop()
        self._preview_turn.stop()
        image = self._image
        can_choose = image is not None and self._state.workspace is not None
        self.setVisible(can_choose)
        if image is None or not can_choose:
            return
        file, scaling, (planes, channels) = self._state.file, image.scaling, image.choices
        decimals = 4 if image.pixels.dtype.kind == "f" and scaling.high <= 10 else 0
        for box, value in ((self.low, scaling.low), (self.high, scaling.high)):
            with QSignalBlocker(box):
                box.setDecimals(decimals)
                box.setValue(value)
        self.sliders.show_image(image.histogram, scaling.low, scaling.high)
        explain(self.auto, "The limits are automatic already." if scaling.source == "auto" else None, _AUTO_TIP)
        explain(self.full, "The limits are the full range already." if scaling.source == "dtype" else None, _FULL_TIP)
        one_image = _plane_choices(planes)[: -1 if self._state.slide is not None else None]  # planes are no slides
        _offer(self.plane, one_image, 0 if image.options.plane is None else image.options.plane)
        _offer(self.channels, _channel_choices(channels), _channels_shown(image, channels))
        is_plane = file is not None and file.plane is not None
        self._show_row(self.plane, visible=planes > 1 and not is_plane)
        self._show_row(self.whole_stacks, visible=is_plane)
        self._show_row(self.channels, visible=channels > 1)
        self.all_images.setVisible(len(self._state.images) > 1)
        self._warn()

    def _warn(self) -> None:
        """Say that the numbers are no limits, or else what is remarkable about the image as it was read."""
        image, low, high = self._image, self.low, self.high
        if image is None:
            return
        texts = [text for text in image.warnings() if "--" not in text]  # the rows above say what is chosen
        if not low.value() < high.value():
            refused = f"not applied: the first limit, {low.text()}, must be below the second, {high.text()}"
            texts = [refused, *texts]
        self.warning.setText("\n".join(f"{text[0].upper()}{text[1:]}." for text in texts))
        self._show_row(self.warning, visible=bool(texts))

    def _show_row(self, field: QWidget, *, visible: bool) -> None:
        """Show or hide a field and its label; Qt 5 has no function for a row."""
        label = self._form.labelForField(field)
        for widget in (field, label):
            if widget is not None:
                widget.setVisible(visible)

    def _on_slider(self, low: float, high: float) -> None:
        """Follow a handle: the numbers and the canvas now, the image itself once the handle is let go."""
        for box, value in ((self.low, low), (self.high, high)):
            with QSignalBlocker(box):
                box.setValue(value)
        self._warn()
        self._preview_turn.start() if not self._preview_turn.isActive() else None
        if not self.sliders.is_held:  # moved by a key or the wheel
            self._soon.start()

    def _on_number(self) -> None:
        low, high = self.low.value(), self.high.value()
        self._warn()
        self.sliders.show_limits(min(low, high), max(low, high))
        self._preview_turn.start()
        self._soon.start()

    def _preview(self) -> None:
        """Show the current image with the limits that are being chosen."""
        image, low, high = self._state.image, self.low.value(), self.high.value()
        if image is not None and low < high and image.size[0] * image.size[1] <= _MOST_PREVIEWED:
            self._opener.preview(image.rgb_between(Scaling(low, high, "chosen")))

    def _read_with_limits(self) -> None:
        self._soon.stop()
        image, low, high = self._image, self.low.value(), self.high.value()
        if image is not None and low < high and (low, high) != (image.scaling.low, image.scaling.high):
            self._read(limits=(low, high))

    def _on_plane(self) -> None:
        if self.plane.currentData() == _EVERY_PLANE:
            self._opener.separate_planes(True)
            self._show()  # the user may have chosen to stay
        else:
            self._read(plane=self.plane.currentData())

    def _read(self, **changes: Any) -> None:
        image = self._image
        if image is None:
            return
        options = image.options.changed(**changes)
        if options != image.options or self.all_images.isChecked():
            self._opener.read_as(options, all_images=self.all_images.isChecked())
            if not self._opener.job.is_busy:  # the user chose to stay at the image as it is
                self._show()
                if self._state.image is not None:
                    self._opener.preview(image.rgb())


def _side_by_side(*widgets: QWidget) -> QWidget:
    group = QWidget()
    row = QHBoxLayout(group)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return group


def _limit(name: str, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setAccessibleName(name)
    tame(box)
    box.setRange(-1e9, 1e9)
    box.setMinimumWidth(1)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # the sliders step; the digits need the room
    return box


def _plane_choices(planes: int) -> list[tuple[str, Any]]:
    numbered: list[tuple[str, Any]] = [(f"plane {number} of {planes}", number) for number in range(planes)]
    return [
        *numbered,
        ("maximum of all", "max"),
        ("mean of all", "mean"),
        ("each plane as an image", _EVERY_PLANE),
    ]


def _channel_choices(channels: int) -> list[tuple[str, Any]]:
    single: list[tuple[str, Any]] = [(f"channel {number} as grey", (number,)) for number in range(channels)]
    colours = range(min(channels, _MOST_CHANNELS) - 2)
    triples: list[tuple[str, Any]] = [
        (f"{first}, {first + 1}, {first + 2} as red, green, blue", (first, first + 1, first + 2)) for first in colours
    ]
    return [*single, *triples]


def _channels_shown(image: Image, channels: int) -> tuple[int, ...]:
    if image.options.channels is not None:
        return image.options.channels
    return (0, 1, 2) if channels == 3 else (0,)  # of four and more the first is read


def _offer(box: QComboBox, choices: list[tuple[str, Any]], chosen: Any) -> None:
    with QSignalBlocker(box):
        box.clear()
        for text, value in choices:
            box.addItem(text, value)
        places = [i for i, (_, value) in enumerate(choices) if value == chosen]
        box.setCurrentIndex(places[0] if places else -1)
