"""The entry point of all importers: recognises the format, reads every row, and reports what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.image_index import is_image, looks_like_mask
from napari_cellseg.importers.result import Imported, ImportOptions
from napari_cellseg.importers.source import Source
from napari_cellseg.importers.table import IMPORTERS, Importer
from napari_cellseg.importers.unpacking import unpacked
from napari_cellseg.wording import counted, listed

__all__ = ["FORMATS", "import_annotations", "is_recognised"]

_ANNOTATION_SUFFIXES = (".json", ".geojson", ".xml", ".roi", ".mat", ".zip", ".npy")
_OTHER_FILES = ("classes.json", "project.json", "images.npy", "types.npy", "test_image_name_to_ids.json")

FORMATS = ("auto", *(importer.name for importer in IMPORTERS))


def import_annotations(path: Path, options: ImportOptions | None = None, format_name: str = "auto") -> Imported:
    """Read annotations of any format of `IMPORTERS`.

    Parameters
    ----------
    path : Path
        A file, a folder, or a zip of one.
    options : ImportOptions, optional
    format_name : str
        Name of an importer; "auto" uses the first one that recognises the source.

    Returns
    -------
    Imported
        Every row of the source is a cell, a part of one, or in ``left_out``.

    Raises
    ------
    AnnotationError
        The path does not exist, cannot be read, or has no known format.
    ConfigError
        The format does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise AnnotationError(f"There is no file or folder {path}.")
    source = Source(unpacked(path), options or ImportOptions())
    importer, files = _recognised(path, source, format_name)
    collector = Collector(source.options, source.size_bytes)
    importer.read(source, files, collector)
    for file, reason in source.broken_json():
        collector.also_read.add(file)
        collector.leave_out_file(source.shown(file), reason)
    _note_unread(source, files, collector)
    return collector.result(path, importer.title)


def _note_unread(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Note the files that look like annotations but were not read."""
    read = {*files, *collector.by_path, *collector.also_read}
    unread = [
        source.shown(file)
        for file in source.files
        if file not in read and (_is_annotation(file) or (is_image(file) and looks_like_mask(file)))
    ]
    if unread:
        collector.note(f"Not read: {counted(len(unread), 'other file')} that may hold annotations: {listed(unread)}.")


def _is_annotation(file: Path) -> bool:
    return file.suffix.lower() in _ANNOTATION_SUFFIXES and file.name.lower() not in _OTHER_FILES


def is_recognised(path: Path) -> bool:
    """Return whether a file or folder looks like annotations of a known format; only JSON is read completely."""
    try:
        _recognised(path, Source(unpacked(path)), "auto")
    except AnnotationError:
        return False
    return True


def _recognised(path: Path, source: Source, format_name: str) -> tuple[Importer, list[Path]]:
    if format_name not in FORMATS:
        raise ConfigError(f"There is no format {format_name!r}; the formats are {', '.join(FORMATS)}.")
    for importer in IMPORTERS:
        if format_name in ("auto", importer.name) and (files := importer.find(source)):
            return importer, files
    if source.path.suffix.lower() == ".json":
        source.json(source.path)  # raises the specific error
    titles = ", ".join(importer.title for importer in IMPORTERS if format_name in ("auto", importer.name))
    raise AnnotationError(f"{path} has no annotations of a known format ({titles}). See docs/file-formats.md.")
