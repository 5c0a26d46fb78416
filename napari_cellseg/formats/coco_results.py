"""COCO results: ``test-results.json``, one row per cell with its mask as RLE, and the ``.zip`` that holds only it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_cellseg.atomic import export_set
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.json_gate import parse_json, read_json, short
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.formats.rle import Decoded, decode_all, encode_all
from napari_cellseg.formats.zip_gate import opened_zip
from napari_cellseg.instances import InstanceMasks

__all__ = ["RESULTS_NAME", "Problem", "check_results", "read_results", "result_rows", "write_results"]

RESULTS_NAME = "test-results.json"

_KEYS = ("image_id", "category_id", "bbox", "score", "segmentation")
_ROWS_AT_ONCE = 1024
_LARGEST_CATEGORY = 2**31 - 1
_MANY_WRONG = 3
_OTHER_SET = ("segmentation has size", "image_id ")
"""Start of the texts on rows that do not fit the id file."""
_BOX_TOLERANCE = 1.0  # px; some tools give the box of the pixel centres


@dataclass(frozen=True)
class Problem:
    """A problem of a results file, in ``row`` (0-based; None for the whole file)."""

    row: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.row is None else f"row {self.row}: {self.text}"


def result_rows(instances: InstanceMasks, image_id: int) -> list[dict[str, Any]]:
    """Return one COCO row per cell: ``bbox`` is x, y, width, height; the mask is RLE with ASCII counts."""
    x0, y0, x1, y1 = instances.boxes.T
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0], 1).tolist()
    return [
        {
            "image_id": image_id,
            "category_id": category_id,
            "bbox": box,
            "score": float(str(score)),  # the shortest number that reads back as the same float32
            "segmentation": {"size": list(instances.image_size), "counts": counts},
        }
        for category_id, box, score, counts in zip(
            instances.class_ids.tolist(), boxes, instances.scores, encode_all(instances), strict=True
        )
    ]


def write_results(
    folder: str | os.PathLike[str], rows: Sequence[dict[str, Any]], image_ids: Sequence[ImageId] | None = None
) -> Path:
    """Write ``test-results.json`` and ``test-results.zip``, then read both back and check them.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    rows : sequence of dict
        From `result_rows`.
    image_ids : sequence of ImageId, optional
        The images that rows may refer to; if left out, those that the rows refer to.

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
    images = tuple(image_ids) if image_ids is not None else _images_of(rows)
    problems = check_rows(list(rows), images)
    if problems:
        raise ExportError(f"{path} was not written because rows are invalid: {problems[0]} ({len(problems)} in all).")
    data = json.dumps(list(rows), separators=(",", ":"), allow_nan=False).encode("ascii")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # With a fixed date, equal results give equal files.
        archive.writestr(zipfile.ZipInfo(RESULTS_NAME), data, zipfile.ZIP_DEFLATED)
    with export_set(folder) as files:
        with files.open(path) as file:
            file.write(data)
        with files.open(path.with_suffix(".zip")) as file:
            file.write(packed.getvalue())
    _check_written(path, data, images)
    return path


def _images_of(rows: Sequence[dict[str, Any]]) -> tuple[ImageId, ...]:
    sizes = {row["image_id"]: row["segmentation"]["size"] for row in rows}
    return tuple(ImageId(f"{i}.tif", i, int(size[0]), int(size[1])) for i, size in sizes.items())


def _check_written(path: Path, data: bytes, images: Sequence[ImageId]) -> None:
    """Read both files back and check them with pycocotools."""
    if path.read_bytes() != data or _unzipped(path.with_suffix(".zip")) != data:
        raise ExportError(f"{path} does not read back as it was written. Check the disk.")
    rows = json.loads(data)
    if not rows:  # loadRes cannot read an empty list
        return
    truth = COCO()
    truth.dataset = {"images": [{"id": image.id} for image in images], "annotations": [], "categories": []}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        truth.createIndex()
        loaded = truth.loadRes(str(path))
    # One at a time: given more than 255, pycocotools 2.0.11 fails with numpy 2 (an overflow of uint8).
    if len(loaded.anns) != len(rows) or not all(coco_mask.area(row["segmentation"]) > 0 for row in rows):
        raise ExportError(f"{path} was written, but pycocotools does not read it as {len(rows)} masks.")


