"""The window that shows two models side by side: which cells the new one gained and lost."""

from __future__ import annotations

import html
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QListWidget,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from scipy import ndimage

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.images.formats import read_image
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted
from training.comparison import Comparison, ImageComparison, ModelScores
from training.dataset import find_samples
from training.history import FEW_CELLS
from training.region import in_region

__all__ = ["CompareWindow", "compared_pictures"]

GAINED, LOST, FALSE = (0, 158, 115), (213, 94, 0), (255, 255, 255)
_FILL = 0.45
_COLUMNS = ("Class", "Cells", "AP50 old", "new", "PQ old", "new", "F1 old", "new", "Gained", "Lost")
_TIPS = {
    "Cells": "Ground-truth cells of these images",
    "AP50 old": "Average precision: masks of the same class with an IoU of 0.5 or more, over all scores",
    "PQ old": "Panoptic quality: masks of the same class with an IoU above 0.5, at the score thresholds",
    "F1 old": (
        "Agreement of the classes of cells whose centroids are at most 12 px apart, as in HoVer-Net. Masks do not "
        "count, so F1 can be above 0 where AP50 and PQ are 0."
    ),
    "Gained": "Ground-truth cells that only the new model predicted",
    "Lost": "Ground-truth cells that only the old model predicted",
}
Pictures = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


