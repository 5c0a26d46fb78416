"""`Engine`: runs the tasks of the core where the preferences say, in the engine process or in this one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.pausing import pausable
from napari_cellseg.engine_process.tasks import TASKS, TaskRunner
from napari_cellseg.errors import ConfigError
from napari_cellseg.gui.preferences import preferences

if TYPE_CHECKING:
    from napari_cellseg.gui.state import AppState

__all__ = ["Engine"]

_VRAM_MIB = os.environ.get("CELLSEG_VRAM_MIB", "")
"""What whoever started the viewer allows."""


class Engine(QObject):
    """One place where tasks run, one at a time; *Segment* and *Train* have one each, so both can work at once.

    Parameters
    ----------
    state : AppState
        Its ``closed`` ends the process.

    Attributes
    ----------
    hold : threading.Event
        While it is set, the run waits at its next event. Give it to the `Job` that can be paused.
    """

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.hold = threading.Event()
        self._client = EngineClient(hold=self.hold)
        self._here = TaskRunner(TASKS)
        state.closed.connect(self.shutdown)

    def run(self, task: str, /, **arguments: Any) -> Generator[Any, None, Any]:
        """Run a task of `TASKS`; to be called and iterated in a job's thread.

        Raises
        ------
        CellSegError
            As the task gives it; `ConfigError` when this process was chosen and cannot do it.
        """
        _set_limits()
        if preferences().engine == "this process":
            if "torchvision" not in sys.modules:
                # Imported now, its libraries would crash with those of the open window (LLVM in Triton and in Mesa).
                raise ConfigError(
                    'The preferences say that models run in "this process", which needs torchvision imported before '
                    'the viewer opens. Choose "engine process" in Preferences > napari-cellseg, or start with: '
                    'python -c "import torchvision, napari; napari.Viewer(); napari.run()"'
                )
            return pausable(self._here.run(task, **arguments), self.hold)
        return self._client.run(task, **arguments)

    def warm_up(self) -> Generator[None, None, None]:
        """Start the engine process before it is needed; to be iterated in a job's thread."""
        if preferences().engine == "engine process":
            _set_limits()
            self._client.warm_up()
        yield from ()

    def shutdown(self) -> None:
        """End the engine process."""
        self._client.shutdown()


def _set_limits() -> None:
    """Let the engine that starts next know how much of a graphics card it may take; see `model.device`."""
    os.environ["CELLSEG_VRAM_MIB"] = str(preferences().vram_budget_mib or _VRAM_MIB)
