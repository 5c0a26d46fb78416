"""The rows of *Open* for reading the image, driven like a user."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt

from napari_cellseg.gui import docks
from napari_cellseg.images.samples import generate_tissue

RGB = generate_tissue((96, 96), 9)[0]

pytestmark = pytest.mark.gui


@pytest.fixture
def dock(open_dock):
    return open_dock(docks.Open)


@pytest.fixture
def folder(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16) * 16, photometric="rgb")
    stack = np.stack([RGB, RGB // 2, RGB // 4])
    tifffile.imwrite(tmp_path / "b.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    tifffile.imwrite(tmp_path / "c_masks.tif", RGB[..., 0])
    return tmp_path


def open_image(qtbot, dock, folder, image_id):
    dock.opener.open_path(folder)
    qtbot.waitUntil(lambda: dock.state.image is not None and not dock.opener.job.is_busy, timeout=60_000)
    dock.opener.show(image_id)
    qtbot.waitUntil(lambda: dock.state.image_id == image_id, timeout=60_000)


def shown(dock):
    return np.asarray(dock.state.viewer.layers[0].data)


def test_limits_are_shown_and_can_be_set_and_reset(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    rows = dock.reading
    assert (rows.low.value(), rows.high.value()) == (0, 4095)
    assert not rows.auto.isEnabled()
    assert abs(shown(dock).astype(int) - RGB).max() <= 1

    rows.high.setFocus()
    rows.high.selectAll()
    qtbot.keyClicks(rows.high, "2000")
    qtbot.keyClick(rows.high, Qt.Key.Key_Return)
    qtbot.waitUntil(
        lambda: dock.state.image is not None and dock.state.image.options.limits == (0, 2000), timeout=60_000
    )
    qtbot.waitUntil(lambda: shown(dock).max() == 255, timeout=60_000)
    assert "are outside the brightness limits 0..2000 (chosen)" in rows.warning.text()
    assert dock.state.file.reading.limits == (0, 2000)

    qtbot.mouseClick(rows.auto, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.limits == "auto", timeout=60_000)
    assert rows.high.value() == 4095


def test_plane_is_offered_only_for_a_stack_and_the_next_image_is_reached(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    assert not dock.reading.plane.isVisibleTo(dock)
    open_image(qtbot, dock, folder, "b")
    plane = dock.reading.plane
    assert plane.isVisibleTo(dock)
    assert [plane.itemText(i) for i in range(plane.count())] == [
        "plane 0 of 3", "plane 1 of 3", "plane 2 of 3", "maximum of all", "mean of all",
    ]  # fmt: skip
    plane.setFocus()
    qtbot.keyClick(plane, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.plane == 1, timeout=60_000)
    assert dock.state.image.shown == "plane 1 of 3"
    assert plane.currentText() == "plane 1 of 3"
    assert dock.images.model().index(1, 0).data() == "b  (plane 1)"
    dock.opener.step(-1)
    qtbot.waitUntil(lambda: dock.state.image_id == "a", timeout=60_000)


def test_files_that_are_not_read_are_counted_and_named(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    assert "1 other file not read" in dock.skipped.text()
    assert "c_masks.tif" in dock.skipped.toolTip()
