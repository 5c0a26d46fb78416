"""*Open > Import annotations...*: the preview, what it writes, and dropping files on the dock."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from import_writers import Written, coco, image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_cellseg.gui import docks

CELLS = [Written(3, 4, 5, 1), Written(20, 21, 6, 1), Written(40, 20, 4, 2), Written(30, 30, 4, 2, "box")]


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(docks.Open)
    dock.show()
    qtbot.waitExposed(dock)
    return dock


@pytest.fixture
def source(tmp_path: Path) -> Path:
    coco(tmp_path / "set", CELLS)
    return tmp_path / "set" / "instances.json"


def preview(qtbot, dock, path: Path) -> None:
    dock.importing.start(path)
    qtbot.waitUntil(lambda: not dock.importing.job.is_busy, timeout=60_000)


def opened(qtbot, dock) -> None:
    qtbot.waitUntil(lambda: not dock.opener.job.is_busy and dock.state.session is not None, timeout=60_000)


def test_the_result_is_shown_before_anything_is_written(qtbot, dock, source: Path) -> None:
    preview(qtbot, dock, source)
    panel = dock.importing
    assert panel.isVisible()
    assert not dock.welcome.isVisible()
    assert not dock.folder_button.isVisible()
    assert panel.headline.text() == (
        "COCO data set: kept 3 cells of 2 classes in 1 image; left out 1 because it is a box without a mask."
    )
    assert "left out: instances.json, row 4 (a.tif): it is a box without a mask" in panel.details.toPlainText()
    assert sorted(file.name for file in source.parent.iterdir()) == ["a.tif", "instances.json"]
    assert not panel.folder.exists()


def test_import_writes_the_folder_and_opens_it(qtbot, dock, source: Path) -> None:
    preview(qtbot, dock, source)
    folder = dock.importing.folder
    QTest.mouseClick(dock.importing.button, Qt.MouseButton.LeftButton)
    opened(qtbot, dock)
    assert folder == source.parent / "instances imported"
    assert len(dock.state.session.cells) == 3
    assert dock.state.classes.names == ("tumour", "lymphocyte")
    assert not dock.importing.isVisible()
    assert sorted(file.name for file in (folder / "a").iterdir()) == ["class1.tif", "class2.tif", "image.tif"]


def test_cancel_writes_nothing_and_shows_the_welcome_again(qtbot, dock, source: Path) -> None:
    preview(qtbot, dock, source)
    QTest.mouseClick(dock.importing.cancel, Qt.MouseButton.LeftButton)
    assert not dock.importing.isVisible()
    assert dock.welcome.isVisible()
    assert dock.folder_button.isVisible()
    assert not (source.parent / "instances imported").exists()


def test_what_is_no_annotation_says_so_and_cannot_be_imported(qtbot, dock, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": 1}))
    preview(qtbot, dock, path)
    assert "has no annotations of a known format" in dock.importing.headline.text()
    assert not dock.importing.button.isEnabled()
    assert dock.importing.button.toolTip() == "There is nothing to import."


def test_a_dropped_file_is_previewed_and_a_dropped_folder_of_images_is_opened(
    qtbot, dock, source: Path, tmp_path
) -> None:
    drop(dock, source)
    qtbot.waitUntil(lambda: dock.importing.result is not None, timeout=60_000)
    assert dock.importing.result.kept == 3
    QTest.mouseClick(dock.importing.cancel, Qt.MouseButton.LeftButton)
    image(tmp_path / "images", "x.tif")
    drop(dock, tmp_path / "images")
    opened(qtbot, dock)
    assert dock.state.image_id == "x"


def test_the_menu_asks_for_a_file(qtbot, dock, source: Path, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(source), ""))
    dock.import_button.menu().actions()[0].trigger()
    qtbot.waitUntil(lambda: dock.importing.result is not None, timeout=60_000)
    assert dock.importing.title.text() == "<b>Import</b> instances.json"


def test_binary_masks_can_be_split(qtbot, dock, tmp_path: Path) -> None:
    image(tmp_path / "set")
    mask = np.zeros((48, 64), np.uint8)
    mask[2:10, 2:10] = mask[20:28, 20:28] = 255
    tifffile.imwrite(tmp_path / "set" / "a_mask.tif", mask)
    preview(qtbot, dock, tmp_path / "set")
    assert dock.importing.result.kept == 1
    QTest.mouseClick(dock.importing.split, Qt.MouseButton.LeftButton, pos=QPoint(8, dock.importing.split.height() // 2))
    qtbot.waitUntil(lambda: dock.importing.result is not None and dock.importing.result.kept == 2, timeout=60_000)


def test_opening_a_file_tells_what_was_left_out(qtbot, dock, source: Path) -> None:
    notification_manager.records.clear()
    dock.opener.open_path(source)
    opened(qtbot, dock)
    texts = [str(record.message) for record in notification_manager.records]
    assert any("1 annotation left out: it is a box without a mask." in text for text in texts)


def drop(dock, path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    place, buttons, keys = QPoint(20, 20), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(place, Qt.DropAction.CopyAction, data, buttons, keys)
    QApplication.sendEvent(dock, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(dock, QDropEvent(QPointF(place), Qt.DropAction.CopyAction, data, buttons, keys))
