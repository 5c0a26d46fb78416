from __future__ import annotations

import threading
import time

import psutil
import pytest
from engine_room import wait_until
from engine_tasks import HOST, TASKS

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.pool import EnginePool, EngineUser
from napari_cellseg.errors import EngineError
from napari_cellseg.events import drive


def make_client(variables):
    return EngineClient(TASKS, HOST, variables=variables)


@pytest.fixture
def pool():
    pool = EnginePool(make_client)
    yield pool
    pool.shutdown()
    assert pool.process_ids == []
    assert [thread.name for thread in threading.enumerate() if thread.name in ("idle engine", "engine answers")] == []


def process_of(run):
    """Run a task to its end; return the id of the process it ran in."""
    return drive(run)["pid"]


def first_event(run):
    return next(event for event in run if event is not None)


def test_tasks_that_follow_each_other_share_one_process(pool):
    users = [EngineUser(pool) for _ in range(4)]
    assert len({process_of(user.run("count", {})) for user in users}) == 1
    assert len(pool.process_ids) == 1


def test_tasks_that_overlap_get_two_processes_of_which_one_stays(pool):
    first, second = EngineUser(pool), EngineUser(pool)
    training = first.run("count", {"n": 1000, "wait_s": 0.01})
    first_event(training)
    other = process_of(second.run("count", {}))
    assert sorted(pool.process_ids) == sorted([first.process_id, other])

    ended = first.process_id
    training.close()
    assert pool.process_ids == [other]
    assert wait_until(lambda: ended not in [child.pid for child in psutil.Process().children()])


def test_the_next_run_of_a_user_waits_for_the_one_before_instead_of_starting_a_process(pool):
    user = EngineUser(pool)
    run = user.run("count", {"n": 1000, "wait_s": 0.01})
    first_event(run)
    later = user.run("count", {})
    assert next(later) is None
    run.close()
    process_of(later)
    assert len(pool.process_ids) == 1


def test_an_idle_process_ends_after_its_time_and_the_next_task_gets_another():
    pool = EnginePool(make_client, idle_s=0.3)
    user = EngineUser(pool)
    first = process_of(user.run("count", {}))
    assert psutil.pid_exists(first)
    assert wait_until(lambda: not psutil.pid_exists(first))
    assert pool.process_ids == []
    assert wait_until(lambda: "idle engine" not in [thread.name for thread in threading.enumerate()])
    assert process_of(user.run("count", {})) != first
    pool.shutdown()


def test_a_process_at_work_does_not_end_however_long_it_takes():
    pool = EnginePool(make_client, idle_s=0.1)
    user = EngineUser(pool)
    process_of(user.run("count", {}))
    assert process_of(user.run("count", {"n": 3, "wait_s": 0.3})) == user.process_id or user.process_id is None
    pool.shutdown()


def test_each_user_holds_only_its_own_run(pool):
    held, free = EngineUser(pool), EngineUser(pool)
    held.hold.set()
    waiting = held.run("count", {"n": 1000})
    first_event(waiting)
    process_of(free.run("count", {}))
    assert held.hold.is_set()
    assert not free.hold.is_set()
    waiting.close()
    held.hold.clear()


def test_a_process_with_other_variables_is_replaced(pool):
    user = EngineUser(pool)
    first = process_of(user.run("count", {}, {"CELLSEG_VRAM_MIB": "100"}))
    assert psutil.Process(first).environ()["CELLSEG_VRAM_MIB"] == "100"
    second = process_of(user.run("count", {}, {"CELLSEG_VRAM_MIB": "200"}))
    assert psutil.Process(second).environ()["CELLSEG_VRAM_MIB"] == "200"
    assert pool.process_ids == [second]


def test_a_process_that_died_is_not_kept(pool):
    user = EngineUser(pool)
    with pytest.raises(EngineError):
        list(user.run("die", {"how": "exit"}))
    assert pool.process_ids == []
    assert process_of(user.run("count", {}))


def test_warming_up_starts_one_process_and_no_second(pool):
    pool.warm_up()
    (process_id,) = pool.process_ids
    pool.warm_up()
    assert pool.process_ids == [process_id]


def test_nothing_starts_after_the_shutdown(pool):
    pool.shutdown()
    with pytest.raises(EngineError, match="closing"):
        list(EngineUser(pool).run("count", {}))


def test_a_shutdown_ends_a_process_at_work(pool):
    user = EngineUser(pool)
    run = user.run("count", {"n": 1000, "wait_s": 0.01})
    first_event(run)
    process_id, begin = user.process_id, time.monotonic()
    pool.shutdown()
    assert time.monotonic() - begin < 10
    assert wait_until(lambda: not psutil.pid_exists(process_id))
    run.close()
