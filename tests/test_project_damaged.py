"""Damaged files of a project besides annotations: lock, prediction log, project file and class table."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import numpy as np
import pytest

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.workspace.lock import FolderLock, LockOwner
from napari_cellseg.workspace.predictions import LogEntry, PredictionLog
from napari_cellseg.workspace.project_file import read_classes, write_classes

OWNER = {"user": "bob", "host": "elsewhere", "pid": 5, "since": 1e9, "process_started": 1e9, "token": "t"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[1]", b"{}", b'{"name": "other program"}', b"\0" * 100, b"[" * 100_000, b"x" * 10**6,
        *(json.dumps(OWNER | change).encode() for change in (
            {"pid": -1}, {"pid": 10**30}, {"pid": "5"}, {"since": 1e300}, {"since": -1}, {"host": 7}, {"user": None},
            {"process_started": "x"}, {"token": []},
        )),
    ],
)  # fmt: skip
def test_a_nonsense_lock_does_not_keep_anyone_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(content)
    lock = FolderLock(path, "ana")
    assert lock.owner is None
    assert lock.acquire() is None
    assert lock.is_mine
    assert (tmp_path / "lock.json.bak").read_bytes() == content
    lock.release()


def test_a_folder_in_the_place_of_the_lock_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    lock = FolderLock(path, "ana")
    assert lock.owner is None
    assert lock.acquire() is None
    assert lock.is_mine
    assert (tmp_path / "lock.json.bak" / "notes.txt").read_text() == "mine"
    lock.release()
    assert not path.exists()


def test_an_ordinary_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(OWNER | {"host": socket.gethostname(), "pid": 2**31 - 1}))
    lock = FolderLock(path, "ana")
    assert lock.acquire() is None
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_computer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(OWNER | {"added later": 1}))
    owner = FolderLock(path, "ana").acquire()
    assert isinstance(owner, LockOwner)
    assert not owner.is_gone
    assert "bob on elsewhere" in str(owner)
    path.write_text(json.dumps(OWNER | {"host": socket.gethostname(), "pid": 2**31 - 1}))
    assert FolderLock(path, "ana").acquire() is None


def test_damaged_lines_of_the_prediction_log_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = PredictionLog(tmp_path)
    for name in "ab":
        log.add(LogEntry(image_id=name, key="k", model="lite", stamp=(1, 2), cells=3, at=1e9))
    sound_row = json.loads(log.path.read_bytes().splitlines()[0])
    junk = [{"image_id": []}, {"stamp": [1]}, {"stamp": {}}, {"cells": "x"}, {"at": 1e300}, {"key": None}]
    bad = [json.dumps(sound_row | change).encode() for change in junk]
    bad += [b"[]", b"5", b"null", b"{", b"\xff", b"[" * 100_000]
    with log.path.open("ab") as file:
        file.write(b"\n".join(bad))
    with caplog.at_level(logging.WARNING):
        assert sorted(log.entries()) == ["a", "b"]
    assert f"{len(bad)} damaged lines" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"{}", b'{"classes": 5}', b"\xff", b'{"format": []}'])
def test_a_damaged_project_file_is_kept_and_the_next_classes_are_used(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / ".cellseg"
    state.mkdir()
    write_classes(state, ClassTable(("a", "b")))
    assert read_classes(state, tmp_path) == ClassTable(("a", "b"))
    (state / "project.json").write_bytes(content)
    assert read_classes(state, tmp_path) is None
    (tmp_path / "classes.json").write_text('["c", "d"]')
    assert read_classes(state, tmp_path) == ClassTable(("c", "d"))
    assert [kept.read_bytes() for kept in state.glob("project.json.damaged-*.bak")] == [content]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"5",
        b'{"names": 5}',
        b'["a", "a"]',
        b'{"1": "a", "1": "b"}',
        b"[" + b'"x",' * 2000 + b'"y"]',
    ],
)
def test_a_wrong_table_of_classes_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "classes.json").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"classes\.json"):
        read_classes(tmp_path / ".cellseg", tmp_path)


def test_a_table_of_many_classes_is_refused_within_a_second() -> None:
    from napari_cellseg.errors import ConfigError

    with pytest.raises(ConfigError, match="the limit is 1000"):
        ClassTable(tuple(f"class {i}" for i in np.arange(200_000)))
