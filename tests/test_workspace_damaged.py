"""Damaged files of a project: the intact part is used, the damage is reported and the file is kept."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.errors import AnnotationError
from napari_cellseg.review import Cell, Change, ChangeKind, Status, cells_from
from napari_cellseg.workspace.annotations import (
    Annotations,
    read_annotations,
    read_header,
    summarise,
    write_annotations,
)
from napari_cellseg.workspace.journal import change_record, pack, read_journal, start_record

CELLS = cells_from(some_cells(6, 0), Status.ACCEPTED, "ana", 1e9)
LINE = 3  # of the third cell


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    annotations = Annotations(
        image_size=SIZE,
        classes=CLASSES,
        cells=tuple(CELLS),
        min_scores={1: 0.5},
        next_id=9,
        revision="abc",
        labels={"class1.tif": (5, 6)},
    )
    write_annotations(path, annotations, summarise(CELLS, {}))
    return path


def change_line(path: Path, number: int, change: Callable[[Any], Any]) -> None:
    lines = path.read_bytes().splitlines()
    row = json.loads(lines[number])
    lines[number] = json.dumps(change(row)).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")


def with_value(place: int | str, value: Any) -> Callable[[Any], Any]:
    def change(row: Any) -> Any:
        row[place] = value
        return row

    return change


def is_same(cells: tuple[Cell, ...], expected: list[Cell]) -> bool:
    return len(cells) == len(expected) and all(a.equals(b) for a, b in zip(cells, expected, strict=True))


def test_sound_annotations_have_no_problem(saved: Path) -> None:
    found = read_annotations(saved, SIZE)
    assert is_same(found.cells, CELLS)
    assert (found.problem, found.next_id, found.revision) == ("", 9, "abc")
    assert [path.name for path in saved.parent.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "1"), (0, -1), (0, 10**30), (0, 1), (0, None), (0, True),
        (1, 0), (1, 10**9), (1, 1.5), (2, 1.5), (2, -1), (2, "x"), (3, "maybe"), (3, []), (4, -1), (4, {}), (5, 3),
        (6, -1), (6, 1e300), (6, "x"),
        (7, [0, 0, 10**6, 10**6]), (7, [5, 5, 5, 9]), (7, [9, 9, 5, 5]), (7, [0, 0]), (7, "abcd"), (7, None),
        (7, [-1, 0, 5, 5]), (8, "####"), (8, None), (8, 5), (8, ""), (8, "AAAA"),
    ],
)  # fmt: skip
def test_a_damaged_cell_is_left_out_and_said(saved: Path, place: int, value: Any) -> None:
    change_line(saved, LINE, with_value(place, value))
    before = saved.read_bytes()
    found = read_annotations(saved, SIZE)
    assert is_same(found.cells, [*CELLS[: LINE - 1], *CELLS[LINE:]])
    assert "1 parts of it are left out" in found.problem
    (kept,) = saved.parent.glob("a.jsonl.damaged-*.bak")
    assert kept.read_bytes() == before
    assert kept.name in found.problem


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may have more than 10 bytes; second names of files take no space."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_damaged_file_on_a_full_disk_is_kept_by_a_second_name(saved: Path) -> None:
    change_line(saved, LINE, with_value(1, 0))
    before = saved.read_bytes()
    with full_disk():
        found = read_annotations(saved, SIZE)
    (kept,) = saved.parent.glob("a.jsonl.damaged-*.bak")
    assert kept.name in found.problem
    write_annotations(saved, found, summarise(found.cells, {}))
    assert kept.read_bytes() == before
    assert saved.read_bytes() != before


def test_a_damaged_file_that_cannot_be_kept_is_not_used(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    change_line(saved, LINE, with_value(1, 0))
    before = saved.read_bytes()
    monkeypatch.setattr(os, "link", no_links)
    with (
        full_disk(),
        pytest.raises(AnnotationError, match=r"a\.jsonl is damaged: .*no copy.* File too large\. .* again"),
    ):
        read_annotations(saved, SIZE)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["a.jsonl"]
    assert len(read_annotations(saved, SIZE).cells) == len(CELLS) - 1  # once there is space


def test_a_damaged_file_in_a_read_only_folder_is_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_line(saved, LINE, with_value(1, 0))

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refused_writes(Path.open))
    monkeypatch.setattr(os, "link", refused)
    found = read_annotations(saved, SIZE)
    assert len(found.cells) == len(CELLS) - 1
    assert "kept" not in found.problem


def refused_writes(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Root may write into any folder, so a read-only one is imitated."""

    def open_to_read(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode.startswith(("w", "x", "a")):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return plain(path, mode, *more, **options)

    return open_to_read


@pytest.mark.parametrize("row", [None, 5, [], "abc", {"a": 1}, [1, 2]])
def test_a_line_that_is_no_cell_is_left_out(saved: Path, row: Any) -> None:
    change_line(saved, LINE, lambda _: row)
    assert is_same(read_annotations(saved, SIZE).cells, [*CELLS[: LINE - 1], *CELLS[LINE:]])


@pytest.mark.parametrize("junk", [b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b"9" * 5000, b'"\\ud800"'])
def test_a_line_that_is_no_json_is_left_out(saved: Path, junk: bytes) -> None:
    lines = saved.read_bytes().splitlines()
    saved.write_bytes(b"\n".join([*lines[:LINE], junk, *lines[LINE + 1 :]]))
    assert is_same(read_annotations(saved, SIZE).cells, [*CELLS[: LINE - 1], *CELLS[LINE:]])


def test_a_file_that_is_cut_off_gives_the_cells_before_the_cut(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-30])
    found = read_annotations(saved, SIZE)
    assert is_same(found.cells, CELLS[:-1])
    lines = saved.read_bytes().splitlines()
    saved.write_bytes(b"\n".join(lines[:-2]) + b"\n")
    found = read_annotations(saved, SIZE)
    assert is_same(found.cells, CELLS[:-2])
    assert "header states 6" in found.problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", [10]), ("image_size", None), ("classes", 5), ("classes", {"names": []}),
        ("min_scores", {"x": 1}),
        ("min_scores", {"1": "0.5"}), ("next_id", -1), ("revision", 5), ("labels", {"class1.tif": 1}),
        ("saved_at", "x"),
        ("cells", "six"), ("shown", []), ("reviewed", -5), ("version", "1"),
    ],
)  # fmt: skip
def test_a_damaged_setting_in_the_first_line_costs_no_cell(saved: Path, name: str, value: Any) -> None:
    change_line(saved, 0, with_value(name, value))
    found = read_annotations(saved, SIZE)
    assert is_same(found.cells, CELLS)
    assert (name in found.problem) or value is None
    assert found.next_id > max(cell.cell_id for cell in CELLS)
    if name != "image_size":
        assert read_header(saved).summary.total == len(CELLS)


