"""The *Gallery* dock: the cells of a class side by side, so that a wrong one strikes the eye."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QItemSelectionModel, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QLayout,
    QListView,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cellseg.export.overlay import outlined
from napari_cellseg.formats.cell_decisions import CellDecisions
from napari_cellseg.gui.canvas.colours import to_rgb
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.thumbnails import CROSS_PX, THUMBNAIL_PX, Thumbnails
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.review.gallery_model import CELL_MIME, GalleryModel, GallerySort
from napari_cellseg.gui.review.keys import add_dock_keys
from napari_cellseg.gui.review.rows import button, colour_icon
from napari_cellseg.gui.slides.cell_crops import CellCrops
from napari_cellseg.gui.slides.cell_list import SlideList
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.bottom_dock import BottomDock
from napari_cellseg.gui.widgets.class_key import class_key
from napari_cellseg.gui.widgets.dock import explain, small_label
from napari_cellseg.gui.widgets.elided import ElidedButton, ElidedComboBox, ElidedLabel
from napari_cellseg.review import Cell, CellFilter, Change, ChangeKind, Status

__all__ = ["GalleryDock"]


class GalleryDock(BottomDock):
    """Pages of thumbnails: click one to select it, its cross to reject it, drag it onto a class to reclassify it."""

    def __init__(self, state: AppState, layers: ClassLayers, review: ReviewActions, slides: SlideView) -> None:
        super().__init__(state)
        self.layers, self.review = layers, review
        self.of_slide, self._crops = SlideList(state, slides, review.slide, self), CellCrops(state, self)
        review.queue.begin()
        add_dock_keys(self, review)
        self._listed_place: tuple[Any, ...] = ()
        self.model = GalleryModel(self)
        self._targets: list[ClassTarget] = []
        self._is_linking = False
        self._only: frozenset[int] | None = None
        self._build()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.arrange)
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.timeout.connect(self._turn_to_selected)
        self.state.current_changed.connect(self._on_current)
        self.state.classes_changed.connect(self._show_classes)
        self.state.selection_changed.connect(self._on_selection)
        self.layers.session_changed.connect(self._on_change)
        self.review.queue.changed.connect(self._on_queue)
        self.of_slide.changed.connect(self._on_listed)
        self._crops.came.connect(self.model.look_again)
        review.slide.changed.connect(self._on_selection)
        self._on_current()

    def _build(self) -> None:
        self.class_choice, self._sort = ElidedComboBox(), ElidedComboBox()
        self.class_choice.setAccessibleName("Class")
        self._sort.setAccessibleName("Order of the cells")
        for sort in GallerySort:
            self._sort.addItem(sort.value, sort)
        for box in (self.class_choice, self._sort):
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            box.activated.connect(self.arrange)
        self._back = button("<", lambda: self._turn(-1), "Page before")
        self._forward = button(">", lambda: self._turn(1), "Next page")
        self._back.setAccessibleName("Page before")
        self._forward.setAccessibleName("Next page")
        for made in (self._back, self._forward):
            made.setFixedWidth(28)
        self._page = ElidedLabel()
        self._bar = QHBoxLayout()
        self._bar.setSpacing(6)
        for widget in (self.class_choice, self._sort, self._back, self._page, self._forward):
            self._bar.addWidget(widget)
        self._bar.addStretch(1)
        self._hint = QLabel("Drag onto:")
        self._hint.setToolTip(f"Drag cells onto a class, or select some and press {class_key(1)}...")
        self._bar.addWidget(self._hint)
        self.view = QListView()
        self.view.setAccessibleName("Cells")
        self.view.setModel(self.model)
        self.view.setViewMode(QListView.ViewMode.IconMode)
        self.view.setResizeMode(QListView.ResizeMode.Adjust)
        self.view.setUniformItemSizes(True)
        self.view.setIconSize(QSize(THUMBNAIL_PX, THUMBNAIL_PX))
        self.view.setGridSize(QSize(THUMBNAIL_PX + 10, THUMBNAIL_PX + 24))
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.view.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        self.view.setMovement(QListView.Movement.Static)
        self.view.setDragEnabled(True)  # after setMovement, which turns it off
        self.view.viewport().installEventFilter(self)
        self.view.selectionModel().selectionChanged.connect(self._on_picked)
        self.on_slide = small_label()
        layout = QVBoxLayout(self)
        layout.setSizeConstraint(QLayout.SizeConstraint.SetNoConstraint)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(4)
        layout.addLayout(self._bar)
        layout.addWidget(self._add_only())
        layout.addWidget(self.on_slide)
        layout.addWidget(self.view, 1)

    def _add_only(self) -> QWidget:
        """Make the row above the cells that are shown while others are not."""
        self.only_row, self._only_text = QWidget(), ElidedLabel()
        self.reject_only = button("Reject all", self._reject_only)
        self._show_all = button("Show all cells", lambda: self.show_only(None), "Show the cells of all kinds again")
        row = QHBoxLayout(self.only_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._only_text, 1)
        for made in (self.reject_only, self._show_all):
            made.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
            row.addWidget(made)
        self.only_row.hide()
        return self.only_row

    # ---- what is shown ----

    def show_only(self, cell_ids: Collection[int] | None, title: str = "") -> None:
        """Show only some cells, under a title, with a button that rejects them; None shows all again."""
        self._only = None if cell_ids is None else frozenset(cell_ids)
        self.only_row.setVisible(self._only is not None)
        self._only_text.setText(title)
        if self._only is not None:
            self.class_choice.setCurrentIndex(0)
        self.arrange()

    def _left(self) -> tuple[int, ...]:
        """Return the ids of the shown cells that are still proposed."""
        session = self.state.session
        if session is None or self._only is None:
            return ()
        return tuple(i for i in session.find(CellFilter(statuses=(Status.PROPOSED,))) if i in self._only)

    def _reject_only(self) -> None:
        self.review.bulk.reject_all(self._left())

    def _show_left(self) -> None:
        left = len(self._left())
        self.reject_only.setText(f"Reject all {left:,}" if left > 1 else f"Reject {left}")
        decided = None if left else "All of these cells are decided."
        explain(self.reject_only, decided, "Reject those not decided yet; one undo takes all of them back")

    def arrange(self) -> None:
        """Collect and sort the cells again, from the first page."""
        self._later.stop()
        self.model.arrange(self.class_choice.currentData(), self._sort.currentData(), self._doubt, self._only)
        self._show_page()

    def _doubt(self, cell: Cell) -> float:
        item = self.review.queue.item(cell.cell_id)
        return 1 - cell.score if item is None else item.doubt

    def _turn(self, by: int) -> None:
        self.model.turn_to(self.model.page + by)
        self._show_page()

    def _show_page(self) -> None:
        page, pages = self.model.page + 1, self.model.pages
        self._page.setText(f"page {page} of {pages}, {self.model.count:,} cells")
        explain(self._back, None if page > 1 else "This is the first page.", "Page before")
        explain(self._forward, None if page < pages else "This is the last page.", "Next page")
        self._show_left()
        self._on_selection()

    def _on_current(self) -> None:
        self._only = None
        self.only_row.hide()
        self.on_slide.hide()
        modes = QAbstractItemView.SelectionMode  # on a slide a key decides about one cell
        self.view.setSelectionMode(modes.ExtendedSelection if self.state.slide is None else modes.SingleSelection)
        self._crops.forget()
        image = self.state.image
        self.model.open(self.state.session, None if image is None else Thumbnails(partial(outlined, image.rgb())))
        self._show_classes()

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        self.of_slide.refresh()

    def _on_listed(self) -> None:
        """Show other cells of the slide, or the same after a decision: then the page stays."""
        if self.state.slide is None:
            return
        self.on_slide.setText(self.of_slide.text)
        self.on_slide.setVisible(bool(self.of_slide.text))
        page = self.model.page if self.of_slide.place == self._listed_place else 0
        self._listed_place, self._crops.factor = self.of_slide.place, self.of_slide.factor
        self.model.open(self.of_slide.shown, Thumbnails(self._crops.of))
        self.arrange()
        self.model.turn_to(page)
        self._show_page()

    def _show_classes(self) -> None:
        session = self.state.session
        classes = self.state.classes if session is None else session.classes
        chosen = self.class_choice.currentData()
        self.class_choice.clear()
        self.class_choice.addItem("all classes", None)
        for target in self._targets:
            self._bar.removeWidget(target)
            target.deleteLater()
        self._targets = []
        for class_id, name, colour in classes:
            self.class_choice.addItem(colour_icon(colour), name, class_id)
            self._targets.append(ClassTarget(class_id, name, colour, 120 if len(classes) < 6 else 60, self._reclassify))
            self._bar.addWidget(self._targets[-1])
        self.class_choice.setCurrentIndex(chosen if chosen is not None and chosen <= len(classes) else 0)
        self.arrange()

    def _reclassify(self, class_id: int, cell_ids: Sequence[int] = ()) -> None:
        if self.state.slide is None:
            self.review.reclassify(class_id, *([cell_ids] if cell_ids else []))
        elif cell_ids or self.review.slide.selected is not None:
            self.review.slide.give_class(class_id, cell_ids)

    def _on_change(self, change: Change) -> None:
        if change.kind is ChangeKind.VIEW or not self.model.look_again(change.cell_ids):
            self._later.start(200)
        self._show_left()

    def _on_queue(self) -> None:
        if self._sort.currentData() is GallerySort.AMBIGUITY and self.review.queue.is_ready:
            self._later.start(200)

    # ---- linked selection ----

    def _on_selection(self) -> None:
        if self._is_linking:
            return
        flags = QItemSelectionModel.SelectionFlag
        picked = self.view.selectionModel()
        of_slide = self.review.slide.selected
        selected = self.state.selection if of_slide is None else (of_slide.id,)
        rows = [row for row in map(self.model.row_of, selected) if row is not None]
        self._is_linking = True
        picked.clear()
        for row in rows:
            picked.select(self.model.index(row), flags.Select)
        if rows:
            picked.setCurrentIndex(self.model.index(rows[0]), flags.NoUpdate)
            self.view.scrollTo(self.model.index(rows[0]))
        elif selected and self.isVisible():
            self._follow.start(150)  # not for each of many cells quickly gone through
        self._is_linking = False
        chosen = len(selected)
        for target in self._targets:
            target.explain(None if chosen else "Select a cell first, or drag one here.")

    def _turn_to_selected(self) -> None:
        """Show the page that the selected cell is on."""
        of_slide = self.review.slide.selected
        selected = self.state.selection if of_slide is None else (of_slide.id,)
        page = self.model.page_of(selected[0]) if selected else None
        if page is not None and page != self.model.page:
            self.model.turn_to(page)
            self._show_page()

    def _on_picked(self) -> None:
        if self._is_linking:
            return
        ids = [self.model.cell_id(index) for index in self.view.selectionModel().selectedIndexes()]
        self._is_linking = True
        if self.state.slide is not None:
            if ids:
                self.of_slide.go_to(ids[-1])
        elif len(ids) == 1:
            self.review.show_cell(ids[0])
        else:
            self.state.select(ids)
        self._is_linking = False

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.MouseButtonPress and event.button() == Qt.MouseButton.LeftButton:
            index = self.view.indexAt(event.pos())
            if index.isValid() and self._is_on_cross(index, event.pos()):
                self.toggle_rejected(self.model.cell_id(index))
                return True
        return bool(super().eventFilter(watched, event))

    def _is_on_cross(self, index: Any, position: Any) -> bool:
        cell = self.view.visualRect(index)
        right = cell.center().x() + THUMBNAIL_PX // 2
        return bool(right - CROSS_PX <= position.x() <= right + 2 and position.y() <= cell.top() + CROSS_PX + 6)

    def toggle_rejected(self, cell_id: int) -> None:
        """Reject a cell, or take its rejection back; one of a slide is no longer listed then."""
        if self.state.slide is not None:
            self.review.slide.decide([cell_id], CellDecisions.reject)
            return
        session = self.state.session
        if session is not None and cell_id in session.cells:
            cell = session.cells[cell_id]
            before = Status.GIVEN if cell.label_value else Status.PROPOSED
            session.set_status((cell_id,), before if cell.status is Status.REJECTED else Status.REJECTED)


class ClassTarget(ElidedButton):
    """A class that cells can be dropped on; a click gives it to the selected ones."""

    def __init__(self, class_id: int, name: str, colour: str, width: int, reclassify: Callable[..., None]) -> None:
        super().__init__()
        self._class_id, self._reclassify = class_id, reclassify
        self._tip = f"{name}: {class_key(class_id)}" if class_key(class_id) else name
        self.setText(f"{class_id} {name}".replace("&", "&&"))
        self.setMaximumWidth(width + 40)
        self.setIcon(colour_icon(colour))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAcceptDrops(True)
        red, green, blue = (round(255 * part) for part in to_rgb(colour))
        self.setStyleSheet(
            f"ClassTarget {{ border: 1px solid rgb({red}, {green}, {blue}); padding: 3px 6px; }}"
            f"ClassTarget[over=true] {{ background-color: rgba({red}, {green}, {blue}, 120); }}"
        )
        self.clicked.connect(lambda: reclassify(class_id))

    def explain(self, why_not: str | None) -> None:
        """Say what a click would do; it stays enabled, since cells can be dropped at any time."""
        self.setToolTip(f"{self._tip}. {why_not}" if why_not else self._tip)

    def dragEnterEvent(self, event: Any) -> None:
        if event.mimeData().hasFormat(CELL_MIME):
            event.acceptProposedAction()
            self._mark(over=True)

    def dragLeaveEvent(self, event: Any) -> None:  # noqa: ARG002
        self._mark(over=False)

    def dropEvent(self, event: Any) -> None:
        self._mark(over=False)
        ids = bytes(event.mimeData().data(CELL_MIME)).decode()
        event.acceptProposedAction()
        self._reclassify(self._class_id, [int(i) for i in ids.split(",")])

    def _mark(self, *, over: bool) -> None:
        self.setProperty("over", over)
        self.style().unpolish(self)
        self.style().polish(self)
