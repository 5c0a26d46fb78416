"""`make test` ends soon, with the name of the test, when a test process dies or hangs."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OTHER = "import time\n\ndef test_long():\n    time.sleep(300)\n"

ABORT = """
import os

def test_before(): pass

def test_bad(): os.abort()

def test_after(): pass
"""
DEADLY = {
    "fixture": """
import os, pytest

@pytest.fixture
def bad(): os.abort()

def test_bad(bad): pass
""",
    "teardown": """
import os, pytest

@pytest.fixture
def bad():
    yield
    os.abort()

def test_bad(bad): pass
""",
    "thread": """
import os, threading, time

def test_bad():
    threading.Timer(0.1, os.abort).start()
    time.sleep(60)
""",
    "kill": """
import os, signal

def test_bad(): os.kill(os.getpid(), signal.SIGKILL)
""",
    "two": """
import os

def test_bad(): os.abort()

def test_bad_too(): os.abort()
""",
    # The child keeps the pipe open by which xdist would see that its parent died.
    "orphan": """
import os, time

def test_bad():
    if os.fork() == 0:
        time.sleep(100)
        os._exit(0)
    os.abort()
""",
    # A sleep in C that holds Python's lock: no signal handler and no thread of Python's can run.
    "hang": """
import ctypes, pytest

@pytest.mark.timeout(5, func_only=True)
def test_bad():
    ctypes.PyDLL(None).sleep(300)
""",
    "screen": """
import psutil

def test_bad(qtbot):
    from qtpy.QtWidgets import QWidget
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    me = psutil.Process()  # its own screen, or that of the whole command
    for owner in (me, *(parent for parent in me.parents() if parent.name().startswith("xvfb-run"))):
        screens = [child for child in owner.children() if child.name() == "Xvfb"]
        if screens:
            screens[0].kill()
            break
    qtbot.wait(60_000)
""",
}


def make_test(folder: Path, code: str) -> tuple[int, str, float]:
    """Run the command of ``make test`` on a folder of tests; return exit code, output and seconds."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_a.py").write_text(code)
    (folder / "test_b.py").write_text(OTHER)
    listed = subprocess.run(
        ["make", "-n", "test", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (command,) = [line for line in listed.splitlines() if "-m pytest" in line]
    arguments = [*shlex.split(command), "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), str(folder)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    inner = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "QT_QPA_", "DISPLAY"))
    }
    inner |= {"PYTHONPATH": paths, "CELLSEG_HANG_MARGIN_S": "10"}
    start = time.monotonic()
    with (folder / "output.txt").open("w") as shown:  # no pipe: a child of a killed process would keep it open
        running = subprocess.Popen(
            arguments, cwd=ROOT, env=inner, stdout=shown, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        code = running.wait(timeout=120)
    finally:  # what it left, a child of a killed test process too
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    return code, (folder / "output.txt").read_text(errors="replace"), time.monotonic() - start


needs_screen = pytest.mark.skipif(
    shutil.which("xvfb-run") is None or shutil.which("make") is None, reason="runs make and Xvfb"
)


@needs_screen
def test_a_test_that_aborts_ends_the_command_and_is_named(tmp_path: Path) -> None:
    code, output, seconds = make_test(tmp_path, ABORT)
    assert code not in (0, 5), output
    assert "test_a.py::test_bad" in output.partition("short test summary")[2], output
    assert "test process gw" in output
    assert seconds < 60


@pytest.mark.slow
@needs_screen
@pytest.mark.parametrize("way", DEADLY)
def test_each_way_to_die_ends_the_command_and_names_the_test(tmp_path: Path, way: str) -> None:
    code, output, seconds = make_test(tmp_path, DEADLY[way])
    assert code not in (0, 5), output
    summary = output.partition("short test summary")[2]
    assert "test_a.py::test_bad" in summary, output
    assert "test_b.py" not in summary, output
    assert seconds < 90  # 60 s on a machine that has nothing else to do


@pytest.mark.slow
@needs_screen
def test_a_crash_while_tests_are_collected_ends_the_command(tmp_path: Path) -> None:
    code, output, seconds = make_test(tmp_path, "import os\n\nos.abort()\n")
    assert code not in (0, 5), output
    assert "test process gw" in output
    assert "test_a.py" in output  # in the stack of the crash
    assert seconds < 90
