"""The settings in napari's Preferences, and the values that the docks remember."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from qtpy.QtCore import QSettings

__all__ = [
    "SECTIONS",
    "Preferences",
    "change_preference",
    "on_preferences_changed",
    "preferences",
    "recall",
    "recall_second_reader",
    "remember",
    "remember_second_reader",
]

SECTIONS = ("general", "cells", "colours")
"""The parts of ``configurations`` in napari.yaml."""


EnginePlace = Literal["engine process", "this process"]
"""Where torch runs."""


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """The settings of the ``configurations`` part of napari.yaml, whose defaults these are.

    Attributes
    ----------
    engine : str
        Where torch runs: "engine process" or "this process".
    device : str
        "auto", "cpu", "cuda", ...: the initial device of *Segment* and *Train*.
    warm_start : bool
        Whether the engine starts as soon as an image is open, so that the first result comes sooner.
    hints : bool
        Whether the canvas shows the next step of a first session.
    reader : str
        Name in the decisions about cells; empty for that of the account. For folders that are opened afterwards.
    ram_budget_mib : int
        Memory for training images; 0 chooses by the free memory.
    vram_budget_mib : int
        GPU memory that models may use; 0 for all of it.
    min_score_percent : int
        The initial minimum score of a model, 0..100; 0 for its own best score per class. A whole number, since
        napari's field replaces a decimal number while it is typed ("0.85" became 0.8).
    autosave_min : int
        Autosave interval in minutes; 0 is off.
    palette : str
        Initial colours of classes, see `gui.palettes`.
    fill_percent : int
        Opacity of the fill of cells, 0..100; contours are always opaque.
    """

    engine: EnginePlace = "engine process"
    device: str = "auto"
    warm_start: bool = True
    hints: bool = True
    reader: str = ""
    ram_budget_mib: int = 0
    vram_budget_mib: int = 0
    min_score_percent: int = 0
    autosave_min: int = 0
    palette: str = "Okabe-Ito"
    fill_percent: int = 40

    @property
    def min_score(self) -> float:
        """Return the initial minimum score, 0..1."""
        return self.min_score_percent / 100

    @property
    def fill_opacity(self) -> float:
        """Return the opacity of the fill of cells, 0..1."""
        return self.fill_percent / 100


def preferences() -> Preferences:
    """Return the current settings; in a napari without them, the defaults and whether hints were closed."""
    values: dict[str, Any] = {}
    if not (sections := _sections()):
        return Preferences(hints=recall("hints", "true").lower() == "true")
    for section in sections:
        values |= {
            field.name: getattr(section, field.name) for field in fields(Preferences) if hasattr(section, field.name)
        }
    return Preferences(**values)


def change_preference(name: str, value: str | int | bool) -> None:
    """Change a setting, as Preferences does; where there are none, remember it for `preferences`."""
    for section in _sections():
        if hasattr(section, name):
            setattr(section, name, value)
            return
    remember(name, value)


def on_preferences_changed(call: Callable[[], None]) -> None:
    """Call a method of a living object, held weakly, after a setting was changed; never where there are none."""
    for section in _sections():
        section.events.connect(call)


def _sections() -> list[Any]:
    try:
        from napari.settings import get_plugin_settings

        settings = get_plugin_settings("napari-cellseg")
    except (ImportError, KeyError):
        return []
    return [section for name in SECTIONS if (section := getattr(settings, name, None)) is not None]


def remember(name: str, value: str | int | float | bool) -> None:
    """Store a value, such as the last folder, for the next session."""
    _store().setValue(name, value)


def recall(name: str, default: str = "") -> str:
    """Return a stored value as text."""
    value: Any = _store().value(name, default)
    return str(value)


_READERS = 50
"""Folders whose second reader is remembered, the latest ones."""


def remember_second_reader(folder: Path, other: Path) -> None:
    """Store the folder of another reader with whom a folder was compared."""
    known = {name: path for name, path in _second_readers().items() if name != str(folder)}
    latest = [*known.items(), (str(folder), str(other))][-_READERS:]
    remember("second_readers", json.dumps(dict(latest)))


def recall_second_reader(folder: Path) -> Path | None:
    """Return the folder of the reader with whom a folder was last compared; None if it never was."""
    found = _second_readers().get(str(folder))
    return Path(found) if isinstance(found, str) else None


def _second_readers() -> dict[str, Any]:
    try:
        known = json.loads(recall("second_readers", "{}"))
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _store() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-cellseg", "napari-cellseg")
