"""The scale and the pixel size in *Segment*."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication
from segment_window import GOOD, READY, answer, segment, segment_dock, shown_image

from napari_cellseg.events import ScaleHint, TileDone
from napari_cellseg.gui import docks

dock = pytest.fixture(segment_dock)
image = pytest.fixture(shown_image)


@pytest.mark.usefixtures("image")
def test_a_better_scale_is_offered_and_used_with_one_click(qtbot, dock):
    notification_manager.records.clear()
    run = answer(
        (
            READY,
            TileDone(image=1, images=1, tile=1, tiles=1, cells=9),
            ScaleHint("warning", "tissue: try scale 3", 3.0),
            GOOD[-1],
        )
    )
    segment(qtbot, dock, run)
    assert run.calls[0].options.scale is None
    (offer,) = [record for record in notification_manager.records if "try scale 3" in str(record.message)]
    (label, use) = offer.actions[0]
    assert label == "Segment at scale 3"
    use(None)
    qtbot.waitUntil(lambda: len(run.calls) == 2 and not dock.segmentation.job.is_busy, timeout=60_000)
    assert run.calls[1].options.scale == 3


def test_the_offer_of_a_scale_does_not_keep_a_closed_dock(qtbot, viewer, plugin):
    assert plugin.state.viewer is viewer
    dock = docks.Segment(viewer)
    notification_manager.records.clear()
    dock._on_scale(ScaleHint("warning", "tissue: try scale 3", 3.0))
    gone = ref(dock)
    dock.close()
    dock.deleteLater()
    del dock
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(lambda: gc.collect() >= 0 and gone() is None)
    (_, use) = notification_manager.records[0].actions[0]
    use(None)
    assert "Segment at scale 3: not done" in str(notification_manager.records[-1].message)


@pytest.mark.usefixtures("image")
def test_a_pixel_size_without_effect_is_refused(qtbot, dock):
    dock.pixel_size.setValue(0.5)
    dock.advanced.set_values({"scale": 2.0})
    qtbot.mouseClick(dock.button, Qt.MouseButton.LeftButton)
    assert "only the scale is used" in dock.row.message.text()
    assert not dock.segmentation.job.is_busy


@pytest.mark.usefixtures("image")
def test_the_pixel_size_can_be_set_by_hand(qtbot, dock):
    assert dock.pixel_size.text() == "auto: unknown"
    dock.pixel_size.setValue(0.5)
    run = answer(GOOD)
    segment(qtbot, dock, run)
    assert run.calls[0].items[0].pixel_size_um == 0.5
