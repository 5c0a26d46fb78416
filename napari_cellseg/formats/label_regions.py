"""Label images read by regions: ``class<k>.tif`` of a folder, or the labels of an OME-Zarr as *Export* writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.formats.label_images import LARGEST_VALUE, class_files
from napari_cellseg.images.levels import Box
from napari_cellseg.images.read import read_errors
from napari_cellseg.images.tiff_levels import opened_raw

__all__ = ["LabelRegions", "opened_labels"]

LabelImage = npt.NDArray[np.int64]


class LabelRegions(Protocol):
    """Label images of a slide.

    Attributes
    ----------
    classes : ClassTable
    size : (int, int)
        Height and width, px.
    """

    classes: ClassTable
    size: tuple[int, int]

    def read(self, box: Box) -> Mapping[int, LabelImage]:
        """Return the label image of each class in a box (x0, y0, x1, y1).

        Raises
        ------
        AnnotationError
            A part is damaged, or a value is no label.
        """
        ...


@contextmanager
def opened_labels(path: Path) -> Iterator[LabelRegions]:
    """Open a folder with ``class<k>.tif``, and ``classes.json`` if it names them, or an OME-Zarr with labels.

    Raises
    ------
    AnnotationError
        There are no labels, or they cannot be read by regions.
    """
    with ExitStack() as files:
        if path.suffix.lower() == ".zarr":
            yield _ZarrLabels(path)
        else:
            yield _TiffLabels(path, files)


class _TiffLabels:
    def __init__(self, folder: Path, files: ExitStack) -> None:
        paths = class_files(folder) if folder.is_dir() else {}
        if not paths:
            raise AnnotationError(f"{folder} has no class1.tif, class2.tif, ... and is no OME-Zarr with labels.")
        try:
            self._levels = {i: (path, files.enter_context(opened_raw(path))) for i, path in paths.items()}
        except ImageReadError as error:
            raise AnnotationError(str(error)) from error
        sizes = {level.size for _, level in self._levels.values()}
        if len(sizes) > 1:
            raise AnnotationError(f"The label images of {folder} have several sizes: {sorted(sizes)}.")
        (self.size,) = sizes
        named = next(
            (file for file in (folder / "classes.json", folder.parent / "classes.json") if file.is_file()), None
        )
        self.classes = ClassTable.numbered(max(paths)) if named is None else ClassTable.from_json(read_json(named))

    def read(self, box: Box) -> dict[int, LabelImage]:
        found = {}
        for class_id, (path, level) in self._levels.items():
            try:
                with read_errors(path):
                    found[class_id] = _checked(level.read_raw(box), path)
            except ImageReadError as error:
                raise AnnotationError(str(error)) from error
        return found


class _ZarrLabels:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            import zarr

            labels = zarr.open_group(path, mode="r")["labels"]
            self._cells, self._classes = (labels[name]["0"] for name in ("cells", "classes"))
            about = dict(labels["classes"].attrs)["image-label"]["properties"]
            names = {int(each["label-value"]): str(each["class"]) for each in about}
            self.classes = ClassTable(tuple(names[i] for i in range(1, len(names) + 1)))
        except Exception as error:  # damaged metadata makes zarr raise anything
            raise AnnotationError(
                f"{path} has no labels named cells and classes, as Export writes them ({_line(error)})."
            ) from error
        self.size = int(self._cells.shape[-2]), int(self._cells.shape[-1])

    def read(self, box: Box) -> dict[int, LabelImage]:
        x0, y0, x1, y1 = box
        try:
            cells, classes = (np.asarray(each[..., y0:y1, x0:x1]) for each in (self._cells, self._classes))
            cells, classes = (values.reshape(y1 - y0, x1 - x0) for values in (cells, classes))
        except Exception as error:  # as do damaged chunks
            raise AnnotationError(f"The labels of {self._path} are damaged ({_line(error)}).") from error
        found = {int(i): np.where(classes == i, cells, 0) for i in np.unique(classes) if i}
        if found and max(found) > len(self.classes):
            raise AnnotationError(f"The labels of {self._path} have class {max(found)}, which has no name.")
        return {class_id: _checked(values, self._path) for class_id, values in found.items()}


def _checked(values: npt.NDArray[Any], path: Path) -> LabelImage:
    """Return whole numbers from 0 on; -1 is background, as some programs write it."""
    whole = np.where(values == -1, 0, values)
    labels = whole.astype(np.int64)
    if (labels != whole).any() or (whole.size and (whole.min() < 0 or whole.max() > LARGEST_VALUE)):
        raise AnnotationError(f"{path} has values that are no labels: whole numbers from 0 on.")
    return labels


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