def test_without_a_first_line_the_cells_are_read_for_the_size_of_the_image(saved: Path) -> None:
    saved.write_bytes(b"\xff" + saved.read_bytes())
    assert is_same(read_annotations(saved, SIZE).cells, CELLS)
    with pytest.raises(AnnotationError, match="size of its image"):
        read_annotations(saved)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"PK\x03\x04", b"{}", b"[]\n" * 50, b'{"format": "other"}'])
def test_a_file_of_which_nothing_can_be_used_says_what_to_do(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"a\.jsonl") as caught:
        read_annotations(saved, SIZE)
    assert "rename" in str(caught.value) or "remove" in str(caught.value)


def test_annotations_of_a_later_version_say_so(saved: Path) -> None:
    change_line(saved, 0, with_value("version", 99))
    with pytest.raises(AnnotationError, match="a later version of napari-cellseg wrote it"):
        read_annotations(saved, SIZE)


def test_a_small_file_cannot_claim_gigabytes(saved: Path) -> None:
    bits = zlib.compress(bytes([255]) * (10_000 * 10_000 // 8), 9)
    from binascii import b2a_base64

    row = [7, 1, 1.0, "accepted", 7, "ana", 1e9, [0, 0, 10_000, 10_000], b2a_base64(bits, newline=False).decode()]
    header = json.loads(saved.read_bytes().splitlines()[0]) | {"image_size": [10_000, 10_000]}
    lines = [json.dumps(header), *(json.dumps([i, *row[1:]]) for i in range(1, 41))]  # 4 GB
    saved.write_text("\n".join(lines))
    found = read_annotations(saved)
    assert 0 < len(found.cells) < 10
    assert "too many for a file of this size" in found.problem


def journal_lines(tmp_path: Path) -> tuple[Path, list[bytes]]:
    path = tmp_path / "j.jsonl"
    base = Annotations(image_size=SIZE, classes=CLASSES, cells=tuple(CELLS[:3]), revision="abc")
    changes = [Change(text="Add", kind=ChangeKind.DO, pairs=((None, cell),)) for cell in CELLS[3:]]
    records = [start_record(base, saved=False, user="ana"), *(change_record(change, 1e9) for change in changes)]
    return path, [pack(record) for record in records]


def signed(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def test_a_journal_is_read_to_its_first_damaged_line_and_kept(tmp_path: Path) -> None:
    path, lines = journal_lines(tmp_path)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"ana", b"bob"), *lines[3:]]))
    found = read_journal(path)
    assert found is not None
    start = found.begins_with()
    assert start is not None
    assert is_same(found.replay(start.cells), CELLS[:4])
    assert found.end == len(lines[0]) + len(lines[1])
    assert [kept.read_bytes() for kept in tmp_path.glob("j.jsonl.damaged-*.bak")] == [path.read_bytes()]


