from __future__ import annotations

import pytest
from napari.components import ViewerModel

from napari_cellseg.gui.canvas.camera import camera_of, fit_image, move_to

SIZE = (1000, 800)


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.canvas.size = (600, 900)
    return viewer


def _view(viewer):
    """Return the part of the image on the canvas: y0, x0, y1, x1."""
    camera, (height, width) = camera_of(viewer), viewer.canvas.size
    y, x = camera.center[-2:]
    return [
        y - height / camera.zoom / 2,
        x - width / camera.zoom / 2,
        y + height / camera.zoom / 2,
        x + width / camera.zoom / 2,
    ]


def test_a_whole_image_fills_the_canvas(viewer):
    fit_image(viewer, SIZE)
    assert camera_of(viewer).center[-2:] == pytest.approx((499.5, 399.5))
    assert camera_of(viewer).zoom == pytest.approx(0.95 * 600 / 1000)


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (780, 0, 800, 20), (0, 980, 20, 1000), (780, 980, 800, 1000)])
def test_a_cell_at_the_border_is_shown_without_leaving_the_image(viewer, box):
    camera_of(viewer).zoom = 3
    move_to(viewer, box, SIZE)
    y0, x0, y1, x1 = _view(viewer)
    assert y0 >= -0.5 - 1e-6
    assert x0 >= -0.5 - 1e-6
    assert y1 <= SIZE[0] - 0.5 + 1e-6
    assert x1 <= SIZE[1] - 0.5 + 1e-6
    assert y0 <= box[1]
    assert x0 <= box[0]
    assert y1 >= box[3] - 1
    assert x1 >= box[2] - 1


def test_a_cell_in_the_middle_is_in_the_middle_of_the_canvas(viewer):
    camera_of(viewer).zoom = 3
    move_to(viewer, (390, 490, 410, 510), SIZE)
    assert camera_of(viewer).center[-2:] == pytest.approx((499.5, 399.5))


def test_an_image_smaller_than_the_view_stays_in_the_middle(viewer):
    camera_of(viewer).zoom = 3
    move_to(viewer, (0, 0, 20, 20), (100, 120))
    assert camera_of(viewer).center[-2:] == pytest.approx((49.5, 59.5))
