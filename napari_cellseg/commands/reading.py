"""The options of the commands that say how images are read: limits of brightness, plane, channels, level."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cellseg.images.options import ReadOptions

__all__ = ["add_reading_options", "reading_of"]


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `reading_of` reads."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--limits",
        nargs="+",
        metavar=("LOW", "HIGH"),
        help="values that become black and white: two numbers, or auto (from the image, default) or dtype",
    )


def reading_of(options: argparse.Namespace, base: ReadOptions | None = None) -> ReadOptions:
    """Return ``base`` (the defaults, or how a model was trained) with what the options change.

    Raises
    ------
    ConfigError
        An option has a value that means nothing; the message names the option.
    """
    from pydantic import ValidationError

    from napari_cellseg.images.options import ReadOptions, parse_limits
    from napari_cellseg.model.config import config_error

    changes: dict[str, object] = {}
    if options.limits is not None:
        changes["limits"] = parse_limits(options.limits)
    try:
        return ReadOptions(**{**(base or ReadOptions()).model_dump(), **changes})
    except ValidationError as error:
        raise config_error(error, "The image options") from error
