from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from engine_tasks import HOST, TASKS

from napari_cellseg.engine_process import frames, turns
from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.tasks import TASKS as REAL_TASKS
from napari_cellseg.engine_process.tasks import TaskRunner
from napari_cellseg.errors import CellSegError, EngineError, ImageReadError


def finish(generator):
    """Run a generator to its end; return its events, without the ticks, and its result."""
    events = []
    while True:
        try:
            event = next(generator)
        except StopIteration as end:
            return events, end.value
        if event is not None:
            events.append(event)


def first_event(generator):
    return next(event for event in generator if event is not None)


def exchange_folders():
    base = Path(frames._shared_memory() or "/tmp")
    return set(base.glob(f"{frames._PREFIX}{os.getpid()}-*"))


def readers():
    return {thread for thread in threading.enumerate() if thread.name == "engine answers"}


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def client():
    before = exchange_folders()
    client = EngineClient(TASKS, HOST)
    yield client
    client.shutdown()
    assert exchange_folders() <= before


def test_it_gives_the_events_and_the_result_of_the_task(client):
    events, result = finish(client.run("count", n=4))

    assert events == [0, 1, 2, 3]
    assert result == {"pid": client.process_id}
    assert result["pid"] != os.getpid()


def test_the_process_stays_warm_between_runs(client):
    assert finish(client.run("count"))[1] == finish(client.run("count"))[1]


def test_arrays_of_any_size_come_back_exact_writable_and_leave_no_file(client):
    sizes = (0, 1, 1000, frames.SMALLEST_SHARED, 3_000_001)
    arrays = [np.random.default_rng(0).integers(0, 100, n, dtype=np.uint8) for n in sizes]

    events, result = finish(client.run("double", arrays=arrays))

    for array, doubled, returned in zip(arrays, events, result, strict=True):
        np.testing.assert_array_equal(doubled, array * 2)
        np.testing.assert_array_equal(returned, array)
        assert doubled.flags.writeable
    assert [list(folder.iterdir()) for folder in exchange_folders()] == [[]]


def test_arrays_go_through_the_pipe_when_the_shared_memory_is_full(client, monkeypatch):
    monkeypatch.setattr(frames, "_write_buffers", lambda *_: False)
    array = np.arange(500_000)

    assert np.array_equal(finish(client.run("double", arrays=[array]))[0][0], array * 2)


def test_what_the_task_prints_does_not_disturb(client):
    assert finish(client.run("chatter")) == ([""], "heard")


def test_a_known_error_keeps_its_type_and_text_and_brings_the_traceback(client):
    with pytest.raises(ImageReadError, match=r"a.tif is not a TIFF file; save it as TIFF\.$") as caught:
        finish(client.run("fail", kind="cellseg"))

    assert "engine_tasks.py" in caught.value.details


@pytest.mark.parametrize(
    ("kind", "text", "is_replaced"),
    [
        ("picky", "a.txt: line 3 is wrong", False),
        ("other", "ZeroDivisionError: by zero", False),
        ("memory", "not enough free memory", True),
        ("cuda", "GPU does not have enough free memory", True),
        ("disk", r"disk is full \(/data/run/last.safetensors\)", False),
        ("exit", "SystemExit: 3", False),
    ],
)
def test_any_other_error_becomes_a_message_with_details_and_only_after_one_of_memory_the_process_is_replaced(
    client, kind, text, is_replaced
):
    first = finish(client.run("count"))[1]
    with pytest.raises(EngineError, match=text) as caught:
        finish(client.run("fail", kind=kind))

    assert "engine_tasks.py" in caught.value.details
    events, second = finish(client.run("count"))
    assert events == [0, 1, 2]
    assert (second != first) is is_replaced


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="only Linux shares out by sessions")
def test_it_gives_way_to_the_window_also_where_sessions_share_the_processor(client):
    process_id = finish(client.run("count"))[1]["pid"]
    assert psutil.Process(process_id).nice() >= 5
    assert Path(f"/proc/{process_id}/autogroup").read_text().endswith("nice 5\n")
    assert not Path("/proc/self/autogroup").read_text().endswith("nice 5\n")


