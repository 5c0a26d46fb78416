"""A viewer killed at any moment (kill -9) loses at most the last two seconds, and no file of the user."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from kill_worker import checksum
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.workspace import Sessions, recoverable

EDITS = 500

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX systems")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a" / "image.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    write_class_images(tmp_path / "a", some_cells(40, 0))
    return tmp_path


def originals(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "a").iterdir()}


def work_until_killed(folder: Path, seed: int, at: int) -> tuple[list[tuple[float, str]], float]:
    """Run a viewer and kill it after ``at`` edits; returns (time, checksum) after each edit, and when it was killed."""
    command = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), str(folder), str(seed), str(EDITS)]
    viewer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert viewer.stdout is not None
    told = [viewer.stdout.readline() for _ in range(at)]
    time.sleep(random.Random(seed).random() * 0.02)
    killed = time.time()
    viewer.send_signal(signal.SIGKILL)
    told += viewer.stdout.readlines()
    viewer.wait()
    whole = [line.split() for line in told if line.endswith("\n")]
    return [(float(moment), state) for moment, state in whole], killed


def check_after_kill(folder: Path, told: list[tuple[float, str]], killed: float) -> None:
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.owner is None
        found = recoverable(workspace.project, "a")
        session = workspace.open_session("a", SIZE, CLASSES, recover=found is not None)
        state = checksum(session.cells)
        states = [state for _, state in told]
        assert state in states
        later = told[len(states) - states[::-1].index(state) :]
        assert all(moment > killed - 2 for moment, _ in later)
        if found is not None:
            assert killed - 120 < found.last_at < killed + 1


def kill_often(folder: Path, kills: int, seed: int) -> None:
    before = originals(folder)
    moments = random.Random(seed)
    for round_number in range(kills):
        told, killed = work_until_killed(folder, round_number, moments.randrange(2, EDITS))
        check_after_kill(folder, told, killed)
        assert originals(folder) == before


def test_a_viewer_killed_twice_loses_two_seconds_at_most(folder):
    kill_often(folder, 2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_viewer_killed_fifty_times_loses_two_seconds_at_most(folder):
    kill_often(folder, 50, seed=2)


def test_a_viewer_that_is_killed_when_idle_loses_nothing(folder):
    told, _ = work_until_killed(folder, 5, EDITS)
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE, CLASSES, recover=True)
        assert checksum(session.cells) == told[-1][1]
