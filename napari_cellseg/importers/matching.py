"""Matches the name and size of an image in an annotation file with an image file."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.images.formats import image_size
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.image_index import name_parts
from napari_cellseg.importers.source import Source

__all__ = ["draft_of", "draft_of_file", "draft_of_stem"]

Size = tuple[int, int]


def draft_of(source: Source, collector: Collector, file: str, name: str, size: Size | None = None) -> Draft:
    """Return the draft of an image named by an annotation file; the same draft for the same image.

    Parameters
    ----------
    source, collector
        The source of the images, and the collector of the drafts.
    file : str
        The annotation file, for messages.
    name : str
        The image's name in that file.
    size : (int, int), optional
        Height and width stated there, px.
    """
    parts = name_parts(name)
    shown = "/".join(parts) or name
    try:
        path = source.images.find(name)
    except AnnotationError as error:
        return collector.draft(Draft(name=shown, path=None, size=size or (1, 1), problem=str(error)))
    if path is None:
        if size is not None and not source.options.need_images:
            return collector.draft(Draft(name=shown, path=None, size=size))
        where = source.options.images or source.root
        return collector.draft(
            Draft(name=shown, path=None, size=size or (1, 1), problem=f"the image {shown} is not in {where}")
        )
    rival = collector.by_path.get(path)
    if rival is not None and rival[0] == file and rival[2] != parts:
        # Two names of one annotation file lead to one image: "b/x.tif", which is not there, and "a/x.tif".
        missing = f"the image {shown} is not in {source.options.images or source.root}"
        if _shared(rival[2], path) >= _shared(parts, path) or rival[1].cells:
            return collector.draft(Draft(name=shown, path=None, size=size or (1, 1), problem=missing))
        rival[1].name, rival[1].path = "/".join(rival[2]), None
        rival[1].problem = f"the image {rival[1].name} is not in {source.options.images or source.root}"
        del collector.by_path[path]
    return draft_of_file(source, collector, file, path, size, parts)


def _shared(parts: tuple[str, ...], path: Path) -> int:
    """Return how many parts of a name, from the end, are those of a path."""
    known = name_parts(path.as_posix())
    pairs = zip(reversed(parts), reversed(known), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0].casefold() == pair[1].casefold(), pairs))


def draft_of_file(
    source: Source,
    collector: Collector,
    file: str,
    path: Path,
    size: Size | None = None,
    parts: tuple[str, ...] = (),
) -> Draft:
    """Return the draft of an image file; for a second annotation file of the same image, a draft with a problem."""
    name = shown_name(source, path)
    known = collector.by_path.get(path)
    if known is not None:
        first, draft, _ = known
        if first == file:
            return draft
        return collector.draft(
            Draft(name=name, path=path, size=draft.size, problem=f"the image already has annotations in {first}")
        )
    problem = ""
    try:
        actual = image_size(path)
    except ImageReadError as error:
        actual, problem = size or (1, 1), str(error).rstrip(".")
    if size is not None and not problem and size != actual:
        if size == actual[::-1]:
            collector.note(f"{file} has the height and width of {name} swapped; those of the image are used.")
        else:
            problem = f"it was annotated at {size[0]} x {size[1]} px, but the image has {actual[0]} x {actual[1]} px"
    draft = collector.draft(Draft(name=name, path=path, size=actual, problem=problem))
    collector.by_path[path] = file, draft, parts
    return draft


def draft_of_stem(source: Source, collector: Collector, file: Path, *stems: str) -> Draft:
    """Return the draft of the image with the name of an annotation file: the first match of ``stems``.

    A single image and a single annotation file belong together whatever their names.
    """
    shown = source.shown(file)
    try:
        for stem in stems:
            path = source.images.find_stem(stem, file.parent)
            if path is not None:
                return draft_of_file(source, collector, shown, path)
    except AnnotationError as error:
        return collector.draft(Draft(name=stems[0], path=None, size=(1, 1), problem=str(error)))
    where = source.options.images or source.root
    return collector.draft(
        Draft(name=stems[0], path=None, size=(1, 1), problem=f"there is no image named {stems[0]} in {where}")
    )


def shown_name(source: Source, path: Path) -> str:
    """Return the path of an image relative to the searched folders."""
    for root in (*source.images.roots, source.root):
        if path.is_relative_to(root):
            return "/".join(name_parts(path.relative_to(root).as_posix()))
    return path.name