def test_an_event_that_cannot_travel_is_an_error_not_a_hang(client):
    with pytest.raises(EngineError, match="pickle"):
        finish(client.run("unpicklable"))


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("how", "text", "details"),
    [
        ("kill", "killed from outside .SIGKILL.", ""),
        ("segfault", "crashed .SIGSEGV.", "Segmentation fault"),
        ("exit", "exit code 7", "last words"),
    ],
)
def test_a_dead_process_is_one_clear_error_and_the_next_run_starts_another(client, how, text, details):
    with pytest.raises(EngineError, match=text) as caught:
        finish(client.run("die", how=how))

    assert details in caught.value.details
    assert finish(client.run("count"))[0] == [0, 1, 2]


def test_closing_stops_the_task_at_its_next_event_and_it_cleans_up(client, tmp_path):
    run = client.run("count", n=1000, wait_s=0.02, cleaned=tmp_path / "file")
    first_event(run)
    process_id = client.process_id

    run.close()

    assert (tmp_path / "file").read_text() == "cleaned up"
    assert finish(client.run("count"))[1]["pid"] == process_id


def test_closing_kills_a_task_that_does_not_come_to_its_next_event(client):
    run = client.run("hang")
    process_id = first_event(run)
    time.sleep(0.5)  # else the engine may not have begun to hang yet

    start = time.monotonic()
    run.close()

    assert time.monotonic() - start < TASKS["hang"].grace_s + 20  # it would hang for 60 s
    assert is_gone(process_id)
    assert client.process_id is None
    assert finish(client.run("count"))[0] == [0, 1, 2]


def test_a_task_waits_when_nobody_reads_its_events(client):
    run = client.run("flood", n=2000)  # 200 MB, if it did not wait
    first_event(run)
    time.sleep(0.5)
    waiting = sum(file.stat().st_size for folder in exchange_folders() for file in folder.iterdir())
    assert waiting < 35 * 2**20
    run.close()


def test_it_hands_back_control_while_it_waits(client):
    run = client.run("hang")
    first_event(run)
    assert next(run) is None
    run.close()


def test_a_second_run_waits_for_the_end_of_the_first(client):
    first = client.run("count", wait_s=0.1)
    first_event(first)
    second = client.run("count", n=2)
    assert next(second) is None
    first.close()
    assert finish(second)[0] == [0, 1]


def test_a_second_run_is_refused_when_the_first_does_not_end(client, monkeypatch):
    monkeypatch.setattr(turns, "BUSY_S", 0.1)
    first = client.run("count", wait_s=0.1)
    first_event(first)
    with pytest.raises(EngineError, match="running another task"):
        finish(client.run("count"))
    first.close()


def test_a_forgotten_client_ends_its_process_and_its_thread():
    before = readers()
    client = EngineClient(TASKS, HOST)
    finish(client.run("count"))
    process_id = client.process_id

    del client
    gc.collect()

    assert is_gone(process_id)
    deadline = time.monotonic() + 30
    while readers() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not readers() - before


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_process_ends_when_the_viewer_is_killed_and_leaves_nothing(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from engine_tasks import HOST, TASKS\n"
        "from napari_cellseg.engine_process.client import EngineClient\n"
        f"run = EngineClient(TASKS, HOST).run('hang', cleaned={str(tmp_path / 'file')!r})\n"
        "print(next(e for e in run if e), flush=True)\n"
        "next(e for e in run if e)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as viewer:
        engine = int(viewer.stdout.readline())
        viewer.kill()
    folder = Path(frames._shared_memory() or "/tmp")

    deadline = time.monotonic() + 30
    while not is_gone(engine) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert is_gone(engine)
    assert not list(folder.glob(f"{frames._PREFIX}{viewer.pid}-*"))


def test_folders_of_processes_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "_shared_memory", lambda: str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    abandoned = tmp_path / f"{frames._PREFIX}{gone.pid}-abc"
    abandoned.mkdir()
    mine = frames.make_exchange_folder()

    frames.remove_abandoned_folders()

    assert not abandoned.exists()
    assert mine.exists()


@pytest.mark.parametrize("name", REAL_TASKS)
def test_each_task_of_the_table_can_be_loaded(name):
    assert callable(TaskRunner(REAL_TASKS).load(name))


def test_what_a_task_keeps_stays_between_runs(client):
    assert [finish(client.run("tally"))[1] for _ in range(3)] == [1, 2, 3]


def test_errors_of_the_program_are_cellseg_errors():
    assert issubclass(EngineError, CellSegError)
