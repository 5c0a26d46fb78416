"""`Notes`: the note and the flag of the selected cells, or of the image while no cell is selected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QWidget

from napari_cellseg.gui.canvas.camera import canvas_widget
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ACCENT
from napari_cellseg.review import Author, Cell, Change, ReviewSession
from napari_cellseg.review.about import MAX_NOTE, joined_notes
from napari_cellseg.wording import counted

__all__ = ["NoteField", "Notes"]

_WIDTH_PX, _MARGIN_PX = 420, 24


class Notes:
    """What the keys for notes do.

    Parameters
    ----------
    state : AppState
    run : callable
        Does a command on the session; returns None, after it told the user the reason, when that is not possible.
    """

    def __init__(self, state: AppState, run: Callable[[Callable[[ReviewSession], Change]], Change | None]) -> None:
        self._state, self._run = state, run
        self.field: NoteField | None = None

    @property
    def target(self) -> str:
        """What a note would be about: "#87", "3 cells" or "the image"."""
        ids = self._state.selection
        return f"#{ids[0]}" if len(ids) == 1 else counted(len(ids), "cell") if ids else "the image"

    @property
    def text(self) -> str:
        """The note of the selected cells, or of the image; empty if there is none."""
        session = self._state.session
        if session is None:
            return ""
        cells = self._cells(session)
        return joined_notes(cell.note for cell in cells) if cells else session.about.note

    @property
    def is_unsure(self) -> bool:
        """Whether all selected cells, or the image, are flagged as unsure."""
        session = self._state.session
        if session is None:
            return False
        cells = self._cells(session)
        return all(cell.unsure for cell in cells) if cells else session.about.unsure

    def toggle_unsure(self) -> None:
        """Flag the selected cells, or the image, as unsure, or remove the flag."""
        session, unsure, ids = self._state.session, not self.is_unsure, self._state.selection
        if session is None:
            return
        if ids:
            change = self._run(lambda session: session.do(partial(Author.flag, unsure=unsure), ids))
        else:
            change = self._run(lambda session: session.describe(replace(session.about, unsure=unsure)))
        if change is not None:
            name = self.target[:1].upper() + self.target[1:]
            self._say(f"{name}: {'flagged as unsure' if unsure else 'no longer unsure'}.")

    def ask(self) -> None:
        """Open a field for the note over the canvas."""
        window, canvas = self._state.window, canvas_widget(self._state.viewer)
        session, ids = self._state.session, self._state.selection
        if window is None or canvas is None or session is None:
            return
        self.field = field = NoteField(self.target, self.text, window)
        field.entered.connect(lambda text: self._write(session, ids, text))
        field.open_over(canvas)

    def _write(self, session: ReviewSession, ids: tuple[int, ...], text: str) -> None:
        """Write the note of what was selected when the field was opened."""
        if session is not self._state.session:
            return
        if ids:
            known = tuple(i for i in ids if i in session.cells)
            change = self._run(lambda session: session.do(partial(Author.note, text=text), known))
        else:
            change = self._run(lambda session: session.describe(replace(session.about, note=text)))
        if change:
            self._say(f"{change.text[:1].upper()}{change.text[1:]}.")

    def _cells(self, session: ReviewSession) -> list[Cell]:
        return [session.cells[i] for i in self._state.selection if i in session.cells]

    def _say(self, text: str) -> None:
        self._state.viewer.status = text


class NoteField(QFrame):
    """A line of text in a popup: Enter or a click elsewhere takes the text, Escape drops it."""

    entered = Signal(str)
    """The text, if it was changed."""

    def __init__(self, target: str, text: str, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("note")
        self.setStyleSheet(f"#note {{ border: 1px solid {ACCENT}; }}")
        self._before, self._is_dropped = text, False
        self.line = QLineEdit(text)
        self.line.setMaxLength(MAX_NOTE)
        self.line.setPlaceholderText("Enter keeps the note, Esc drops it")
        self.line.setAccessibleName(f"Note on {target}")
        self.line.returnPressed.connect(self.close)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 6, 8, 6)
        row.addWidget(QLabel(f"Note on {target}"))
        row.addWidget(self.line, 1)

    def open_over(self, canvas: QWidget) -> None:
        """Open at the lower edge of the canvas."""
        self.resize(min(_WIDTH_PX, max(canvas.width() - 2 * _MARGIN_PX, 240)), self.sizeHint().height())
        left = (canvas.width() - self.width()) // 2
        self.move(canvas.mapToGlobal(QPoint(left, canvas.height() - self.height() - _MARGIN_PX)))
        self.show()
        self.line.setFocus()
        self.line.selectAll()

    def keyPressEvent(self, event: Any) -> None:  # noqa: D102
        if event.key() == Qt.Key.Key_Escape:
            self._is_dropped = True
            self.close()
        else:
            super().keyPressEvent(event)

    def hideEvent(self, event: Any) -> None:  # noqa: D102
        super().hideEvent(event)
        if not self._is_dropped and self.line.text() != self._before:
            self._is_dropped = True
            self.entered.emit(self.line.text())
