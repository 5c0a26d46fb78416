"""Tell the user: a notification of napari, with the traceback behind a *Details* button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from qtpy.QtCore import QObject, Qt
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
    from napari.utils.notifications import Notification, notification_manager

    kept = [on_click]
    owner.destroyed.connect(lambda *_: kept.clear())

    def click(*_: Any) -> None:
        if not kept:
            show_info(f"{label}: not done, because the panel that offered it is closed. Open it and try again.")
        for each in kept:
            each()

    notification_manager.dispatch(Notification(text, "warning", [(label, click)]))


def _show(text: str, severity: str, details: str = "", window: QWidget | None = None) -> None:
    from napari.utils.notifications import Notification, notification_manager

    parent = (lambda: None) if window is None else ref(window)  # napari keeps every notification

    def open_details(*_: Any) -> None:
        DetailsDialog(text, details, parent()).show()

    actions = [("Details", open_details)] if details else []
    notification_manager.dispatch(Notification(text, severity, actions))


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
