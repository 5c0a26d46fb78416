"""Drawing the region of interest with real keys and the real mouse; it is shown, saved, undone and removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cellseg.review import About, ReviewSession
from napari_cellseg.review.region import placed_region
from napari_cellseg.workspace.annotations import read_header
from tests.real_mouse import Mouse
from tests.review_window import SIZE, Window, pump, wait_until

pytestmark = pytest.mark.gui


@pytest.fixture
def session(window: Window) -> Iterator[ReviewSession]:
    yield window.open_focused()
    window.review.region.stop()


@pytest.fixture
def mouse(window: Window) -> Mouse:
    return Mouse(window)


def outlines(window: Window) -> list[Any]:
    return [layer for layer in window.viewer.layers if layer.visible and layer.name == "region of interest"]


def box_of(session: ReviewSession) -> tuple[int, int, int, int]:
    placed = placed_region(session.about.region, session.image_size)
    assert placed is not None
    return placed[0]


def test_a_box_is_dragged_shown_undone_and_removed_by_a_click(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    dock = window.dock("Review")
    window.viewer.reset_view()
    QTest.keyClick(window.canvas, Qt.Key_G)
    dock.refresh()
    assert dock.buttons["region"].isChecked()
    assert dock._hint.text().startswith("Drag a box around the region of interest")
    mouse.drag([(30, 40), (60, 90), (119, 149)])
    assert not window.review.region.is_drawing
    x0, y0, x1, y1 = box_of(session)
    assert abs(x0 - 40) <= 2
    assert abs(y0 - 30) <= 2
    assert abs(x1 - 150) <= 2
    assert abs(y1 - 120) <= 2
    assert "Training and evaluation use only this part; " in window.viewer.status
    assert len(outlines(window)) == 1
    assert window.state.selection == (), "the drag selects nothing"
    assert session.steps[0] == ("region of interest",)
    window.press("Control-Z")
    assert not session.about
    assert not outlines(window)
    window.press("Control-Shift-Z")
    assert len(outlines(window)) == 1
    QTest.keyClick(window.canvas, Qt.Key_G)
    mouse.click(80, 80)
    assert session.undo_text == "remove the region of interest"
    assert not outlines(window)
    mouse.click(140, 180)
    assert window.state.selection == (20,), "clicks select again"


def test_ctrl_draws_a_polygon_and_escape_keeps_the_region(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    QTest.keyClick(window.canvas, Qt.Key_G)
    mouse.drag([(10, 10), (10, 150), (80, 150), (140, 10)], Qt.ControlModifier)
    region = session.about.region
    placed = placed_region(region, SIZE)
    assert placed is not None
    assert not placed[1].all()
    QTest.keyClick(window.canvas, Qt.Key_G)
    wait_until(lambda: window.review.region.is_drawing)
    pump(0.05)
    QTest.keyClick(window.canvas, Qt.Key_Escape)
    assert not window.review.region.is_drawing
    assert session.about.region == region
    QTest.keyClick(window.canvas, Qt.Key_G)
    mouse.drag([(10, 10), (14, 20), (15, 22)])
    assert "or more" in window.viewer.status
    assert session.about.region == region, "too small"


def test_the_region_is_saved_immediately_and_comes_with_its_image(
    window: Window, project_folder: Path, mouse: Mouse
) -> None:
    window.state.set_current(None, None, None)
    window.review.opener.open_path(project_folder)
    wait_until(lambda: window.state.image_id is not None and not window.state.loading)
    window.layers.finish()
    session, image_id = window.state.session, window.state.image_id
    window.canvas.setFocus()
    QTest.keyClick(window.canvas, Qt.Key_G)
    mouse.drag([(20, 20), (50, 50), (70, 80)])
    assert session.about.region
    path = project_folder / ".cellseg" / "annotations" / f"{image_id}.jsonl"
    wait_until(lambda: path.exists() and read_header(path).about == About(region=session.about.region))
    window.review.opener.step(1)
    wait_until(lambda: window.state.image_id != image_id and not window.state.loading)
    window.layers.finish()
    assert not outlines(window)
    window.review.opener.step(-1)
    wait_until(lambda: window.state.image_id == image_id and not window.state.loading)
    window.layers.finish()
    wait_until(lambda: len(outlines(window)) == 1)
    window.review.opener.close()
    window.state.set_workspace(None, ())
    assert not outlines(window)
