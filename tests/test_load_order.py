"""A test process that has shown a widget may still load torch for the tests that follow."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

WINDOW = """
from qtpy.QtWidgets import QWidget

def test_a_widget_of_no_viewer(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    qtbot.wait(1)
"""
TORCH = """
def test_loads_torch():
    import torchvision
"""


@pytest.mark.slow  # loads torchvision
@pytest.mark.gui
@pytest.mark.timeout(300)
def test_torch_can_be_loaded_after_a_test_that_shows_a_widget(pytester, monkeypatch, request):
    folder = request.path.parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{folder.parent}")
    pytester.makeconftest((folder / "conftest.py").read_text().replace('pytest_plugins = ["crash_guard"]', ""))
    pytester.makepyfile(test_1=WINDOW, test_2=TORCH)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:warnings")

    result.assert_outcomes(passed=2)
