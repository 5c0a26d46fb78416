"""`Cells`: the predicted cells of one image, and `export_cells`, which writes them to files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.images.image import Image
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from napari_cellseg.images.read import ImageFile

__all__ = ["Cells", "export_cells"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Cells:
    """The predicted cells of one image; returned by `Model.predict`.

    ``len(cells)`` counts the cells at or above the minimum score of their class.

    Attributes
    ----------
    image : Image
        The image, with its size and pixels.
    image_id : str
        Its name in tables and results files.
    classes : ClassTable
        Names and colours of class_id 1..K.
    detections : InstanceMasks
        Every detection, also those below the minimum scores, best first; average precision needs them.
    min_scores : mapping of int to float
        Minimum score of each class_id; a class that is missing has none.
    pixel_size_um : float or None
        Side of a pixel, um.
    warnings : tuple of str
        What the model or the reader warned about.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> cells = cs.load_model().predict("samples/test/tissue_03.tif")
    >>> len(cells) == sum(cells.counts().values())
    True
    """

    image: Image
    image_id: str
    classes: ClassTable
    detections: InstanceMasks
    min_scores: Mapping[int, float] = field(default_factory=dict)
    pixel_size_um: float | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def instances(self) -> InstanceMasks:
        """The cells at or above the minimum score of their class: N boxes, classes, scores and mask crops."""
        lowest = np.array([0.0, *(self.min_scores.get(class_id, 0.0) for class_id in self.classes.class_ids)])
        return self.detections.select(self.detections.scores >= lowest[self.detections.class_ids])

    def __len__(self) -> int:
        return len(self.instances)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in self.counts().items())
        return f"<{self.image_id}: {counted(len(self), 'cell')} ({kinds})>"

    def counts(self) -> dict[str, int]:
        """Return the number of cells of each class.

        Examples
        --------
        >>> import napari_cellseg as cs
        >>> list(cs.load_model().predict("samples/test/tissue_03.tif").counts())
        ['other', 'inflammatory', 'epithelial', 'spindle-shaped']
        """
        return {name: int((self.instances.class_ids == i).sum()) for i, name, _ in self.classes}

    def to_table(self) -> pd.DataFrame:
        """Return one row per cell, with the columns of ``measurements.csv``.

        Returns
        -------
        DataFrame
            ``image``, ``cell_id`` (1..N), ``class_id``, ``class``, ``score`` (0..1), and the columns of
            `napari_cellseg.measure.measure`: px, and um where the pixel size is known.

        Examples
        --------
        >>> import napari_cellseg as cs
        >>> table = cs.load_model().predict("samples/test/tissue_03.tif").to_table()
        >>> list(table.columns[:7])
        ['image', 'cell_id', 'class_id', 'class', 'score', 'centroid_x_px', 'centroid_y_px']
        """
        import pandas as pd

        from napari_cellseg.measure import measure

        found = self.instances
        columns: dict[str, Any] = {
            "image": [self.image_id] * len(found),
            "cell_id": np.arange(1, len(found) + 1),
            "class_id": found.class_ids,
            "class": [self.classes.name(class_id) for class_id in found.class_ids.tolist()],
            "score": found.scores,
        }
        return pd.DataFrame({**columns, **measure(found, self.image.rgb(), self.pixel_size_um)})

    def to_label_image(self, class_name: str | None = None) -> npt.NDArray[np.int32]:
        """Return a label image: 0 is background, ``cell_id`` of the table is a cell.

        Parameters
        ----------
        class_name : str, optional
            Only the cells of this class. If left out, of all classes: the cell with the higher score covers the other.

        Returns
        -------
        (H, W) int32

        Raises
        ------
        ConfigError
            There is no such class.

        Examples
        --------
        >>> import napari_cellseg as cs
        >>> cells = cs.load_model().predict("samples/test/tissue_03.tif")
        >>> cells.to_label_image("epithelial").shape == cells.image.size
        True
        """
        found = self.instances
        values = np.arange(1, len(found) + 1)
        if class_name is not None:
            chosen = found.class_ids == self.classes.class_id(class_name)
            found, values = found.select(chosen), values[chosen]
        return np.asarray(found.paste(values), np.int32)

    def to_overlay(self) -> npt.NDArray[np.uint8]:
        """Return the image with the outlines of the cells in the colours of their classes.

        Returns
        -------
        (H, W, 3) uint8

        Examples
        --------
        >>> import napari_cellseg as cs
        >>> cs.load_model().predict("samples/test/tissue_03.tif").to_overlay().dtype
        dtype('uint8')
        """
        from napari_cellseg.export.overlay import draw_overlay
        from napari_cellseg.review import Status, cells_from

        return draw_overlay(self.image.rgb(), cells_from(self.instances, Status.PROPOSED, "", 0.0), self.classes, 2)


def export_cells(
    cells: Cells | Iterable[Cells],
    folder: str | Path,
    formats: str | Sequence[str] = "results",
    *,
    ids: str | Path | None = None,
    csv_style: str = "comma",
) -> tuple[Path, ...]:
    """Write the cells of one or more images to files, as ``napari-cellseg predict --to`` does.

    ``test-results.json`` gets every detection, as average precision requires, the other formats the cells at or above
    the minimum scores.

    Parameters
    ----------
    cells : Cells or iterable of Cells
        Of one model.
    folder : str or Path
        Where the files go; created if it does not exist. Files of an earlier export are replaced.
    formats : str or sequence of str
        Any of results, class-images, coco, geojson, rois, labels, labels-png, cellpose, labelme, ome-zarr,
        measurements and overlays.
    ids : str or Path, optional
        JSON list of the images and their ids for ``test-results.json``; if left out, the ids are 1, 2, ... in order.
    csv_style : str
        comma, semicolon, tab or tab-comma.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    ConfigError
        There is no image, no such format or style, or the classes or minimum scores of two images differ.
    AnnotationError
        An image is not in ``ids``.
    ExportError
        A file cannot be written, or an optional package is missing.

    Examples
    --------
    >>> import napari_cellseg as cs
    >>> cells = cs.load_model().predict("samples/test/tissue_03.tif")
    >>> [file.name for file in cs.export_cells(cells, "out", ["results", "measurements"])]
    ['test-results.json', 'test-results.zip', 'test_image_name_to_ids.json', 'measurements.csv']
    """
    from napari_cellseg.commands.found import FoundImage, export_found
    from napari_cellseg.export import ExportPlan
    from napari_cellseg.export.exporters import exporters_of
    from napari_cellseg.measure import CSV_STYLES

    images = [cells] if isinstance(cells, Cells) else list(cells)
    names = frozenset([formats] if isinstance(formats, str) else formats)
    exporters_of(names)
    if csv_style not in CSV_STYLES:
        raise ConfigError(f"There is no CSV style {csv_style!r}; choose from {', '.join(CSV_STYLES)}.")
    classes, min_scores = _shared(images)
    written: list[Path] = []
    with tempfile.TemporaryDirectory() as temporary:
        found = [
            FoundImage(_file_of(image, Path(temporary) / str(i)), image.detections) for i, image in enumerate(images)
        ]
        for part, limits in ((names & {"results"}, {}), (names - {"results"}, min_scores)):
            if part:
                plan = ExportPlan(
                    folder=Path(folder),
                    formats=part,
                    ids_file=Path(ids) if ids is not None and "results" in part else None,
                    csv=CSV_STYLES[csv_style],
                )
                written += export_found(found, classes, plan, limits).files
    return tuple(written)


def _shared(images: Sequence[Cells]) -> tuple[ClassTable, Mapping[int, float]]:
    """Return the classes and minimum scores that all images have."""
    if not images:
        raise ConfigError("There are no cells to export: the list is empty.")
    first = images[0]
    for other in images[1:]:
        if other.classes != first.classes or dict(other.min_scores) != dict(first.min_scores):
            raise ConfigError(
                f"{other.image_id} and {first.image_id} have different classes or minimum scores. Predict them with "
                "one model and the same min_score, or export each to its own folder."
            )
    return first.classes, first.min_scores


def _file_of(cells: Cells, temporary: Path) -> ImageFile:
    """Return the file of the image; an array is written to a temporary one for the formats that need pixels."""
    import tifffile

    from napari_cellseg.images.read import ImageFile

    image = cells.image
    if image.path.exists() and image.path.name:
        return ImageFile(cells.image_id, image.path, image.options)
    temporary.mkdir()
    path = temporary / "image.tif"
    tifffile.imwrite(path, image.rgb(), photometric="rgb", metadata=None)
    return ImageFile(cells.image_id, path)
