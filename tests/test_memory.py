from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FRAGMENT = """
import psutil
from napari_cellseg.memory import return_free_memory
process = psutil.Process()
blocks = [bytearray(60_000) for _ in range(5_000)]  # 286 MiB, each too small for a mapping of its own
blocks = blocks[::50]  # the rest is free, but in gaps
before = process.memory_info().rss
return_free_memory()
print((before - process.memory_info().rss) >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be asked")
def test_memory_that_is_free_in_gaps_goes_back_to_the_system():
    run = subprocess.run([sys.executable, "-c", FRAGMENT], capture_output=True, text=True, check=True, timeout=60)
    assert int(run.stdout) > 200


def test_where_the_c_library_cannot_nothing_happens(monkeypatch):
    import ctypes

    from napari_cellseg import memory

    memory._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.return_free_memory()
    memory._trim.cache_clear()


def test_the_caches_of_shapes_are_bounded_before_torch_is_loaded_and_the_user_decides(tmp_path: Path) -> None:
    """The command loads torch itself, so that the environment of the process still has an effect."""
    code = """
import os, sys
from napari_cellseg import memory
from napari_cellseg.cli import main
bounded = memory.bound_shape_caches
memory.bound_shape_caches = lambda: (print("torch" in sys.modules), bounded())
main(["predict", sys.argv[1], "--out", sys.argv[1]])
print(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"])
"""
    environment = {**os.environ, "LRU_CACHE_CAPACITY": "7"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.split() == ["False", "128", "7"]
