"""The bundled model that Segment picks for an image, until the user chooses one with the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_window import Window, pump, wait_until
from stains import fluorescence

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.segment.dock import SegmentDock
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.bundled import bundled

pytestmark = pytest.mark.gui


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tissue = generate_tissue((96, 96), 3)[0]
    for name, pixels in {"a dapi": fluorescence(96), "b tissue": tissue, "c dapi": fluorescence(128)}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    return tmp_path


@pytest.fixture
def dock(window: Window, folder: Path) -> Iterator[SegmentDock]:
    show_dock(window.viewer, "Segment")
    found = next(dock for dock in window.state.docks if isinstance(dock, SegmentDock))
    window.state.set_current(None, None, None)
    window.state.set_model(bundled(), proposed=True)  # no user chose it
    window.review.opener.open_path(folder)
    show(window, "a dapi")
    yield found
    window.review.opener.close()
    window.state.set_workspace(None, ())


def show(window: Window, image_id: str) -> None:
    wait_until(lambda: not window.state.loading)
    window.review.opener.show(image_id)
    wait_until(lambda: window.state.image_id == image_id and not window.state.loading)
    window.layers.finish()
    pump(0.05)


def names(state: Any) -> tuple[str, ...]:
    classes: ClassTable = state.classes
    return classes.names


def test_each_image_gets_its_model_with_the_reason_until_the_user_chooses(window: Window, dock: SegmentDock) -> None:
    state = window.state
    assert dock.model.currentText() == "nuclei (bundled)"
    assert state.model == dock.model.path
    assert names(state) == ("nucleus",)
    assert dock.model_reason.isVisible()
    assert "nuclei (bundled) was picked for this image: it is unlike the training images" in dock.model_reason.text()
    show(window, "b tissue")
    assert dock.model.currentText() == "lite-consep (bundled)"
    assert not dock.model_reason.isVisible()
    assert len(names(state)) == 4
    show(window, "c dapi")
    assert dock.model.currentText() == "nuclei (bundled)"
    dock.model.setFocus()
    QTest.keyClick(dock.model, Qt.Key_Up)
    wait_until(lambda: dock.model.currentText() == "lite-consep (bundled)")
    assert not state.model_is_proposed
    assert not dock.model_reason.isVisible()
    show(window, "a dapi")
    assert dock.model.currentText() == "lite-consep (bundled)"
    assert not dock.model_reason.isVisible()


def test_no_model_is_picked_whose_class_the_project_lacks(window: Window, dock: SegmentDock) -> None:
    show(window, "b tissue")
    window.state.set_classes(ClassTable(("other", "inflammatory", "epithelial", "spindle-shaped")))
    show(window, "c dapi")
    assert dock.model.currentText() == "lite-consep (bundled)"
    assert not dock.model_reason.isVisible()
