"""*Compare with a reader* in Export, with real clicks: figures, files, and the disagreements in the Gallery."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog
from review_window import Window, pump, wait_until
from two_readers import two_projects

from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.workflow import show_dock

pytestmark = pytest.mark.gui


def test_two_readers_are_compared_and_their_disagreements_shown(
    window: Window, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = two_projects(tmp_path)
    opener = plugin_of(window.viewer).opener
    row: Any = window.dock("Export").agreement
    assert row.button.toolTip() == "Open a folder of images first."
    opener.open_path(mine)
    wait_until(lambda: window.state.session is not None and not opener.job.is_busy)
    window.layers.finish()
    show_dock(window.viewer, "Export")
    window.docks["Export"].folder.setText(str(tmp_path / "out"))
    pump(0.2)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(other))
    QTest.mouseClick(row.button, Qt.LeftButton)
    wait_until(lambda: not row.job.is_busy and row.open_button.isVisible())
    text = row.row.message.text()
    assert text.startswith("ana and ben: kappa 0.")
    assert "they differ on 4 of 6 cells of 1 image" in text
    assert (tmp_path / "out/agreement.csv").is_file()
    assert (tmp_path / "out/agreement.html").is_file()

    QTest.mouseClick(row.cells_button, Qt.LeftButton)
    pump(0.3)
    gallery: Any = show_dock(window.viewer, "Gallery")
    assert gallery._only_text.text() == "3 cells on which the readers differ"  # the fourth is ben's alone
    if folder := os.environ.get("CELLSEG_SHOTS"):
        window.viewer.window._qt_window.grab().save(f"{folder}/agreement.png")
    opener.close()
    window.state.set_workspace(None, ())
