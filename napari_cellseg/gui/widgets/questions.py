"""The only questions that block the window: whether to save or write, and what to do with edits never saved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum

from qtpy.QtWidgets import QMessageBox, QWidget

from napari_cellseg.workspace import Recovery

__all__ = ["Answer", "ask_about_recovery", "ask_to_save", "ask_to_write"]


class Answer(Enum):
    """What the user chose."""

    SAVE = "save"
    DISCARD = "discard"
    CANCEL = "cancel"


def ask_to_save(parent: QWidget | None, image_id: str) -> Answer:
    """Ask what to do with the edits of an image that is about to be closed."""
    return _ask(
        parent,
        f"Save the changes of {image_id}?",
        "Its cells were edited. Saving keeps them in the project; class*.tif files beside the image stay as they are.",
        ("Save", "Discard"),
    )


def ask_about_recovery(parent: QWidget | None, recovery: Recovery) -> Answer:
    """Ask whether edits of a viewer that ended without saving shall come back (SAVE) or be set aside (DISCARD)."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(recovery.last_at))
    edits = "1 edit" if recovery.edits == 1 else f"{recovery.edits} edits"
    return _ask(
        parent,
        f"Bring back {edits} of {recovery.image_id}?",
        f"The viewer ended before they were saved. The last one, on {when} by {recovery.user}: {recovery.last_text}.",
        ("Bring back", "Set aside"),
    )


def ask_to_write(parent: QWidget | None, image_ids: Sequence[str], undecided: int = 0) -> Answer:
    """Ask whether corrected cells shall replace ``class*.tif`` before a training that reads these.

    ``undecided`` of the cells are proposals that nobody accepted or edited.
    """
    cells = "1 of them is a proposal" if undecided == 1 else f"{undecided:,} of them are proposals"
    proposals = f" {cells} that nobody decided about." if undecided else ""
    which = image_ids[0] if len(image_ids) == 1 else f"{len(image_ids)} images"
    return _ask(
        parent,
        f"Train on the corrections of {which}?",
        "Training reads class*.tif, and the cells as Review shows them are not in there yet. Write and train puts them "
        f"in; the old files are kept as .bak.{proposals}",
        ("Write and train", "Train without them"),
    )


def _ask(parent: QWidget | None, question: str, explanation: str, buttons: tuple[str, str]) -> Answer:
    box = QMessageBox(QMessageBox.Icon.Question, "napari-cellseg", question, parent=parent)
    box.setInformativeText(explanation)
    yes = box.addButton(buttons[0], QMessageBox.ButtonRole.AcceptRole)
    no = box.addButton(buttons[1], QMessageBox.ButtonRole.DestructiveRole)
    cancel = box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(yes)
    box.setEscapeButton(cancel)
    box.exec()
    chosen = box.clickedButton()
    return Answer.SAVE if chosen is yes else Answer.DISCARD if chosen is no else Answer.CANCEL
