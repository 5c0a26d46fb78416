"""`TrialBox`: what is known of a new model, and the buttons to keep or drop it; hidden without one."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout

from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import small_label

__all__ = ["TrialBox"]


class TrialBox(QFrame):
    """The lines of `AppState.trial` over two buttons."""

    def __init__(self, state: AppState, buttons: Sequence[QPushButton]) -> None:
        super().__init__()
        self._state = state
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = small_label()
        row = QHBoxLayout()
        for button in buttons:
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.addWidget(self.text)
        column.addLayout(row)
        state.trial_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.text.setText(self._state.trial)
        self.setVisible(bool(self._state.trial))
