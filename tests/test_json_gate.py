import json
import math
from pathlib import Path
from typing import Any

import pytest

from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.formats import json_gate
from napari_cellseg.formats.json_gate import MAX_DEPTH, parse_json, read_json, short


def test_plain_values_come_out_as_they_went_in(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "ü\U0001f600"], "b": {"c": []}, "id": 2**127}
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode())
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[1, 2", "is not JSON"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'{"a": 1, "cells": 2, "cells": 3}', "key 'cells' is repeated in one object"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested more than 64 deep"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 64 deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than 64 deep"),
        (b"[" + b"9" * 5000 + b"]", "5000 digits"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'[1, "\\ud800", 2.0]', "half of a surrogate pair"),
        (b'[1, "a", NaN]', "the value NaN"),
        (b'{"a": -Infinity}', "the value -Infinity"),
        (b"[1e999]", "too large"),
        (b'["a", 1e999]', "too large"),
    ],
)
def test_what_is_refused_is_named(data: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_json(data, Path("here.json"), error=ConfigError)
    assert "here.json" in str(caught.value)


def test_the_deepest_nesting_that_is_allowed_is_read() -> None:
    value = parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "x")
    assert repr(value) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_nan_is_kept_when_it_is_asked_for() -> None:
    value = parse_json(b'{"a": NaN, "b": [1e999, "x"]}', "x", nan="keep")
    assert math.isnan(value["a"])
    assert value["b"] == [math.inf, "x"]


@pytest.mark.parametrize(
    "data", [b"[" + b"[]," * 30_000_000 + b"1]", b"[" + b"{}," * 10_000_000 + b"1]"], ids=["lists", "objects"]
)
def test_a_small_file_cannot_take_much_memory(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(AnnotationError, match="GiB of memory"):
        parse_json(data, "x")


def test_what_comes_out_of_an_archive_is_measured_by_the_archive() -> None:
    data = b"[" + b"[]," * 9_000_000 + b"1]"
    with pytest.raises(AnnotationError, match="GiB of memory"):
        parse_json(data, "x", packed_bytes=1000)


def test_a_file_is_looked_at_before_it_is_read(tmp_path: Path) -> None:
    cases: list[tuple[Path, str]] = [
        (tmp_path / "none.json", "no such file"),
        (tmp_path, "is a folder"),
        (Path("/dev/zero"), "device"),
    ]
    (tmp_path / "empty.json").touch()
    (tmp_path / "large.json").write_bytes(b"[" + b" " * 100 + b"]")
    cases += [(tmp_path / "empty.json", "is empty"), (tmp_path / "large.json", "102 bytes; the limit is 50 bytes")]
    for path, words in cases:
        with pytest.raises(AnnotationError, match=words):
            read_json(path, most_bytes=50)


def test_a_message_shows_a_short_piece_of_a_value() -> None:
    assert short([1, 2]) == "[1, 2]"
    assert len(short("x" * 10**6)) == 60
    assert len(short(list(range(10**5)))) == 60


def test_honest_files_of_cells_stay_within_the_memory_rule() -> None:
    row: dict[str, Any] = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9871}
    rle = json.dumps({**row, "segmentation": {"size": [1000, 1000], "counts": "eYc0[m0<E8L4L3M3N1O1N2O0O2O0O" * 3}})
    polygon = json.dumps({**row, "segmentation": [[123.4, 56.7] * 40]})
    for text in (rle, polygon):
        data = text.encode()
        needed = len(data) + sum(data.count(mark) * cost for mark, cost in json_gate._MEMORY_OF.items())
        assert needed < json_gate._MEMORY_PER_BYTE * len(data)
