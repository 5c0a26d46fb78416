"""The source of an import: its files, their JSON content, and the images that belong to them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.importers.image_index import ImageIndex
from napari_cellseg.importers.result import ImportOptions

__all__ = ["MAX_FILES", "Source", "files_below"]

MAX_FILES = 200_000
"""Largest number of files in a folder."""

_ANNOTATION_FOLDERS = ("annotation", "label", "json", "xml", "roi", "mask", "result")


@dataclass(eq=False)
class Source:
    """The path that the user chose.

    Attributes
    ----------
    path : Path
        A file or a folder.
    options : ImportOptions
    """

    path: Path
    options: ImportOptions = field(default_factory=ImportOptions)
    _json: dict[Path, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def root(self) -> Path:
        """The folder to which names are relative."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The file itself, or all files of the folder in natural order, without hidden ones."""
        return (self.path,) if self.path.is_file() else tuple(files_below(self.path))

    @cached_property
    def size_bytes(self) -> int:
        """Size of all files."""
        sizes = []
        for file in self.files:
            with suppress(OSError):  # a link to nothing
                sizes.append(file.stat().st_size)
        return sum(sizes)

    @cached_property
    def images(self) -> ImageIndex:
        """The images near the annotations: in ``--images``, in the folder and below, or in the folder above it."""
        if self.options.images is not None:
            if not self.options.images.is_dir():
                raise AnnotationError(f"The folder of images {self.options.images} does not exist.")
            return ImageIndex((self.options.images,))
        is_nested = any(word in self.root.name.lower() for word in _ANNOTATION_FOLDERS)
        return ImageIndex((self.root, self.root.parent) if is_nested and self.path.is_file() else (self.root,))

    def named(self, *suffixes: str) -> list[Path]:
        """Return the files with one of these endings, ignoring case."""
        return [file for file in self.files if file.name.lower().endswith(suffixes)]

    def json(self, path: Path) -> Any:
        """Return the values of a JSON file, read once.

        Raises
        ------
        AnnotationError
            The file is not JSON.
        """
        if path not in self._json:
            try:
                self._json[path] = read_json(path, nan="keep")
            except CellSegError as error:
                self._json[path] = error
        found = self._json[path]
        if isinstance(found, CellSegError):
            raise found
        return found

    def broken_json(self) -> list[tuple[Path, str]]:
        """Return the damaged JSON files and their problems."""
        return [(file, str(found)) for file, found in self._json.items() if isinstance(found, CellSegError)]

    def forget(self, path: Path) -> None:
        """Free the memory of a JSON file that was read."""
        self._json.pop(path, None)

    def shown(self, path: Path) -> str:
        """Return the path of a file relative to the source, for messages."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.name


def files_below(folder: Path) -> Sequence[Path]:
    """List all files of a folder and its sub folders, sorted, without hidden ones.

    Raises
    ------
    AnnotationError
        There are too many, or the folder cannot be read.
    """
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise AnnotationError(f"Cannot read {error.filename}: {error.strerror}.") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        found += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        if len(found) > MAX_FILES:
            raise AnnotationError(f"{folder} holds more than {MAX_FILES:,} files; choose the folder of the data set.")
    return found
