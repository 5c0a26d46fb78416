"""Lists the images of a folder, in the same way for every command and dock, and reports files that are skipped.

An image is identified by its path in the folder: ``tile_1.tif`` is "tile_1", ``slide/tile_1.tif`` is "slide/tile_1". In
two layouts an image has its own folder and that folder's name: ``<id>/image.tif`` next to its ``class1.tif`` ..., and
``<id>/images/<id>.png`` (Data Science Bowl). Names are in NFC on every file system.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.formats import format_of
from napari_cellseg.images.options import ReadOptions

__all__ = [
    "ImageFile",
    "Listing",
    "Skipped",
    "check_regular_file",
    "find_images",
    "has_own_folder",
    "home_of",
    "is_mask_folder",
    "list_images",
    "natural_key",
    "with_unique_ids",
]

_HASH = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(\..*)?")
"""A hexadecimal number with digits and letters, at least eight characters, with or without an ending."""


@dataclass(frozen=True)
class ImageFile:
    """An image of a file list.

    Attributes
    ----------
    image_id : str
        Path in the listed folder, without suffix; for an image with its own folder, the path of that folder.
    path : Path
    reading : ReadOptions, optional
        How to read the image; fields that were not chosen are those of the training of the model, or the defaults
        without a model.
    plane : int, optional
        The plane that this image is, if all planes of the file are separate images; see `plane_images`.
    """

    image_id: str
    path: Path
    reading: ReadOptions | None = None
    plane: int | None = None

    def read_as(self, options: ReadOptions) -> ImageFile:
        """Return the image with other options; an image that is a plane of a stack remains that plane."""
        return replace(self, reading=options if self.plane is None else options.changed(plane=self.plane))


@dataclass(frozen=True)
class Skipped:
    """A file or folder that looks like an image or a mask but is not read as an image, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """The images of a folder in natural order, and the files that were skipped."""

    root: Path
    images: tuple[ImageFile, ...]
    skipped: tuple[Skipped, ...] = ()

    def skipped_lines(self) -> list[str]:
        """Return one line per reason, with the names of its files."""
        reasons: dict[str, list[str]] = {}
        for each in self.skipped:
            reasons.setdefault(each.reason, []).append(each.path.relative_to(self.root).as_posix())
        return [f"not read ({reason}): {', '.join(names)}" for reason, names in reasons.items()]


