"""Forms made from settings classes (pydantic): one source for the docks, the command line and the YAML files."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QDoubleSpinBox,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_cellseg.gui.widgets.dock import form_layout
from napari_cellseg.gui.widgets.elided import ElidedComboBox

__all__ = ["SettingsForm", "tame"]


_SPIN_BUTTONS_PX = 42
"""The buttons of a spin box, and its margins, in napari's themes."""


class SettingsForm(QWidget):
    """One row for each setting, with its range, unit and description.

    Parameters
    ----------
    settings : type of BaseModel
        Where the fields, their defaults and limits come from.
    names : sequence of str
        Which settings, in this order.
    labels : mapping of str to str, optional
        Labels; the name with spaces when left out.
    empty : mapping of str to str, optional
        What to show for None, for example "from the model"; "auto" when left out.
    """

    changed = Signal()

    def __init__(
        self,
        settings: type[BaseModel],
        names: Sequence[str],
        labels: Mapping[str, str] | None = None,
        empty: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._fields: dict[str, _Field] = {}
        form = form_layout(self)
        for name in names:
            info = settings.model_fields[name]
            field = _make_field(info, (empty or {}).get(name, "auto"))
            field.widget.setToolTip(info.description or "")
            field.changed.connect(self.changed)
            field.set(info.get_default(call_default_factory=True))
            self._fields[name] = field
            form.addRow((labels or {}).get(name, name.replace("_", " ").capitalize()), field.widget)

    def values(self) -> dict[str, Any]:
        """Return the settings as they are shown."""
        return {name: field.get() for name, field in self._fields.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show other settings; names that are not in the form are left out."""
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].set(value)

    def widget(self, name: str) -> QWidget:
        """Return the widget of a setting."""
        return self._fields[name].widget


class _Field(QObject):
    """A widget with a typed value."""

    changed = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.widget = widget
        tame(widget)

    def get(self) -> Any:
        raise NotImplementedError

    def set(self, value: Any) -> None:
        raise NotImplementedError


class _CheckField(_Field):
    def __init__(self) -> None:
        box = QCheckBox()
        super().__init__(box)
        self._box = box
        box.toggled.connect(self.changed)

    def get(self) -> bool:
        return bool(self._box.isChecked())

    def set(self, value: Any) -> None:
        self._box.setChecked(bool(value))


class _ChoiceField(_Field):
    def __init__(self, choices: Sequence[Any]) -> None:
        box = ElidedComboBox()
        super().__init__(box)
        self._box = box
        for choice in choices:
            box.addItem(str(choice.value if isinstance(choice, Enum) else choice), choice)
        box.currentIndexChanged.connect(self.changed)

    def get(self) -> Any:
        return self._box.currentData()

    def set(self, value: Any) -> None:
        self._box.setCurrentIndex(self._box.findData(value))


class _NumberField(_Field):
    """A spin box; for an optional number its lowest step says ``empty`` and means None."""

    def __init__(self, info: FieldInfo, kind: type, empty: str | None) -> None:
        limits = _limits(info)
        step = limits.get("multiple_of", 1 if kind is int else _step(info, limits))
        low = limits.get("ge", limits.get("gt", -(2**31) if kind is int else -1e9))
        high = limits.get("le", limits.get("lt", 1e9))
        if kind is int:
            box: QSpinBox | QDoubleSpinBox = QSpinBox()
            high = int(min(high, 2**31 - 1))  # it cannot count further
            low += "gt" in limits
        else:
            box = _FloatBox(step)
            low += step / 10 if "gt" in limits and low + step / 10 < high else 0
        super().__init__(box)
        self._box = box
        self._kind = kind
        self._is_optional = empty is not None
        if empty is not None:
            low -= step
            box.setSpecialValueText(empty)
        box.setRange(low, high)
        box.setSingleStep(step)
        extra = info.json_schema_extra
        unit = extra.get("unit", "") if isinstance(extra, dict) else ""
        box.setSuffix(f" {unit}" if unit else "")
        box.setKeyboardTracking(False)
        _make_room(box)
        box.valueChanged.connect(self.changed)

    def get(self) -> int | float | None:
        if self._is_optional and self._box.value() == self._box.minimum():
            return None
        value: int | float = self._kind(self._box.value())
        return value

    def set(self, value: Any) -> None:
        self._box.setValue(self._box.minimum() if value is None else value)


class _FloatBox(QDoubleSpinBox):
    """Shows 0.00005 as 5e-05 and not as 0.00; small numbers are stepped by factors."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._by_factors = step < 1e-3
        self.setDecimals(12)

    def textFromValue(self, value: float) -> str:
        return f"{value:g}"

    def valueFromText(self, text: str) -> float:
        try:
            return float(text.removesuffix(self.suffix()).strip())
        except ValueError:
            return float(self.value())

    def validate(self, text: str, position: int) -> Any:
        # Qt's own validator knows no exponents. What is no number yet may become one while it is typed.
        typed = text.removesuffix(self.suffix()).strip()
        if typed == self.specialValueText() or re.fullmatch(r"[-+]?\d*\.?\d*(e[-+]?\d*)?", typed, re.IGNORECASE):
            return QValidator.State.Acceptable, text, position
        return QValidator.State.Invalid, text, position

    def stepBy(self, steps: int) -> None:
        if self._by_factors and self.value() > 0:
            self.setValue(self.value() * 2.0**steps)
        else:
            super().stepBy(steps)


def _make_room(box: QSpinBox | QDoubleSpinBox) -> None:
    """Keep a spin box wide enough for its text, and for the word for "not set"."""
    texts = (box.text(), box.specialValueText(), f"0000{box.suffix()}")
    widest = max(box.fontMetrics().horizontalAdvance(text) for text in texts)
    # As a style: the one of napari has a minimum too, and would replace one that is set otherwise.
    box.setStyleSheet(f"min-width: {widest + _SPIN_BUTTONS_PX}px;")


class _TextField(_Field):
    def __init__(self, kind: type, empty: str | None) -> None:
        line = QLineEdit()
        super().__init__(line)
        self._line = line
        self._kind = kind
        self._is_optional = empty is not None
        line.setPlaceholderText(empty or "")
        line.editingFinished.connect(self.changed)

    def get(self) -> Any:
        text = self._line.text().strip()
        return None if not text and self._is_optional else self._kind(text)

    def set(self, value: Any) -> None:
        self._line.setText("" if value is None else str(value))


def _make_field(info: FieldInfo, empty: str) -> _Field:
    kind: Any = info.annotation
    nothing = None
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [each for each in get_args(kind) if each is not type(None)]
        nothing = empty if len(kinds) < len(get_args(kind)) else None
        kind = kinds[0]
        if hasattr(kind, "__metadata__"):  # Annotated, inside of the union
            info = FieldInfo.merge_field_infos(info, FieldInfo.from_annotation(kind))
            kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return _ChoiceField(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _ChoiceField(list(kind))
    if kind is bool:
        return _CheckField()
    if kind in (int, float):
        return _NumberField(info, kind, nothing)
    if kind in (str, Path):
        return _TextField(kind, nothing)
    raise TypeError(f"no field for settings of type {kind}")


def _limits(info: FieldInfo) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "multiple_of")
    return {
        name: getattr(rule, name) for rule in info.metadata for name in names if getattr(rule, name, None) is not None
    }


def _step(info: FieldInfo, limits: Mapping[str, float]) -> float:
    default = info.default
    if isinstance(default, float) and 0 < default < 0.01:
        return default / 10
    return 0.05 if limits.get("le", limits.get("lt", 1e9)) <= 16 else 1.0


class _Tamer(QObject):
    """Keeps the wheel from changing a value that one scrolls past, and lets Enter and Escape leave a field."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        assert isinstance(watched, QWidget)
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        if event.type() == QEvent.Type.KeyPress and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Escape):
            if isinstance(watched, QAbstractSpinBox):
                watched.interpretText()
            watched.clearFocus()
            return not isinstance(watched, QLineEdit)
        return False


def tame(widget: QWidget) -> None:
    """Let a field get the focus only when it is clicked or tabbed to, and give it back with Enter or Escape."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_Tamer(widget))
