"""Ctrl-C ends the command with one line and exit code 130 at any moment, even during imports."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

# Sends itself the signal when the command begins to import a module, or has it.
CHILD = """
import os, signal, sys

class Interrupt:
    armed = True
    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and Interrupt.armed:
            Interrupt.armed = False
            os.kill(os.getpid(), {number})

from napari_cellseg import cli
sys.meta_path.insert(0, Interrupt())
sys.argv = ["napari-cellseg", *{arguments!r}]
cli.entry()
"""


def interrupted(module: str, arguments: list[str], number: int = signal.SIGINT) -> subprocess.CompletedProcess[str]:
    code = CHILD.format(module=module, arguments=arguments, number=int(number))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "module", ["argparse", "napari_cellseg.commands.train", "napari_cellseg.errors", "psutil", "torch", "torch.nn"]
)
def test_an_interrupt_while_doctor_imports_is_one_line(module: str) -> None:
    done = interrupted(module, ["doctor"])
    assert (done.returncode, done.stderr) == (130, "napari-cellseg: stopped.\n")


@pytest.mark.parametrize("module", ["numpy", "numpy._core._multiarray_umath", "training.dataset", "torch"])
def test_an_interrupt_while_evaluate_imports_is_one_line(module: str, tmp_path: Path) -> None:
    sample = tmp_path / "data" / "a"
    sample.mkdir(parents=True)
    tifffile.imwrite(sample / "image.tif", np.zeros((64, 64, 3), np.uint8))
    tifffile.imwrite(sample / "class1.tif", np.zeros((64, 64), np.uint16))
    done = interrupted(module, ["evaluate", "--data", str(tmp_path / "data")])
    assert (done.returncode, done.stderr) == (130, "napari-cellseg: stopped.\n")


def test_the_end_of_a_job_scheduler_stops_as_an_interrupt_does() -> None:
    done = interrupted("torch", ["doctor"], signal.SIGTERM)
    assert (done.returncode, done.stderr) == (130, "napari-cellseg: stopped.\n")


def test_an_import_that_swallows_the_interrupt_does_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_cellseg import cli
    from napari_cellseg.commands import doctor

    def look(_options: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy failed to load") from None
        return 0

    monkeypatch.setattr(doctor, "run", look)
    before = signal.getsignal(signal.SIGINT)
    assert cli.main(["doctor"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
