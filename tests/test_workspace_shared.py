"""One folder open twice: in windows of one process and in two processes; and workers next to a window."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.review import Status
from napari_cellseg.workspace import SaveKind, Sessions, load_cells, look_at, open_project, recoverable
from napari_cellseg.workspace import editing as editing_module
from napari_cellseg.workspace import lock as lock_module
from napari_cellseg.workspace import store as store_module
from napari_cellseg.workspace.annotations import write_annotations
from napari_cellseg.workspace.store import ProposalStore

FOUND = some_cells(20, 0)


@pytest.fixture(autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's data folder out of it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two images; "a" has proposals, saved."""
    folder = tmp_path / "Slides"
    for name in "ab":
        (folder / name).mkdir(parents=True)
        tifffile.imwrite(folder / name / "image.tif", np.full((*SIZE, 3), 200, np.uint8), photometric="rgb")
    with Sessions.of_folder(folder) as sessions:
        sessions.set_classes(CLASSES)
        sessions.open_session("a", SIZE).load_proposals(FOUND)
        sessions.save("a")
    return folder


def status_of(folder: Path, cell_id: int) -> Status:
    annotations = look_at(folder).read("a")
    assert annotations is not None
    return next(cell.status for cell in annotations.cells if cell.cell_id == cell_id)


