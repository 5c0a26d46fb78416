from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "kill_resume.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_killed_three_times_ends_like_one_that_never_was(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("kill_resume", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_resume"] = module
    spec.loader.exec_module(module)
    outcome = module.kill_and_resume(tmp_path, kills=3, seed=1, epochs=6)
    assert outcome.kills == 3
    assert outcome.unreadable == 0
    assert outcome.difference == 0
    assert outcome.most_steps_lost <= outcome.steps_a_chunk
