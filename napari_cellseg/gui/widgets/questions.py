"""The only questions that block the window: what to do with edits that are not saved, and what ends when it closes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum

from qtpy.QtWidgets import QMessageBox, QWidget

from napari_cellseg.workspace import Recovery

__all__ = ["Answer", "ask_about_recovery", "ask_about_unsaved", "ask_to_close", "ask_to_drop", "ask_to_write"]


class Answer(Enum):
    """The user's choice."""

    SAVE = "save"
    DISCARD = "discard"
    CANCEL = "cancel"


def ask_about_unsaved(parent: QWidget | None, edits: str, reason: str) -> Answer:
    """Ask what to do with edits that cannot be saved: keep them elsewhere (SAVE), drop them, or stay."""
    return _ask(
        parent,
        f"{edits} cannot be saved",
        f"{reason} Save elsewhere keeps them in your data folder, and offers them when the image is opened again.",
        ("Save elsewhere", "Discard"),
    )


def ask_to_drop(parent: QWidget | None, image: str) -> bool:
    """Ask whether to leave an edited image that has no folder to be saved in."""
    box = _box(parent, f"Leave {image} without saving?", "The image has no folder, so its edits cannot be saved.")
    leave = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stay)
    box.setEscapeButton(stay)
    box.exec()
    return box.clickedButton() is leave


def ask_to_close(parent: QWidget | None, what: Sequence[str]) -> bool:
    """Ask whether to close the viewer; ``what`` that ends, a sentence each."""
    box = _box(parent, "Close the viewer?", "\n".join(what))
    close = box.addButton("Close", QMessageBox.ButtonRole.AcceptRole)
    stay = box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stay)
    box.setEscapeButton(stay)
    box.exec()
    return box.clickedButton() is close


def ask_about_recovery(parent: QWidget | None, recovery: Recovery) -> Answer:
    """Ask whether edits of a viewer that ended without saving shall come back (SAVE) or be set aside (DISCARD)."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(recovery.last_at))
    edits = "1 edit" if recovery.edits == 1 else f"{recovery.edits} edits"
    return _ask(
        parent,
        f"Bring back {edits} of {recovery.image_id}?",
        f"They were made and not saved. The last one, on {when} by {recovery.user}: {recovery.last_text}.",
        ("Bring back", "Set aside"),
    )


def ask_to_write(parent: QWidget | None, image_ids: Sequence[str], undecided: int = 0) -> Answer:
    """Ask whether corrected cells shall replace ``class*.tif`` before a training that reads these.

    ``undecided`` of the cells are proposed and were neither accepted nor edited.
    """
    cells = "1 of them is a proposal" if undecided == 1 else f"{undecided:,} of them are proposals"
    proposals = f" {cells} that await review." if undecided else ""
    which = image_ids[0] if len(image_ids) == 1 else f"{len(image_ids)} images"
    return _ask(
        parent,
        f"Train on the corrections of {which}?",
        "Training reads class*.tif, and the cells as Review shows them are not in there yet. Write and train puts them "
        f"in; the old files are kept as .bak.{proposals}",
        ("Write and train", "Train without them"),
    )


def _ask(parent: QWidget | None, question: str, explanation: str, buttons: tuple[str, str]) -> Answer:
    box = _box(parent, question, explanation)
    yes = box.addButton(buttons[0], QMessageBox.ButtonRole.AcceptRole)
    no = box.addButton(buttons[1], QMessageBox.ButtonRole.DestructiveRole)
    cancel = box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(yes)
    box.setEscapeButton(cancel)
    box.exec()
    chosen = box.clickedButton()
    return Answer.SAVE if chosen is yes else Answer.DISCARD if chosen is no else Answer.CANCEL


def _box(parent: QWidget | None, question: str, explanation: str) -> QMessageBox:
    box = QMessageBox(QMessageBox.Icon.Question, "napari-cellseg", question, parent=parent)
    box.setInformativeText(explanation)
    return box
