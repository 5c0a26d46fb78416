"""The fixtures that fail a test which leaves something behind do fail one."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import subprocess, sys, threading
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

KEPT = []

def test_thread(qtbot):
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def test_process(qtbot):
    KEPT.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(40)"]))

def test_timer(qtbot):
    KEPT.append(QTimer())
    KEPT[-1].start(60_000)

def test_visible(qtbot):
    KEPT.append(QWidget())
    KEPT[-1].show()

def test_clean(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    QTimer(widget).start(60_000)
    widget.show()
    thread = threading.Thread(target=print)
    thread.start()
"""


@pytest.mark.timeout(200)
def test_a_test_that_leaves_something_fails_and_says_what(pytester, monkeypatch, request):
    folder = request.path.parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{folder.parent}")
    conftest = (folder / "conftest.py").read_text().replace('pytest_plugins = ["crash_guard"]', "")
    pytester.makeconftest(f"{conftest}\nimport leftovers\nleftovers.PATIENCE_S = 0.3\n")
    pytester.makepyfile(test_five=TESTS)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:warnings")

    result.assert_outcomes(passed=5, errors=5)  # four of tests, and one of the file
    for what in ("thread", "process", "timer", "visible"):
        result.stdout.fnmatch_lines([f"*ERROR at teardown of test_{what} *"])
        result.stdout.fnmatch_lines([f"E * {what} *"])
