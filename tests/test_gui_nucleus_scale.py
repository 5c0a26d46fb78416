"""The circle of a typical nucleus that sets the scale, in a real window with real mouse events."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from review_window import pump

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.segment.nucleus_scale import scale_of_nucleus, typical_nucleus
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.images.statistics import picture_facts, summarise
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import ModelConfig

CONFIG = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(pixel_size_um=0.25, working_scale=2.0)
STATISTICS = summarise([picture_facts(np.full((8, 8, 3), 200, np.uint8))], np.full(30, 20.0, np.float32))
HEADER = CheckpointHeader(name="lite", config=CONFIG, thresholds=(0.5,) * 4, statistics=STATISTICS)
LEFT = Qt.MouseButton.LeftButton


def test_a_typical_nucleus_has_its_size_at_the_scale_of_the_model() -> None:
    assert typical_nucleus(HEADER, None, None) == 20
    assert typical_nucleus(HEADER, 0.5, None) == 10
    assert typical_nucleus(HEADER, 0.5, 1.0) == 40
    assert scale_of_nucleus(HEADER, 10) == 4
    assert scale_of_nucleus(HEADER, 1e6) == 0.01
    assert typical_nucleus(CheckpointHeader(name="old", config=CONFIG), None, None) is None


@pytest.fixture
def dock(window, session, monkeypatch):  # noqa: ARG001 - an image is under review
    dock = window.dock("Segment")
    monkeypatch.setattr(type(dock.model), "header", HEADER)
    for parent in (dock.parent(), dock.parent().parent()):
        if hasattr(parent, "raise_"):
            parent.raise_()
    dock._on_model()
    dock.pixel_size.setValue(0)
    dock.advanced.set_values({"scale": None})
    pump()
    yield dock
    dock.nucleus.hide_circle()


def drag(widget, start: QPoint, end: QPoint) -> None:
    QTest.mousePress(widget, LEFT, pos=start)
    ends = widget.mapToGlobal(start), widget.mapToGlobal(end)
    for share in (0.3, 0.7, 1.0):
        at = ends[0] + (ends[1] - ends[0]) * share
        event = QMouseEvent(
            QEvent.Type.MouseMove, QPointF(widget.mapFromGlobal(at)), QPointF(at), LEFT, LEFT, Qt.NoModifier
        )
        QApplication.sendEvent(widget, event)
    QTest.mouseRelease(widget, LEFT, pos=widget.mapFromGlobal(ends[1]))
    pump()


def press(dock) -> None:
    QTest.mouseClick(dock.nucleus.button, LEFT)
    pump()


@pytest.mark.gui
def test_the_circle_has_the_size_of_a_typical_nucleus_and_no_layer(dock, window):
    layers = list(window.viewer.layers)
    press(dock)
    circle = dock.nucleus.circle
    assert circle.isVisible()
    assert circle.diameter == 20
    assert circle.width() == pytest.approx(20 * camera_of(window.viewer).zoom + 20, abs=2)
    assert "At scale 2 a typical nucleus is 20 px wide" in dock.nucleus.hint.text()
    assert list(window.viewer.layers) == layers  # nothing that could be saved or exported

    press(dock)
    assert dock.nucleus.circle is None
    assert not dock.nucleus.button.isChecked()


@pytest.mark.gui
def test_dragging_moves_it_and_its_edge_sets_the_scale(dock, window):
    press(dock)
    circle, zoom = dock.nucleus.circle, camera_of(window.viewer).zoom
    middle, place = circle.rect().center(), circle.centre
    drag(circle, middle, middle + QPoint(30, -12))
    assert np.subtract(circle.centre, place) == pytest.approx((-12 / zoom, 30 / zoom), abs=0.01)
    assert circle.diameter == 20
    assert dock.advanced.values()["scale"] is None  # moving alone says nothing of the size

    radius = 10 * zoom
    middle = circle.rect().center()
    drag(circle, middle + QPoint(round(radius), 0), middle + QPoint(round(2 * radius), 0))
    assert circle.diameter == pytest.approx(40, rel=0.05)
    assert dock.advanced.values()["scale"] == pytest.approx(40 / circle.diameter, rel=0.02)
    assert f"{circle.diameter:.0f} px wide" in dock.nucleus.hint.text()


@pytest.mark.gui
def test_it_follows_the_fields_and_the_camera(dock, window):
    press(dock)
    circle = dock.nucleus.circle
    dock.pixel_size.setValue(0.5)
    pump()
    assert circle.diameter == 10
    camera = camera_of(window.viewer)
    before = circle.geometry().center()
    camera.center = tuple(np.add(camera.center[-2:], (0, 5)))
    pump()
    assert circle.geometry().center().x() - before.x() == pytest.approx(-5 * camera.zoom, abs=2)

    drag(circle, circle.rect().center() + QPoint(round(5 * camera.zoom), 0), circle.rect().center() + QPoint(90, 0))
    assert dock.pixel_size.chosen_um is None  # the scale alone decides
    assert dock.advanced.values()["scale"] is not None


@pytest.mark.gui
@pytest.mark.parametrize("where", ["circle", "canvas"])
def test_escape_hides_it(dock, window, where):
    press(dock)
    QTest.keyClick(dock.nucleus.circle if where == "circle" else window.canvas, Qt.Key.Key_Escape)
    pump()
    assert dock.nucleus.circle is None
    assert not dock.nucleus.button.isChecked()
    assert not dock.nucleus.hint.isVisible()


@pytest.mark.gui
def test_it_does_not_stay_over_another_image_nor_behind_another_tab(dock, window):
    press(dock)
    window.open()
    assert dock.nucleus.circle is None

    press(dock)
    assert dock.nucleus.circle is not None
    window.dock("Open").parent().raise_()
    pump()
    if not dock.isVisible():
        assert dock.nucleus.circle is None
