"""napari-style functions for work without the docks: layers in, layers or a table out.

napari makes widgets of them with magicgui (*Plugins > napari-cellseg*). Other plugins and scripts can call them, also
by their commands, for example ``napari-cellseg.segment_image``. A model runs in a process of its own, which ends with
the call, so this process never loads torch; the window stays alive meanwhile.
"""

# No "from __future__ import annotations": magicgui resolves return types that are strings without this module's names.

import tempfile
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import tifffile
from napari.layers import Image, Labels, Layer
from napari.utils import progress
from qtpy.QtWidgets import QApplication

from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import AnnotationError, ConfigError, EngineError, ImageReadError
from napari_cellseg.events import ImageDone, ImageFailed, Message, PredictEvent, PredictSummary, TileDone, drive
from napari_cellseg.export import EXPORTER_NAMES, ExportItem, ExportPlan, ExportSummary, export_folder
from napari_cellseg.formats.label_images import from_instances, to_instances
from napari_cellseg.gui.canvas.foreign_layer import image_of_layer
from napari_cellseg.gui.widgets.notify import show_info
from napari_cellseg.images.read import Image as PixelImage
from napari_cellseg.images.read import ImageFile
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import measure as measure_cells
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.review import Status, cells_from
from napari_cellseg.workspace import Annotations

__all__ = ["export", "measure", "segment"]

_RUNNING = threading.Lock()
"""Held while a function waits: the window is alive meanwhile, and its button could be pressed again."""


def _model_names(_widget: Any) -> list[str]:
    names = [entry.name for entry in ModelLibrary().entries() if entry.header is not None]
    return sorted(names, key=lambda name: name != "lite-consep")


def _labels_layers(widget: Any) -> list[Labels]:
    from napari.utils._magicgui import find_viewer_ancestor

    viewer = find_viewer_ancestor(widget.native)
    return [] if viewer is None else [layer for layer in viewer.layers if isinstance(layer, Labels)]


