"""Segment on a slide: cells appear as tiles finish, Stop keeps them, and the same button continues."""

from __future__ import annotations

import queue

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_window import pump, wait_until
from slide_cells import grid_cells
from slide_files import write_pyramid

from napari_cellseg.events import PredictSummary, SlideDone, SlideTileDone
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.review.action_table import action
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header
from tests.real_mouse import Mouse

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("small_slides")]

SIZE = (600, 500)
CELLS = grid_cells(SIZE)
NONE = TileCells.empty(SIZE)


class Run:
    """Stands where the engine process is: adds tiles to a real store when the test says so."""

    def __init__(self):
        self.events = queue.Queue()
        self.tasks = []
        self.store = None
        self.waiting = 0

    def __call__(self, task):
        self.tasks.append(task)
        path = task.items[0].slide.store
        facts = {"made_from": {}, "classes": read_header(bundled()).classes.to_json()}
        with CellStore.open(path) if path.exists() else CellStore.create(path, SIZE, facts) as self.store:
            while True:
                try:
                    number = self.events.get(timeout=0.02)
                except queue.Empty:
                    yield None
                    continue
                if number is None:
                    if not self.waiting:
                        self.store.finish()
                    yield SlideDone(
                        image=1, images=1, image_id="slide", store=path, cells=len(self.store), tiles=2, glass=0,
                        pixel_size_um=0.25, seconds=1.0, waiting=self.waiting,
                    )  # fmt: skip
                    return PredictSummary(1, 0, len(self.store), 1.0)
                part = CELLS.select(np.arange(len(CELLS)) % 2 == number)
                self.store.add({number: "done"}, TileCells.of_tile(number, part, np.zeros((len(part), 3), int)), NONE)
                yield SlideTileDone(
                    image=1, images=1, tile=number + 1, tiles=2, cells=len(part), mm2=None, mm2_in_all=None,
                    seconds_left=1.0,
                )  # fmt: skip


@pytest.fixture
def opened(window, tmp_path):
    plugin = plugin_of(window.viewer)
    write_pyramid(tmp_path / "slide.tif", generate_tissue(SIZE, 60, seed=3)[0])
    plugin.opener.open_path(tmp_path)
    wait_until(lambda: plugin.state.slide is not None)
    camera = camera_of(window.viewer)
    camera.center, camera.zoom = (400, 250), 2
    yield plugin
    plugin.segmentation.job.stop()
    wait_until(lambda: not plugin.segmentation.job.is_busy)
    plugin.opener._forget_folder()


def choose(plugin):
    """Choose the bundled model."""
    dock = show_dock(plugin.state.viewer, "Segment")
    plugin.state.set_model(bundled())
    plugin.state.set_min_scores({})
    pump()
    return dock


def total(plugin):
    totals = plugin.slides.cells.totals
    return sum(totals.values()) if totals else 0


