"""The first session: a hint for the next step, which can be closed for good, and a folder dragged into the window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from napari import settings as napari_settings
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from review_window import Window, make_session, pump, wait_until

from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.preferences import Preferences, change_preference, preferences

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The settings as napari keeps them, in a file of their own."""
    napari_settings._clear_plugin_settings_cache()
    yield napari_settings.get_plugin_settings("napari-cellseg", path_dir=tmp_path_factory.mktemp("config"))
    napari_settings._clear_plugin_settings_cache()


def hint(window: Window) -> str:
    """Return what the canvas says; empty if the line is hidden."""
    line = plugin_of(window.viewer).hints.line
    assert line is not None
    return line.label.text() if line.isVisible() else ""


def test_each_state_of_a_first_session_has_its_hint(window: Window) -> None:
    wait_until(lambda: hint(window) == "Open a folder, drag it in, or try the sample.")
    window.open(make_session(0, 0))
    wait_until(lambda: hint(window) == "Press S to segment the cells.")
    session = window.open()
    wait_until(lambda: hint(window) == "A accepts, R rejects, 1..9 set the class.")
    window.press("N")
    window.press("A")
    pump(0.2)
    assert hint(window).startswith("A accepts"), "one decision may be an accident"
    while session.progress.reviewed < 3:
        window.press("N")
        window.press("A")
    wait_until(lambda: hint(window) == "")
    window.open()
    pump(0.2)
    assert hint(window) == "", "the user knows the keys"


def test_the_hint_lies_within_the_canvas_and_leaves_the_mouse_to_it_elsewhere(window: Window) -> None:
    window.open(make_session(0, 0))
    wait_until(lambda: hint(window))
    line: Any = plugin_of(window.viewer).hints.line
    assert line.parentWidget() is window.canvas
    for text in (hint(window), "A hint that is longer than the canvas of a small window is wide. " * 3):
        line.show_text(text)
        for width in (700, 1300):
            window.viewer.window.resize(width, 900)
            pump(0.1)
            assert window.canvas.rect().contains(line.geometry())
            assert line.label.height() >= line.label.heightForWidth(line.label.width())
            assert line.rect().contains(line.label.geometry())
            assert line.rect().contains(line.close_button.geometry())
    if folder := os.environ.get("CELLSEG_SHOTS"):
        window.viewer.window._qt_window.grab().save(f"{folder}/hint.png")
    assert window.canvas.childAt(QPoint(window.canvas.width() // 2, 200)) is not line


def test_closed_hints_do_not_return_until_preferences_bring_them_back(window: Window, settings: Any) -> None:
    window.open(make_session(0, 0))
    wait_until(lambda: hint(window))
    line: Any = plugin_of(window.viewer).hints.line
    QTest.mouseClick(line.close_button, Qt.MouseButton.LeftButton)
    assert hint(window) == ""
    assert settings.general.hints is False
    window.open(make_session(0, 0))
    pump(0.3)
    assert hint(window) == ""
    settings.general.hints = True
    wait_until(lambda: hint(window) == "Press S to segment the cells.")


def test_where_napari_has_no_plugin_settings_closed_hints_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari.settings.get_plugin_settings", lambda _: {}["missing"])
    assert preferences() == Preferences()
    change_preference("hints", False)
    assert preferences() == Preferences(hints=False)


# ---- drag and drop ----


def drop(widget: QWidget, *paths: Path, modifiers: Any = Qt.KeyboardModifier.NoModifier) -> None:
    """Drag files into the middle of a widget, as the window system tells Qt."""
    QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, modifiers)  # Qt keeps the keys held at the last event
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    place, buttons = widget.rect().center(), Qt.MouseButton.LeftButton
    entered = QDragEnterEvent(place, Qt.DropAction.CopyAction, data, buttons, modifiers)
    QApplication.sendEvent(widget, entered)
    assert entered.isAccepted()
    dropped = QDropEvent(QPointF(place), Qt.DropAction.CopyAction, data, buttons, modifiers, QEvent.Type.Drop)
    QApplication.sendEvent(widget, dropped)


def test_a_folder_that_is_dropped_on_the_welcome_or_an_image_is_opened(window: Window, project_folder: Path) -> None:
    window.dock("Open")
    view = window.viewer.window._qt_viewer
    plugin, state = plugin_of(window.viewer), window.state
    for target in (view._welcome_widget, view):
        drop(target, project_folder)
        wait_until(lambda: state.session is not None and not plugin.opener.job.is_busy)
        assert state.workspace.project.path == project_folder
        assert len(state.images) == 3
        names = {layer.name for layer in window.viewer.layers} - {"tissue"}  # of the tests before
        assert names == {state.image_id, *state.classes.names}, "no layer of all files"
        window.canvas.setFocus()


def test_a_file_and_a_folder_that_is_an_image_are_left_to_napari(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.dock("Open")
    view = window.viewer.window._qt_viewer
    (tmp_path / "cells.ome.zarr").mkdir()
    (tmp_path / "a.tif").touch()
    got: list[list[str]] = []
    monkeypatch.setattr(view, "_qt_open", lambda names, **_: got.append(names))
    for name in ("cells.ome.zarr", "a.tif"):
        drop(view, tmp_path / name)
    assert got == [[str(tmp_path / "cells.ome.zarr")], [str(tmp_path / "a.tif")]]
