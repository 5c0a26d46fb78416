"""The rows of the *Review* dock: class buttons, the filter, how cells are shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap, QShortcut
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.canvas.camera import canvas_widget
from napari_cellseg.gui.canvas.colours import ColourMode
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.class_key import class_key
from napari_cellseg.gui.widgets.dock import ACCENT, explain
from napari_cellseg.gui.widgets.elided import ElidedButton, ElidedComboBox
from napari_cellseg.review import CellFilter
from napari_cellseg.review.queue import QueueContent

__all__ = ["ClassButtons", "ContentChoice", "FilterRow", "ShowRow", "button", "colour_icon", "give_keys_to_canvas"]


def button(
    text: str, on_click: Callable[[], object], tip: str = "", make: type[QPushButton] = QPushButton
) -> QPushButton:
    """Make a button that a click gives no focus, so that keys still reach the canvas or the list; Tab does."""
    made = make(text)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setToolTip(tip)
    made.clicked.connect(lambda: on_click())
    # Several fit in one row of 300 px: as narrow as their text, sharing what is left.
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if make is QPushButton:
        width = made.fontMetrics().horizontalAdvance(text.replace("&", "")) + 4
        made.setStyleSheet(
            f"QPushButton {{ padding: 4px 2px; min-width: {width}px; }}"
            f"QPushButton:checked {{ background-color: {ACCENT}; color: white; font-weight: 600; }}"
        )
    return made


def give_keys_to_canvas(state: AppState, clicked: QWidget) -> None:
    """Let Tab and all other keys act on the canvas after a click; a button pressed by a key keeps the focus."""
    canvas, focus = canvas_widget(state.viewer), QApplication.focusWidget()
    by_key = focus is not None and (focus is clicked or clicked.isAncestorOf(focus))
    if canvas is not None and not by_key:
        canvas.setFocus(Qt.FocusReason.OtherFocusReason)


def colour_icon(colour: str, size: int = 12) -> QIcon:
    """Return a square of a colour."""
    picture = QPixmap(size, size)
    picture.fill(QColor(colour))
    return QIcon(picture)


class ClassButtons(QWidget):
    """One button per class, two in a row, with the colour and the key of the class."""

    chosen = Signal(int)
    """The class_id of the button pressed."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        for column in (0, 1):
            self._grid.setColumnStretch(column, 1)
        self._buttons: list[QPushButton] = []

    def show_classes(self, classes: ClassTable) -> None:
        """Make the buttons of other classes."""
        for old in self._buttons:
            self._grid.removeWidget(old)
            old.hide()  # deleted later, and seen until then
            old.deleteLater()
        self._buttons = []
        for class_id, name, colour in classes:
            key = class_key(class_id)
            text = f"{key}  {name}".strip().replace("&", "&&")
            made = button(text, partial(self.chosen.emit, class_id), make=ElidedButton)
            made.setIcon(colour_icon(colour))
            made.setStyleSheet("padding: 4px 3px; text-align: left; min-width: 0px;")
            accepts = "Set this class; a cell that has the class already is accepted"
            made.setProperty("name", name)
            made.setProperty("tip", f"{accepts} ({key})" if key else accepts)
            self._grid.addWidget(made, *divmod(class_id - 1, 2))
            self._buttons.append(made)

    def explain(self, why_not: str | None) -> None:
        """Enable all buttons, or say why they cannot work."""
        for made in self._buttons:
            name, tip = made.property("name"), made.property("tip")
            explain(made, None if why_not is None else f"{name}\n{why_not}", f"{name}\n{tip}")


