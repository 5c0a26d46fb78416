"""`REVIEW_ACTIONS`: the actions of a review. Buttons, keys, the list behind F1 and docs/keys.md are made from it.

A new command is a method of `review.commands.Author`, or of `ReviewActions`, and one row here.
"""

from __future__ import annotations

from functools import partial

from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.gui.review import needs
from napari_cellseg.gui.review.action import Place, ReviewAction, Where
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.review.dispute_actions import DISPUTE_ACTIONS
from napari_cellseg.gui.review.note_actions import NOTE_ACTIONS
from napari_cellseg.gui.review.slide_rows import with_slides
from napari_cellseg.gui.widgets.class_key import CLASSES_WITH_KEY, class_key
from napari_cellseg.gui.widgets.notify import show_warning
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.review import Author

__all__ = ["MOUSE", "REVIEW_ACTIONS", "action", "key_of", "perform"]


def action(action_id: str) -> ReviewAction:
    """Return a row of the table."""
    return next(row for row in REVIEW_ACTIONS if row.id == action_id)


def key_of(action_id: str) -> str:
    """Return the first key of an action, to be named in a text."""
    return action(action_id).keys[0]


def perform(row: ReviewAction, do: ReviewActions) -> None:
    """Do an action, or say why it cannot work."""
    why_not = row.needs(do)
    often = (Place.BAR, Place.QUEUE, Place.HISTORY, Place.TRIAL, Place.DISPUTE)
    is_repeated = row.place in often or row.where is Where.END
    if why_not is None:
        row.run(do)
    elif (
        is_repeated or do.slide.is_open or why_not == needs.edits(do)
    ):  # a notification for each key press would be too much
        do.say(why_not)
    else:
        show_warning(why_not)


def _train(do: ReviewActions) -> None:
    state = do.opener.state
    show_dock(state.viewer, "Train")  # which hears the request
    state.training_requested.emit(5.0)


def _class_action(class_id: int) -> ReviewAction:
    return ReviewAction(
        id=f"class_{class_id}",
        text=f"Class {class_id}",
        tip=f"Give the selected cells class {class_id}, or accept them if they have it",
        keys=(class_key(class_id),),
        needs=partial(needs.a_class, class_id),
        run=lambda do: do.give_class(class_id),
        now=partial(needs.class_now, class_id),
    )


def _tool_action(tool: Tool, text: str, key: str, tip: str) -> ReviewAction:
    may_always = tool in (Tool.POINT, Tool.BOX, Tool.LASSO)
    return ReviewAction(
        id=tool.name.lower(),
        text=text,
        tip=tip,
        keys=(key,),
        place=Place.TOOL,
        needs=needs.an_image if may_always else needs.edits,
        run=lambda do: do.use_tool(tool),
        is_on=lambda do: do.tools.tool is tool and not (tool is Tool.BRUSH and do.draws_new),
    )


