"""Label image files: a mask next to each image, a folder of masks, one file per class, or with a class map."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError, ConfigError
from napari_cellseg.formats.rle import Decoded
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.image_files import read_values
from napari_cellseg.importers.image_index import is_image
from napari_cellseg.importers.label_values import cells_of, most_frequent
from napari_cellseg.importers.matching import draft_of_file, draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source
from napari_cellseg.wording import counted, listed

__all__ = ["find", "read", "read_label_file"]

_MASK_ENDING = re.compile(r"(.+?)[ _.-](cp_masks|masks?|labels?|instances?|inst(_map)?|seg|gt|nuclei)", re.IGNORECASE)
_TYPE_ENDING = re.compile(r"(.+?)[ _.-](types?|type_map|class(es)?|class_?map|categories)", re.IGNORECASE)
_CLASS_FILE = re.compile(r"(?:(.+?)[ _.-])?class_?(\d+)", re.IGNORECASE)
_MASK_FOLDER = re.compile(
    r"(cell|nuclei|instance|label|gt|cp)?[ _-]?(masks?|labels?|gt|ground[ _-]?truth|annotations?|instances?|inst)"
    r"([ _-]?(masks?|images?|maps?))?",
    re.IGNORECASE,
)
_MASK_NAMES = ("mask", "masks", "label", "labels", "cells")
_TYPE_NAMES = ("types", "classes", "type_map", "class_map")


def find(source: Source) -> list[Path]:
    """Return the files with the name of a mask, or in a folder for masks; a single file always counts."""
    if source.path.is_file():
        return [source.path] if is_image(source.path) else []
    return [file for file in source.files if is_image(file) and _kind(source, file) != "image"]


def _kind(source: Source, file: Path) -> str:
    if _CLASS_FILE.fullmatch(file.stem):
        return "class"
    if file.parent != source.root and file.stem.lower() != "image" and file.stem in _class_names(source):
        return "class"
    if _TYPE_ENDING.fullmatch(file.stem) or file.stem.lower() in _TYPE_NAMES:
        return "types"
    if _MASK_ENDING.fullmatch(file.stem) or file.stem.lower() in _MASK_NAMES:
        return "mask"
    folders = file.relative_to(source.root).parts[:-1]
    return "mask" if any(_MASK_FOLDER.fullmatch(folder) for folder in folders) else "image"


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all files; the image of a mask has the same name without the ending, in the same or another folder."""
    source.images.ignored.update(files)
    table = _class_table(source)
    for _, name, colour in table or ():
        collector.declare(name, colour)
    types = {_owner(source, file): file for file in files if _kind(source, file) == "types"}
    used: set[str] = set()
    by_image: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if source.path.is_file() or _kind(source, file) != "types":
            by_image[_owner(source, file)].append(file)
    for owner, masks in by_image.items():
        draft = _draft(source, collector, masks[0], owner)
        type_file = types.get(owner)
        used.add(owner) if type_file is not None else None
        for file in masks:
            read_label_file(source, collector, file, draft, _class_of(file, table), type_file)
    for owner in types.keys() - used:
        collector.leave_out_file(source.shown(types[owner]), "a class map without a label image of cells")
    _name_bare_images(source, collector, set(files))


def _owner(source: Source, file: Path) -> str:
    """Return the common key of the masks of one image: the folder and the image's name without suffix."""
    stem = file.stem
    match = _CLASS_FILE.fullmatch(stem) or _TYPE_ENDING.fullmatch(stem) or _MASK_ENDING.fullmatch(stem)
    if match:
        stem = match[1] or "image"
    elif stem.lower() in (*_MASK_NAMES, *_TYPE_NAMES) or stem in _class_names(source):
        stem = "image"
    return (file.parent / stem).as_posix()


