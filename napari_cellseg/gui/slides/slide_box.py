"""`SlideBox`: what is known of the slide on the canvas and its cells, and which file they come from; part of *Open*."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.preferences import recall
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import small_label
from napari_cellseg.wording import tiles_text

__all__ = ["SlideBox"]


class SlideBox(QWidget):
    """Hidden without a slide."""

    def __init__(self, state: AppState, slides: SlideView) -> None:
        super().__init__()
        self._state, self._slides = state, slides
        self.title = QLabel()
        self.text = small_label()
        self.button = QPushButton("Show cells from a run...")
        self.button.setToolTip("Choose the file in the folder cells/ that napari-cellseg predict wrote for this slide")
        self.button.clicked.connect(self._choose)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.title, self.text, self.button):
            column.addWidget(widget)
        slides.cells_changed.connect(self._show)
        state.current_changed.connect(self._show)
        state.classes_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        slide = self._state.slide
        self.setVisible(slide is not None)
        if slide is None:
            return
        height, width = slide.levels.size
        um = slide.levels.pixel_size_um
        size = "Pixel size unknown"
        if um is not None:
            size = f"{width * um / 1000:.3g} x {height * um / 1000:.3g} mm, {um:.3g} µm per px"
        self.title.setText(f"<b>Slide</b> {width:,} x {height:,} px")
        self.title.setToolTip(str(slide.file.path))
        self.text.setText(f"{size}\n{self._cells_text()}{self._tiles_text(slide.store)}")
        path = self._slides.cells.path
        self.text.setToolTip("" if path is None else str(path))

    def _cells_text(self) -> str:
        cells = self._slides.cells
        if cells.path is None:
            return "No cells yet."
        totals = cells.totals
        if totals is None:
            return "Counting the cells..."
        names = {class_id: name for class_id, name, _ in self._state.classes}
        parts = [f"{count:,} {names[i]}" for i, count in totals.items() if count and i in names]
        return f"{sum(totals.values()):,} cells above the minimum score: {', '.join(parts)}"

    def _tiles_text(self, own: Path) -> str:
        """Say that tiles are missing; empty if none is."""
        reader = self._slides.cells.reader
        try:
            done = None if reader is None else reader.tiles_done
        except CellSegError:  # reported when the cells are read
            return ""
        if reader is None or done is None:
            return ""
        return f"\n{tiles_text(*done)}{'; Segment slide continues' if reader.path == own else ''}."

    def _choose(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Cells of this slide", recall("folder"), "Cells of a slide (*.sqlite)"
        )
        if path:
            self._slides.open_cells(Path(path))
