"""The id file, which gives the id of each image in ``test-results.json``: how to find, read and match it.

An image has the name it has in the project (``tile_01``, or ``slide_a/tile_01`` in a sub folder). An entry of the file
belongs to the image of the same path, or else to the only image of the same file name. Names are compared in NFC: macOS
stores "ü" as two characters, other systems as one.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.coco_images import ImageId, read_image_ids
from napari_cellseg.wording import counted, listed

__all__ = ["IDS_NAME", "IdMatch", "find_ids", "match_ids", "match_names", "missing_text", "short_names"]

IDS_NAME = "test_image_name_to_ids.json"
"""The usual name of an id file; *Export* writes it next to ``test-results.json`` if none was given."""


@dataclass(frozen=True, kw_only=True)
class IdMatch:
    """The match between the entries of an id file and the images of a folder.

    Attributes
    ----------
    path : Path
        The id file.
    entries : tuple of ImageId
        All entries of the file.
    of_image : dict
        The entry of each image, by image_id.
    by_name : tuple of str
        image_ids that were matched by file name because the folders differ.
    missing : tuple of str
        Names in the file for which there is no image.
    unknown : tuple of str
        image_ids that the file does not list.
    """

    path: Path
    entries: tuple[ImageId, ...]
    of_image: dict[str, ImageId]
    by_name: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    def entry(self, image_id: str, size: tuple[int, int] | None = None) -> ImageId:
        """Return the entry of an image; ``size``, height and width in px, is not compared if left out.

        Raises
        ------
        AnnotationError
            The file does not list the image, or lists it with another size.
        """
        found = self.of_image.get(image_id)
        if found is None:
            raise AnnotationError(
                f"{self.path} does not list the image {image_id}. Add it to the file, or leave the image out."
            )
        if size is not None and found.size != tuple(size):
            raise AnnotationError(
                f"{self.path} lists {image_id} with {found.height} x {found.width} px (height x width); "
                f"the image has {size[0]} x {size[1]} px."
            )
        return found

    def preview(self) -> list[str]:
        """Return one line for each group: images that match, that match by name only, that are missing or left out."""
        lines = [f"{len(self.of_image)} of {counted(len(self.entries), 'image')} in the id file"]
        if self.by_name:
            lines.append(f"Matched by file name, in another folder: {listed(self.by_name)}")
        if self.missing:
            lines.append(missing_text(self.missing))
        if self.unknown:
            lines.append(f"Not in the id file, so left out: {listed(self.unknown)}")
        return lines


def missing_text(names: Sequence[str]) -> str:
    """Return the line about the names of an id file for which there is no image."""
    return f"Not in this folder, so without a row: {listed(names)}"


def find_ids(folder: Path) -> Path | None:
    """Return the id file of a folder of images: in the folder or next to it."""
    found = (place / IDS_NAME for place in (folder, folder.parent))
    return next((path for path in found if path.is_file()), None)


def match_ids(path: str | os.PathLike[str], image_ids: Iterable[str]) -> IdMatch:
    """Read an id file and match it with images.

    Raises
    ------
    AnnotationError
        The file is invalid.
    """
    path, wanted = Path(path), tuple(image_ids)
    entries = read_image_ids(path)
    names = tuple(entry.image_id for entry in entries)
    place = match_names(names, wanted)
    of_image = {image_id: entries[i] for image_id, i in place.items()}
    used = set(place.values())
    return IdMatch(
        path=path,
        entries=entries,
        of_image=of_image,
        by_name=tuple(image_id for image_id, i in place.items() if _key(image_id) != _key(names[i])),
        missing=tuple(name for i, name in enumerate(names) if i not in used),
        unknown=tuple(image_id for image_id in wanted if image_id not in of_image),
    )


def match_names(names: Sequence[str], image_ids: Sequence[str]) -> dict[str, int]:
    """Return the position of the matching name for each image_id that has one.

    Whole paths are compared first; the rest is matched by the last part of the path where it is unique on both sides.
    """
    positions = {_key(name): i for i, name in enumerate(names)}
    found = {image_id: positions[_key(image_id)] for image_id in image_ids if _key(image_id) in positions}
    open_ids = [image_id for image_id in image_ids if image_id not in found]
    used = set(found.values())
    open_names = {i: _last(name) for i, name in enumerate(names) if i not in used}
    of_last = {last: i for i, last in open_names.items()}
    counts, id_counts = Counter(open_names.values()), Counter(map(_last, open_ids))
    for image_id in open_ids:
        last = _last(image_id)
        if counts[last] == 1 and id_counts[last] == 1:
            found[image_id] = of_last[last]
    return {image_id: found[image_id] for image_id in image_ids if image_id in found}


def short_names(images: Sequence[ImageId]) -> tuple[str, ...]:
    """Return the image_ids of a data set: file names without suffix, with folders where two would be equal."""
    paths = [image.image_id for image in images]
    lasts = [PurePosixPath(path).name for path in paths]
    kinds = (lasts, paths, [image.file_name for image in images])  # the last: a.tif next to a.png
    return tuple(next(names for names in kinds if len(set(map(_key, names))) == len(names)))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _last(name: str) -> str:
    return _key(PurePosixPath(name).name)
