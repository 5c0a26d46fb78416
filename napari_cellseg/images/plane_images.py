"""The planes of stacks as separate images: counted from the headers, each with an id that names its plane."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.formats import plane_count
from napari_cellseg.images.listing import ImageFile
from napari_cellseg.images.options import ReadOptions

__all__ = ["all_planes", "each_plane", "id_on_canvas", "plane_id"]


def plane_id(image_id: str, plane: int) -> str:
    """Return the id of a plane of the stack ``image_id``."""
    return f"{image_id}_plane{plane}"


def id_on_canvas(file: ImageFile, *, every_plane: bool) -> str:
    """Return the id that the picture of ``file`` has when the planes of stacks become images, or stacks again."""
    if not every_plane:
        return file.image_id if file.plane is None else file.image_id.removesuffix(plane_id("", file.plane))
    shown = None if file.reading is None else file.reading.plane
    return plane_id(file.image_id, shown if isinstance(shown, int) else 0)


def each_plane(file: ImageFile) -> list[ImageFile]:
    """Return one image per plane of a stack; the image unchanged if it has one plane.

    Nothing is decoded. A file whose header cannot be read stays one image, which fails with the reason when it is read.
    """
    options = file.reading or ReadOptions()
    try:
        planes = plane_count(file.path, options)
    except ImageReadError:
        return [file]
    if planes == 1:
        return [file]
    return [
        replace(file, image_id=plane_id(file.image_id, plane), reading=options.changed(plane=plane), plane=plane)
        for plane in range(planes)
    ]


def all_planes(files: Iterable[ImageFile]) -> list[ImageFile]:
    """Return `each_plane` of all images; planes whose ids other images have get the suffix of the file in their id."""
    found = [each_plane(file) for file in files]
    whole = {planes[0].image_id for planes in found if planes[0].plane is None}
    return [_apart(plane, whole) for planes in found for plane in planes]


def _apart(file: ImageFile, whole: set[str]) -> ImageFile:
    if file.plane is None or file.image_id not in whole:
        return file
    stack = file.image_id.removesuffix(plane_id("", file.plane))
    return replace(file, image_id=plane_id(f"{stack}{file.path.suffix}", file.plane))
