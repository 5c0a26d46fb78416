"""napari's bin and our layers: they are locked; one that leaves all the same comes back, and the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_cellseg.classes import ClassTable
from napari_cellseg.images.read import Image, ImageFile
from napari_cellseg.review import ReviewSession
from tests.review_window import CLASSES, SIZE, Window, make_session, pump

REGION = ((10.0, 10.0), (100.0, 10.0), (100.0, 80.0), (10.0, 80.0))


def said() -> list[str]:
    return [record.message for record in notification_manager.records]


@pytest.mark.gui
def test_the_bin_leaves_our_layers_and_says_so(window: Window) -> None:
    """Five clicks: taking a layer away while another is hidden crashes Mesa's software renderer."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    session = window.open()
    session.describe(replace(session.about, region=REGION))
    window.layers.layer(4).visible = False
    before = list(window.viewer.layers)
    if not hasattr(before[-1], "locked"):
        pytest.skip("this napari cannot lock layers")
    button = window.viewer.window._qt_viewer.layerButtons.deleteButton
    ours = [*window.layers, window.viewer.layers["region of interest"]]
    for chosen in ([ours[0]], [ours[2]], [ours[3]], [ours[4]], ours):
        notification_manager.records.clear()
        window.viewer.layers.selection = set(chosen)
        QTest.mouseClick(button, Qt.LeftButton)
        pump(0.05)
        assert list(window.viewer.layers) == before
        assert chosen[0].name in said()[0]
        assert said()[0].endswith("locked and cannot be deleted.")
    assert not window.layers.layer(4).visible


@pytest.fixture
def opened(plugin: Any, viewer: Any) -> Any:
    """Put the cells of `make_session` under review in a viewer without a window, which draws nothing."""

    def open_cells(session: ReviewSession) -> Any:
        rgb = np.zeros((*SIZE, 3), np.uint8)
        viewer.add_image(rgb, name="tissue", rgb=True)
        image = Image(pixels=rgb, axes="YXS", pixel_size_um=None, path=Path("tissue.tif"))
        plugin.state.set_classes(session.classes)
        plugin.state.set_current(ImageFile("tissue", Path("tissue.tif")), image, session)
        plugin.layers.finish()
        return session

    return open_cells


def test_class_layers_that_leave_come_back_in_their_place_with_their_cells(
    qtbot: Any, plugin: Any, viewer: Any, opened: Any
) -> None:
    session = opened(make_session())
    names = [layer.name for layer in viewer.layers]
    gone = [plugin.layers.layer(2), plugin.layers.layer(3)]
    for layer in gone:
        viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: bool(said()) and len(list(plugin.layers)) == 4, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == names
    assert not any(layer in viewer.layers for layer in gone)
    assert set(np.unique(plugin.layers.layer(2).data).tolist()) == {0, 2, 6, 10, 14, 18}
    assert len(said()) == 1
    assert said()[0].startswith("The layers inflammatory, epithelial are back: cells are removed in Review (Delete), ")
    session.delete([2])
    assert 2 not in plugin.layers.layer(2).data


def test_the_outline_of_the_region_comes_back(qtbot: Any, viewer: Any, opened: Any) -> None:
    session = opened(make_session())
    session.describe(replace(session.about, region=REGION))
    for _ in range(2):
        notification_manager.records.clear()
        viewer.layers.remove(viewer.layers["region of interest"])
        qtbot.waitUntil(lambda: bool(said()), timeout=60_000)
        assert said() == ["The region of interest is back. G, then a click on the image, removes it."]
        assert viewer.layers["region of interest"].visible
    session.describe(replace(session.about, region=()))
    viewer.layers.remove(viewer.layers["region of interest"])
    qtbot.wait(20)
    assert "region of interest" not in viewer.layers


def test_a_class_that_is_removed_in_open_does_not_come_back(qtbot: Any, plugin: Any, opened: Any) -> None:
    cells = [cell for cell in make_session().cells.values() if cell.class_id < 4]
    opened(ReviewSession(SIZE, CLASSES, cells, user="tester"))
    plugin.state.set_classes(ClassTable(CLASSES.names[:3]))
    qtbot.wait(20)
    assert [layer.class_id for layer in plugin.layers] == [1, 2, 3]
    assert not said()
