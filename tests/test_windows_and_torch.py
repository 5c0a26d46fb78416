"""A test process that opens windows and then loads torchvision does not crash, in any order of the files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

WINDOW = """
import sys, napari, numpy as np, pytest
from qtpy.QtWidgets import QApplication

@pytest.mark.gui
def test_window(qapp):
    assert ("torchvision" in sys.modules) is {loaded}
    if {opens}:
        viewer = napari.Viewer()
        viewer.add_labels(np.eye(20, dtype=int))
        QApplication.processEvents()
        viewer.close()
"""
NETWORK = "def test_network():\n    import torchvision.ops"


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, **files: str) -> pytest.RunResult:
    folder = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{folder.parent}")
    pytester.makeconftest((folder / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = gui")
    pytester.makepyfile(**files)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:warnings")


@pytest.mark.gui
def test_of_several_files_torchvision_is_loaded_before_the_first_window(request: pytest.FixtureRequest) -> None:
    several = len({item.path for item in request.session.items}) > 1
    assert ("torchvision" in sys.modules) or not several


def test_a_file_of_the_window_alone_runs_without_torchvision(pytester, monkeypatch) -> None:
    run(pytester, monkeypatch, test_window=WINDOW.format(loaded=False, opens=False)).assert_outcomes(passed=1)


@pytest.mark.gui
@pytest.mark.slow
def test_torchvision_after_a_window_crashes_no_test_process(pytester, monkeypatch) -> None:
    window = WINDOW.format(loaded=True, opens=True)
    run(pytester, monkeypatch, test_a_window=window, test_b_network=NETWORK).assert_outcomes(passed=2)
