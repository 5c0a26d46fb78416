"""The layer functions, in a real viewer with napari's widgets, and called from a script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_actions import some_cells

from napari_cellseg.errors import AnnotationError, ConfigError, EngineError, ImageReadError
from napari_cellseg.formats.coco import read_dataset
from napari_cellseg.gui import functions
from napari_cellseg.images.samples import generate_tissue

SIZE = (160, 160)
RGB, _ = generate_tissue(SIZE, 12, seed=2)


@pytest.fixture
def viewer() -> Iterator[Any]:
    import napari

    made = napari.Viewer(show=True)
    yield made
    made.close()


def image_layer() -> Image:
    return Image(RGB, name="tissue", rgb=True, scale=(0.5, 0.5), units=("um", "um"))


def labels_layer(name: str, count: int = 4) -> Labels:
    return Labels(some_cells(count, 1, SIZE).paste(range(11, 11 + count)), name=name)


def widget_of(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-cellseg", name)[1]


def press(widget: Any) -> None:
    QTest.mouseClick(widget.call_button.native, Qt.MouseButton.LeftButton)


@pytest.mark.gui
def test_segment_adds_a_layer_per_class_to_the_viewer(viewer):
    image = viewer.add_layer(image_layer())
    widget = widget_of(viewer, "Segment an image layer")
    assert widget.image.value is image
    assert "lite-consep" in widget.model.choices
    widget.device.value = "cpu"
    press(widget)
    labels = [layer for layer in viewer.layers if isinstance(layer, Labels)]
    assert labels
    assert {layer.name for layer in labels} <= {"other", "inflammatory", "epithelial", "spindle-shaped"}
    for layer in labels:
        values = np.unique(layer.data)[1:]
        assert layer.data.shape == SIZE
        assert tuple(layer.scale) == (0.5, 0.5)
        assert sorted(layer.features["index"]) == sorted(values)
        assert layer.features["score"].between(0, 1).all()


@pytest.mark.gui
def test_measure_fills_the_features_of_the_layer(viewer):
    viewer.add_layer(image_layer())
    labels = viewer.add_layer(labels_layer("cells"))
    widget = widget_of(viewer, "Measure a Labels layer")
    widget.label_image.value = labels
    press(widget)
    assert labels.features["index"].tolist() == [11, 12, 13, 14]
    areas = [int((labels.data == value).sum()) for value in range(11, 15)]
    assert labels.features["area_px"].tolist() == areas


@pytest.mark.gui
def test_export_writes_the_layers_chosen_as_classes(viewer, tmp_path):
    viewer.add_layer(image_layer())
    for name in ("tumour", "stroma", "not this"):
        viewer.add_layer(labels_layer(name))
    widget = widget_of(viewer, "Export Labels layers")
    assert [str(layer) for layer in widget.label_images.choices] == ["tumour", "stroma", "not this"]
    widget.label_images.value = [viewer.layers["tumour"], viewer.layers["stroma"]]
    widget.folder.value = tmp_path / "out"
    widget.formats.value = ["coco", "overlays"]
    press(widget)
    dataset = read_dataset(tmp_path / "out" / "coco.json")
    assert dataset.classes.names == ("tumour", "stroma")
    assert len(dataset.instances(dataset.images[0])) == 8
    assert (tmp_path / "out" / "overlays" / "tissue.png").is_file()


def test_called_from_a_script_they_return_what_they_made(tmp_path):
    labels, image = labels_layer("cells"), image_layer()
    table = functions.measure(labels, image)
    assert table["area_um2"].tolist() == [area * 0.25 for area in table["area_px"]]
    assert {"mean_red", "solidity"} <= set(table.columns)
    summary = functions.export(image, [labels], tmp_path / "out", ["class-images", "measurements"])
    assert (summary.images, summary.cells) == (1, 4)
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "training" / "tissue" / "image.tif"), RGB)


def test_what_cannot_be_done_is_said(tmp_path):
    stack = Image(np.zeros((3, 8, 8)), name="stack")
    with pytest.raises(ImageReadError, match="stack is a stack of 3 dimensions"):
        functions.segment(stack)
    with pytest.raises(AnnotationError, match="Choose a 2D Labels layer"):
        functions.measure(Labels(np.zeros((2, 8, 8), int), name="volume"))
    with pytest.raises(AnnotationError, match="cells has"):
        functions.measure(Labels(np.ones((8, 8), int), name="cells"), image_layer())
    with pytest.raises(ConfigError, match="Choose one or more Labels layers"):
        functions.export(image_layer(), [], tmp_path)


def test_a_second_segmentation_while_one_runs_is_refused():
    with functions._RUNNING, pytest.raises(EngineError, match="already running"):
        functions.segment(image_layer())
