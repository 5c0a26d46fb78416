"""Journal, recovery and lock: every edit is on disk immediately, and two viewers do not write one folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, act, some_cells

from napari_cellseg.workspace import Sessions, recoverable
from napari_cellseg.workspace.journal import read_journal
from napari_cellseg.workspace.journal_writer import JournalWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    return tmp_path


def journal(folder: Path) -> Path:
    return folder / ".cellseg" / "journal" / "a.jsonl"


def left_behind(folder: Path, edits: int = 150, seed: int = 0, *, save_at: int | None = None):
    """Work, and end without saving as a killed viewer does; returns the session."""
    workspace = Sessions.of_folder(folder, user="ana")
    session = workspace.open_session("a", SIZE, CLASSES)
    session.load_proposals(some_cells(40, seed))
    rng = np.random.default_rng(seed)
    for step in range(edits):
        if step == save_at:
            workspace.save("a")
        act(session, rng)
    workspace.close()
    return session


@pytest.mark.parametrize("save_at", [None, 100])
def test_recovery_brings_back_every_cell_exactly(folder, save_at):
    lost = left_behind(folder, save_at=save_at)
    with Sessions.of_folder(folder) as workspace:
        found = recoverable(workspace.project, "a")
        assert found.user == "ana"
        assert 20 < found.edits <= 151
        assert abs(found.last_at - time.time()) < 60
        session = workspace.open_session("a", SIZE, CLASSES, recover=True)
        assert session.cells.keys() == lost.cells.keys()
        assert all(cell.equals(lost.cells[i]) for i, cell in session.cells.items())
        assert workspace.is_modified("a")
        workspace.save("a")
        assert recoverable(workspace.project, "a") is None
    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "a") is None
        assert workspace.open_session("a", SIZE, CLASSES).cells.keys() == lost.cells.keys()


def test_what_is_recovered_and_edited_on_can_be_recovered_again(folder):
    left_behind(folder)
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE, CLASSES, recover=True)
        edits = len(read_journal(journal(folder)).changes)
        session.reject(sorted(session.cells)[:1])
        session.delete(sorted(session.cells)[:3])
    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "a").edits == edits + 2
        again = workspace.open_session("a", SIZE, CLASSES, recover=True)
        assert again.cells.keys() == session.cells.keys()


@pytest.mark.parametrize("cut", [1, 7, 40, 200])
def test_half_a_line_at_the_end_costs_that_edit_only(folder, cut):
    left_behind(folder, 50)
    whole = read_journal(journal(folder))
    last = len(journal(folder).read_bytes().splitlines()[-1])
    data = journal(folder).read_bytes()
    journal(folder).write_bytes(data[: -min(cut, last)])
    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "a").edits == len(whole.changes) - 1
        session = workspace.open_session("a", SIZE, CLASSES, recover=True)
        session.delete(sorted(session.cells)[:1])
    assert len(read_journal(journal(folder)).changes) == len(whole.changes)


def test_a_line_with_a_flipped_bit_ends_what_is_recovered(folder):
    left_behind(folder, 50)
    lines = journal(folder).read_bytes().splitlines(keepends=True)
    lines[20] = lines[20][:30] + bytes([lines[20][30] ^ 1]) + lines[20][31:]
    journal(folder).write_bytes(b"".join(lines))
    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "a").edits == 19


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage\n", b"00000000 {}\n", b"\xff" * 100])
def test_a_journal_that_is_none_offers_nothing(folder, content):
    journal(folder).parent.mkdir(parents=True)
    journal(folder).write_bytes(content)
    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "a") is None
        workspace.open_session("a", SIZE, CLASSES)
    assert journal(folder).with_name("a.jsonl.bak").read_bytes() == content


def test_unsaved_edits_that_are_not_recovered_are_set_aside_not_lost(folder):
    left_behind(folder)
    data = journal(folder).read_bytes()
    with Sessions.of_folder(folder) as workspace:
        assert not workspace.open_session("a", SIZE, CLASSES).cells
    assert journal(folder).with_name("a.jsonl.bak").read_bytes() == data


def test_discarded_edits_are_not_offered_again(folder):
    left_behind(folder)
    with Sessions.of_folder(folder) as workspace:
        workspace.discard("a")
        assert recoverable(workspace.project, "a") is None


def test_edits_saved_just_before_the_kill_are_not_offered_again(folder):
    left_behind(folder)
    old = journal(folder).read_bytes()
    with Sessions.of_folder(folder) as workspace:
        workspace.open_session("a", SIZE, CLASSES, recover=True)
        workspace.save("a")
    journal(folder).write_bytes(old)  # as if killed between writing the annotations and removing the journal
    with Sessions.of_folder(folder) as workspace:
        assert recoverable(workspace.project, "a") is None
        assert workspace.open_session("a", SIZE, CLASSES).cells


def test_looking_leaves_no_journal(folder):
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        session.set_min_scores({1: 0.5})
        workspace.close_session("a")
        assert not journal(folder).exists()


def test_a_decision_takes_few_bytes(folder):
    with Sessions.of_folder(folder, user="ana") as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        session.load_proposals(some_cells(40, 0))
        workspace.save("a")
        for cell_id in range(1, 21):
            session.accept([cell_id])
        workspace.close_session("a")
    lines = journal(folder).read_bytes().splitlines()
    assert max(map(len, lines[1:])) < 250


def test_an_edit_is_on_disk_at_once(folder):
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        session.load_proposals(some_cells(40, 0))
        session.accept([1])
        until = time.monotonic() + 20
        while b"accept #1" not in (journal(folder).read_bytes() if journal(folder).exists() else b""):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert len(read_journal(journal(folder)).changes) == 2


def test_a_full_disk_is_told_and_tried_again(folder, monkeypatch):
    workspace = Sessions.of_folder(folder)
    session = workspace.open_session("a", SIZE, CLASSES)
    session.load_proposals(some_cells(5, 0))
    assert workspace._writer.flush()
    real = os.fsync

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_cellseg.workspace.journal_writer.os.fsync", full)
    session.accept([1])
    assert not workspace._writer.flush()
    assert "No space left on device" in workspace.problem
    monkeypatch.setattr("napari_cellseg.workspace.journal_writer.os.fsync", real)
    session.accept([2])
    assert workspace._writer.flush()
    assert workspace.problem == ""
    workspace.close()
    assert len(read_journal(journal(folder)).changes) == 3


def test_a_journal_in_an_impossible_place_keeps_its_lines(tmp_path):
    blocker = tmp_path / "journal"
    blocker.write_text("a file where the folder should be")
    writer = JournalWriter()
    writer.append(blocker / "a.jsonl", lambda: b"one\n")
    assert not writer.flush()
    assert "cannot be written" in writer.problem
    blocker.unlink()
    writer.append(blocker / "a.jsonl", lambda: b"two\n")
    assert writer.flush()
    writer.close()
    assert (blocker / "a.jsonl").read_bytes() == b"one\ntwo\n"


# ---- lock ----


def lock_file(folder: Path, **fields) -> None:
    (folder / ".cellseg").mkdir()
    owner = {"user": "ana", "host": socket.gethostname(), "pid": os.getpid(), "since": 0.0, "process_started": 0.0}
    (folder / ".cellseg" / "lock.json").write_text(json.dumps({**owner, "token": "x", **fields}))


def test_the_lock_of_an_ended_process_is_taken_over(folder):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock_file(folder, pid=ended.pid)
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.owner is None


def test_the_number_of_an_ended_process_may_be_in_use_again(folder):
    lock_file(folder, process_started=1.0)  # ours, but we began later
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.owner is None


def test_the_lock_of_another_computer_holds(folder):
    lock_file(folder, host="elsewhere", pid=1)
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.owner.host == "elsewhere"


def test_a_damaged_lock_does_not_lock(folder):
    (folder / ".cellseg").mkdir()
    (folder / ".cellseg" / "lock.json").write_text("{")
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.owner is None
