"""Tell the user: a notification of napari, with the traceback behind a *Details* button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from qtpy.QtCore import QObject, QRect, Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QApplication, QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from napari_cellseg.errors import CellSegError

__all__ = ["DetailsDialog", "show_choice", "show_error", "show_info", "show_warning"]


def show_error(error: CellSegError, window: QWidget | None = None) -> None:
    """Show an error; *Details* opens its traceback over ``window``."""
    _show(str(error), "error", error.details, window)


def show_warning(text: str) -> None:
    """Show a warning."""
    _show(text, "warning")


def show_info(text: str) -> None:
    """Show something good to know."""
    _show(text, "info")


def show_choice(text: str, label: str, on_click: Callable[[], object], owner: QObject) -> None:
    """Show a warning with a button, which says so when ``owner`` was closed meanwhile.

    napari keeps every notification until the program ends, so ``on_click`` is released with its owner.
    """
    kept = [on_click]
    owner.destroyed.connect(lambda *_: kept.clear())

    def click(*_: Any) -> None:
        if not kept:
            show_info(f"{label}: not done, because the panel that offered it is closed. Open it and try again.")
        for each in kept:
            each()

    _dispatch(text, "warning", [(label, click)])


def _show(text: str, severity: str, details: str = "", window: QWidget | None = None) -> None:
    parent = (lambda: None) if window is None else ref(window)  # napari keeps every notification

    def open_details(*_: Any) -> None:
        DetailsDialog(text, details, parent()).show()

    actions = [("Details", open_details)] if details else []
    _dispatch(text, severity, actions)


def _dispatch(text: str, severity: str, actions: list[tuple[str, Callable[..., None]]]) -> None:
    from napari._qt.dialogs.qt_notification import NapariQtNotification
    from napari.utils.notifications import Notification, notification_manager

    class Told(Notification):
        source = None  # else napari's own class is named as the source, instead of the rest of the text

    before = list(getattr(NapariQtNotification, "_instances", ()))  # Qt may have deleted some of these
    notification_manager.dispatch(Told(text, severity, actions))
    for shown in list(getattr(NapariQtNotification, "_instances", ())):
        if not any(shown is other for other in before):
            _unfold_later(shown)


def _unfold_later(shown: Any) -> None:
    """Show the whole text once the notification has slid in; napari shows one line of it until a double click."""

    def unfold() -> None:
        shown.geom_anim.finished.disconnect(unfold)
        text, buttons, place = shown.message, shown.row2_widget, shown.geometry()
        metrics, room = text.fontMetrics(), QRect(0, 0, text.width(), 10_000)
        lines = round(metrics.boundingRect(room, Qt.TextFlag.TextWordWrap, text.text()).height() / metrics.height())
        needed = (lines + 1) * metrics.height() + _AROUND_PX + (buttons.height() if buttons.isVisible() else 0)
        if lines > 1:
            text.setMinimumHeight((lines + 1) * metrics.height())
            place.setTop(place.top() - (needed - place.height()))  # napari's own `expand` cuts the last line
            shown.setGeometry(place)
            shown.setProperty("expanded", True)

    shown.geom_anim.finished.connect(unfold)


_AROUND_PX = 24
"""Above and below the text of a notification of napari."""


class DetailsDialog(QDialog):
    """A non-modal window with the full text of an error."""

    def __init__(self, text: str, details: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Details")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(720, 420)
        self._text = f"{text}\n\n{details}"
        message = QLabel(text)
        message.setWordWrap(True)
        self._view = QPlainTextEdit(details)
        self._view.setReadOnly(True)
        self._view.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._view.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self.copy)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(message)
        layout.addWidget(self._view, 1)
        layout.addWidget(buttons)

    def copy(self) -> None:
        """Copy the text to the clipboard."""
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self._text)
