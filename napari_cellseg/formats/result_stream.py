"""``test-results.json`` and its zip written row by row, for more cells than fit into memory; the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pycocotools import mask as coco_mask

from napari_cellseg.atomic import export_set
from napari_cellseg.errors import ExportError
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.coco_results import RESULTS_NAME, check_rows

__all__ = ["json_list", "stream_results"]

_MANY_CELLS = 1_000_000
"""More cells may need a zip of more than 2 GiB, whose header must be larger from the start."""
_BYTES_AT_ONCE = 2**20


def stream_results(
    folder: str | os.PathLike[str],
    batches: Iterable[list[dict[str, Any]]],
    image_ids: Sequence[ImageId],
    cells: int,
) -> Generator[None, None, Path]:
    """Write ``test-results.json`` and ``test-results.zip``, check each batch of rows, and compare what was written.

    Yields after each batch; closed before its end, it leaves the files of before.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    batches : iterable of list of dict
        Rows from `result_rows`.
    image_ids : sequence of ImageId
        The images that rows may refer to.
    cells : int
        About the number of rows.

    Returns
    -------
    Path
        Path of the JSON file.

    Raises
    ------
    ExportError
        A row is invalid (nothing is written then), or the files cannot be written or read back.
    """
    folder = Path(folder)
    path = folder / RESULTS_NAME
    written = hashlib.sha256()
    with (
        export_set(folder) as files,
        files.open(path) as plain,
        files.open(path.with_suffix(".zip")) as archive,
        _zipped(archive, large=cells > _MANY_CELLS) as packed,
    ):
        for data in json_list(_checked(batches, image_ids, path)):
            plain.write(data)
            packed.write(data)
            written.update(data)
            yield
    with path.open("rb") as file, zipfile.ZipFile(path.with_suffix(".zip")) as found, found.open(RESULTS_NAME) as inner:
        if any(_hash(each) != written.digest() for each in (file, inner)):
            raise ExportError(f"{path} does not read back as it was written. Check the disk.")
    return path


def json_list(batches: Iterable[Iterable[Any]]) -> Iterator[bytes]:
    """Yield the bytes of one JSON list of all rows, as `json.dumps` writes it without spaces, batch by batch."""
    first = True
    yield b"["
    for rows in batches:
        text = json.dumps(list(rows), separators=(",", ":"), allow_nan=False, ensure_ascii=False)[1:-1]
        yield f"{'' if first or not text else ','}{text}".encode()
        first = first and not text
    yield b"]"


def _checked(
    batches: Iterable[list[dict[str, Any]]], image_ids: Sequence[ImageId], path: Path
) -> Iterator[list[dict[str, Any]]]:
    for rows in batches:
        if problems := check_rows(rows, image_ids):
            raise ExportError(f"{path} was not written because rows are invalid: {problems[0]}.")
        if not all(coco_mask.area(row["segmentation"]) > 0 for row in rows):
            raise ExportError(f"{path} was not written: pycocotools does not read all of its masks.")
        yield rows


@contextmanager
def _zipped(file: BinaryIO, *, large: bool) -> Iterator[Any]:
    info = zipfile.ZipInfo(RESULTS_NAME)  # with a fixed date, equal results give equal files
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(info, "w", force_zip64=large) as one:
        yield one


def _hash(file: Any) -> bytes:
    found = hashlib.sha256()
    while data := file.read(_BYTES_AT_ONCE):
        found.update(data)
    return found.digest()
