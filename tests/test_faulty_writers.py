"""Every writer on a full or read-only disk, and killed: each file is the old one or the new one, and errors say so.

``all_writers.py`` has the writers, ``faulty_writers.py`` the machine, ``store_faults.py`` the cells of a slide. What
the user put there is never lost.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
WAYS = "none,full,killed,sync,bytes,killed in a write,read-only"

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),  # on a busy machine; else 15 s
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills as POSIX does"),
]


QUICK = ("none,quick", "full,killed,bytes,killed in a write,read-only,quick:class images", "store:1,0,2,160")


def tried(*runs: str) -> list[dict[str, Any]]:
    """Run the machine in a process of its own, which forks; return what each run found."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TESTS / "faulty_writers.py"), *runs]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def quickly() -> list[dict[str, Any]]:
    """Return what the quick runs found; one process does all."""
    return tried(*QUICK)


def test_what_the_program_did_not_write_is_kept_by_every_writer(quickly) -> None:
    found = quickly[0]
    assert len(found) > 15
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}


def test_a_full_disk_or_a_kill_leaves_old_or_new_files(quickly) -> None:
    found = quickly[1]
    assert list(found) == ["class images"]
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}
    assert all(int(str(each["failed"])) > 10 for each in found.values())


def test_a_full_disk_or_a_kill_loses_no_finished_tile_of_a_slide(quickly) -> None:
    found = quickly[2]
    assert found["wrong"] == []
    assert found["endings"]["error"] == 3  # two of a folder that is read-only
    assert sum(found["endings"].values()) == 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_full_disk_and_no_kill_loses_a_finished_tile_of_a_slide() -> None:
    (found,) = tried("store:12,12,40,300")
    assert found["wrong"] == []
    assert found["endings"]["killed"] > 30
    assert found["endings"]["error"] > 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_writer_leaves_old_or_new_files_whatever_happens() -> None:
    (found,) = tried(WAYS)
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}
    assert all(int(str(each["failed"])) > 3 for each in found.values())


ALLOWED = {
    "napari_cellseg/atomic.py",  # the one place
    "napari_cellseg/written.py",
    "napari_cellseg/engine_process/client.py",  # /proc, and the engine's own exchange folder
    "napari_cellseg/engine_process/frames.py",
    "napari_cellseg/engine_process/host.py",
    "napari_cellseg/export/ome_zarr.py",  # its own temporary folder
    "napari_cellseg/importers/unpacking.py",  # the program's cache
    "napari_cellseg/importers/unpacked_cache.py",
    "napari_cellseg/api/cells.py",  # an image in a temporary folder
    "napari_cellseg/model/zoo.py",  # a package is put together in a temporary folder
    "napari_cellseg/formats/cell_store.py",  # what SQLite left of its own file
    "napari_cellseg/formats/cell_file.py",  # the log of such a file, set aside with it
    "napari_cellseg/formats/writer_lock.py",  # the lock next to it
    "napari_cellseg/model/inference/slide_run.py",  # the program's own cells of a finished run
    "napari_cellseg/formats/result_stream.py",  # an entry of a zip that is open
    "napari_cellseg/formats/damaged.py",  # a second name for a damaged file
    "napari_cellseg/workspace/lock.py",  # lock.json
    "napari_cellseg/workspace/journal_writer.py",  # appends, and removes what is saved
    "napari_cellseg/workspace/predictions.py",  # appends
    "napari_cellseg/model/library.py",  # the user renames or deletes a model
    "training/run_folder.py",  # appends to events.jsonl
    "napari_cellseg/workspace/project.py",  # cuts the end off a journal
    "napari_cellseg/gui/functions.py",  # an image in a temporary folder
    "training/sources.py",  # the training folder below .cellseg
}
WRITING = {"unlink", "remove", "rename", "replace", "truncate", "link", "symlink", "rmdir", "rmtree", "move"} | {
    "copy",
    "copy2",
    "copyfile",
    "copytree",
}


def test_files_are_written_and_removed_in_few_places_only() -> None:
    found = set()
    for path in (*(ROOT / "napari_cellseg").rglob("*.py"), *(ROOT / "training").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if any(_touches_files(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
            found.add(name)
    assert found - ALLOWED == set(), "use napari_cellseg.atomic"


def _touches_files(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "open":
        modes = [a.value for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)]
        return any(isinstance(mode, str) and set(mode) <= set("rwabxt+") and set(mode) & set("wax+") for mode in modes)
    if name in ("unlink", "rmtree", "write_text", "write_bytes", "savefig", "to_csv", "symlink_to"):
        return True
    owner = function.value if isinstance(function, ast.Attribute) else None
    if isinstance(owner, ast.Name) and owner.id in ("os", "shutil"):
        return name in WRITING
    if name == "imwrite":  # into a file that is open
        return not (node.args and isinstance(node.args[0], ast.Name) and node.args[0].id == "file")
    if name in ("rename", "replace"):  # a path's takes one argument, a text's two
        receiver = getattr(owner, "id", getattr(owner, "attr", ""))
        return len(node.args) == 1 and not node.keywords and receiver in ("path", "target", "temporary", "partial")
    return False