class OtherViewer:
    """A viewer in another process, see folder_holder.py."""

    def __init__(self, folder: Path) -> None:
        program = Path(__file__).with_name("folder_holder.py")
        command = [sys.executable, str(program), str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.begin = self._answer()

    def do(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        if self.process.poll() is None:
            self.do("close")
        self.process.communicate(timeout=30)


@pytest.fixture
def other(folder: Path) -> Iterator[OtherViewer]:
    viewer = OtherViewer(folder)
    yield viewer
    viewer.end()


# ---- the thread ----


def test_sessions_are_refused_to_any_other_thread_and_the_project_is_for_all(folder):
    with Sessions.of_folder(folder) as sessions:
        sessions.open_session("a", SIZE)
        project, failed = sessions.project, []

        def work() -> None:
            for use in (sessions.read, sessions.is_open, sessions.save, sessions.close_session, sessions.summary):
                try:
                    use("a")
                except AssertionError:
                    failed.append(use.__name__)
            assert len(project.read("a").cells) == len(load_cells(project, "a", SIZE).session.cells)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert failed == ["read", "is_open", "save", "close_session", "summary"]
        assert sessions.is_open("a")


# ---- one process ----


@pytest.mark.parametrize("how", ["slash", "link", "relative", "same"])
def test_the_same_folder_is_known_however_its_path_is_written(folder, how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    path = {
        "slash": Path(f"{folder}{os.sep}."),
        "link": tmp_path / "link",
        "relative": Path(folder.name),
        "same": folder,
    }[how]
    with Sessions.of_folder(folder) as sessions, Sessions.of_folder(path) as second:
        assert sessions.project.is_at(path)
        assert second.project.owner is None, "this process is no other viewer"
        assert "another window" in second.read_only
    assert not (folder / ".cellseg" / "lock.json").exists()


def test_a_second_window_of_the_process_is_told_which_has_it_and_refuses_edits(folder):
    with (
        Sessions(open_project(folder), window="napari, since 12:00") as first,
        Sessions(open_project(folder)) as second,
    ):
        session = second.open_session("a", SIZE)
        with pytest.raises(AnnotationError, match="another window of this program: napari, since 12:00"):
            session.accept([1])
        assert not session.cells[1].reviewed
        assert second.status("a").kind is SaveKind.READ_ONLY
        with pytest.raises(ExportError, match="another window"):
            second.save("a")
        first.open_session("a", SIZE).accept([1])
        first.save("a")
    assert status_of(folder, 1) is Status.ACCEPTED


def test_the_lock_stays_until_the_last_of_the_process_has_closed(folder):
    lock = folder / ".cellseg" / "lock.json"
    first, second = Sessions.of_folder(folder), open_project(folder)
    first.close()
    assert lock.exists()
    third = Sessions.of_folder(folder)
    assert not third.read_only
    second.close()
    assert lock.exists()
    third.close()
    assert not lock.exists()


def test_a_window_that_takes_over_makes_the_other_one_save_first(folder):
    first = Sessions.of_folder(folder)
    edited = first.open_session("a", SIZE)
    edited.accept([1])
    with Sessions.of_folder(folder, take_over=True) as second:
        assert not second.read_only
        assert second.open_session("a", SIZE).cells[1].status is Status.ACCEPTED
        assert "took over" in first.read_only
        with pytest.raises(AnnotationError, match="took over"):
            edited.accept([2])
        second.open_session("a", SIZE).accept([3])
        second.save("a")
        first.close()
        second.open_session("a", SIZE).accept([4])
        second.save("a")
    assert [status_of(folder, i) for i in (1, 3, 4)] == [Status.ACCEPTED] * 3


def test_a_lock_file_that_someone_removed_is_made_again(folder):
    with Sessions.of_folder(folder) as sessions:
        sessions.open_session("a", SIZE).accept([1])
        (folder / ".cellseg" / "lock.json").unlink()
        assert sessions.check_lock()
        sessions.save("a")
        assert (folder / ".cellseg" / "lock.json").exists()
    assert status_of(folder, 1) is Status.ACCEPTED


def test_a_folder_is_listed_again_while_an_image_is_edited(folder):
    with Sessions.of_folder(folder) as sessions:
        session = sessions.open_session("a", SIZE)
        session.accept([1])
        (folder / "c").mkdir()
        tifffile.imwrite(folder / "c" / "image.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
        sessions.show_listing(sessions.project.relisted())
        assert [file.image_id for file in sessions.project.images] == ["a", "b", "c"]
        assert sessions.is_modified("a")
        session.accept([2])
        sessions.save("a")
    assert status_of(folder, 2) is Status.ACCEPTED


# ---- two processes ----


def test_another_process_is_named_and_every_edit_is_refused_with_the_reason(folder, other):
    with Sessions.of_folder(folder) as sessions:
        assert f"ana on {os.uname().nodename} (process {other.process.pid}" in sessions.read_only
        session = sessions.open_session("a", SIZE)
        for edit in (lambda: session.accept([1]), lambda: session.delete([1]), session.undo, session.redo):
            with pytest.raises(AnnotationError, match=r"Nothing was changed\. Open in another viewer: ana"):
                edit()
        assert not sessions.is_modified("a")
        assert sessions.status("a").text.startswith("read-only: Open in another viewer: ana")
    assert other.do("accept 1")["error"] == ""
    assert other.do("save")["error"] == ""
    assert status_of(folder, 1) is Status.ACCEPTED


def test_taking_the_lock_over_loses_no_edit_of_either_viewer(folder, other):
    other.do("accept 1")
    other.do("flush")
    found = recoverable(look_at(folder), "a")
    assert found is not None
    assert found.edits == 1

    with Sessions.of_folder(folder, take_over=True) as sessions:
        session = sessions.open_session("a", SIZE, recover=True)
        assert session.cells[1].status is Status.ACCEPTED, "brought back from the other viewer's journal"
        session.accept([2])
        sessions.save("a")
        late = other.do("reject 3")  # the other viewer has not looked yet
        assert late["error"] == ""
        seen = other.do("check")
        assert "took over" in seen["read_only"]
        assert "offered when you open the folder again" in seen["read_only"]
        assert "took over" in other.do("reject 4")["error"]
        assert "took over" in other.do("save")["error"]
        session.accept([5])
        sessions.save("a")

    with Sessions.of_folder(folder) as sessions:
        offered = recoverable(sessions.project, "a")
        assert offered is not None
        assert offered.edits == 2
        session = sessions.open_session("a", SIZE, recover=True)
        states = {i: session.cells[i].status for i in (1, 2, 3, 5)}
        assert states == {1: Status.ACCEPTED, 2: Status.ACCEPTED, 3: Status.REJECTED, 5: Status.ACCEPTED}
        session.undo()
        assert session.cells[3].status is Status.PROPOSED
        session.redo()
        sessions.save("a")
    assert recoverable(look_at(folder), "a") is None
    assert status_of(folder, 3) is Status.REJECTED


def test_edits_kept_elsewhere_can_be_left_and_are_kept_as_bak(folder, data_home):
    with Sessions.of_folder(folder) as sessions:
        sessions.open_session("a", SIZE).accept([1])
        assert sessions.unsaved() == {"a": 1}
        kept = sessions.keep_elsewhere("a")
        assert sessions.unsaved() == {}
        sessions._open["a"].refuse_edits("")  # as when the program ends: nothing more is written in the project
    assert data_home in kept.parents
    (folder / ".cellseg" / "journal" / "a.jsonl").unlink(missing_ok=True)
    with Sessions.of_folder(folder) as sessions:
        assert not sessions.open_session("a", SIZE).cells[1].reviewed
        assert not kept.exists()
        assert kept.with_name(kept.name + ".bak").exists()


# ---- a folder that cannot be written ----


def test_a_folder_that_cannot_be_written_shows_its_annotations_and_saves_in_the_data_folder(
    folder, data_home, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("napari_cellseg.workspace.places.os.access", lambda *_: False)
        with Sessions.of_folder(folder) as sessions:
            session = sessions.open_session("a", SIZE)
            assert session.cells, "those of .cellseg in the folder"
            session.accept([1])
            sessions.save("a")
            assert data_home in sessions.project.state_folder.parents
            assert "in your data folder" in sessions.status("a").text
    assert status_of(folder, 1) is Status.ACCEPTED, "the newer annotations count when it can be written again"
    with Sessions.of_folder(folder) as sessions:
        sessions.open_session("a", SIZE).accept([2])
        sessions.save("a")
    assert status_of(folder, 2) is Status.ACCEPTED


# ---- a worker next to the window ----


def test_the_window_never_waits_while_a_worker_writes_and_no_image_is_written_that_it_has(folder, monkeypatch):
    writing, go_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> None:
        writing.set()
        assert go_on.wait(30)
        write_annotations(*args)

    monkeypatch.setattr(store_module, "write_annotations", slow)
    with Sessions.of_folder(folder) as sessions:
        store = ProposalStore(sessions.project.shared())
        told: list[bool] = []
        worker = threading.Thread(target=lambda: told.append(store.put("b", FOUND, "lite", {})))
        worker.start()
        assert writing.wait(30)
        # All of this is done while the worker is in the middle of its write.
        sessions.expect("b")
        sessions.open_session("a", SIZE).accept([1])
        sessions.save("a")
        sessions.close_session("a")
        assert worker.is_alive()
        hold = sessions.project.lease.hold
        reader = threading.Thread(target=lambda: told.append(hold.claims.wait_until_written("b") or True))
        reader.start()
        reader.join(0.1)
        assert reader.is_alive(), "who reads the image waits for who writes it"
        go_on.set()
        worker.join()
        reader.join()
        assert told == [True, True]
        assert not store.put("b", FOUND, "lite", {}), "the window is opening it"
        sessions.expect(None)
        assert store.put("b", FOUND, "lite", {})
        store.project.close()


def test_results_for_a_folder_that_another_process_took_over_are_refused(folder):
    sessions = Sessions.of_folder(folder)
    store = ProposalStore(sessions.project.shared())
    lock = folder / ".cellseg" / "lock.json"
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "host": "elsewhere", "token": "x"}))
    with pytest.raises(ExportError, match="took over"):
        store.put("b", FOUND, "lite", {})
    store.project.close()
    sessions.close()
    assert lock.exists(), "it is the other one's"


# ---- a network share that does not answer ----


def test_a_share_that_does_not_answer_stops_no_look_and_is_reported(folder, monkeypatch):
    answers = threading.Event()
    read = lock_module._read_owner

    def hanging(path: Path) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert answers.wait(60)
        return read(path)

    monkeypatch.setattr(lock_module, "_read_owner", hanging)
    monkeypatch.setattr(editing_module, "_SILENT_S", 0.0)
    with Sessions.of_folder(folder) as sessions:
        session = sessions.open_session("a", SIZE)
        for _ in range(3):
            assert sessions.check_lock(), "each look returns while the thread waits for the share"
        assert "The folder has not answered for" in sessions.status("a").text
        session.accept([1])
        assert sessions.status("a").kind is SaveKind.PROBLEM
        assert sessions.status("a").text.startswith("1 edit not saved: The folder has not answered")
        answers.set()
        while sessions.problem:
            time.sleep(0.005)
        assert sessions.status("a").kind is SaveKind.UNSAVED
        assert sessions.check_lock()


def test_the_thread_that_reads_the_lock_ends_with_the_sessions(folder):
    def readers() -> int:
        return sum(thread.name == "cellseg-lock" for thread in threading.enumerate())

    before = readers()
    with Sessions.of_folder(folder) as sessions:
        assert readers() == before, "no one has looked yet"
        sessions.check_lock()
        assert readers() == before + 1
    assert readers() == before
    dropped = Sessions.of_folder(folder)
    dropped.check_lock()
    del dropped
    gc.collect()
    assert readers() == before
