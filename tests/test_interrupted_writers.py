"""Logs, models, samples and unpacked zips on a full or read-only disk, and killed: a reader finds old or new content.

``interrupted_writers.py`` has the writers. Their files differ from run to run, or grow, so what is read counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
WAYS = "none,full,killed,sync,bytes,killed in a write,read-only"

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills as POSIX does"),
]


def test_a_reader_finds_old_or_new_content_and_the_next_attempt_gets_through() -> None:
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TESTS / "interrupted_writers.py"), WAYS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}
    assert all(each["failed"] > 3 for each in found.values())