class ContentChoice(ElidedComboBox):
    """What the queue holds."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Cells to check")
        self.setToolTip("Proposed cells, labels on disk, cells with a note or flag, or disputed cells")

    def offer(self, *, disputed: bool) -> None:
        """List the choices; disputed cells only where there is another reader. The present choice stays if it can."""
        chosen = self.currentData()
        self.clear()
        for content in QueueContent:
            if disputed or not content.is_disputed:
                self.addItem(content.value, content)
        self.setCurrentIndex(max(self.findData(chosen), 0))


class FilterRow(QWidget):
    """Proposed cells below a score or outside a range of areas, for one decision about all of them."""

    changed = Signal()

    def __init__(
        self, reject: Callable[[], object], accept: Callable[[], object], select: Callable[[], object]
    ) -> None:
        super().__init__()
        self.score = QDoubleSpinBox()
        self.score.setRange(0, 1)
        self.score.setSingleStep(0.05)
        self.score.setSpecialValueText("any")
        self.score.setAccessibleName("Score below")
        self.score.setToolTip("Cells with a lower score than this")
        self._low, self._high = QSpinBox(), QSpinBox()
        for box, name, tip in (
            (self._low, "Area from", "Cells of this area or more, px"),
            (self._high, "Area to", "Cells of this area or less, px"),
        ):
            box.setAccessibleName(name)
            box.setRange(0, 10_000_000)
            box.setSpecialValueText("any")
            box.setToolTip(tip)
        for field in (self.score, self._low, self._high):
            field.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            field.setKeyboardTracking(False)
            field.setStyleSheet("min-width: 36px; padding: 1px 2px;")
            field.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            field.valueChanged.connect(self.changed)
            field.editingFinished.connect(field.clearFocus)  # else the keys of the review would end here
            leave = QShortcut(QKeySequence("Escape"), field)
            leave.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            leave.activated.connect(field.clearFocus)
        self.reject_button = button("Reject", reject)
        self._accept = button("Accept", accept)
        self._select = button("Select", select)
        fields = QHBoxLayout()
        fields.setSpacing(4)
        for widget in (QLabel("score <"), self.score, QLabel("area"), self._low, QLabel("to"), self._high):
            fields.addWidget(widget, 1 if widget in (self.score, self._low, self._high) else 0)
        self._buttons = QWidget()  # a row that the queue has until there is something to decide
        buttons = QHBoxLayout(self._buttons)
        buttons.setContentsMargins(0, 0, 0, 0)
        for widget in (self.reject_button, self._accept, self._select):
            buttons.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(fields)
        layout.addWidget(self._buttons)
        self._buttons.hide()

    @property
    def is_set(self) -> bool:
        """Whether any condition is."""
        return any(field.value() for field in (self.score, self._low, self._high))

    def wanted(self, class_id: int | None, content: QueueContent) -> CellFilter:
        """Return the conditions, for the cells of the queue, of a class or of all."""
        return CellFilter(
            class_ids=None if class_id is None else (class_id,),
            statuses=content.statuses,
            flagged=content.is_flagged,
            max_score=self.score.value() or None,
            min_area=self._low.value() or None,
            max_area=self._high.value() or None,
        )

    def show_count(self, count: int) -> None:
        """Say how many cells meet the conditions."""
        self._buttons.setVisible(self.is_set)
        why_not = None if count else "No cell that is still to be reviewed is like this."
        for made, text in ((self.reject_button, "Reject"), (self._accept, "Accept"), (self._select, "Select")):
            made.setText(f"{text} {count:,}" if count else text)
            explain(made, why_not, "All cells still to be reviewed that are like this; one undo takes it back")


_MODES = {
    ColourMode.CLASS: "One colour per class",
    ColourMode.CELL: "Neighbours in different colours",
    ColourMode.STATUS: "Blue proposed, purple given, green accepted, orange edited",
}


class ShowRow(QWidget):
    """What the colours show, and whether contours are drawn."""

    mode_chosen = Signal(object)
    contour_chosen = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(QLabel("Colour by"))
        self._mode = ElidedComboBox()
        self._mode.setAccessibleName("Colour by")
        self._mode.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for mode, tip in _MODES.items():
            self._mode.addItem(mode.value, mode)
            self._mode.setItemData(self._mode.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._mode.activated.connect(lambda _: self.mode_chosen.emit(self._mode.currentData()))
        layout.addWidget(self._mode, 1)
        self._contour = QCheckBox("contour")
        self._contour.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._contour.toggled.connect(self.contour_chosen)
        layout.addWidget(self._contour)

    def show_choice(self, mode: ColourMode, *, contour: bool) -> None:
        """Show what is chosen."""
        self._mode.setCurrentIndex(self._mode.findData(mode))
        self._contour.setChecked(contour)
