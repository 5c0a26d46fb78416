"""`Exporter`: a plain value with the name, the texts and the functions of a format; `exporters` has the table."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tifffile

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError, ImageReadError
from napari_cellseg.export.plan import ExportPlan
from napari_cellseg.formats.ids import IdMatch
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.read import Image, ImageFile
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import About, Cell
from napari_cellseg.review.about import NOTHING
from napari_cellseg.workspace import Annotations

if TYPE_CHECKING:
    from napari_cellseg.export.stream import StreamedImage

__all__ = ["ExportImage", "ExportJob", "Exporter", "read_image_of", "unique_names"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ExportImage:
    """An image to export.

    Attributes
    ----------
    file : ImageFile
    name : str
        Name of its files: its image_id, with "/" for sub folders, made unique within the export.
    folder_name : str
        The name without sub folders, also unique.
    number : int
        1, 2, ... among the images, also those that are left out.
    size : (int, int)
        Height and width, px.
    cells : sequence of Cell
        The visible cells.
    instances : InstanceMasks
        The same cells, in the same order.
    read : callable
        Reads the image itself; see `image`.
    about : About
        The note and flag of the image.
    """

    file: ImageFile
    name: str
    folder_name: str
    number: int
    size: tuple[int, int]
    cells: Sequence[Cell]
    instances: InstanceMasks
    read: Callable[[], Image]
    about: About = NOTHING

    @cached_property
    def image(self) -> Image:
        """The image, read once."""
        return self.read()


class ExportJob:
    """The data shared by all exporters of one export: the plan, the classes, the ids and the list of written files."""

    def __init__(self, plan: ExportPlan, classes: ClassTable, ids: IdMatch | None) -> None:
        self.plan = plan
        self.classes = classes
        self.ids = ids
        self.files: list[Path] = []
        self.covered = 0
        """Cells that lost pixels to other cells in label images, which have one cell per pixel."""

    def path(self, *parts: str) -> Path:
        """Return the path of a file to write; create its folder and list the file.

        Raises
        ------
        ExportError
            The folder cannot be created.
        """
        path = self.plan.folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"Cannot create the folder {path.parent}: {error.strerror or error}.") from error
        self.files.append(path)
        return path

    def write(self, data: bytes | bytearray, *parts: str) -> None:
        """Write one file."""
        with export_write(self.path(*parts)) as file:
            file.write(data)

    def write_image(self, image: ExportImage, *parts: str) -> None:
        """Write the image next to its labels, with ``.tif`` added.

        A TIFF is copied unchanged; any other format, and a part of a stack, becomes an RGB TIFF.

        Raises
        ------
        ImageReadError
            The image cannot be read.
        """
        path = self.path(*parts[:-1], f"{parts[-1]}.tif")
        if image.file.path.suffix.lower() not in (".tif", ".tiff") or _is_part(image.file):
            with export_write(path) as file:
                tifffile.imwrite(file, image.image.rgb(), photometric="rgb", compression="zlib", metadata=None)
            return
        try:
            with image.file.path.open("rb") as pixels, export_write(path) as file:
                shutil.copyfileobj(pixels, file)
        except OSError as error:
            raise ImageReadError(f"Cannot read {image.file.path}: {error.strerror or error}.") from error


def _is_part(file: ImageFile) -> bool:
    """Return whether the options choose a plane, channels or a level: a copy of the file would be read differently."""
    reading = file.reading
    return reading is not None and (reading.plane, reading.channels, reading.level) != (None, None, None)


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """An export format.

    Attributes
    ----------
    name : str
        The word on the command line: ``--to geojson``.
    label : str
        Text of its check box in the Export dock.
    tip : str
        One sentence: the files written and their use.
    per : "image" or "folder"
        Whether there is a file for each image or one for all.
    write : callable
        Called for each image; what it returns is collected for ``finish``.
    finish : callable, optional
        Called once with all collected values, in the order of the images.
    needs_pixels : bool
        Whether the image is read; this happens before anything is written.
    suits_slides : bool
        Whether memory grows with the cells only and not with the area of the image.
    stream : callable, optional
        Writes images whose cells come in batches, so that memory grows with neither. A generator that yields after
        each batch; closed before its end, it leaves no unfinished file.
    missing : callable, optional
        Returns the missing optional package and how to install it; None if the exporter can be used.
    """

    name: str
    label: str
    tip: str
    per: Literal["image", "folder"]
    write: Callable[[ExportJob, ExportImage], Any]
    finish: Callable[[ExportJob, list[Any]], None] | None = None
    needs_pixels: bool = False
    suits_slides: bool = False
    stream: Callable[[ExportJob, Sequence[StreamedImage]], Generator[None, None, None]] | None = None
    missing: Callable[[], str | None] = lambda: None


def read_image_of(file: ImageFile, annotations: Annotations) -> Image:
    """Read the image that annotations belong to.

    Raises
    ------
    ImageReadError
        It cannot be read.
    AnnotationError
        It has another size than the annotations.
    """
    image = read_image(file.path, options=file.reading)
    if image.size != annotations.image_size:
        raise AnnotationError(
            f"The annotations of {file.image_id} are for {annotations.image_size}, the image has {image.size} px."
        )
    return image


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names that are unique without regard to case; repeated names get "_2", "_3", ..."""
    taken: set[str] = set()
    unique = []
    for name in names:
        free, number = name, 1
        while free.casefold() in taken:
            number += 1
            free = f"{name}_{number}"
        taken.add(free.casefold())
        unique.append(free)
    return unique
