"""Segment on a slide: cells appear as tiles finish, Stop keeps them, and the same button continues."""

from __future__ import annotations

import queue

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
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
from napari_cellseg.images import slide, slide_levels
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header

pytestmark = pytest.mark.gui

SIZE = (600, 500)
CELLS = grid_cells(SIZE)
NONE = TileCells.empty(SIZE)


class Run:
    """Stands where the engine process is: adds tiles to a real store when the test says so."""

    def __init__(self):
        self.events = queue.Queue()
        self.tasks = []
        self.store = None

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
                    self.store.finish()
                    yield SlideDone(
                        image=1, images=1, image_id="slide", store=path, cells=len(self.store), tiles=2, glass=0,
                        pixel_size_um=0.25, seconds=1.0,
                    )  # fmt: skip
                    return PredictSummary(1, 0, len(self.store), 1.0)
                part = CELLS.select(np.arange(len(CELLS)) % 2 == number)
                self.store.add({number: "done"}, TileCells.of_tile(number, part, np.zeros((len(part), 3), int)), NONE)
                yield SlideTileDone(
                    image=1, images=1, tile=number + 1, tiles=2, cells=len(part), mm2=None, mm2_in_all=None,
                    seconds_left=1.0,
                )  # fmt: skip


@pytest.fixture
def opened(window, tmp_path, monkeypatch):
    monkeypatch.setattr(slide_levels, "SLIDE_PX", 100_000)
    monkeypatch.setattr(slide, "OVERVIEW_PX", 256)
    notification_manager.records.clear()
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
