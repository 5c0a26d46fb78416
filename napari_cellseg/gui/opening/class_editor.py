"""`ClassEditor`: the table of classes with names, colours and keys, to be edited in place."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellseg.class_match import is_placeholder
from napari_cellseg.classes import DEFAULT_COLOURS, ClassTable
from napari_cellseg.errors import AnnotationError, CheckpointError, ConfigError
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.class_key import class_key
from napari_cellseg.gui.widgets.colour_chip import ColourChip
from napari_cellseg.gui.widgets.dock import ERROR, explain, small_label
from napari_cellseg.gui.widgets.forms import tame
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.wording import listed

__all__ = ["ClassEditor"]


class ClassEditor(QWidget):
    """Names and colours of the classes of `AppState`, one row each.

    Classes are numbered, and files and models know them by number: so they keep their order, a new one comes last,
    and only the last one can be removed, when no cell has it.
    """

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._rows = QGridLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setHorizontalSpacing(6)
        self._rows.setVerticalSpacing(3)
        self._rows.setColumnStretch(1, 1)
        self.names: list[QLineEdit] = []
        self.problem = small_label()
        self.problem.setStyleSheet(f"color: {ERROR};")
        self.add_button = QPushButton("+ class")
        self.add_button.clicked.connect(self._add_class)
        self.remove_button = QPushButton("- class")
        self.remove_button.clicked.connect(self._remove_last)
        self._from_model = QPushButton("From model")
        self._from_model.clicked.connect(self._use_model)
        buttons = QHBoxLayout()
        for button in (self.add_button, self.remove_button, self._from_model):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(self._rows)
        layout.addWidget(self.problem)
        layout.addLayout(buttons)
        state.classes_changed.connect(self._show)
        state.current_changed.connect(self.refresh_buttons)
        state.cells_model_changed.connect(self.refresh_buttons)
        state.model_changed.connect(self.refresh_buttons)
        self._show()

    def _show(self) -> None:
        classes = self._state.classes
        self.problem.hide()
        if len(self.names) != len(classes):
            self._build(len(classes))
        for class_id, name, colour in classes:
            line = self.names[class_id - 1]
            if line.text() != name:
                line.setText(name)
            line.setToolTip(name)
            chip = self._rows.itemAtPosition(class_id - 1, 0).widget()
            assert isinstance(chip, ColourChip)
            chip.set_colour(colour)
        self.refresh_buttons()

    def refresh_buttons(self) -> None:
        """Say which buttons can work now."""
        explain(self.remove_button, self._why_not_remove(), "Remove the last class")
        explain(self.add_button, None, "Add a class at the end")
        why_not = "Choose a model in Segment first." if self._state.model is None else None
        explain(self._from_model, why_not, "Take the names and colours of the classes that the model finds")

    def _build(self, count: int) -> None:
        while self._rows.count():
            widget = self._rows.takeAt(0).widget()
            if widget is not None:
                widget.hide()  # deleted later, and seen until then
                widget.deleteLater()
        self.names = []
        for i in range(count):
            chip = ColourChip(DEFAULT_COLOURS[0])
            chip.setToolTip("Choose the colour")
            chip.setAccessibleName(f"Colour of class {i + 1}")
            chip.clicked.connect(lambda _=False, i=i: self._choose_colour(i))
            line = QLineEdit()
            line.setAccessibleName(f"Name of class {i + 1}")
            tame(line)
            line.editingFinished.connect(lambda i=i: self._rename(i))
            key = QLabel(class_key(i + 1))
            key.setToolTip("Key that gives this class to the selected cells, in Review")
            key.setEnabled(False)
            self._rows.addWidget(chip, i, 0)
            self._rows.addWidget(line, i, 1)
            self._rows.addWidget(key, i, 2, Qt.AlignmentFlag.AlignRight)
            self.names.append(line)

    def _why_not_remove(self) -> str | None:
        count = len(self._state.classes)
        if count == 1:
            return "There must be one class at least."
        session = self._state.session
        if session is not None and any(cell.class_id == count for cell in session.cells.values()):
            return f"Cells of this image have the last class ({self._state.classes.name(count)})."
        if count in self._state.slide_class_ids:
            return f"The model of this slide's cells finds the last class ({self._state.classes.name(count)})."
        return None

    def _rename(self, i: int) -> None:
        names = list(self._state.classes.names)
        if i < len(names) and self.names[i].text() != names[i]:
            names[i] = self.names[i].text()
            self._try(tuple(names), self._state.classes.colours)

    def _choose_colour(self, i: int) -> None:
        colours = list(self._state.classes.colours)
        chosen = QColorDialog.getColor(QColor(colours[i]), self, f"Colour of {self._state.classes.names[i]}")
        if chosen.isValid():
            colours[i] = chosen.name()
            self._try(self._state.classes.names, tuple(colours))

    def _add_class(self) -> None:
        classes = self._state.classes
        number = len(classes) + 1
        while f"class{number}" in classes.names:
            number += 1
        unused = [colour for colour in DEFAULT_COLOURS if colour not in classes.colours]
        colour = unused[0] if unused else DEFAULT_COLOURS[len(classes) % len(DEFAULT_COLOURS)]
        self._try((*classes.names, f"class{number}"), (*classes.colours, colour))
        self.names[-1].setFocus()
        self.names[-1].selectAll()

    def _remove_last(self) -> None:
        classes = self._state.classes
        if self._why_not_remove() is None:
            self._try(classes.names[:-1], classes.colours[:-1])

    def _use_model(self) -> None:
        assert self._state.model is not None, "the button is disabled without one"
        try:
            found = read_header(self._state.model).classes
        except CheckpointError as error:
            self._say(str(error))
            return
        more = self._state.classes
        names = [*found.names, *(name for name in more.names[len(found) :] if name not in found.names)]
        if len(names) < len(more):
            self._say("A class of the project has a name of the model at another place; rename it first.")
        else:
            self._try(tuple(names), (*found.colours, *more.colours[len(found) :]))
            renamed = [f"{old} to {new}" for old, new in zip(more.names, names, strict=False) if old != new]
            if renamed and not is_placeholder(more) and self._state.classes.names == tuple(names):
                self._say(f"Renamed {listed(renamed)}; cells and labels keep their number. Rename them if it is wrong.")

    def _try(self, names: tuple[str, ...], colours: tuple[str, ...]) -> None:
        session = self._state.session
        try:
            classes = ClassTable(names, colours)
            if session is not None and len(classes) < len(session.classes):
                session.classes = classes  # refuses to leave out a class that undo could bring back
        except (AnnotationError, ConfigError) as error:
            self._say(str(error))
        else:
            self._state.set_classes(classes)

    def _say(self, problem: str) -> None:
        self.problem.setText(problem)
        self.problem.show()
