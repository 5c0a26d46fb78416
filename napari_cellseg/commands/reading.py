"""The options that define how images are read: brightness limits, plane, channels, level."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cellseg.images.listing import ImageFile
    from napari_cellseg.images.options import ReadOptions

__all__ = ["add_reading_options", "as_read", "check_readable", "reading_of"]


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `reading_of` reads."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--limits",
        nargs="+",
        metavar=("LOW", "HIGH"),
        help="values that become black and white: two numbers, or auto (from the image, default) or dtype",
    )
    group.add_argument(
        "--plane",
        metavar="N",
        help="plane of a stack, counted from 0; max or mean (projections), or all (predict); default: 0",
    )
    group.add_argument(
        "--channels", metavar="C", help="channel to read as grey, or three as red, green, blue: 0,1,2, counted from 0"
    )
    group.add_argument(
        "--level",
        type=int,
        metavar="N",
        help="resolution level of a slide, 0 is the finest (default: the finest that fits)",
    )


def reading_of(options: argparse.Namespace, base: ReadOptions | None = None) -> ReadOptions:
    """Return ``base`` (the defaults, or those of a model's training) with the changes of the options.

    Raises
    ------
    ConfigError
        An option has an invalid value; the message names the option.
    """
    from pydantic import ValidationError

    from napari_cellseg.errors import ConfigError
    from napari_cellseg.images.options import ReadOptions, parse_channels, parse_limits, parse_plane
    from napari_cellseg.model.settings import config_error

    if options.plane == "all":
        raise ConfigError("--plane all makes several images from one; only predict supports that.")
    changes: dict[str, object] = {}
    if options.limits is not None:
        changes["limits"] = parse_limits(options.limits)
    if options.plane is not None:
        changes["plane"] = parse_plane(options.plane)
    if options.channels is not None:
        changes["channels"] = parse_channels(options.channels)
    if options.level is not None:
        changes["level"] = options.level
    try:
        chosen = ReadOptions.model_validate(changes)
    except ValidationError as error:
        raise config_error(error, "The image options") from error
    return chosen if base is None else chosen.over(base)


def as_read(files: Sequence[ImageFile], options: argparse.Namespace, base: ReadOptions) -> list[ImageFile]:
    """Return the images with their reading options; with ``--plane all``, each plane of a stack is an image.

    Raises
    ------
    ConfigError
        As `reading_of`.
    """
    from napari_cellseg.images.plane_images import all_planes

    every = options.plane == "all"
    given = argparse.Namespace(**{**vars(options), "plane": None if every else options.plane})
    reading = reading_of(given, base)
    placed = [replace(file, reading=reading) for file in files]
    return all_planes(placed) if every else placed


def check_readable(files: Sequence[ImageFile]) -> None:
    """Refuse images of which none can be read as chosen, for example no plane 9; stops at the first that can be read.

    Raises
    ------
    ImageReadError
        That of the first image.
    """
    from napari_cellseg.errors import ImageReadError
    from napari_cellseg.images.formats import read_image
    from napari_cellseg.images.options import ReadOptions
    from napari_cellseg.images.slide import has_regions, open_slide

    first: ImageReadError | None = None
    for file in files:
        reading = file.reading or ReadOptions()
        try:
            if has_regions(file.path, reading):
                with open_slide(file.path, reading) as slide:
                    _ = slide.overview.shown
            else:
                read_image(file.path, options=reading)
        except ImageReadError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first
