"""A shorter day of `benchmarks/long_day.py`: nothing is left by docks, predictions, images and trainings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "long_day.py"
PARTS = ("images", "predictions", "docks", "trainings")


@pytest.mark.slow
@pytest.mark.gui
@pytest.mark.timeout(900)
def test_a_long_day_leaves_nothing_behind(tmp_path):
    counts = tmp_path / "counts.json"
    short = [f"--{part}={cycles}" for part, cycles in zip(PARTS, (10, 10, 5, 3), strict=True)]
    done = subprocess.run(
        [sys.executable, SCRIPT, *short, "--json", counts], capture_output=True, text=True, timeout=800, check=False
    )
    assert counts.exists(), done.stderr[-4000:]
    parts = json.loads(counts.read_text())
    assert [part["grown"] for part in parts] == [{}, {}, {}, {}], done.stdout
    assert all(part["before"]["OpenGL objects"] and part["before"]["jobs"] for part in parts)  # it does see them
    assert done.returncode == 0, done.stderr[-4000:]