class CompareWindow(QDialog):
    """A non-modal window for one comparison.

    Parameters
    ----------
    state : AppState
    comparison : Comparison
    classes : ClassTable
        Of the data.
    data : Path
        Where the images are.
    parent : QWidget
    """

    def __init__(
        self, state: AppState, comparison: Comparison, classes: ClassTable, data: Path, parent: QWidget | None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"{comparison.old_name} and {comparison.new_name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1080, 720)
        self._comparison, self._classes, self._data = comparison, classes, data
        self.job = Job(state, "drawing a comparison")
        self.job.end_with(self, show_error)
        self.job.finished.connect(self._show_pictures)
        self.summary = QLabel(_summary(comparison))
        self.summary.setWordWrap(True)
        self.table = self._make_table()
        self.images = QListWidget()
        self.images.setAccessibleName("Images")
        self.images.addItems([_image_line(image) for image in comparison.images])
        self.images.currentRowChanged.connect(self._on_image)
        self.note = QLabel(_legend())
        self.note.setWordWrap(True)
        self.job.failed.connect(self._on_failed)
        self.views, pictures = self._make_views()
        lower = QSplitter(Qt.Orientation.Horizontal)
        lower.addWidget(self.images)
        lower.addWidget(pictures)
        lower.setStretchFactor(1, 1)
        lower.setSizes([210, 850])
        column = QVBoxLayout(self)
        column.addWidget(self.summary)
        column.addWidget(self.table)
        column.addWidget(self.note)
        column.addWidget(lower, 1)
        self.images.setCurrentRow(0)

    def _make_table(self) -> QTableWidget:
        rows = [(c.name, c.cells, c.old, c.new, c.gained, c.lost) for c in self._comparison.classes]
        total = sum(c.cells for c in self._comparison.classes)
        compared = self._comparison
        rows.append(("all", total, compared.old, compared.new, compared.gained, compared.lost))
        table = QTableWidget(len(rows), len(_COLUMNS))
        table.setHorizontalHeaderLabels(list(_COLUMNS))
        for column, name in enumerate(_COLUMNS):
            table.horizontalHeaderItem(column).setToolTip(_TIPS.get(name, ""))
        table.verticalHeader().hide()
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        for row, (name, cells, old, new, gained, lost) in enumerate(rows):
            texts = [name, f"{cells:,}", *_scores(old, new), _signed(gained), _signed(-lost)]
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                table.setItem(row, column, item)
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        table.resizeRowsToContents()
        height = header.sizeHint().height() + sum(table.rowHeight(row) for row in range(len(rows))) + 6
        table.setFixedHeight(min(height, 260))
        return table

    def _make_views(self) -> tuple[tuple[Any, Any], QWidget]:
        """Make two views that pan and zoom together."""
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        views = []
        for name in (f"Old: {self._comparison.old_name}", f"New: {self._comparison.new_name}"):
            widget = pyqtgraph.GraphicsLayoutWidget()
            widget.setBackground("#000000")
            view = widget.addViewBox(lockAspect=True, invertY=True, enableMenu=False)
            view.item = pyqtgraph.ImageItem(axisOrder="row-major")
            view.addItem(view.item)
            title = QLabel(f"<b>{html.escape(name)}</b>")
            column = QVBoxLayout()
            column.addWidget(title)
            column.addWidget(widget, 1)
            row.addLayout(column, 1)
            views.append(view)
        views[1].setXLink(views[0])
        views[1].setYLink(views[0])
        return (views[0], views[1]), holder

    def _on_image(self, row: int) -> None:
        if row >= 0:
            image, classes, data = self._comparison.images[row], self._classes, self._data
            self.job.start(lambda: compared_pictures(data, image, classes))

    def _show_pictures(self, pictures: Pictures) -> None:
        for view, picture in zip(self.views, pictures, strict=True):
            view.item.setImage(picture, levels=(0, 255))
        self.views[0].autoRange(padding=0)

    def _on_failed(self, error: CellSegError) -> None:
        self.note.setText(f"Failed: {error}")

    def closeEvent(self, event: Any) -> None:  # noqa: D102
        self.job.stop()
        super().closeEvent(event)


def compared_pictures(data: Path, image: ImageComparison, classes: ClassTable) -> Generator[None, None, Pictures]:
    """Draw the predictions of the old and of the new model, (H, W, 3) uint8 each; runs in a job's thread.

    Raises
    ------
    CellSegError
        The image is missing or damaged.
    """
    samples = {sample.image_id: sample for sample in find_samples(data).samples}
    yield None
    if image.image_id not in samples:
        raise AnnotationError(f"{data} no longer has an image {image.image_id!r}.")
    sample = samples[image.image_id]
    rgb, _ = in_region(read_image(sample.image).rgb(), (), sample.region, sample.image)
    top, left = ((have - need) // 2 for have, need in zip(rgb.shape[:2], image.truth.image_size, strict=True))
    rgb = rgb[top : top + image.truth.image_size[0], left : left + image.truth.image_size[1]]
    if rgb.shape[:2] != image.truth.image_size:
        raise AnnotationError(f"The region of interest of {image.image_id} was changed. Compare the models again.")
    yield None
    both = []
    for found, only, other, false in (
        (image.old, image.lost, image.gained, image.old_false),
        (image.new, image.gained, image.lost, image.new_false),
    ):
        picture = rgb.copy()
        _fill(picture, image.truth.select(only), GAINED if found is image.new else LOST)
        _rims(picture, found, classes, set(false.tolist()))
        _rims(picture, image.truth.select(other), None, set())
        both.append(picture)
        yield None
    return both[0], both[1]


def _fill(picture: npt.NDArray[np.uint8], cells: InstanceMasks, colour: tuple[int, int, int]) -> None:
    for (x0, y0, x1, y1), mask in zip(cells.boxes.tolist(), cells.masks, strict=True):
        part = picture[y0:y1, x0:x1]
        part[mask] = (part[mask] * (1 - _FILL) + np.multiply(colour, _FILL)).astype(np.uint8)


def _rims(picture: npt.NDArray[np.uint8], cells: InstanceMasks, classes: ClassTable | None, false: set[int]) -> None:
    """Outline cells in the colours of their classes, false positives in white, and missed cells in black."""
    for i, ((x0, y0, x1, y1), mask) in enumerate(zip(cells.boxes.tolist(), cells.masks, strict=True)):
        inner = ndimage.binary_erosion(np.pad(mask, 1))[1:-1, 1:-1]
        colour = np.zeros(3) if classes is None else np.multiply(classes.rgb(int(cells.class_ids[i])), 255)
        picture[y0:y1, x0:x1][mask & ~inner] = FALSE if i in false else np.rint(colour).astype(np.uint8)


def _summary(comparison: Comparison) -> str:
    images = len(comparison.images)
    return (
        f"On {images} validation {'image' if images == 1 else 'images'}, {comparison.new_name} predicted "
        f"{comparison.gained:,} cells that {comparison.old_name} missed, and missed {comparison.lost:,} that it had "
        f"predicted (same class, IoU above 0.5, each model at its own score thresholds). {_basis(comparison)}"
    )


def _basis(comparison: Comparison) -> str:
    """Say what the figures rest on, and how the classes of the two models are matched."""
    cells = sum(scores.cells for scores in comparison.classes)
    few = f" {counted(cells, 'ground-truth cell')} are too few to rely on." if cells < FEW_CELLS else ""
    how = "by number, because one of them has no class names" if comparison.by_number else "by name"
    pairing = f"The new model and the data: {comparison.pairing} " if comparison.pairing else ""
    return f"Classes of the models are matched {how}. {pairing}F1 compares centroids, AP50 and PQ compare masks.{few}"


def _legend() -> str:
    gained, lost = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (GAINED, LOST))
    return (
        f'<span style="color: {gained};">&#9632;</span> gained &nbsp; <span style="color: {lost};">&#9632;</span> lost'
        " &nbsp; outlines: predictions, in the colours of the classes; white: no cell of that class is there; "
        "black: predicted by the other model only"
    )


def _image_line(image: ImageComparison) -> str:
    return f"{image.image_id}   {_signed(len(image.gained))}  {_signed(-len(image.lost))}"


def _scores(old: ModelScores | None, new: ModelScores) -> list[str]:
    texts = []
    for name in ("ap50", "pq", "f1"):
        texts += ["unknown" if old is None else _number(getattr(old, name)), _number(getattr(new, name))]
    return texts


def _signed(count: int) -> str:
    return f"{count:+,}" if count else "0"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