def check_regular_file(path: Path) -> None:
    """Raise an `ImageReadError` unless ``path`` is a regular file that is not empty."""
    try:
        status = path.stat()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ImageReadError(f"Cannot read {path}: {reason}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageReadError(f"Cannot read {path}: it is a folder, not an image.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageReadError(f"Cannot read {path}: it is a device, pipe or socket, not a file.")
    if not status.st_size:
        raise ImageReadError(f"Cannot read {path}: the file is empty.")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts "x2" before "x10"; a hash such as "0bf33d3d" sorts letter by letter."""
    name = name.casefold()
    if _HASH.fullmatch(name):  # the digits are not numbers: "0402..." would come after "06c..."
        return [(1, 0, name)]
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if i % 2 else (1, 0, part) for i, part in enumerate(parts)]


_DEEPEST = 4
"""Depth limit of sub folders, so that a whole disk is not searched."""
_OWN_MASK = re.compile(r"class\d+\.(tiff?|png)", re.IGNORECASE)
_MASK = re.compile(r"(.+)_(cp_masks|masks|seg)\.(tiff?|png|npy|jpe?g|bmp)", re.IGNORECASE)
_MAYBE_MASK = re.compile(
    r"(.+)_(mask|labels?|flows|outlines|cp_outlines|probabilities)\.(ome\.)?(tiff?|png|npy|jpe?g|bmp)", re.IGNORECASE
)
_MASK_FOLDERS = frozenset({"mask", "masks", "labels", "label_images", "ground_truth", "groundtruth"})
_WRITTEN_FOLDERS = frozenset({"overlays", "labels-png"})
_EXPORT = "test-results.json"  # a folder with it holds copies of the images, under training/ for one


def list_images(path: str | os.PathLike[str]) -> tuple[ImageFile, ...]:
    """Return only the images of `find_images`."""
    return find_images(path).images


def find_images(path: str | os.PathLike[str]) -> Listing:
    """List the images of a folder and its sub folders, or one image file.

    Raises
    ------
    ImageReadError
        The path does not exist, or the folder has no image.
    """
    path = Path(path)
    known = format_of(path)
    if not path.is_dir() or (known is not None and known.is_folder):
        if not path.is_dir():
            check_regular_file(path)
        name = path.resolve().parent.name if has_own_folder(path) else _stem(path.name)
        return Listing(path.parent, (ImageFile(_nfc(name), path),))
    found: list[Path] = []
    skipped: list[Skipped] = []
    for kind in _walk(path, 0):
        if isinstance(kind, Skipped):
            skipped.append(kind)
        else:
            found.append(kind)
    if not found:
        named = "; ".join(Listing(path, (), tuple(skipped)).skipped_lines()[:3])
        raise ImageReadError(
            f"There is no image in {path}, neither <name>.tif (or .png, .jpg, ...) nor <name>/image.tif"
            + (f"; {named}." if named else ".")
        )
    images = _with_ids(path, found)
    return Listing(path, tuple(sorted(images, key=lambda image: natural_key(image.image_id))), tuple(skipped))


def _walk(folder: Path, depth: int) -> Iterator[Path | Skipped]:
    """Yield the images of a folder, then those of its sub folders, mixed with the skipped files."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield Skipped(folder, error.strerror or str(error))
        return
    files = [entry for entry in entries if not _is_folder(entry)]
    yield from _sorted_out(files)
    for entry in entries:
        if not _is_folder(entry) or entry.name.startswith("."):
            continue
        name = entry.name.lower()
        if (entry / _EXPORT).is_file():
            yield Skipped(entry, "a folder that predict or an export wrote")
        elif name in _WRITTEN_FOLDERS:
            yield Skipped(entry, "pictures that an export drew")
        elif name in _MASK_FOLDERS:
            yield Skipped(entry, "a folder of masks")
        elif depth == _DEEPEST:
            yield Skipped(entry, f"more than {_DEEPEST} folders deep")
        else:
            yield from _walk(entry, depth + 1)


def is_mask_folder(name: str) -> bool:
    """Return whether a folder of this name holds label images, or pictures that an export drew."""
    return name.lower() in _MASK_FOLDERS | _WRITTEN_FOLDERS


def home_of(path: Path) -> Path:
    """Return a folder of images itself, or the folder of one image; an OME-Zarr, which is a folder, is one image."""
    return path if _is_folder(path) else path.parent


def _is_folder(entry: Path) -> bool:
    known = format_of(entry)
    return entry.is_dir() and not (known is not None and known.is_folder)


def _sorted_out(files: Sequence[Path]) -> Iterator[Path | Skipped]:
    """Yield each file of one folder that looks like an image or a mask, as one or the other."""
    stems = {_stem(file.name).casefold() for file in files}
    own = [file for file in files if has_own_folder(file) and _is_image(file)]
    for file in files:
        known = format_of(file)
        if _OWN_MASK.fullmatch(file.name) and own:
            continue  # part of the training layout: read with the image
        if _is_mask(file, stems):
            yield Skipped(file, "a label image")
        elif known is None:
            continue
        elif file.name.startswith("."):
            yield Skipped(file, "a hidden file")
        elif known.problem:
            yield Skipped(file, known.problem)
        elif own and file not in own:
            yield Skipped(file, f"{own[0].name} is the image of this folder")
        elif file.is_file() or known.is_folder:
            yield file


def _is_mask(file: Path, stems: Collection[str]) -> bool:
    """Return whether a name is that of a label image; ambiguous names count only next to the image itself."""
    if _OWN_MASK.fullmatch(file.name) or _MASK.fullmatch(file.name):
        return True
    match = _MAYBE_MASK.fullmatch(file.name)
    return match is not None and match[1].casefold() in stems


def _is_image(file: Path) -> bool:
    known = format_of(file)
    return known is not None and not known.problem and not file.name.startswith(".")


def _with_ids(root: Path, files: Sequence[Path]) -> list[ImageFile]:
    """Return the images with their ids; files that would share an id keep their suffix in it."""
    ids = [_id_of(root, file) for file in files]
    shared = {name for name, count in Counter(ids).items() if count > 1}
    return [
        ImageFile(_nfc(file.relative_to(root).as_posix()) if name in shared else name, file)
        for name, file in zip(ids, files, strict=True)
    ]


def with_unique_ids(files: Sequence[ImageFile]) -> list[ImageFile]:
    """Return images of several folders; images that share an id get their path below the common folder as id."""
    shared = {image_id for image_id, count in Counter(file.image_id for file in files).items() if count > 1}
    if not shared:
        return list(files)
    once = list({file.path.resolve(): file for file in files}.values())  # the same file given twice
    root = Path(os.path.commonpath([file.path.resolve().parent for file in once]))
    placed = _with_ids(root, [file.path.resolve() for file in once])
    return [replace(file, image_id=new.image_id) for file, new in zip(once, placed, strict=True)]


def _id_of(root: Path, file: Path) -> str:
    path = PurePosixPath(_nfc(file.relative_to(root).as_posix()))
    stem, folders = _stem(path.name), path.parent
    if has_own_folder(file):
        return folders.as_posix() if folders.parts else _nfc(root.resolve().name)
    if folders.name.lower() == "images" and folders.parent.name == stem:  # Data Science Bowl
        return folders.parent.as_posix()
    return (folders / stem).as_posix()


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def has_own_folder(file: PurePath) -> bool:
    """Return whether a file is the ``image.tif`` (.tiff, .ome.tif, .png, ...) of its own folder."""
    return re.fullmatch(r"image(\.ome)?\.[^.]+", file.name, re.IGNORECASE) is not None


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
