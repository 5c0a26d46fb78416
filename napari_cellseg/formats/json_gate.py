"""The only gate for JSON: plain values from untrusted bytes, within limits of size, depth, memory and digits.

The values have no repeated key in an object, no text that cannot be written as UTF-8, no whole number of more than
`MAX_DIGITS` digits, no NaN or infinity unless requested, and are nested at most `MAX_DEPTH` deep, so that code behind
the gate may safely walk, print and store them. The reader of each format checks what the values mean.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Literal, NoReturn

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.formats.file_gate import read_bytes

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_DIGITS", "parse_json", "read_json", "short"]

MAX_BYTES = 2**30
"""Largest file."""
MAX_DEPTH = 64
"""Deepest nesting of lists and objects."""
MAX_DIGITS = 40
"""Longest whole number: ids may be 128-bit UUIDs (39 digits)."""

# Parsed values take at most about 20 times the memory of the text ("[[],[],..."); a file of cells takes 5 to 10 times.
# So a small file cannot take much memory, and a large valid one is read.
_BASE_MEMORY, _MEMORY_PER_BYTE = 768 * 2**20, 12
_MEMORY_OF = {b"[": 64, b"{": 200, b",": 36, b":": 60, b'"': 25}

NanPolicy = Literal["refuse", "keep"]


class _RefusedError(ValueError):
    """A problem, as text to follow the name of the file."""


def read_json(
    path: str | os.PathLike[str],
    *,
    most_bytes: int = MAX_BYTES,
    nan: NanPolicy = "refuse",
    error: type[CellSegError] = AnnotationError,
) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Parameters
    ----------
    path : path
    most_bytes : int
        A larger file is refused before it is read.
    nan : "refuse" or "keep"
        Treatment of ``NaN``, ``Infinity`` and numbers like 1e999, which JSON lacks but some tools write: refuse the
        file, or keep them as floats, which the reader refuses where they matter.
    error : type of CellSegError
        Type of the error to raise.

    Raises
    ------
    CellSegError
        Of the given type; the message names the file, the problem and, if possible, the key or line.
    """
    return parse_json(read_bytes(path, most_bytes=most_bytes, error=error), path, nan=nan, error=error)


def parse_json(
    data: bytes,
    source: str | os.PathLike[str],
    *,
    nan: NanPolicy = "refuse",
    error: type[CellSegError] = AnnotationError,
    packed_bytes: int | None = None,
) -> Any:
    """Parse bytes, as `read_json` does for a file; ``source`` starts the message of an error.

    ``packed_bytes`` is the size on disk of data from an archive; the memory limit follows from it.
    """
    source = Path(source) if not isinstance(source, str) else source
    constant = _refuse_constant if nan == "refuse" else float
    try:
        _check_memory(data, len(data) if packed_bytes is None else packed_bytes)
        text = data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_object, parse_int=_whole, parse_constant=constant)
        _check_values(value, is_finite=nan == "refuse")
    except UnicodeDecodeError as reason:
        raise error(f"{source} is not JSON: it is not UTF-8 text.") from reason
    except RecursionError as reason:
        raise error(f"{source} is not JSON that can be read: it is nested more than {MAX_DEPTH} deep.") from reason
    except _RefusedError as reason:
        raise error(f"{source} cannot be read: {reason}.") from reason
    except ValueError as reason:
        raise error(f"{source} is not JSON: {reason}.") from reason
    except MemoryError as reason:
        raise error(f"{source} cannot be read: there is not enough memory for its values.") from reason
    return value


def short(value: object, most: int = 60) -> str:
    """Return ``repr`` of a value, cut to ``most`` characters, for a message."""
    if isinstance(value, str | bytes) or (isinstance(value, list | tuple) and len(value) > most):
        value = value[:most]
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def _check_memory(data: bytes, packed_bytes: int) -> None:
    """Count brackets and commas, an upper bound of the number of values, and refuse too many before parsing."""
    needed = len(data) + sum(data.count(mark) * cost for mark, cost in _MEMORY_OF.items())
    limit = _BASE_MEMORY + _MEMORY_PER_BYTE * packed_bytes
    if needed > limit:
        raise _RefusedError(
            f"its values would take about {needed / 2**30:.1f} GiB of memory; the limit for a file of this size is "
            f"{limit / 2**30:.1f} GiB"
        )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError(f"the key {short(repeated)} is repeated in one object; remove one of them")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _RefusedError(f"the number {digits[:12]}... has {len(digits)} digits; the limit is {MAX_DIGITS}")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedError(f"it has the value {name}, which JSON does not allow")


def _check_values(value: Any, *, is_finite: bool) -> None:
    """Check the depth, text and numbers of all values, without recursion."""
    todo: list[tuple[Any, int]] = [([value], 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise _RefusedError(f"it is nested more than {MAX_DEPTH} deep")
        items = list(node.values()) if isinstance(node, dict) else node
        kinds = set(map(type, items))
        if isinstance(node, dict):
            _check_texts(node)
        if is_finite and float in kinds and not _all_finite(items):
            raise _RefusedError("it has a number above 1.8e308, which is too large")
        if str in kinds:
            _check_texts(item for item in items if type(item) is str)
        if kinds & {list, dict}:
            todo += [(item, depth + 1) for item in items if type(item) in (list, dict)]


def _check_texts(texts: Any) -> None:
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise _RefusedError(
                    f"the text {short(text)} has half of a surrogate pair, which is not a character"
                ) from None


def _all_finite(items: list[Any]) -> bool:
    try:
        return all(map(math.isfinite, items))
    except TypeError:  # other values among them
        return all(math.isfinite(item) for item in items if type(item) is float)
