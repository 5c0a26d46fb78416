"""Shared by several test files: the folder of the real data, if present."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import Leftovers, is_looked_at, set_aside, shares_with_other_tests
from own_screen import take_own_screen
from thread_guard import ThreadGuard

pytest_plugins = ["crash_guard"]

os.environ.setdefault("QT_API", "pyqt5")
# The list of written files; each test process has one of its own, and the user's stays as it is.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="cellseg-state-")
# The settings of programs that tests start; those of this process: `_own_settings`.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="cellseg-config-")
for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
    atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)
os.environ.setdefault("NAPARI_ASYNC", "0")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes share the cores: with a thread a core each, they would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
take_own_screen()
gc.disable()  # until all test files are imported: a quarter of that time
LONGEST = ("test_gui_engine_training.py", "test_gui_tools.py", "test_gui_closing.py", "test_whole_loop.py")
HAS_DISPLAY = sys.platform in ("win32", "darwin") or bool(
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
)
if not HAS_DISPLAY:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # widgets need no screen; a viewer (marker gui) needs OpenGL


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a display where there is none, and load torchvision before a window where it may come after.

    Loaded into a process that has opened a window, torchvision ends the process: its LLVM clashes with Mesa's. A file
    alone runs as in the user's viewer, which never loads it.
    """
    if item.get_closest_marker("gui") and not HAS_DISPLAY:
        pytest.skip("needs a display; run the tests with xvfb-run")
    if (
        is_looked_at(item) and len({each.path for each in item.session.items}) > 1
    ):  # any widget that is shown loads Mesa
        import torchvision  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that the processes end together."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """Keep the imports of all test files out of each search for leftovers."""
    set_aside()
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _leaves_nothing_in_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a file of the window that leaves a thread, a process, an active timer or a visible window."""
    tests = [item for item in request.session.items if item.path == request.path]
    if not any(map(is_looked_at, tests)):
        yield
        return
    set_aside()
    before = Leftovers()
    yield
    left = before.found()
    assert not left, "left by the tests of this file:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test of the window that leaves such a thing, unless it shares a viewer or an engine with other tests."""
    if not is_looked_at(request.node) or shares_with_other_tests(request.node):
        yield
        return
    before = Leftovers()
    yield
    left = before.found()
    assert not left, "left by this test:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _own_settings() -> None:
    """Keep what the docks remember out of the user's settings, and out of the next test.

    Not in a folder of pytest's, which lists all earlier ones for each new one.
    """
    if "qtpy" in sys.modules:
        from qtpy.QtCore import QSettings

        folder = tempfile.mkdtemp(prefix="settings-", dir=os.environ["XDG_CONFIG_HOME"])
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, folder)


@pytest.fixture(autouse=True)
def _threads_reach_no_window() -> Iterator[None]:
    """Fail a test that starts a thread which can reach a Qt object, a layer or a viewer; see `thread_guard`."""
    guard = ThreadGuard()
    guard.install()
    yield
    guard.remove()
    assert not guard.problems, "a thread reaches what only the window may touch:\n" + "\n".join(guard.problems)


def data_folder(name: str) -> Path:
    """Return the folder of a real data set ("consep", "dsb2018", "hw3-sample"), or skip the test and say why.

    It is looked for under ``$CELLSEG_DATA`` and in ``shared/data`` next to the checkout.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CELLSEG_DATA", default)) / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not in {folder.parent}; set CELLSEG_DATA to the folder that has it")
    return folder


@pytest.fixture
def viewer(qapp: Any) -> Any:  # noqa: ARG001 - signals need an application
    """Return a viewer without a window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def make_engine() -> Any:
    """Return what makes the engines of `plugin`; a test file may define its own, with a stand-in."""
    from napari_cellseg.gui.engine import Engine

    return Engine


@pytest.fixture
def plugin(viewer: Any, make_engine: Any) -> Iterator[Any]:
    """Build the plugin of ``viewer``; docks made from the viewer get theirs from it."""
    from napari.utils.notifications import notification_manager

    from napari_cellseg.gui.plugin import build_plugin

    notification_manager.records.clear()
    made = build_plugin(viewer, make_engine)
    yield made
    made.close()


@pytest.fixture
def another_viewer(qapp: Any) -> Iterator[Any]:  # noqa: ARG001 - signals need an application
    """Return a second viewer without a window; it is closed as its window would."""
    from napari.components import ViewerModel

    from napari_cellseg.gui.plugin import plugin_of

    viewer = ViewerModel()
    yield viewer
    plugin_of(viewer).close()


@pytest.fixture
def open_dock(qtbot: Any, viewer: Any, plugin: Any) -> Any:
    """Return a function that opens a dock of `plugin`, for example ``open_dock(docks.Segment)``."""
    from napari_cellseg.gui.plugin import plugin_of

    def open_one(make: Any) -> Any:
        assert plugin_of(viewer) is plugin
        dock = make(viewer)
        qtbot.addWidget(dock)
        return dock

    return open_one


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """Open a real viewer for the tests of a file."""
    from review_window import open_window

    with open_window() as opened:
        yield opened


@pytest.fixture
def small_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat tiled TIFFs of a few hundred px as whole slides."""
    from napari.utils.notifications import notification_manager

    from napari_cellseg.images import overview, slide_levels

    monkeypatch.setattr(slide_levels, "SLIDE_PX", 100_000)
    monkeypatch.setattr(overview, "OVERVIEW_PX", 256)
    notification_manager.records.clear()


@pytest.fixture
def session(window: Any) -> Iterator[Any]:
    """Put an image of twenty cells under review in ``window``; see `review_window.make_session`."""
    from napari.utils.notifications import notification_manager

    made = window.open()
    notification_manager.records.clear()
    yield made
    window.put_tools_away()


@pytest.fixture
def project_folder(tmp_path: Path) -> Path:
    """Return a folder of three drawn images with their ``class*.tif``, as *Open* and *Train* take it."""
    from napari_cellseg.images.samples import write_training_folder

    write_training_folder(tmp_path, 3, (96, 96))
    return tmp_path / "train"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Keep a small network on one core: on a busy machine two threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def consep() -> Path:
    """Return the 27 CoNSeP tiles (``train/<id>/image.tif`` and ``class1.tif`` ... ``class4.tif``)."""
    return data_folder("consep")
