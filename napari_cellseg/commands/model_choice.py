"""The model of a command: the one that the user names, or the bundled model that suits the images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cellseg.images.read import ImageFile
    from napari_cellseg.images.statistics import PictureFacts
    from napari_cellseg.model.config import PredictOptions

__all__ = ["model_for"]

_MOST_READ = 3
"""Images that are read to pick a model."""


def model_for(
    settings: PredictOptions, files: Sequence[ImageFile], options: argparse.Namespace
) -> tuple[PredictOptions, Path, str]:
    """Return the settings with a model, its file, and why it was picked.

    Without a model in the settings, a few images that are spread evenly over the list are read. Most of them must be
    unlike H&E for another model than the usual one.

    Parameters
    ----------
    settings : PredictOptions
        With the file of a model, the name of one in the library, or neither.
    files : sequence of ImageFile
    options : Namespace
        With the options of `commands.reading`.

    Returns
    -------
    settings : PredictOptions
    path : Path
    why : str
        A line for the user; empty for the user's own choice, and for the usual model.

    Raises
    ------
    CheckpointError
        There is no model of this name, or no bundled model.
    ConfigError
        An option of reading has an invalid value.
    """
    from napari_cellseg.errors import ImageReadError
    from napari_cellseg.model.bundled import USUAL, bundled
    from napari_cellseg.model.library import ModelLibrary
    from napari_cellseg.model.suitability import PickedModel, pick_model

    if settings.checkpoint is not None:
        path = ModelLibrary().find(str(settings.checkpoint))
        return settings.model_copy(update={"checkpoint": path}), path, ""
    picks: list[tuple[str, PickedModel]] = []
    for file in _some(files):
        with suppress(ImageReadError):  # reported when the image is predicted
            picks.append((file.image_id, pick_model(_facts(file, options))))
    unlike = [(image_id, picked) for image_id, picked in picks if picked.reason]
    if 2 * len(unlike) <= len(picks):
        return settings, bundled(), ""
    image_id, picked = unlike[0]
    of = f" ({len(unlike)} of the {len(picks)} images that were checked are)" if len(picks) > 1 else ""
    why = f"model {picked.name} was picked. {image_id}: {picked.reason}{of}. --checkpoint {USUAL} uses that model."
    return settings.model_copy(update={"checkpoint": picked.path}), picked.path, why


def _some(files: Sequence[ImageFile]) -> list[ImageFile]:
    count = min(len(files), _MOST_READ)
    return [files[i * len(files) // count] for i in range(count)]


def _facts(file: ImageFile, options: argparse.Namespace) -> PictureFacts:
    from napari_cellseg.commands.reading import reading_of
    from napari_cellseg.images.formats import read_image
    from napari_cellseg.images.options import ReadOptions
    from napari_cellseg.images.slide import has_regions, open_slide

    given = argparse.Namespace(**{**vars(options), "plane": None if options.plane == "all" else options.plane})
    reading = reading_of(given, ReadOptions())
    if has_regions(file.path, reading):
        with open_slide(file.path, reading) as slide:
            return slide.overview.facts
    return read_image(file.path, options=reading).facts
