"""What the user set in napari's Preferences, and what the docks remember by themselves."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from qtpy.QtCore import QSettings

__all__ = ["Preferences", "preferences", "recall", "remember"]


@dataclass(frozen=True)
class Preferences:
    """The settings of the ``configurations`` part of napari.yaml, whose defaults these are.

    Attributes
    ----------
    engine : str
        Where torch runs: "engine process" or "this process".
    device : str
        "auto", "cpu", "cuda", ...: what *Segment* and *Train* begin with.
    warm_start : bool
        Whether the engine starts as soon as an image is open, so that the first result comes sooner.
    """

    engine: str = "engine process"
    device: str = "auto"
    warm_start: bool = True


def preferences() -> Preferences:
    """Return the settings as they are now; the defaults where this napari has no settings of plugins."""
    try:
        from napari.settings import get_plugin_settings

        general = get_plugin_settings("napari-cellseg").general
    except (ImportError, KeyError, AttributeError):
        return Preferences()
    values: dict[str, Any] = {field.name: getattr(general, field.name, field.default) for field in fields(Preferences)}
    return Preferences(**values)


def remember(name: str, value: str | int | float | bool) -> None:
    """Keep a value, such as the last folder, for the next session."""
    _store().setValue(name, value)


def recall(name: str, default: str = "") -> str:
    """Return a value that was kept, as text."""
    value: Any = _store().value(name, default)
    return str(value)


def _store() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-cellseg", "napari-cellseg")