def test_cells_appear_tile_by_tile_and_a_stopped_run_continues(window, opened, tmp_path, monkeypatch):
    dock, run = choose(opened), Run()
    monkeypatch.setattr(opened.segmentation.engine, "run", run)
    assert dock.button.text() == "Segment slide"
    assert action("segment").needs(window.review) is None
    dock.button.click()
    wait_until(lambda: run.tasks)
    task = run.tasks[0].items[0]
    assert task.slide.first == pytest.approx((250, 400)), "the middle of the view"
    assert task.reading.level == 0
    run.events.put(0)
    wait_until(lambda: total(opened) == -(-len(CELLS) // 2))
    assert opened.slide_review.why_not() is None, "the cells so far can be reviewed"
    opened.slide_review.next()
    opened.slide_review.reject()
    rejected = dict(opened.slide_review.decisions.of)
    opened.segmentation.job.stop()
    wait_until(lambda: not opened.segmentation.job.is_busy)
    pump()
    assert "the cells of 1 of 2 tiles are kept. Segment slide continues." in dock.row.message.text()
    assert total(opened) == -(-len(CELLS) // 2)
    dock.button.click()
    run.events.put(1)
    wait_until(lambda: total(opened) == len(CELLS))
    run.events.put(None)
    wait_until(lambda: not opened.segmentation.job.is_busy)
    assert dict(opened.slide_review.decisions.of) == rejected
    opened.opener._forget_folder()
    assert sorted(file.name for file in (tmp_path / "cells").iterdir()) == ["slide.decisions", "slide.sqlite"]


def outlines(window):
    return [layer for layer in window.viewer.layers if layer.visible and layer.name == "region of interest"]


def bounds(points):
    (x0, y0), (x1, y1) = np.min(points, 0), np.max(points, 0)
    return pytest.approx((x0, y0, x1, y1), abs=2)


def test_a_region_is_drawn_segmented_first_and_removed_for_the_rest(window, opened, monkeypatch):
    dock, run, mouse = choose(opened), Run(), Mouse(window)
    said = []  # napari itself soon says what is below the mouse
    window.viewer.events.status.connect(lambda event: said.append(str(event.value)))
    monkeypatch.setattr(opened.segmentation.engine, "run", run)
    window.canvas.setFocus()
    QTest.keyClick(window.canvas, Qt.Key_G)
    assert said[-1].startswith("Drag a box around the region to segment")
    mouse.drag([(330, 180), (400, 240), (450, 310)])
    assert not window.review.region.is_drawing
    assert any(text.endswith("Segment predicts only the tiles of the region.") for text in said)
    assert len(outlines(window)) == 1
    assert dock.button.text() == "Segment region"
    QTest.keyClick(window.canvas, Qt.Key_G)
    wait_until(lambda: window.review.region.is_drawing)
    pump(0.05)
    QTest.keyClick(window.canvas, Qt.Key_Escape)
    assert not window.review.region.is_drawing
    QTest.keyClick(window.canvas, Qt.Key_G)
    wait_until(lambda: window.review.region.is_drawing)
    mouse.drag([(330, 180), (336, 186), (337, 187)])
    assert any("or more" in text for text in said)
    assert dock.button.text() == "Segment region", "too small: it stays"

    run.waiting = 1
    dock.button.click()
    wait_until(lambda: run.tasks)
    task = run.tasks[0].items[0].slide
    assert bounds(task.part) == (180.5, 330.5, 310.5, 450.5), "x and y along pixel edges of the finest level"
    assert task.region == (), "cells that reach over its edge are kept, and the store is that of the whole slide"
    run.events.put(0)
    run.events.put(None)
    wait_until(lambda: not opened.segmentation.job.is_busy)
    pump()
    assert "The region is finished; 1 tile of the rest is not predicted." in dock.row.message.text()

    wait_until(lambda: total(opened) == -(-len(CELLS) // 2))
    QTest.keyClick(window.canvas, Qt.Key_G)
    mouse.click(390, 250)
    assert opened.slide_review.selected is None, "the click removes the region and selects no cell"
    assert not outlines(window)
    assert dock.button.text() == "Segment slide"
    run.waiting = 0
    dock.button.click()
    wait_until(lambda: len(run.tasks) == 2)
    assert run.tasks[1].items[0].slide.part == ()
    run.events.put(1)
    run.events.put(None)
    wait_until(lambda: not opened.segmentation.job.is_busy)
    wait_until(lambda: total(opened) == len(CELLS))


def test_a_region_drawn_around_with_ctrl_comes_back_with_its_slide(window, opened, tmp_path):
    choose(opened)
    write_pyramid(tmp_path / "other.tif", generate_tissue((100, 100), 5, seed=3)[0])
    opened.opener.open_path(tmp_path, image_id="slide")
    wait_until(lambda: len(opened.state.images) == 2 and opened.state.slide is not None)
    camera = camera_of(window.viewer)
    camera.center, camera.zoom = (400, 250), 2
    pump()
    window.canvas.setFocus()
    QTest.keyClick(window.canvas, Qt.Key_G)
    Mouse(window).drag([(330, 180), (330, 300), (400, 320), (450, 200)], Qt.ControlModifier)
    region = opened.state.slide_region
    assert len(region) == 4
    opened.opener.show("other")
    wait_until(lambda: opened.state.image_id == "other" and not opened.state.loading)
    opened.layers.finish()
    assert not outlines(window)
    opened.opener.show("slide")
    wait_until(lambda: opened.state.slide is not None)
    wait_until(lambda: len(outlines(window)) == 1)
    assert opened.state.slide_region == region
    opened.slides._kept._of.clear()  # as after the next start
    opened.opener._forget_folder()
    opened.opener.open_path(tmp_path, image_id="slide")
    wait_until(lambda: opened.state.slide is not None)
    assert opened.state.slide_region == region


def test_a_run_continues_while_another_image_is_open(opened, tmp_path, monkeypatch):
    dock, run = choose(opened), Run()
    write_pyramid(tmp_path / "other.tif", generate_tissue((100, 100), 5, seed=3)[0])
    opened.opener.open_path(tmp_path, image_id="slide")
    wait_until(lambda: len(opened.state.images) == 2 and opened.state.slide is not None)
    monkeypatch.setattr(opened.segmentation.engine, "run", run)
    dock.button.click()
    wait_until(lambda: run.tasks)
    opened.opener.show("other")
    wait_until(lambda: opened.state.image_id == "other" and not opened.state.loading)
    opened.layers.finish()
    assert "Segmenting slide continues. Stop in Segment" in said()
    assert dock.button.toolTip() == "Segmentation of slide is running. Stop it first."
    run.events.put(0)
    wait_until(lambda: dock.row.label.text().startswith("slide: tile 1/2"))
    opened.opener.show("slide")
    wait_until(lambda: total(opened) == -(-len(CELLS) // 2))
    assert not opened.segmentation.elsewhere
    opened.opener.show("other")
    wait_until(lambda: opened.state.image_id == "other" and not opened.state.loading)
    opened.layers.finish()
    run.events.put(1)
    run.events.put(None)
    wait_until(lambda: not opened.segmentation.job.is_busy)
    pump()
    assert f"slide is segmented: {len(CELLS)} cells." in said()
    opened.opener.show("slide")
    wait_until(lambda: total(opened) == len(CELLS))


def said():
    return "\n".join(str(record.message) for record in notification_manager.records)


@pytest.mark.slow
def test_a_real_engine_segments_a_slide(opened, tmp_path):
    dock = choose(opened)
    opened.state.set_min_scores({})
    dock.button.click()
    wait_until(lambda: not opened.segmentation.job.is_busy, 240)
    assert opened.segmentation.job.error is None
    pump()
    store = tmp_path / "cells" / "slide.sqlite"
    with CellStore.open(store, read_only=True) as found:
        assert found.is_complete
        assert len(found) == total(opened) > 0
