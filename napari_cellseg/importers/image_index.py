"""Finds an image by its name in an annotation file, on whatever system the file was written."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from napari_cellseg.errors import AnnotationError
from napari_cellseg.images.formats import FORMATS
from napari_cellseg.images.listing import is_mask_folder

__all__ = ["IMAGE_SUFFIXES", "ImageIndex", "is_image", "looks_like_mask", "name_parts"]

IMAGE_SUFFIXES = tuple(suffix for known in FORMATS if not known.is_folder for suffix in known.suffixes)

_MASK_NAME = re.compile(
    r"(.*[_-](cp_)?(masks?|labels?|instances?|inst|seg|gt|types?|classes|outlines|flows)|class\d+)", re.IGNORECASE
)
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
_MAX_FILES = 200_000


def is_image(path: Path) -> bool:
    """Return whether a file has the suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def looks_like_mask(path: Path) -> bool:
    """Return whether a file has the name of a mask: ``a_masks.tif``, ``class1.tif``."""
    return _MASK_NAME.fullmatch(path.stem) is not None


def name_parts(name: str) -> tuple[str, ...]:
    """Split a path or URL of any system into its parts, in NFC; drives, ``.`` and ``..`` are dropped."""
    name = name.strip()
    if "?d=" in name:  # Label Studio's local files
        name = parse_qs(urlsplit(name).query).get("d", [name])[0]
    elif "://" in name:
        name = urlsplit(name).path
    if "%" in name:
        name = unquote(name)
    parts = unicodedata.normalize("NFC", name.replace("\\", "/")).split("/")
    return tuple(part for part in parts if part not in ("", ".", "..") and not re.fullmatch("[A-Za-z]:", part))


class ImageIndex:
    """An index of the image files of folders, by the last parts of their paths.

    Parameters
    ----------
    roots : folders
        Earlier folders have priority.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(roots)
        self.ignored: set[Path] = set()
        """Files that are known to be masks, independent of their names."""

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All image files, including masks, those of the first root first."""
        found: dict[Path, None] = {}
        for root in self.roots:
            for parent, folders, names in os.walk(root):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                found.update((Path(parent, name), None) for name in sorted(names) if is_image(Path(name)))
                if len(found) > _MAX_FILES:
                    raise AnnotationError(
                        f"{root} holds more than {_MAX_FILES:,} images; choose the folder of your images."
                    )
        return tuple(file for file in found if not file.name.startswith("."))

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[tuple[str, ...], Path]]]:
        table: dict[str, list[tuple[tuple[str, ...], Path]]] = defaultdict(list)
        for file in self._pictures:
            parts = tuple(part.casefold() for part in name_parts(file.as_posix()))
            table[parts[-1]].append((parts, file))
        return table

    @property
    def _pictures(self) -> Iterator[Path]:
        """The files that are in no folder of label images: those have the names of the images too."""
        for file in self.files:
            root = next(root for root in self.roots if file.is_relative_to(root))
            if not any(is_mask_folder(part) for part in file.relative_to(root).parts[:-1]):
                yield file

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        table: dict[str, list[Path]] = defaultdict(list)
        for file in self._pictures:
            table[_stem(file.name)].append(file)
            if _stem(file.name) == "image":  # a training folder, <id>/image.tif
                table[_stem(file.parent.name)].append(file)
        return table

    def find(self, name: str) -> Path | None:
        r"""Return the image with a name.

        The longest match from the end counts: of ``C:\data\a\x.tif`` first ``data/a/x.tif``, then ``a/x.tif``,
        then ``x.tif``; then ``x.tif`` without a prefix that Label Studio puts before uploads.

        Raises
        ------
        AnnotationError
            Several images fit equally well.
        """
        parts = tuple(part.casefold() for part in name_parts(name))
        if not parts:
            return None
        direct = self._direct(name_parts(name))
        if direct is not None:
            return direct
        wanted = [parts]
        if _UPLOAD_PREFIX.match(parts[-1]):
            wanted.append((*parts[:-1], _UPLOAD_PREFIX.sub("", parts[-1])))
        for each in wanted:
            candidates = self._by_name.get(each[-1], [])
            for length in range(len(each), 0, -1):
                fitting = [file for known, file in candidates if known[-length:] == each[-length:]]
                if len(fitting) == 1:
                    return fitting[0]
                if fitting:
                    raise AnnotationError(f"{len(fitting)} images are named {'/'.join(each[-length:])}")
        return None

    def find_stem(self, stem: str, near: Path | None = None) -> Path | None:
        """Return the image of a name without suffix; of several the one in or nearest to the folder ``near``.

        Raises
        ------
        AnnotationError
            Several images fit equally well.
        """
        found = [
            file
            for file in self._by_stem.get(_stem(stem), [])
            if not looks_like_mask(file) and file not in self.ignored
        ]
        if len(found) > 1 and near is not None:
            shared = {file: len(os.path.commonpath([file.resolve(), near.resolve()])) for file in found}
            best = max(shared.values())
            found = [file for file in found if shared[file] == best]
        if len(found) > 1:
            raise AnnotationError(f"{len(found)} images are named {stem}")
        return found[0] if found else None

    def _direct(self, parts: tuple[str, ...]) -> Path | None:
        for root in self.roots:
            for form in ("NFC", "NFD"):
                file = root.joinpath(*(unicodedata.normalize(form, part) for part in parts))
                with suppress(OSError):  # a name longer than the file system takes
                    if file.is_file():
                        return file
        return None


def _stem(name: str) -> str:
    """Return a name without the suffix of an image, to compare with others."""
    name = unicodedata.normalize("NFC", name).casefold()
    for suffix in (".ome.tif", ".ome.tiff", *IMAGE_SUFFIXES):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
