"""`ScoreSliders`: the minimum score of each class, filtering what is shown while they are dragged."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QGridLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.thresholds import ScoredModel, first_min_scores, keep_min_scores
from napari_cellseg.gui.widgets.colour_chip import ColourChip
from napari_cellseg.gui.widgets.dock import small_label
from napari_cellseg.gui.widgets.elided import ElidedLabel
from napari_cellseg.gui.widgets.forms import tame

__all__ = ["ScoreSliders"]

_STEPS = 1000
_STEP_OF_A_KEY, _STEP_OF_A_PAGE = 10, 50
_NAME_WIDTH = 150


class ScoreSliders(QWidget):
    """One row per class: colour, name, slider, minimum score, number of cells shown.

    They are those of the chosen model, or of the model that predicted the cells of the slide on the canvas.
    """

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._model: ScoredModel | None = None
        self.whose = small_label()
        self.whose.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.whose)
        self._grid = QGridLayout()
        column.addLayout(self._grid)
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(2, 1)
        self.sliders: dict[int, QSlider] = {}
        self._given: dict[int, float] = {}
        self._numbers: dict[int, QLabel] = {}
        self.counts: dict[int, QLabel] = {}
        # Filtering 10,000 cells takes longer than a slider takes to send its next value.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(30)
        self._soon.timeout.connect(self._apply)
        state.classes_changed.connect(self._build)
        state.min_scores_changed.connect(self._show)
        state.current_changed.connect(self.show_counts)
        state.cells_model_changed.connect(self._use_model)
        self._build()

    def values(self) -> dict[int, float]:
        """Return the minimum score of each class_id; a slider where it was put has the exact score it was given."""
        return {class_id: self._value(class_id) for class_id in self.sliders}

    def _value(self, class_id: int) -> float:
        position, given = self.sliders[class_id].value(), self._given.get(class_id, 0.0)
        return given if position == round(given * _STEPS) else position / _STEPS

    def use_model(self, chosen: ScoredModel) -> None:
        """Use the minimum scores of a chosen model, unless a slide shows cells of another: then that one's stay."""
        self._model = chosen
        self._use_model()

    def _use_model(self) -> None:
        of_cells, chosen = self._state.cells_model, self._model
        if of_cells is None and chosen is not None:
            self._state.set_min_scores(first_min_scores(chosen))
        is_other = of_cells is not None and (chosen is None or of_cells.sha256 != chosen.sha256)
        if of_cells is not None and is_other:
            self.whose.setText(
                f"Of {of_cells.name or 'the model'}, which predicted the cells of this slide, not of the model above."
                if of_cells.sha256
                else "The file of the cells does not state their model: all cells are shown."
            )
        self.whose.setVisible(is_other)

    def show_counts(self) -> None:
        """Show how many cells of each class there are now."""
        session = self._state.session
        for class_id, label in self.counts.items():
            is_known = session is not None and class_id <= len(session.classes)
            label.setText(f"{session.count(class_id):,}" if session is not None and is_known else "")

    def _build(self) -> None:
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            if widget is not None:
                widget.hide()  # deleted later, and seen until then
                widget.deleteLater()
        self.sliders, self._numbers, self.counts = {}, {}, {}
        for row, (class_id, name, colour) in enumerate(self._state.classes):
            title = ElidedLabel(name)
            title.setMaximumWidth(_NAME_WIDTH)
            slider = QSlider(Qt.Orientation.Horizontal)
            tame(slider)
            slider.setAccessibleName(f"Minimum score of {name}")
            slider.setRange(0, _STEPS)
            slider.setSingleStep(_STEP_OF_A_KEY)
            slider.setPageStep(_STEP_OF_A_PAGE)
            slider.setMinimumWidth(60)
            slider.setToolTip(f"Proposed cells of {name} with a lower score are hidden. The model does not run again.")
            slider.valueChanged.connect(self._on_slider)
            number = QLabel()
            number.setFixedWidth(number.fontMetrics().horizontalAdvance("0.00") + 12)
            count = QLabel()
            count.setMinimumWidth(count.fontMetrics().horizontalAdvance("0,000") + 10)
            count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            count.setToolTip("Cells shown")
            chip = ColourChip(colour)
            chip.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # only shows the colour
            chip.setAccessibleName(f"Colour of {name}")
            for column, widget in enumerate((chip, title, slider, number, count)):
                self._grid.addWidget(widget, row, column)
            self.sliders[class_id], self._numbers[class_id], self.counts[class_id] = slider, number, count
        self._show()
        self.show_counts()

    def _show(self) -> None:
        for class_id, slider in self.sliders.items():
            score = self._state.min_scores.get(class_id, 0.0)
            if not self._soon.isActive() and score != self._value(class_id):
                self._given[class_id] = score
                slider.blockSignals(True)
                slider.setValue(round(score * _STEPS))
                slider.blockSignals(False)
            self._numbers[class_id].setText(f"{self._value(class_id):.2f}")
        self.show_counts()

    def _on_slider(self) -> None:
        for class_id, value in self.values().items():
            self._numbers[class_id].setText(f"{value:.2f}")
        if not self._soon.isActive():
            self._soon.start()

    def _apply(self) -> None:
        self._state.set_min_scores(self.values())
        if self._state.cells_model is not None:
            self._state.cells_model.keep_min_scores(self.values())
        elif self._model is not None:
            keep_min_scores(self._model, self.values())
