"""A slide in a real window: shown by regions at the resolution of the view, next to images in memory."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_window import focus, open_window, pump, wait_until
from slide_cells import grid_cells, write_store
from slide_files import chunk_file, damage_tile, write_pyramid, write_zarr
from test_gui_first_steps import drop

from napari_cellseg.gui.canvas.camera import camera_of, move_to
from napari_cellseg.gui.opening import dropped
from napari_cellseg.gui.opening.reading_rows import ReadingRows
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.review.action_table import action
from napari_cellseg.gui.slides import slide_image
from napari_cellseg.images import slide_levels
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.workspace import Sessions

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("small_slides")]


@pytest.fixture(scope="module")
def tissue():
    return generate_tissue((600, 500), 60, seed=3)[0]


@pytest.fixture
def plugin(window):
    plugin = plugin_of(window.viewer)
    yield plugin
    plugin.opener._forget_folder()


def open_slide(plugin, path):
    plugin.opener.open_path(path)
    wait_until(lambda: plugin.state.slide is not None)
    settle(plugin)


def settle(plugin):
    pump(0.03)
    wait_until(lambda: plugin.slides.is_up_to_date)


def said():
    return [str(record.message) for record in notification_manager.records]


def test_a_slide_is_shown_at_the_resolution_of_the_view(plugin, tmp_path, tissue):
    open_slide(plugin, write_pyramid(tmp_path / "slide.tif", tissue))
    camera, layer = camera_of(plugin.state.viewer), plugin.slides.image.layer
    assert layer.name == "slide"
    camera.zoom = 0.2
    settle(plugin)
    assert layer.scale.tolist() == [4, 4]
    np.testing.assert_array_equal(layer.data, tissue[::4, ::4])
    assert plugin.state.image is None

    move_to(plugin.state.viewer, (200, 300, 210, 310), (600, 500))
    camera.zoom = 10
    settle(plugin)
    assert layer.scale.tolist() == [1, 1]
    y, x = (round(value) for value in layer.translate)
    height, width = layer.data.shape[:2]
    assert y <= 300 < 310 <= y + height
    assert x <= 200 < 210 <= x + width
    assert height * width < 600 * 500, "only what is in view is read"
    np.testing.assert_array_equal(layer.data, tissue[y : y + height, x : x + width])


def test_a_damaged_tile_is_said_once_and_the_rest_is_shown(plugin, tmp_path, tissue):
    path = write_pyramid(tmp_path / "slide.tif", tissue, compression="zlib")
    damage_tile(path, 9)
    open_slide(plugin, path)
    camera_of(plugin.state.viewer).zoom = 1
    settle(plugin)
    assert len([text for text in said() if "damaged near x 64, y 64 px" in text]) == 1
    assert (plugin.slides.image.layer.data[64:128, 64:128] == 96).all()


def test_a_slide_without_levels_gets_an_overview_row_by_row(plugin, tmp_path, tissue, monkeypatch):
    for module in (slide_levels, slide_image):
        monkeypatch.setattr(module, "SMALL_PX", 200)
    open_slide(plugin, write_pyramid(tmp_path / "slide.tif", tissue, levels=1))
    assert any("no coarse resolution levels" in text for text in said())
    wait_until(lambda: not plugin.slides.image.is_reading_overview)
    means = tissue[:, :498].reshape(200, 3, 166, 3, 3).astype(int).sum((1, 3)) // 9
    np.testing.assert_array_equal(plugin.slides.image._overview.data[:, :166], means)


def test_a_slide_and_an_image_in_memory_follow_each_other(plugin, tmp_path, tissue):
    write_pyramid(tmp_path / "a.tif", tissue)
    write_pyramid(tmp_path / "b.tif", tissue[:100, :100])
    open_slide(plugin, tmp_path)
    assert [file.image_id for file in plugin.state.images] == ["a", "b"]
    for _ in range(2):
        plugin.opener.show("b")
        wait_until(lambda: plugin.state.image_id == "b")
        plugin.layers.finish()
        assert plugin.state.slide is None
        assert plugin.state.session is not None
        assert not plugin.slides.image.layer.visible
        plugin.opener.show("a")
        wait_until(lambda: plugin.state.image_id == "a")
        settle(plugin)
        assert plugin.state.session is None
        visible = [layer.name for layer in plugin.state.viewer.layers if layer.visible]
        assert set(visible) <= {"a", "slide overview"}


def test_what_needs_an_image_in_memory_says_so_on_a_slide(plugin, window, tmp_path, tissue):
    open_slide(plugin, write_pyramid(tmp_path / "slide.tif", tissue))
    assert "images in memory" in action("merge").needs(window.review)
    assert "images in memory" in action("brush").needs(window.review)


def test_a_slide_dropped_on_the_canvas_is_opened_and_not_read_as_a_whole(plugin, window, tmp_path, tissue, monkeypatch):
    monkeypatch.setattr(dropped, "_SMALL_BYTES", 1000)
    window.dock("Open")
    path = write_pyramid(tmp_path / "slide.tif", tissue)
    before = [layer.name for layer in window.viewer.layers]
    drop(window.viewer.window._qt_viewer, path)
    wait_until(lambda: plugin.state.slide is not None)
    settle(plugin)
    assert plugin.state.slide.file.path == path
    assert len(window.viewer.layers) <= len(before) + 2


def test_the_viewer_closes_while_a_slide_is_read(tmp_path, tissue):
    path = write_pyramid(tmp_path / "slide.tif", tissue, levels=1)
    write_store(tmp_path / "cells" / "slide.sqlite", grid_cells((600, 500)))
    with open_window() as other:
        opened = plugin_of(other.viewer)
        opened.opener.open_path(path)
        wait_until(lambda: opened.state.slide is not None)
    assert opened.slides.image.is_up_to_date
    assert sorted(file.name for file in (tmp_path / "cells").iterdir()) == ["slide.decisions", "slide.sqlite"]


def test_in_a_folder_that_another_viewer_holds_nothing_can_be_decided(plugin, window, tmp_path, tissue, monkeypatch):
    write_pyramid(tmp_path / "slide.tif", tissue)
    write_store(tmp_path / "cells" / "slide.sqlite", grid_cells((600, 500)))
    monkeypatch.setattr(Sessions, "read_only", "ana has this folder open")
    open_slide(plugin, tmp_path)
    wait_until(lambda: plugin.slides.cells.path is not None)
    assert action("accept").needs(window.review) == "ana has this folder open"
    assert not (tmp_path / "cells" / "slide.decisions").exists()


def test_a_slide_stays_flat_and_upright(window, plugin, tmp_path, tissue):
    open_slide(plugin, write_pyramid(tmp_path / "slide.tif", tissue))
    dims = window.viewer.dims
    focus(window, window.canvas)
    window.type_key(Qt.Key_T, Qt.ControlModifier)
    assert tuple(dims.order) == (0, 1)
    assert said()[-1] == "Rows and columns of a slide cannot be exchanged."
    dims.ndisplay = 3
    assert dims.ndisplay == 2
    assert said()[-1] == "No 3-D view while cells are under review."


@pytest.mark.parametrize("harm", [lambda chunk: chunk.write_bytes(b"damaged"), lambda chunk: chunk.unlink()])
def test_an_ome_zarr_is_shown_by_regions_and_a_lost_chunk_is_said_once(plugin, tmp_path, tissue, harm):
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "slide.ome.zarr", tissue.transpose(2, 0, 1))
    harm(chunk_file(path, (0, 1, 1)))
    open_slide(plugin, path)
    camera, layer = camera_of(plugin.state.viewer), plugin.slides.image.layer
    camera.zoom = 0.2
    settle(plugin)
    np.testing.assert_array_equal(layer.data, tissue[::4, ::4])
    camera.zoom = 1
    settle(plugin)
    assert len([text for text in said() if "near x 64, y 64 px" in text]) == 1
    y, x = (round(value) for value in layer.translate)
    assert (layer.data[64 - y : 128 - y, 64 - x : 128 - x] == 96).all()


def test_an_ome_zarr_dropped_on_the_canvas_is_opened_by_regions(plugin, window, tmp_path, tissue):
    pytest.importorskip("zarr")
    window.dock("Open")
    path = write_zarr(tmp_path / "slide.ome.zarr", tissue.transpose(2, 0, 1))
    drop(window.viewer.window._qt_viewer, path)
    wait_until(lambda: plugin.state.slide is not None)
    settle(plugin)
    assert plugin.state.slide.file.path == path
    assert plugin.state.workspace.project.folder == tmp_path, "no file is written into the image"
    assert plugin.state.slide.store == tmp_path / "cells" / "slide.ome.sqlite"


def test_limits_and_channels_of_a_slide_are_chosen_in_open(plugin, window, tmp_path, tissue):
    pytest.importorskip("zarr")
    dock = window.dock("Open")
    channels = np.concatenate([tissue.transpose(2, 0, 1), 255 - tissue[None, ..., 0]])
    open_slide(plugin, write_zarr(tmp_path / "slide.ome.zarr", channels))
    rows = dock.findChild(ReadingRows)
    assert rows.isVisibleTo(dock)
    assert "channel 0" in rows.channels.currentText()
    rows.channels.setFocus()
    QTest.keyClick(rows.channels, Qt.Key.Key_Down)
    wait_until(lambda: plugin.state.slide is not None and plugin.state.slide.levels.overview.options.channels == (1,))
    camera_of(plugin.state.viewer).zoom = 0.2
    settle(plugin)
    np.testing.assert_array_equal(plugin.slides.image.layer.data[..., 0], tissue[::4, ::4, 1])
    rows.low.setValue(10)
    rows.high.setValue(200)
    wait_until(lambda: plugin.state.slide is not None and plugin.state.slide.levels.overview.scaling.high == 200)