def segment(
    image: Image,
    model: Annotated[str, {"choices": _model_names}] = "lite-consep",
    min_score: Annotated[float, {"min": 0.0, "max": 1.0, "step": 0.05}] = 0.0,
    pixel_size_um: Annotated[float, {"min": 0.0, "max": 100.0, "step": 0.05}] = 0.0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> list[Layer]:
    """Segment the cells of an image and return one Labels layer per class that has cells.

    Parameters
    ----------
    image : Image
        A 2D image, grey or RGB.
    model : str
        A model of the library, or the path of a model file.
    min_score : float
        Cells below it are left out; 0: the model's best score for each class.
    pixel_size_um : float
        Side of a pixel; 0: that of the layer, if it has one.
    device : str
        Where the model runs.

    Returns
    -------
    list of Labels
        Named after the classes; ``features`` has the score of each cell.

    Raises
    ------
    ImageReadError
        The image is a stack.
    CellSegError
        The model cannot be used, or the engine process ended.
    """
    pixels = _pixels(image)
    path = ModelLibrary().find(model)
    header = read_header(path)
    options = PredictOptions.parse({"checkpoint": path, "device": device, "min_score": min_score or None})
    item = PredictItem(image.name, pixels.rgb(), pixel_size_um or pixels.pixel_size_um)
    cells = _run(options, item)
    if not min_score and header.thresholds:
        cells = cells.select(cells.scores >= np.take(header.thresholds, cells.class_ids - 1))
    return [_labels(cells, class_id, header.classes, image) for class_id in np.unique(cells.class_ids).tolist()]


def measure(
    label_image: Labels,
    image: Image | None = None,
    pixel_size_um: Annotated[float, {"min": 0.0, "max": 100.0, "step": 0.05}] = 0.0,
) -> pd.DataFrame:
    """Measure each cell of a Labels layer: area, perimeter, axes, solidity, with an image also mean colours.

    The table becomes the ``features`` of the layer too, where napari's features table shows it.

    Parameters
    ----------
    label_image : Labels
        2D; each value is one cell.
    image : Image, optional
        Of the same size.
    pixel_size_um : float
        Side of a pixel; 0: that of the image layer, if it has one.

    Returns
    -------
    DataFrame
        One row per cell; ``index`` is its value in the layer.

    Raises
    ------
    AnnotationError
        The layer is no 2D label image, or has another size than the image.
    """
    cells = _cells([label_image])
    pixels = None if image is None else _pixels(image)
    if pixels is not None and pixels.size != cells.image_size:
        raise AnnotationError(f"{label_image.name} has {cells.image_size} px (height, width), the image {pixels.size}.")
    size = pixel_size_um or (None if pixels is None else pixels.pixel_size_um)
    found = measure_cells(cells, None if pixels is None else pixels.rgb(), size)
    table = pd.DataFrame({"index": cells.values, **found})
    label_image.features = table
    return table


def export(
    image: Image,
    label_images: Annotated[Sequence[Labels], {"widget_type": "Select", "choices": _labels_layers}],
    folder: Annotated[Path, {"mode": "d"}],
    formats: Annotated[Sequence[str], {"widget_type": "Select", "choices": EXPORTER_NAMES}] = ("results",),
) -> ExportSummary:
    """Write the cells of Labels layers as files for other programs; each layer is a class of its name.

    Parameters
    ----------
    image : Image
        What the cells belong to.
    label_images : sequence of Labels
        2D, each value one cell; their order is that of the classes.
    folder : Path
        Where the files go.
    formats : sequence of str
        Of `napari_cellseg.export.EXPORTERS`.

    Raises
    ------
    AnnotationError
        A layer is no 2D label image, or has another size than the image.
    ConfigError
        No layer or no format is chosen.
    ExportError
        A file cannot be written.
    """
    if not label_images or not formats:
        raise ConfigError("Choose one or more Labels layers and formats to export.")
    classes = ClassTable(tuple(layer.name for layer in label_images))
    cells, pixels = _cells(label_images), _pixels(image)
    # An open layer may differ from its file, or have none.
    name = "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in image.name)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{name}.tif"
        _write_tiff(path, pixels)
        annotations = Annotations(
            image_size=cells.image_size, classes=classes, cells=tuple(cells_from(cells, Status.GIVEN, "layer", 0.0))
        )
        items = [ExportItem(ImageFile(name, path), lambda: annotations)]
        summary = drive(export_folder(items, classes, ExportPlan(folder=folder, formats=frozenset(formats))))
    if summary.problems:
        raise AnnotationError(summary.problems[0][1])
    show_info(f"{summary} -> {summary.folder}")
    return summary


def _pixels(image: Image) -> PixelImage:
    found = image_of_layer(image)
    if isinstance(found, str):
        raise ImageReadError(f"{image.name} is a stack of {image.ndim} dimensions. Choose a 2D image.")
    return found.image


def _cells(layers: Sequence[Labels]) -> InstanceMasks:
    images = {class_id: np.asarray(layer.data) for class_id, layer in enumerate(layers, start=1)}
    for layer in layers:
        if np.ndim(layer.data) != 2:
            raise AnnotationError(f"{layer.name} has {np.ndim(layer.data)} dimensions. Choose a 2D Labels layer.")
    height, width = images[1].shape
    return to_instances(images, (height, width))


def _labels(cells: InstanceMasks, class_id: int, classes: ClassTable, image: Image) -> Labels:
    chosen = cells.select(cells.class_ids == class_id)
    (label_image,) = from_instances(chosen, [class_id]).values()
    return Labels(
        label_image,
        name=classes.name(class_id),
        features=pd.DataFrame({"index": chosen.values, "score": chosen.scores}),
        scale=image.scale[-2:],
        translate=image.translate[-2:],
        units=image.units[-2:],
        metadata={"class_id": class_id},
    )


def _write_tiff(path: Path, image: PixelImage) -> None:
    resolution: dict[str, Any] = {}
    if image.pixel_size_um:
        resolution = {"resolution": (1e4 / image.pixel_size_um,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image.rgb(), photometric="rgb", metadata=None, **resolution)


def _run(options: PredictOptions, item: PredictItem) -> InstanceMasks:
    """Predict one image in an engine process, while the window stays alive."""
    if not _RUNNING.acquire(blocking=False):
        raise EngineError("A segmentation is already running. Wait for it.")
    client = EngineClient()
    try:
        return _followed(Predict([item], options).on(client.run), item.image_id)
    finally:
        client.shutdown()
        _RUNNING.release()


def _followed(events: Generator[PredictEvent | None, None, PredictSummary], image_id: str) -> InstanceMasks:
    """Follow a prediction with a bar in napari's activity dock; closing the last window stops it."""
    application = QApplication.instance()
    closed: list[bool] = []

    def close() -> None:
        closed.append(True)

    if application is not None:
        application.lastWindowClosed.connect(close)
    found: InstanceMasks | None = None
    try:
        with progress(total=0, desc=f"Segmenting {image_id}") as bar:
            for event in events:  # it yields 20 times a second
                if application is not None:
                    application.processEvents()
                if closed:
                    raise EngineError("The window was closed, so the segmentation was stopped.")
                if isinstance(event, TileDone):
                    bar.total, bar.n = event.tiles, event.tile
                    bar.refresh()
                elif isinstance(event, ImageDone):
                    found = event.instances
                elif isinstance(event, ImageFailed):
                    raise EngineError(f"{image_id} could not be segmented: {event.message}")
                elif isinstance(event, Message):
                    show_info(event.text)
    finally:
        events.close()
        if application is not None:
            application.lastWindowClosed.disconnect(close)
    assert found is not None  # every image is either done or failed
    return found
