"""The line above the canvas, with real clicks and keys: it works whatever dock is in front, and in a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QToolBar
from review_window import Window, focus, make_session, open_window, pump, wait_until
from shares import some_by_default

from napari_cellseg.events import TileDone
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.review.work_bar import WorkLine
from napari_cellseg.gui.widgets.workflow import front_dock, show_dock
from napari_cellseg.review import ReviewSession

pytestmark = pytest.mark.gui


@pytest.fixture
def line(window: Window) -> WorkLine:
    found = plugin_of(window.viewer).work_bar.line
    assert found is not None
    return found


@pytest.fixture
def session(window: Window) -> ReviewSession:
    made = window.open()
    pump(0.2)
    return made


@pytest.fixture
def folder(window: Window, project_folder: Path) -> Iterator[Path]:
    window.state.set_current(None, None, None)  # else a question about the edits of the test before
    window.review.opener.open_path(project_folder)
    wait_until(lambda: window.state.image_id is not None and not window.state.loading)
    window.layers.finish()
    yield project_folder
    window.review.opener.close()
    window.state.set_workspace(None, ())


def click(widget: Any) -> None:
    assert widget.isVisible()
    QTest.mouseClick(widget, Qt.LeftButton)
    pump(0.15)


def type_key(window: Window, key: Any, modifier: Any = Qt.NoModifier) -> None:
    focus(window, window.canvas)
    QTest.keyClick(window.canvas, key, modifier)
    pump(0.15)


def settle(line: WorkLine, window: Window) -> None:
    window.review.queue.finish()
    pump(0.15)
    line.refresh()


def test_it_counts_decisions_and_undo_takes_them_back(window: Window, session: ReviewSession, line: WorkLine) -> None:
    assert line.counts.text() == "reviewed 0/20"
    assert not line.buttons["undo"].isEnabled()
    assert line.buttons["undo"].toolTip().startswith("There is nothing to undo.")
    type_key(window, Qt.Key_N)
    type_key(window, Qt.Key_A)
    wait_until(lambda: line.counts.text() == "reviewed 1/20")
    assert line.progress.value() == session.progress.reviewed == 1
    assert line.saved.text().startswith("not saved")
    click(line.buttons["undo"])
    wait_until(lambda: line.counts.text() == "reviewed 0/20")
    assert session.progress.reviewed == 0


@pytest.mark.usefixtures("session")
def test_hide_works_while_its_button_is_held(window: Window, line: WorkLine) -> None:
    QTest.mousePress(line.buttons["hide"], Qt.LeftButton)
    assert window.review.showing.is_held
    QTest.mouseRelease(line.buttons["hide"], Qt.LeftButton)
    assert not window.review.showing.is_held


def test_the_canvas_keeps_the_keys_after_a_click_in_the_bar(
    window: Window, session: ReviewSession, line: WorkLine
) -> None:
    type_key(window, Qt.Key_N)
    type_key(window, Qt.Key_A)
    click(line.buttons["undo"])
    for key in (Qt.Key_N, Qt.Key_A):  # as the window system gives it: to what has the focus
        QTest.keyClick(QApplication.focusWidget() or window.state.window, key)
        pump(0.1)
    assert session.progress.reviewed == 1


@pytest.mark.usefixtures("folder")
def test_its_arrows_open_the_next_and_the_previous_image(window: Window, line: WorkLine) -> None:
    wait_until(lambda: line.image.text() == "image 1/3" and line.buttons["next_image"].isEnabled())
    assert line.buttons["previous_image"].toolTip() == "This is the first image."
    click(line.buttons["next_image"])
    wait_until(lambda: line.image.text() == "image 2/3")
    wait_until(lambda: line.image.toolTip() == window.state.images[1].image_id)  # "Opening..." until it is read
    wait_until(line.buttons["previous_image"].isEnabled)
    click(line.buttons["previous_image"])
    wait_until(lambda: line.image.text() == "image 1/3")


@pytest.mark.usefixtures("folder")
def test_at_the_end_of_the_queue_enter_opens_the_next_image(window: Window, line: WorkLine) -> None:
    session = make_session(2, 2)
    files, workspace = window.state.images, window.state.workspace
    window.open(session)
    window.state.file = files[0]  # the cells of the test, in the folder
    settle(line, window)
    assert workspace is not None
    assert not line.next_image.isVisible()
    session.accept(tuple(session.cells))
    settle(line, window)
    wait_until(line.next_image.isVisible)
    assert line.next_image.text() == "Next image: Enter"
    type_key(window, Qt.Key_B)
    wait_until(lambda: not line.next_image.isVisible())  # Enter is not the key of it while a tool draws
    type_key(window, Qt.Key_V)
    wait_until(line.next_image.isVisible)
    type_key(window, Qt.Key_Return)
    wait_until(lambda: window.state.file == files[1] and not window.state.loading)


@pytest.mark.usefixtures("session")
def test_segment_shows_the_tile_and_stop_ends_it(window: Window, line: WorkLine) -> None:
    job = plugin_of(window.viewer).segmentation.job

    def tiles() -> Any:
        yield TileDone(image=1, images=1, tile=7, tiles=16, cells=3)
        while True:
            yield None

    job.start(tiles)
    wait_until(lambda: line.running.isVisible() and line.running.text() == "tile 7/16")
    assert not line.buttons["segment"].isVisible()
    click(line.stop_button)
    wait_until(lambda: not job.is_busy)
    wait_until(line.buttons["segment"].isVisible)
    assert not line.stop_button.isVisible()


@pytest.mark.usefixtures("session")
def test_segment_asks_for_a_run_and_says_why_it_cannot(window: Window, line: WorkLine, tmp_path: Path) -> None:
    asked: list[bool] = []
    model = window.state.model
    try:
        window.state.set_model(None)
        wait_until(lambda: not line.buttons["segment"].isEnabled())
        assert line.buttons["segment"].toolTip() == "Choose a model in Segment first."
        window.state.set_model(tmp_path / "model.pt")
        window.state.segment_requested.connect(lambda: asked.append(True))
        wait_until(line.buttons["segment"].isEnabled)
        click(line.buttons["segment"])
        assert asked == [True]
    finally:
        window.state.set_model(model)


@pytest.mark.usefixtures("folder")
def test_words_go_before_the_bar_is_cut_and_the_window_gets_no_wider(window: Window, line: WorkLine) -> None:
    main = window.state.window
    try:
        wide = main.minimumSizeHint().width()
        line.setFixedWidth(900)
        pump(0.1)
        assert line.image.text() == "image 1/3"
        assert line.progress.isVisible()
        line.setFixedWidth(600)
        pump(0.1)
        assert line.image.text() == "1/3"
        assert not line.counts.text().startswith("reviewed")
        shown = [made for made in (*list(line.buttons.values())[2:], line.counts, line.image) if made.isVisible()]
        for part in shown:
            assert part.width() >= part.sizeHint().width()
            assert part.mapTo(line, QPoint(part.width(), 0)).x() <= 600
        assert line.minimumSizeHint().width() <= 24
        assert wide < line.sizeHint().width()  # the window may be narrower than all the words
    finally:
        line.setMinimumWidth(0)
        line.setMaximumWidth(16777215)


def test_closing_the_plugin_removes_it() -> None:
    with open_window() as opened:
        main = opened.state.window
        assert [bar.windowTitle() for bar in main.findChildren(QToolBar) if isinstance(bar, QToolBar)] == ["Work bar"]
        plugin_of(opened.viewer).close()
        pump(0.05)
        QApplication.sendPostedEvents(None, 52)  # deferred deletion
        assert main.findChildren(QToolBar) == []


def test_a_viewer_without_a_window_has_none(plugin: Any) -> None:
    assert plugin.work_bar.line is None


OTHER_TAB = ("Open", "Train", "Train")


@pytest.mark.parametrize(
    ("start", "meanwhile", "end"),
    some_by_default(
        [("Open", None, "Review"), ("Segment", None, "Review"), ("Open", "Segment", "Review"), OTHER_TAB],
        ("Segment", None, "Review"),
        OTHER_TAB,
    ),
)
@pytest.mark.usefixtures("session")
def test_review_comes_to_the_front_after_segment_unless_another_tab_was_chosen(
    window: Window, monkeypatch: Any, start: str, meanwhile: str | None, end: str
) -> None:
    segment: Any = show_dock(window.viewer, "Segment")
    assert segment.model.header is not None, "the bundled model is always there"
    monkeypatch.setattr(segment.segmentation, "start", lambda *_: None)  # the engine has its own tests
    show_dock(window.viewer, start)
    pump(0.1)
    type_key(window, Qt.Key_S)
    if meanwhile is not None:
        show_dock(window.viewer, meanwhile)
        pump(0.1)
    segment.segmentation.done.emit(20, 1.0)
    pump(0.1)
    front = front_dock(window.state.window)
    assert front is not None
    assert front.windowTitle().endswith(end)