def _unzipped(path: Path) -> bytes:
    """Return the only file in a results zip."""
    with opened_zip(path) as archive:
        if archive.names != (RESULTS_NAME,):
            raise AnnotationError(f"{path} must hold {RESULTS_NAME} and nothing else, not {archive.names[:5]}.")
        return archive.read(RESULTS_NAME)


def _load(path: str | os.PathLike[str]) -> Any:
    path = Path(path)
    if path.suffix.lower() != ".zip":
        return read_json(path, nan="keep")
    return parse_json(_unzipped(path), path, packed_bytes=path.stat().st_size, nan="keep")


def read_results(path: str | os.PathLike[str], image_ids: Sequence[ImageId]) -> dict[int, InstanceMasks]:
    """Read ``test-results.json`` or its ``.zip``.

    Returns
    -------
    dict
        The cells of each image of ``image_ids``, by image id, in the order of the rows; boxes come from the masks.

    Raises
    ------
    AnnotationError
        The file cannot be read or a row is invalid; `check_results` lists all problems.
    """
    rows = _load(path)
    if not isinstance(rows, list):
        raise AnnotationError(f"{path} is not a list of rows.")
    cells: dict[int, list[tuple[int, float, Decoded]]] = {image.id: [] for image in image_ids}
    problems: list[Problem] = []
    for number, (row, (decoded, wrong)) in enumerate(zip(rows, _checked_rows(rows, image_ids), strict=True)):
        problems += [Problem(number, text) for text in wrong]
        if decoded is not None:
            cells[row["image_id"]].append((row["category_id"], row["score"], decoded))
    if problems:
        raise AnnotationError(f"{path}, {problems[0]} ({len(problems)} in all; `validate` lists them).")
    return {image.id: _instances(image, cells[image.id]) for image in image_ids}


def _instances(image: ImageId, cells: Sequence[tuple[int, float, Decoded]]) -> InstanceMasks:
    if not cells:
        return InstanceMasks.empty(image.size)
    class_ids, scores, decoded = zip(*cells, strict=True)
    boxes, masks = zip(*decoded, strict=True)
    return InstanceMasks(
        image_size=image.size,
        boxes=np.stack(boxes),
        class_ids=np.array(class_ids),
        scores=np.array(scores, np.float32),
        masks=masks,
    )


def check_results(
    path: str | os.PathLike[str], image_ids: Sequence[ImageId], classes: int | None = None
) -> list[Problem]:
    """List all problems of a results file, row by row.

    Parameters
    ----------
    path : path
        JSON, or a zip that holds only ``test-results.json``.
    image_ids : sequence of ImageId
    classes : int, optional
        Number of classes; with it, a higher category_id is a problem.

    Raises
    ------
    AnnotationError
        The file cannot be read at all.
    """
    rows = _load(path)
    problems = check_rows(rows, image_ids, classes)
    other = len({problem.row for problem in problems if problem.text.startswith(_OTHER_SET)})
    if other >= _MANY_WRONG and 2 * other > len(rows):
        text = f"{other:,} of {len(rows):,} rows have another image id or image size than the id file"
        problems.insert(0, Problem(None, f"{text}, which is probably of another set of images"))
    return problems


def check_rows(rows: object, image_ids: Sequence[ImageId], classes: int | None = None) -> list[Problem]:
    """List the problems of the rows of a results file; see `check_results`."""
    if not isinstance(rows, list):
        return [Problem(None, f"the file must hold a list of rows, not {type(rows).__name__}")]
    problems: list[Problem] = []
    seen: dict[tuple[object, ...], int] = {}
    for number, (row, (decoded, wrong)) in enumerate(zip(rows, _checked_rows(rows, image_ids, classes), strict=True)):
        problems += [Problem(number, text) for text in wrong]
        if decoded is None:
            continue
        pixels = hashlib.blake2b(decoded[1].tobytes(), digest_size=16).digest()  # not the pixels of all cells
        key = (row["image_id"], row["category_id"], decoded[0].tobytes(), pixels)
        first = seen.setdefault(key, number)
        if first != number:
            problems.append(Problem(number, f"the same cell as row {first}"))
    return problems


