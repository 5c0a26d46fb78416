"""The rows of *Open* for reading the image, driven like a user."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui import docks
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.workspace import look_at

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


def type_number(qtbot, box, text):
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


def test_limits_in_the_wrong_order_are_refused_in_words_until_they_are_corrected(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    rows = dock.reading
    type_number(qtbot, rows.low, "5000")
    assert rows.warning.text().startswith("Not applied: the first limit, 5000, must be below the second, 4095.")
    assert rows.warning.isVisibleTo(rows)

    qtbot.wait(800)  # longer than the fields wait for more digits
    assert dock.state.image.options.limits == "auto"
    assert rows.warning.text().startswith("Not applied")

    type_number(qtbot, rows.high, "6000")
    assert "Not applied" not in rows.warning.text()
    qtbot.waitUntil(
        lambda: dock.state.image is not None and dock.state.image.options.limits == (5000, 6000), timeout=60_000
    )


def mouse_move(widget, pos):
    """Move with the left button held; QTest moves without a button."""
    left = Qt.MouseButton.LeftButton
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(pos),
        QPointF(widget.mapToGlobal(pos)),
        left,
        left,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def handle_x(slider, value):
    """Return the place of a value on the slider, px."""
    margin, first, last = 8, slider.minimum(), slider.maximum()
    return QPoint(
        round(margin + (value - first) / (last - first) * (slider.width() - 2 * margin)), slider.height() // 2
    )


def test_dragging_a_handle_previews_and_letting_go_reads(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    dock.resize(340, 700)
    dock.show()
    rows = dock.reading
    slider = rows.sliders.slider
    qtbot.waitUntil(lambda: slider.width() > 100)
    assert (slider.minimum(), slider.maximum(), slider.value()) == (0, 4095, (0, 4095))
    assert rows.sliders.histogram._heights.max() == 1
    before = shown(dock)

    image, left = dock.state.image, Qt.MouseButton.LeftButton
    qtbot.mousePress(slider, left, pos=handle_x(slider, 4095))
    for value in (3500, 2800, 2000):
        mouse_move(slider, handle_x(slider, value))
    assert rows.sliders.is_held
    qtbot.waitUntil(lambda: not np.array_equal(shown(dock), before))
    assert dock.state.image is image  # nothing is read while the handle is held
    assert rows.high.value() == pytest.approx(2000, abs=60)
    assert rows.low.value() == 0
    qtbot.mouseRelease(slider, left, pos=handle_x(slider, 2000))
    qtbot.waitUntil(lambda: dock.state.image not in (None, image), timeout=60_000)
    assert dock.state.image.options.limits == (rows.low.value(), rows.high.value())
    np.testing.assert_array_equal(shown(dock), dock.state.image.rgb())


def test_full_range_and_auto(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    rows = dock.reading
    qtbot.mouseClick(rows.full, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.limits == "dtype", timeout=60_000)
    assert rows.sliders.slider.value() == (0, 65535)
    assert not rows.full.isEnabled()
    assert "nearly black" in rows.warning.text()
    qtbot.mouseClick(rows.auto, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.limits == "auto", timeout=60_000)
    assert rows.sliders.slider.value() == (0, 4095)


def test_plane_is_offered_only_for_a_stack_and_the_next_image_is_reached(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    assert not dock.reading.plane.isVisibleTo(dock)
    open_image(qtbot, dock, folder, "b")
    plane = dock.reading.plane
    assert plane.isVisibleTo(dock)
    assert [plane.itemText(i) for i in range(plane.count())] == [
        "plane 0 of 3", "plane 1 of 3", "plane 2 of 3", "maximum of all", "mean of all", "each plane as an image",
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


def ids_of(dock):
    model = dock.images.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def choose_each_plane(qtbot, dock):
    plane = dock.reading.plane
    plane.setFocus()
    qtbot.keyClick(plane, Qt.Key.Key_End)
    qtbot.waitUntil(lambda: dock.state.image_id == "b_plane0", timeout=60_000)


def test_each_plane_of_a_stack_becomes_an_image_and_stays_one_when_the_folder_is_opened_again(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "b")
    choose_each_plane(qtbot, dock)
    assert ids_of(dock) == ["a", "b_plane0", "b_plane1", "b_plane2"]
    rows = dock.reading
    assert not rows.plane.isVisibleTo(dock)
    assert rows.whole_stacks.isVisibleTo(dock)
    for number in (0, 2):
        dock.opener.show(f"b_plane{number}")
        qtbot.waitUntil(lambda number=number: dock.state.image_id == f"b_plane{number}", timeout=60_000)
        expected = read_image(folder / "b.tif", options=ReadOptions(plane=number)).rgb()
        np.testing.assert_array_equal(shown(dock), expected)
    rows.all_images.setChecked(True)
    qtbot.mouseClick(rows.full, Qt.MouseButton.LeftButton)  # with "for all images": each keeps its plane
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.limits == "dtype", timeout=60_000)
    assert [file.reading.plane for file in dock.state.images] == [None, 0, 1, 2]
    assert {file.reading.limits for file in dock.state.images} == {"dtype"}
    assert [image.image_id for image in look_at(folder).images] == ["a", "b_plane0", "b_plane1", "b_plane2"]

    qtbot.mouseClick(rows.whole_stacks, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.state.image_id == "b", timeout=60_000)
    assert ids_of(dock) == ["a", "b"]


def test_the_cells_of_a_stack_are_kept_while_its_planes_are_images(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "b")

    dock.state.workspace.save("b")
    choose_each_plane(qtbot, dock)
    told = [record.message for record in notification_manager.records]
    assert any("The cells of b are kept, and are shown when this is changed back." in text for text in told)


def test_limits_chosen_while_another_image_is_opened_are_not_lost(qtbot, dock, folder):
    open_image(qtbot, dock, folder, "a")
    options = dock.state.image.options.changed(limits=(0, 2000))
    dock.opener.show("b")
    assert dock.opener.job.is_busy
    dock.opener.read_as(options, all_images=True)
    qtbot.waitUntil(lambda: dock.state.image_id == "b" and not dock.opener.job.is_busy, timeout=60_000)
    assert dock.state.image.options.limits == (0, 2000)
    assert [file.reading.limits for file in dock.state.images] == [(0, 2000), (0, 2000)]

    dock.opener.open_path(folder)  # lists the open folder again
    assert dock.opener.job.is_busy
    dock.opener.read_as(dock.state.image.options.changed(limits=(0, 100)))
    qtbot.waitUntil(
        lambda: dock.state.image is not None and dock.state.image.options.limits == (0, 100), timeout=60_000
    )
