"""A pytest plugin: a test process that crashes or hangs ends the whole command, with an error that names the test.

pytest-xdist puts the test that killed a process back into its queue, so that it kills the next process too, and gives
the rest to processes that were already told to end: the command then waits for ever. Here the first crash stops it.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

POLL_S = 1.0
GRACE_S = 5.0
"""How long xdist may take to notice that a process died."""
LAST_RESORT_S = 30.0
"""How long the command may take to end after a test process died."""
HANG_MARGIN_S = 30.0
"""Time that pytest-timeout, which needs Python to run, has to end a test before C code ends the process."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Stop the command after this report; xdist names the test that the process was running."""
    session = node.config.pluginmanager.getplugin("dsession")
    if error and session is not None and not session.shouldstop:
        session.shouldstop = f"test process {node.gateway.id} died (crash, kill or hang); see the failed test above"
        for other in list(session._active_nodes - {node}):  # else xdist waits until they did all tests they have
            other._down = True  # so that their end is not told as a crash of the test they were running
            session._active_nodes.discard(other)
            if (process := _process(other.gateway)) is not None:
                process.kill()
        last_resort = threading.Timer(LAST_RESORT_S, _end, args=(session.shouldstop,))
        last_resort.daemon = True
        last_resort.start()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch the test processes from the process that started them."""
    if session.config.pluginmanager.hasplugin("dsession"):
        threading.Thread(target=_watch, args=(session.config,), name="crash-guard", daemon=True).start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """End the process, in C and so without Python's lock, when a test outlives its own time limit."""
    limit = _limit_s(item)
    if limit:
        stderr = item.config.stash.get(fault_handler_stderr_fd_key, sys.__stderr__)
        faulthandler.dump_traceback_later(limit + _margin_s(), file=stderr, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _watch(config: pytest.Config) -> None:
    """Tell xdist of processes that are dead while a child of theirs keeps their pipe open."""
    session = config.pluginmanager.getplugin("dsession")
    dead_since: dict[Any, float] = {}
    while not session.session_finished:
        for node in list(getattr(session, "_active_nodes", ())):
            process = _process(node.gateway)
            if process is None or node._down or process.poll() is None:
                continue
            if time.monotonic() - dead_since.setdefault(node, time.monotonic()) > GRACE_S:
                node._down = True  # xdist itself then says nothing more about it
                session.queue.put(("errordown", {"node": node, "error": f"ended with code {process.returncode}"}))
        time.sleep(POLL_S)


def _process(gateway: Any) -> Any:
    return getattr(getattr(gateway, "_io", None), "popen", None)


def _end(text: str) -> None:
    os.write(2, f"\n{text}; pytest-xdist does not end, so it is ended\n".encode())
    os._exit(3)


def _limit_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    given = (marker.args[0] if marker.args else marker.kwargs.get("timeout")) if marker else None
    option = item.config.getoption("timeout", None)
    return float(given or option or item.config.getini("timeout") or 0)


def _margin_s() -> float:
    return float(os.environ.get("CELLSEG_HANG_MARGIN_S", HANG_MARGIN_S))
