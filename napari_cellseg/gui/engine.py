"""`Engine`: runs the tasks of the core in an engine process or in this one, as set in the preferences."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QObject

from napari_cellseg.engine_process.pausing import pausable
from napari_cellseg.engine_process.pool import EnginePool, EngineUser
from napari_cellseg.engine_process.tasks import TASKS, Task, TaskRunner
from napari_cellseg.errors import ConfigError
from napari_cellseg.gui.preferences import preferences

if TYPE_CHECKING:
    from napari_cellseg.gui.state import AppState

__all__ = ["Engine"]

E = TypeVar("E")
R = TypeVar("R")

_VRAM_MIB = os.environ.get("CELLSEG_VRAM_MIB", "")
"""Limits set by the environment of the viewer."""


class Engine:
    """Runs the tasks of one part of the window, one at a time; *Segment* and *Train* have one each.

    All engines of a viewer share their processes: there is a second process only while two tasks run. This is no
    `QObject`, so that the thread of a job may hold it.

    Parameters
    ----------
    state : AppState
        Its ``closed`` ends the processes.
    """

    def __init__(self, state: AppState) -> None:
        self._pool = _Processes.of(state).pool
        self._user = EngineUser(self._pool)
        self._here = TaskRunner(TASKS)

    @property
    def hold(self) -> threading.Event:
        """While set, the run waits at its next event. Pass it to the `Job` that can be paused."""
        return self._user.hold

    @property
    def process_id(self) -> int | None:
        """Id of the process that ran the last task; None when it has ended."""
        return self._user.process_id

    def run(self, task: Task[E, R]) -> Generator[E | None, None, R]:
        """Run a task; to be called and iterated in a job's thread.

        Raises
        ------
        CellSegError
            As the task raises it; `ConfigError` if this process was chosen and cannot run tasks.
        """
        if preferences().engine == "this process":
            if "torchvision" not in sys.modules:
                # Imported now, its libraries would crash with those of the open window (LLVM in Triton and in Mesa).
                raise ConfigError(
                    'The preferences say that models run in "this process", which needs torchvision imported before '
                    'the viewer opens. Choose "engine process" in Preferences > napari-cellseg, or start with: '
                    'python -c "import torchvision, napari; napari.Viewer(); napari.run()"'
                )
            os.environ.update(_limits())
            return pausable(task.on(self._here.run), self.hold)
        return task.on(partial(_run_in, self._user))

    def warm_up(self) -> Generator[None, None, None]:
        """Start an engine process before it is needed; runs in a job's thread."""
        if preferences().engine == "engine process":
            self._pool.warm_up(_limits())
        yield from ()

    def shutdown(self) -> None:
        """End the engine processes of the closing viewer."""
        self._pool.shutdown()


class _Processes(QObject):
    """Owns the engine processes of a viewer, as a child of its state, and ends them with it."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.pool = pool = EnginePool()
        state.closed.connect(lambda: pool.shutdown())
        self.destroyed.connect(lambda: pool.shutdown())  # a state that is deleted without having been closed

    @classmethod
    def of(cls, state: AppState) -> _Processes:
        processes: _Processes | None = state.findChild(cls)
        return cls(state) if processes is None else processes


def _run_in(user: EngineUser, name: str, /, **arguments: Any) -> Generator[Any, None, Any]:
    return user.run(name, arguments, _limits())


def _limits() -> dict[str, str]:
    """Return the MiB of GPU memory that a process may use; see `model.device`."""
    return {"CELLSEG_VRAM_MIB": str(preferences().vram_budget_mib or _VRAM_MIB)}
