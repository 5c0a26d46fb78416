"""Keys, buttons, the list of F1 and docs/keys.md show the table of review actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtGui import QKeySequence

from napari_cellseg.gui import docks
from napari_cellseg.gui.review.action import Place, Where
from napari_cellseg.gui.review.action_table import REVIEW_ACTIONS, action, key_of
from napari_cellseg.gui.review.keys_page import keys_page


def test_no_name_stands_twice_and_no_key_has_two_meanings():
    names = [row.id for row in REVIEW_ACTIONS]
    assert len(set(names)) == len(names)
    passing = {Where.SPLITTING, Where.CLICKING, Where.REGION, Where.END}
    for moment in passing:  # never at the same time
        others = passing - {moment}
        keys = [key for row in REVIEW_ACTIONS if row.where not in others for key in row.keys]
        assert len(set(keys)) == len(keys)


def test_the_digits_set_classes_and_c_clicks_missed_cells():
    keys = {key: row.id for row in REVIEW_ACTIONS for key in row.keys}
    assert all(keys[str(class_id)] == f"class_{class_id}" for class_id in range(1, 10))
    assert keys["C"] == "click_cell"


@pytest.mark.parametrize("key", [key for row in REVIEW_ACTIONS for key in row.keys])
def test_every_key_is_one_that_qt_knows(key):
    assert QKeySequence(key).toString() in (key, key.replace("Delete", "Del").replace("Escape", "Esc"))


def test_a_label_shows_a_key_that_is_a_letter():
    assert action("accept").label == f"Accept {key_of('accept')}"
    assert action("previous").label == "Previous ⇧N"
    assert action("delete").label == "Delete"
    assert action("undo").label == "Undo"
    assert action("fill_holes").label == "Holes"
    assert action("fill").label == "Fill F"


def test_review_has_a_button_for_each_row_that_has_a_place(open_dock):
    dock = open_dock(docks.Review)
    dock.refresh()
    placed = {row.id for row in REVIEW_ACTIONS if row.place not in (Place.NONE, Place.BAR)} | {"keys"}
    assert set(dock.buttons) == placed
    for name, button in dock.buttons.items():
        assert button.text() == action(name).label
        assert button.isEnabled() == (name == "keys"), "the others need an image"
        assert button.toolTip()


@pytest.mark.gui
def test_cells_that_do_not_touch_are_merged_with_a_bridge(window, session):
    session.add(1, (33, 10, 40, 30), np.ones((20, 7), bool))  # 3 px from cell 1
    window.state.select((1, 21))
    window.press(key_of("merge"))
    assert 21 in session.cells
    assert "Merge and bridge" in notification_manager.records[-1].message
    window.press(key_of("bridge").replace("+", "-"))
    assert 21 not in session.cells
    assert window.state.selection == (1,)


def test_the_page_in_the_docs_is_made_from_the_table():
    page = Path(__file__).parents[1] / "docs" / "keys.md"
    assert page.read_text("utf-8") == keys_page(), "run: python -m napari_cellseg.gui.review.keys_page > docs/keys.md"
