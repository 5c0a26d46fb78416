"""Where tasks run: in an engine process, or in this one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_tasks import TASKS

from napari_cellseg.engine_process.tasks import Predict, Task
from napari_cellseg.errors import ConfigError
from napari_cellseg.gui import engine as engine_module
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.preferences import Preferences
from napari_cellseg.model.config import PredictOptions


@dataclass(frozen=True)
class Count(Task[int, dict]):
    name = "count_to"
    n: int


def test_this_process_is_refused_when_torchvision_was_not_there_first(monkeypatch, plugin):
    monkeypatch.setattr(engine_module, "preferences", lambda: Preferences(engine="this process"))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(ConfigError, match="before the viewer opens"):
        Engine(plugin.state).run(Predict([], PredictOptions(checkpoint=Path("m.safetensors"))))


def test_this_process_runs_the_same_generator(monkeypatch, plugin):
    monkeypatch.setattr(engine_module, "preferences", lambda: Preferences(engine="this process"))
    monkeypatch.setitem(sys.modules, "torchvision", sys.modules[__name__])
    monkeypatch.setattr(engine_module, "TASKS", TASKS)
    engine = Engine(plugin.state)
    assert list(engine.run(Count(3))) == [0, 1, 2]
    assert engine.process_id is None