_ACTIONS: tuple[ReviewAction, ...] = (
    ReviewAction(
        id="accept",
        text="Accept",
        tip="Mark the selected cells as correct, and go to the next cell",
        keys=("A",),
        place=Place.DECISION,
        needs=needs.a_cell_or_a_missed_one,
        run=ReviewActions.accept,
        now=needs.accept_now,
        is_primary=True,
    ),
    ReviewAction(
        id="reject",
        text="Reject",
        tip="Mark the selected cells as wrong, hide them, and go to the next cell",
        keys=("R",),
        place=Place.DECISION,
        needs=needs.a_cell_or_a_disputed_one,
        run=ReviewActions.reject,
        now=needs.reject_now,
    ),
    ReviewAction(
        id="accept_in_view",
        text="All in view",
        tip="Accept all cells in view that await a decision; one undo takes back all of them",
        keys=("Shift+A",),
        place=Place.DECISION,
        needs=needs.edits,
        run=lambda do: do.bulk.accept_in_view(),
    ),
    ReviewAction(
        id="next",
        text="Next",
        tip="Go to the next cell of the queue",
        keys=("N",),
        place=Place.QUEUE,
        needs=needs.a_queue,
        run=ReviewActions.next,
    ),
    ReviewAction(
        id="previous",
        text="Previous",
        tip="Go to the previous cell of the queue",
        keys=("Shift+N",),
        place=Place.QUEUE,
        needs=needs.a_queue,
        run=ReviewActions.previous,
    ),
    *DISPUTE_ACTIONS,
    *(_class_action(class_id) for class_id in range(1, CLASSES_WITH_KEY + 1)),
    ReviewAction(
        id="click_cell",
        text="Missed",
        tip="Click a cell that the model missed, or drag a box around it: it appears; A adds it, Esc drops it",
        keys=("C",),
        place=Place.TOOL,
        needs=needs.edits,
        run=lambda do: do.click_cells(),
        is_on=lambda do: do.tools.tool is Tool.CELL,
    ),
    ReviewAction(
        id="larger",
        text="Larger",
        tip="Make the new cell larger, as the wheel does",
        keys=("]",),
        where=Where.CLICKING,
        needs=needs.a_new_cell,
        run=lambda do: do.new_cell.resize(1),
    ),
    ReviewAction(
        id="smaller",
        text="Smaller",
        tip="Make the new cell smaller, as the wheel does",
        keys=("[",),
        where=Where.CLICKING,
        needs=needs.a_new_cell,
        run=lambda do: do.new_cell.resize(-1),
    ),
    ReviewAction(
        id="drop_new",
        text="Drop",
        tip="Drop the new cell; without one, stop clicking cells",
        keys=("Escape",),
        where=Where.CLICKING,
        needs=needs.nothing,
        run=lambda do: do.new_cell.escape(),
    ),
    ReviewAction(
        id="draw_new",
        text="New",
        tip="Draw a new cell with brush, fill or polygon; a class key chooses its class",
        keys=("M",),
        place=Place.TOOL,
        needs=needs.edits,
        run=ReviewActions.draw_new,
        is_on=lambda do: do.draws_new,
    ),
    _tool_action(Tool.BRUSH, "Brush", "B", "Paint on the selected cell, or a new cell if none is selected"),
    _tool_action(Tool.ERASER, "Eraser", "E", "Erase pixels of the cells of the active class"),
    _tool_action(Tool.FILL, "Fill", "F", "Fill the clicked hole with the selected cell, or with a new cell"),
    _tool_action(Tool.POLYGON, "Polygon", "P", "Draw a polygon by clicks; a double click or Enter completes it"),
    _tool_action(Tool.BOX, "Box", "X", "Select cells by dragging a box"),
    _tool_action(Tool.LASSO, "Lasso", "L", "Select cells by drawing around them"),
    _tool_action(Tool.POINT, "Pan", "V", "Drag to pan, click to select; every decision returns to this"),
    ReviewAction(
        id="merge",
        text="Merge",
        tip="Merge the selected cells into one; they must touch",
        keys=("Q",),
        place=Place.SHAPE,
        needs=needs.two_cells,
        run=ReviewActions.merge,
    ),
    ReviewAction(
        id="bridge",
        text="Merge and bridge",
        tip="Merge the selected cells into one, and fill the gap between them",
        keys=("Shift+Q",),
        needs=needs.two_cells,
        run=lambda do: do.reshape(partial(Author.merge, bridge=True), "These cells are one already."),
    ),
    ReviewAction(
        id="split",
        text="Split",
        tip="Split the selected cell by a drawn line, or by clicked seeds",
        keys=("K",),
        place=Place.SHAPE,
        needs=needs.one_cell,
        run=ReviewActions.split,
    ),
    ReviewAction(
        id="cut",
        text="Cut",
        tip="Cut at the clicked seeds",
        keys=("Enter",),
        where=Where.SPLITTING,
        needs=needs.nothing,
        run=lambda do: do.cutting.finish(),
    ),
    ReviewAction(
        id="give_up",
        text="Give up",
        tip="Give up splitting",
        keys=("Escape",),
        where=Where.SPLITTING,
        needs=needs.nothing,
        run=lambda do: do.cutting.stop(),
    ),
    ReviewAction(
        id="fill_holes",
        text="Holes",
        tip="Fill the holes of the selected cells",
        place=Place.SHAPE,
        needs=needs.a_cell,
        run=lambda do: do.reshape(Author.fill_holes, "There is no hole to fill."),
    ),
    ReviewAction(
        id="smooth",
        text="Smooth",
        tip="Round the outlines of the selected cells",
        place=Place.SHAPE,
        needs=needs.a_cell,
        run=lambda do: do.reshape(Author.smooth, "Smoothing changes nothing here."),
    ),
    ReviewAction(
        id="delete",
        text="Delete",
        tip="Delete the selected cells; unlike rejected cells, they may return with a new prediction",
        keys=("Delete",),
        place=Place.SHAPE,
        needs=needs.a_cell_to_delete,
        run=ReviewActions.delete,
    ),
    *NOTE_ACTIONS,
    ReviewAction(
        id="undo",
        text="Undo",
        tip="Undo the last command, whichever class it changed",
        keys=("Ctrl+Z",),
        place=Place.HISTORY,
        needs=needs.something_done,
        run=ReviewActions.undo,
        now=needs.undo_now,
    ),
    ReviewAction(
        id="redo",
        text="Redo",
        tip="Redo the last command that was undone",
        keys=("Ctrl+Shift+Z", "Ctrl+Y"),
        place=Place.HISTORY,
        needs=needs.something_undone,
        run=ReviewActions.redo,
        now=needs.redo_now,
    ),
    ReviewAction(
        id="hide",
        text="Hide",
        tip="Hide the masks while the key or the button is held; Tab hides them until it is pressed again",
        keys=("H",),
        place=Place.BAR,
        needs=needs.an_image,
        run=lambda do: do.showing.hide(),
        release=lambda do: do.showing.show(),
    ),
    ReviewAction(
        id="blink",
        text="Blink",
        tip="Hide the masks until the next Tab, or show them again; H hides them only while it is held",
        keys=("Tab",),
        where=Where.CANVAS,
        needs=needs.an_image,
        run=ReviewActions.toggle_masks,
    ),
    ReviewAction(
        id="outlines",
        text="Outlines",
        tip="Show outlines only, without a fill, or fill the cells again",
        keys=("O",),
        place=Place.SHOW,
        needs=needs.an_image,
        run=lambda do: do.showing.toggle_outlines(),
        is_on=lambda do: do.showing.outlines_only,
    ),
    ReviewAction(
        id="truth",
        text="Compare",
        tip="Show the cells of the model next to the image: matched (blue), false (red) and missed (yellow) cells",
        keys=("T",),
        place=Place.SHOW,
        needs=needs.an_answer,
        run=lambda do: do.truth.toggle(),
        is_on=lambda do: do.truth.is_shown,
    ),
    ReviewAction(
        id="train",
        text="Train 5 min",
        tip="Train the model on the annotated images of this folder: at most 5 min, then the validation",
        place=Place.TRAIN,
        needs=needs.corrections,
        run=_train,
    ),
    ReviewAction(
        id="keep_model",
        text="Keep",
        tip="Use the new model from now on; its answer replaces the cells that no one decided about, in one undo step",
        keys=("Y",),
        place=Place.TRIAL,
        needs=needs.trial,
        run=lambda do: do.opener.state.trial_decided.emit(True),
    ),
    ReviewAction(
        id="drop_model",
        text="Drop",
        tip="Stay with the former model; no file is deleted",
        keys=("D",),
        place=Place.TRIAL,
        needs=needs.trial,
        run=lambda do: do.opener.state.trial_decided.emit(False),
    ),
    ReviewAction(
        id="previous_image",
        text="<",
        tip="Open the previous image; edits are saved",
        keys=("PgUp",),
        where=Where.REVIEW,
        place=Place.BAR,
        needs=needs.an_image_before,
        run=lambda do: do.step_image(-1),
    ),
    ReviewAction(
        id="next_image",
        text=">",
        tip="Open the next image; edits are saved",
        keys=("PgDown",),
        where=Where.REVIEW,
        place=Place.BAR,
        needs=needs.an_image_after,
        run=lambda do: do.step_image(1),
    ),
    ReviewAction(
        id="next_from_end",
        text="Next image",
        tip="Open the next image",
        keys=("Enter",),
        where=Where.END,
        needs=needs.the_end,
        run=lambda do: do.adjudicating.step_from_end(do.opener),
    ),
    ReviewAction(
        id="segment",
        text="Segment",
        tip="Predict the cells of this image; what is accepted or edited stays",
        keys=("S",),
        needs=needs.a_model,
        run=ReviewActions.segment,
    ),
    ReviewAction(
        id="keys",
        text="?",
        tip="Show this list of keys",
        keys=("F1", "?"),
        needs=needs.nothing,
        run=lambda do: do.keys_requested.emit(),
    ),
)

REVIEW_ACTIONS = tuple(with_slides(row) for row in _ACTIONS)

MOUSE = (
    ("Click", "Select a cell"),
    ("Shift+Click", "Select one more cell, or deselect one"),
    ("Shift+Drag", "Select the cells in a box"),
    ("Ctrl+Drag", "Select the cells in a lasso"),
    ("Ctrl+Wheel", "Change the opacity of the masks, 5 % per notch; with a slider below the canvas, move that"),
)
"""The actions of the mouse on the canvas while no drawing tool is chosen."""