def test_a_line_cut_off_by_a_kill_is_no_damage(tmp_path: Path) -> None:
    path, lines = journal_lines(tmp_path)
    path.write_bytes(b"".join(lines)[:-7])
    found = read_journal(path)
    assert found is not None
    assert len(found.changes) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["j.jsonl"]


@pytest.mark.parametrize(
    "value",
    [[], 5, None, {}, {"at": "x", "text": "a", "gone": [], "put": []}, {"at": 1, "text": "a", "gone": 5, "put": []},
     {"at": 1, "text": "a", "gone": [], "put": 5}, {"at": 1, "text": 7, "gone": [], "put": []},
     {"at": 1, "text": "a", "gone": [{}], "put": []}, {"at": 1e300, "text": "a", "gone": [], "put": []}],
)  # fmt: skip
def test_a_change_with_a_right_checksum_and_wrong_values_ends_the_journal(tmp_path: Path, value: Any) -> None:
    path, lines = journal_lines(tmp_path)
    path.write_bytes(b"".join([*lines[:2], signed(value), *lines[2:]]))
    found = read_journal(path)
    assert found is not None
    assert len(found.changes) == 1
    assert found.recovery("a").edits == 1


@pytest.mark.parametrize("name", ["version", "base", "image_size", "classes", "cells", "format", "user"])
def test_a_journal_with_a_wrong_first_line_is_none(tmp_path: Path, name: str) -> None:
    path, lines = journal_lines(tmp_path)
    start = json.loads(lines[0].partition(b" ")[2]) | {name: {"x": []}}
    path.write_bytes(b"".join([signed(start), *lines[1:]]))
    assert read_journal(path) is None
    assert list(tmp_path.glob("j.jsonl.damaged-*.bak"))


def test_a_row_that_fits_no_cell_is_one_clear_error(tmp_path: Path) -> None:
    path, lines = journal_lines(tmp_path)
    row = [77, 1, 1.0, "accepted", 7, "ana", 1e9, None, None]
    path.write_bytes(lines[0] + signed({"at": 1, "text": "a", "gone": [], "put": [row]}))
    found = read_journal(path)
    assert found is not None
    with pytest.raises(AnnotationError, match="A cell is damaged"):
        found.replay(CELLS)