def _checked_rows(
    rows: Sequence[Any], image_ids: Sequence[ImageId], classes: int | None = None
) -> Iterator[tuple[Decoded | None, list[str]]]:
    """Yield the mask of each row, if the row is valid, and its problems."""
    images = {image.id: image for image in image_ids}
    # Nearly all of the file is RLE.
    texts = (row["segmentation"].get("counts") for row in rows if isinstance(row, dict) and _has_mask(row))
    budget = PixelBudget(sum(len(text) for text in texts if isinstance(text, str)))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        wrongs = [_row_problems(row, images, classes) for row in some]
        sound = [row for row, wrong in zip(some, wrongs, strict=True) if not wrong]
        decoded = iter(_decode_rows(sound, budget))
        for row, wrong in zip(some, wrongs, strict=True):
            mask = None if wrong else next(decoded)
            if isinstance(mask, str):
                yield None, [mask]
            elif mask is not None and (text := _box_problem(row["bbox"], mask[0])):
                yield None, [text]
            else:
                yield mask, wrong


def _has_mask(row: dict[str, Any]) -> bool:
    return isinstance(row.get("segmentation"), dict)


def _decode_rows(rows: Sequence[Any], budget: PixelBudget) -> list[Decoded | str]:
    """Decode all masks in one pass, or, if one is invalid, one by one to report which and why."""
    segmentations = [row["segmentation"] for row in rows]
    counts, sizes = [s["counts"] for s in segmentations], [tuple(s["size"]) for s in segmentations]
    try:
        found: list[Decoded | None] = decode_all(counts, sizes, most_pixels=budget.left)
    except AnnotationError as error:
        if len(rows) == 1:
            return [str(error).rstrip(".")]
        return [mask for row in rows for mask in _decode_rows([row], budget)]
    budget.take(sum(mask[1].size for mask in found if mask is not None))
    return ["the mask has no pixel" if mask is None else mask for mask in found]


def _row_problems(row: object, images: dict[int, ImageId], classes: int | None) -> list[str]:
    """Return the problems of a row, apart from the pixels of its mask."""
    if not isinstance(row, dict):
        return [f"expected an object with {', '.join(_KEYS)}"]
    missing = [key for key in _KEYS if key not in row]
    if missing:
        return [f"{' and '.join(missing)} missing"]
    wrong = []
    category_id = row["category_id"]
    if type(category_id) is not int or not 1 <= category_id <= (classes or _LARGEST_CATEGORY):
        wrong.append(f"category_id {short(category_id)} is not a whole number 1..{classes or 'K'}")
    score = row["score"]
    if type(score) not in (int, float) or not 0 <= score <= 1:
        wrong.append(f"score {short(score)} is not a number 0..1")
    image = images.get(row["image_id"]) if type(row["image_id"]) is int else None
    if image is None:
        return [*wrong, f"image_id {short(row['image_id'])} is not in the id file"]
    segmentation = row["segmentation"]
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        wrong.append("segmentation is not RLE: an object with size and counts")
    elif segmentation["size"] != list(image.size):
        size = segmentation["size"]
        wrong.append(f"segmentation has size {short(size)}, but {image.file_name} is {list(image.size)}")
    elif not isinstance(segmentation["counts"], str):
        wrong.append("the counts are not a string; write compressed RLE with ASCII counts")
    return wrong


def _box_problem(bbox: object, box: npt.NDArray[np.int32]) -> str:
    if (
        not isinstance(bbox, list)
        or len(bbox) != 4
        or not all(type(v) in (int, float) and math.isfinite(v) for v in bbox)
    ):
        return f"bbox {short(bbox)} is not [x, y, width, height]"
    x0, y0, x1, y1 = box.tolist()
    expected = [x0, y0, x1 - x0, y1 - y0]
    if max(abs(a - b) for a, b in zip(bbox, expected, strict=True)) > _BOX_TOLERANCE:
        return f"bbox {bbox} does not match the mask, whose box is {expected}"
    return ""
