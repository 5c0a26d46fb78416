"""The *Review* dock: the queue of doubtful cells, decisions about them, and one undo for everything."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QItemSelectionModel, Qt, QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
)

from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.opening.save_watch import SaveWatch, show_status
from napari_cellseg.gui.review.action import Place, ReviewAction, Where
from napari_cellseg.gui.review.action_table import REVIEW_ACTIONS, action, key_of, perform
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.review.keys import add_dock_keys
from napari_cellseg.gui.review.needs import any_step
from napari_cellseg.gui.review.queue_model import QueueModel
from napari_cellseg.gui.review.queue_rows import QueueList
from napari_cellseg.gui.review.queue_text import agreement_text, end_text, has_flags
from napari_cellseg.gui.review.rows import (
    ClassButtons,
    ContentChoice,
    FilterRow,
    ShowRow,
    button,
    colour_icon,
    give_keys_to_canvas,
)
from napari_cellseg.gui.review.step_menu import StepList
from napari_cellseg.gui.review.trial_box import TrialBox
from napari_cellseg.gui.slides.words import ON_SLIDES, ONLY_IN_MEMORY
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import Dock, KeyGuard, PrimaryButton, explain, small_label
from napari_cellseg.gui.widgets.elided import ElidedComboBox, ElidedLabel
from napari_cellseg.review import CellFilter, ReviewSession
from napari_cellseg.review.learning import LIKE_REJECTED
from napari_cellseg.review.queue import QueueContent, QueueOrder
from napari_cellseg.wording import counted
from napari_cellseg.workspace import SaveKind

__all__ = ["ReviewDock"]

_LISTED = 300
"""Items of the queue that the list shows; the rest is of less need, and comes up as these are decided."""
_ORDER_TIP = "What comes first; the last choice is learned from your decisions in this folder"
_CLASS_TIP = "Cells of this class, or of all"
_ALIKE = "Like rejected"
_OF_CANVAS = (Place.DECISION, Place.QUEUE, Place.TOOL, Place.SHAPE, Place.HISTORY, Place.SHOW)
"""The rows of buttons whose action is seen on the canvas."""
_UPDATE_MS = 80
"""The dock is updated after the canvas, so that the canvas responds to a key press immediately."""


class ReviewDock(Dock):
    """Accept, reject and correct the cells of the current image, the most doubtful first."""

    def __init__(
        self, state: AppState, layers: ClassLayers, opener: Opener, saving: SaveWatch, review: ReviewActions
    ) -> None:
        super().__init__(state)
        self.layers, self.opener, self._saving, self._do = layers, opener, saving, review
        self.buttons: dict[str, QPushButton] = {}
        self._add_queue()
        self._add_decisions()
        self._add_filter()
        self._add_undo()
        self._add_show()
        add_dock_keys(self, self._do)
        add_dock_keys(self, self._do, Where.REVIEW)
        add_dock_keys(self.queue_list, self._do, Where.END)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)
        for signal in (
            self._do.changed, self._do.queue.learned, self.state.selection_changed, self.state.training_changed,
            self.state.trial_changed, self.layers.ready,
        ):  # fmt: skip
            signal.connect(self._refresh_later)
        for signal in (self.state.current_changed, self.state.classes_changed):
            signal.connect(self._on_classes)
        self.state.second_reader_changed.connect(self._on_second_reader)
        self.state.disputes_requested.connect(self._on_disputes)
        self._do.tools.changed.connect(self._show_pressed)
        self._do.showing.changed.connect(self._show_pressed)
        saving.changed.connect(self._show_saved)
        self._on_classes()
        self._do.queue.begin()

    # ---- what is in it ----

    def _add_queue(self) -> None:
        self.column.setSpacing(5)  # the queue needs the height
        self.counts = QLabel()
        self.saved = ElidedLabel()
        self._save = button("Save", self._on_save)
        self._keys = self._button(action("keys"))
        self._keys.setFixedWidth(28)
        made = (self._save, *self._buttons_of(Place.TRAIN), self._keys)
        self.column.addLayout(_row(self.counts, self.saved, *made, stretch=1))
        self.trial = TrialBox(self.state, self._buttons_of(Place.TRIAL))
        self.column.addWidget(self.trial)
        self._order = ElidedComboBox()
        for order in QueueOrder:
            self._order.addItem(order.value, order)
        self._order.setAccessibleName("Order of the queue")
        self._order.setToolTip(_ORDER_TIP)
        self._class = ElidedComboBox()
        self._class.setAccessibleName("Class of the cells in the queue")
        self._class.setToolTip(_CLASS_TIP)
        self._content = ContentChoice()
        self._content.offer(disputed=self.state.second_reader is not None)
        for box in (self._order, self._class, self._content):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            box.activated.connect(self._on_queue_choice)
        row = _row(self._order, self._class, self._content)
        for place, stretch in enumerate(
            (6, 3, 7)
        ):  # "what you change" and "disputed cells" need more than most classes
            row.setStretch(place, stretch)
        self.column.addLayout(row)
        self._agreement = small_label()
        self._dispute_buttons = self._buttons_of(Place.DISPUTE)
        self.column.addLayout(_row(self._agreement, *self._dispute_buttons, stretch=0))
        self.queue_model = QueueModel(self)
        self.queue_list = QueueList(self.queue_model)
        self.queue_list.setAccessibleName("Queue")
        self.queue_list.clicked.connect(lambda index: self._do.go_to(self.queue_model.item(index.row())))
        self.column.addWidget(self.queue_list, 1)
        self._hint = small_label()
        self.column.addWidget(self._hint)

    def _add_decisions(self) -> None:
        decisions = self._buttons_of(Place.DECISION)
        for made in decisions:
            made.setMinimumHeight(34)
        self.column.addLayout(_row(*decisions))
        self.alike = button(_ALIKE, self._on_alike)
        self.column.addLayout(_row(*self._buttons_of(Place.QUEUE), self.alike))
        self._note = ElidedLabel()
        row = _row(self._note, *self._buttons_of(Place.NOTE))
        for place, stretch in enumerate((4, 2, 2, 2)):  # a pressed button is bold, and wider
            row.setStretch(place, stretch)
        self.column.addLayout(row)
        self._classes = ClassButtons()
        self._classes.chosen.connect(self._do.give_class)
        self._classes.chosen.connect(lambda _: give_keys_to_canvas(self.state, self._classes))
        self.column.addWidget(self._classes)
        tools = self._buttons_of(Place.TOOL)
        for buttons in (tools[:4], tools[4:], self._buttons_of(Place.SHAPE)):
            row = _row(*buttons)
            row.setSpacing(1)  # four and five buttons in a dock of 300 px
            self.column.addLayout(row)

    def _buttons_of(self, place: Place) -> list[QPushButton]:
        """Make the buttons of a row, in the order of the table."""
        return [self._button(row) for row in REVIEW_ACTIONS if row.place is place]

    def _button(self, row: ReviewAction) -> QPushButton:
        """Make the button of an action; a button that is held works while it is down."""
        do = self._do
        made = button(row.label, lambda: None, make=PrimaryButton if row.is_primary else QPushButton)
        made.setAccessibleName(row.spoken)
        made.setCheckable(row.is_on is not None)
        if row.release is None:
            made.clicked.connect(lambda: perform(row, do))
        else:
            made.pressed.connect(partial(perform, row, do))
            made.released.connect(partial(row.release, do))
        if row.place is Place.TRAIN:
            KeyGuard(made)
        elif row.place in _OF_CANVAS:
            made.clicked.connect(lambda: give_keys_to_canvas(self.state, made))
        made.clicked.connect(lambda: self._show_pressed())  # Qt toggles a checkable button, whatever the tool is
        self.buttons[row.id] = made
        return made

    def _add_filter(self) -> None:
        do = self._do
        self.filter_row = FilterRow(
            lambda: do.bulk.reject_all(self._filtered()),
            lambda: do.bulk.accept_all(self._filtered()),
            lambda: self.state.select(self._filtered()),
        )
        self.filter_row.changed.connect(self._refresh_later)
        self.column.addWidget(self.filter_row)

    def _add_undo(self) -> None:
        self._undo_text = ElidedLabel()
        self._steps = button("Steps", lambda: self.step_list.open_above(self._steps))
        self.step_list = StepList(self._do, self)
        self.column.addLayout(_row(self._undo_text, *self._buttons_of(Place.HISTORY), self._steps, stretch=0))

    def _add_show(self) -> None:
        self._show = ShowRow()
        self._show.show_choice(self.layers.colour_mode, contour=self.layers.contour > 0)
        for shown in (self.layers, self._do.slide.cells):
            self._show.mode_chosen.connect(lambda mode, shown=shown: setattr(shown, "colour_mode", mode))
            self._show.contour_chosen.connect(lambda on, shown=shown: setattr(shown, "contour", int(on)))
        self.column.addWidget(self._show)
        self._gallery = button("Gallery", lambda: self._open("Gallery"), "Images of the cells of a class")
        self._table = button("Table", lambda: self._open("Table"), "All cells with their measurements")
        self.column.addLayout(_row(*self._buttons_of(Place.SHOW), self._gallery, self._table))

    # ---- up to date ----

    def refresh(self) -> None:
        """Show the state as it is now."""
        self._later.stop()
        session = self.state.session
        self._show_progress(session)
        self._show_queue(session)
        self._show_buttons(session)
        self._show_pressed()
        self._show_saved()

    def _refresh_later(self) -> None:
        if not self._later.isActive():
            self._later.start(_UPDATE_MS)

    def _on_classes(self) -> None:
        session = self.state.session
        classes = self.state.classes if session is None else session.classes
        chosen = self._class.currentData()
        self._class.clear()
        self._class.addItem("all", None)
        for class_id, name, colour in classes:
            self._class.addItem(colour_icon(colour), name, class_id)
        self._class.setCurrentIndex(chosen if chosen is not None and chosen <= len(classes) else 0)
        self._on_queue_choice()
        self._classes.show_classes(classes)
        self.refresh()

    def _on_second_reader(self) -> None:
        self._content.offer(disputed=self.state.second_reader is not None)
        if self._content.currentData() is not self._do.queue.content:
            self._on_queue_choice()
        self._refresh_later()

    def _on_disputes(self) -> None:
        """Show the queue of disputed cells, in an image that has some."""
        place = self._content.findData(QueueContent.DISPUTED)
        if place >= 0:
            self._content.setCurrentIndex(place)
            self._class.setCurrentIndex(0)
            self._on_queue_choice()
            self._do.adjudicating.begin(self.opener)
            self.refresh()

    def _on_queue_choice(self) -> None:
        self._do.queue.choose(self._class.currentData(), self._order.currentData(), self._content.currentData())
        self.queue_list.setFocus()

    def _show_progress(self, session: ReviewSession | None) -> None:
        if session is None:
            self.counts.setText(self._do.slide.counts_text if self._do.slide.is_open else "No image")
            self.counts.setToolTip(self._do.slide.counts_tip if self._do.slide.is_open else "")
            return
        progress = session.progress
        shown = f"{progress.reviewed:,} / {progress.total:,}"
        self.counts.setText(f"{progress.given:,} given, {shown}" if progress.given else shown)
        reviewed = f"{progress.reviewed:,} of {counted(progress.total, 'cell')} reviewed\n"
        given = f"{counted(progress.given, 'label')} of the class*.tif, not reviewed here\n" if progress.given else ""
        images = len(self.state.images)
        of_folder = f"{self.opener.summaries.reviewed_images:,} of {images:,} images reviewed" if images > 1 else ""
        self.counts.setToolTip(f"{self.state.image_id}\n{reviewed}{given}{of_folder}".strip())

    def _show_queue(self, session: ReviewSession | None) -> None:
        queue = self._do.queue
        is_chosen = queue.content is not QueueContent.PROPOSED
        can_choose = is_chosen or self.state.second_reader is not None
        has_choice = session is not None and (session.progress.given > 0 or can_choose or has_flags(session))
        self._content.setVisible(has_choice)
        self._agreement.setText(agreement_text(self._do.truth, queue))
        self._agreement.setVisible(bool(self._agreement.text()))
        on_slide = ONLY_IN_MEMORY if self._do.slide.is_open else None
        for box, tip in ((self._order, _ORDER_TIP), (self._class, _CLASS_TIP), (self.filter_row, "")):
            explain(box, on_slide, tip)
        for made in self._dispute_buttons:
            made.setVisible(queue.disputes is not None)
        items = queue.items(_LISTED)
        self.queue_model.show(items, self.state.classes if session is None else session.classes)
        here = self.state.selection[0] if self.state.selection else self._do.missed
        row = None if here is None else self.queue_model.row_of(here)
        if row is None:
            self.queue_list.selectionModel().clear()
        else:
            flags = QItemSelectionModel.SelectionFlag
            index = self.queue_model.index(row, 0)
            self.queue_list.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self._hint.setText(self._hint_text(session, bool(items)))
        self._hint.setVisible(bool(self._hint.text()))

    def _hint_text(self, session: ReviewSession | None, waiting: bool) -> str:
        queue = self._do.queue
        if self._do.slide.is_open:
            return self._do.region.hint or self._do.slide.why_not() or ON_SLIDES
        if session is None:
            return "Open an image first; then run a model in Segment, or draw cells in the class layers."
        if hint := self._do.cutting.hint or self._do.region.hint or self._do.new_cell.hint:
            return hint
        if queue.content.is_disputed and queue.second.problem:
            return queue.second.problem
        if queue.content.is_disputed and queue.second.reader is None:
            return "Reading the cells of the other reader..."
        if not queue.is_ready:
            done, of = queue.assessed or (0, 1)
            return f"Checking for doubtful cells: {100 * done // max(of, 1)} %"
        if not session.cells:
            draw = f"choose a class layer, press {key_of('draw_new')}, and paint."
            return f"No cells yet: run a model in Segment, or draw: {draw}"
        if queue.content.is_disputed and self._do.missed is not None:
            return self._do.adjudicating.hint(self._do.missed)
        if waiting:
            return queue.learner.text if queue.order is QueueOrder.LEARNED else ""
        left = session.count(statuses=queue.content.statuses)
        if queue.content.is_disputed:
            return end_text(self.state, queue) or "No disputed cell is left of this class."
        if queue.content.is_flagged:
            return "No cell of this class has a note or flag." if has_flags(session) else end_text(self.state, queue)
        return end_text(self.state, queue) or f"Nothing is left of this class; {counted(left, 'other cell')} to decide."

    def _show_buttons(self, session: ReviewSession | None) -> None:
        for action_id, made in self.buttons.items():
            row = action(action_id)
            explain(made, row.needs(self._do), row.tooltip(self._do))
        self._classes.explain(action("class_1").needs(self._do))
        self._show_alike()
        notes = self._do.notes
        about = f"{notes.target}: {notes.text}" if notes.text else "No note"
        self._note.setText(about[:1].upper() + about[1:] if session is not None else "")
        self._note.setToolTip(f"{self._note.text()}\n{notes.target}")
        explain(self._steps, any_step(self._do), "The last steps in words; click one to go back to it, or to redo it")
        undo = session.undo_text if session is not None else self._do.slide.undo_text
        self._undo_text.setText(self._do.steps.undone_text or (f"Last: {undo}" if undo else ""))
        self.filter_row.show_count(len(self._filtered()) if session is not None and self.filter_row.is_set else 0)

    def _show_alike(self) -> None:
        learner, found = self._do.queue.learner, len(self._do.queue.rejected_alike)
        self.alike.setText(f"{found:,} {_ALIKE.lower()}" if found else _ALIKE)
        limit = f"{100 * LIKE_REJECTED:.0f} %"
        none = None if found else f"No proposed cell is {limit} or more likely to be rejected."
        tip = f"Show {found:,} more like the ones you rejected in the Gallery: {limit} or more likely to be rejected"
        explain(self.alike, learner.why_no_rejections or none, tip)

    def _on_alike(self) -> None:
        found = self._do.queue.rejected_alike
        self._open("Gallery").show_only(found, f"{len(found):,} more like the ones you rejected")

    def _show_pressed(self) -> None:
        """Show which tool is chosen, and whether outlines are."""
        for action_id, made in self.buttons.items():
            is_on = action(action_id).is_on
            if is_on is not None:
                made.setChecked(is_on(self._do))
        self._show.show_choice(self.layers.colour_mode, contour=self.layers.contour > 0)

    def _filtered(self) -> tuple[int, ...]:
        queue = self._do.queue
        wanted: CellFilter = self.filter_row.wanted(queue.class_id, queue.content)
        return self._do.bulk.find(wanted)

    # ---- saving ----

    def _on_save(self) -> None:
        self.opener.save()
        self._saving.look()

    def _show_saved(self) -> None:
        status = self._saving.status
        show_status(self.saved, status, is_brief=True)
        if self.state.slide is not None:
            explain(self._save, "Each decision about a slide is saved immediately.")
            return
        is_open = self.state.workspace is not None and self.state.image_id is not None
        can = is_open and status.kind in (SaveKind.UNSAVED, SaveKind.PROBLEM)
        why_not = status.tip if is_open else "Open an image of a folder first."
        explain(self._save, None if can else why_not, "Save the annotations of this image")

    def _open(self, name: str) -> Any:
        dock, widget = self.state.viewer.window.add_plugin_dock_widget("napari-cellseg", name)
        dock.show()
        dock.raise_()
        return widget


def _row(*widgets: Any, stretch: int | None = None) -> QHBoxLayout:
    """Put widgets in a row; the one at ``stretch`` gets the free space."""
    row = QHBoxLayout()
    row.setSpacing(4)
    for i, widget in enumerate(widgets):
        row.addWidget(widget, int(i == stretch))
    return row