def _draft(source: Source, collector: Collector, mask: Path, owner: str) -> Draft:
    stem = owner.rsplit("/", 1)[1]
    near = (
        [
            file
            for file in sorted(mask.parent.iterdir())
            if is_image(file) and file != mask and file.stem.casefold() == stem.casefold()
        ]
        if mask.parent.is_dir()
        else []
    )
    if near:
        return draft_of_file(source, collector, source.shown(mask.parent / f"{stem} masks"), near[0])
    others = [mask.stem] if stem == "image" else [stem, mask.stem]
    if stem == "image":
        others = [mask.parent.name, *others]
    return draft_of_stem(source, collector, mask, *others)


def _class_table(source: Source) -> ClassTable | None:
    for file in (source.root / "classes.json", source.root.parent / "classes.json"):
        if file.is_file():
            try:
                return ClassTable.from_json(source.json(file))
            except ConfigError as error:
                raise AnnotationError(f"{file} is not a class table: {error}") from error
    return ClassTable(source.options.classes) if source.options.classes else None


def _class_names(source: Source) -> tuple[str, ...]:
    table = _class_table(source)
    return () if table is None else table.names


def _class_of(file: Path, table: ClassTable | None) -> str:
    match = _CLASS_FILE.fullmatch(file.stem)
    if match is None:
        return file.stem if table is not None and file.stem in table.names else ""
    number = int(match[2])
    if table is not None and 1 <= number <= len(table):
        return table.name(number)
    return f"class{number}" if number else ""


def read_label_file(
    source: Source, collector: Collector, file: Path, draft: Draft, class_name: str, type_file: Path | None = None
) -> None:
    """Read one label image; each of its values is a row.

    Parameters
    ----------
    source, collector, draft
    file : Path
    class_name : str
        Class of all its cells; empty if the file does not state it ("cell", or from ``type_file``).
    type_file : Path, optional
        A class map of the same size, whose values are class_ids.
    """
    name = source.shown(file)
    try:
        values = read_values(file)
        types = None if type_file is None else _class_map(read_values(type_file))
    except CellSegError as error:
        collector.leave_out_file(name, str(error))
        return
    found = cells_of(values, source.options.split, _colours(source))
    for text in found.notes:
        collector.note(f"{name}: {text}.")
    height, width = values.shape[:2]
    for entry in found.cells:
        with collector.row(name, entry.value, draft) as row:
            collector.check(draft)
            if (height, width) != draft.size:
                raise Unusable(f"the mask has {height} x {width} px, the image {draft.size[0]} x {draft.size[1]} px")
            if entry.reason:
                raise Unusable(entry.reason)
            chosen = entry.class_name or class_name
            if not chosen and types is not None:
                chosen = _type_of(entry.cell, types, source)
            row.keep(chosen or "cell", entry.cell, value=entry.value)


def _class_map(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    values = values[..., 0] if values.ndim == 3 else values
    whole: npt.NDArray[np.int64] = np.rint(np.nan_to_num(values)).astype(np.int64)
    return whole


def _type_of(cell: Decoded | None, types: npt.NDArray[np.int64], source: Source) -> str:
    if cell is None:
        return ""
    (x0, y0, x1, y1), mask = cell[0].tolist(), cell[1]
    if types.shape[0] < y1 or types.shape[1] < x1:
        raise Unusable("the class map has another size")
    inside = types[y0:y1, x0:x1][mask]
    number = most_frequent(inside)
    if not number:
        raise Unusable("the class map has no class for it")
    names = _class_names(source)
    return names[number - 1] if number <= len(names) else f"class{number}"


def _colours(source: Source) -> Mapping[tuple[int, int, int], str]:
    if source.options.colours:
        return source.options.colours
    table = _class_table(source)
    if table is None:
        return {}
    parts = ((bytes.fromhex(colour[1:]), name) for _, name, colour in table)
    return {(rgb[0], rgb[1], rgb[2]): name for rgb, name in parts}


def _name_bare_images(source: Source, collector: Collector, masks: set[Path]) -> None:
    """Note the images without a mask."""
    bare = [file for file in source.files if is_image(file) and file not in masks and file not in collector.by_path]
    if bare and source.path.is_dir():
        shown = listed([source.shown(file) for file in bare])
        collector.note(f"{counted(len(bare), 'image')} without a mask: {shown}.")
