"""Unpacked zips are removed when they are old or many, never while in use or with the user's annotations in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from napari_cellseg.cli import main
from napari_cellseg.importers import unpacked_cache
from napari_cellseg.importers.unpacked_cache import cache_folder, mark_open, trim, unpacked_folders
from napari_cellseg.importers.unpacking import unpacked

DAY = 86_400


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked_cache.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")


def make(name: str, days_ago: float, size: int = 1000) -> Path:
    """Make the folder that a process which has ended unpacked."""
    folder = cache_folder() / name
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(b"x" * size)
    mark_open(folder)
    marks = folder.with_name(f"{name}.open")
    (marks / str(os.getpid())).write_text("1.0")  # of another process with this number
    used = time.time() - days_ago * DAY
    os.utime(marks, (used, used))
    return folder


def names() -> set[str]:
    return {folder.path.name for folder in unpacked_folders()}


def test_the_old_ones_are_removed_with_their_marks() -> None:
    make("old", 31)
    make("new", 29)
    assert trim() == [cache_folder() / "old"]
    assert {path.name for path in cache_folder().iterdir()} == {"new", "new.open"}


def test_the_oldest_are_removed_while_there_is_too_much() -> None:
    for days in (1, 3, 2):
        make(f"{days} days", days)
    trim(most_bytes=2000)
    assert names() == {"1 days", "2 days"}


def test_what_a_running_process_uses_stays_and_is_removed_once_it_has_ended() -> None:
    folder = make("in use", 0)
    code = "import sys; from pathlib import Path; from napari_cellseg.importers.unpacked_cache import mark_open\n"
    code += "mark_open(Path(sys.argv[1])); print(); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        os.utime(folder.with_name("in use.open"), (0, 0))
        assert trim() == []
    finally:
        other.communicate()
    os.utime(folder.with_name("in use.open"), (0, 0))
    assert trim() == [folder]


def test_a_folder_with_annotations_of_the_user_stays() -> None:
    folder = make("reviewed", 99)
    (folder / "images" / ".cellseg").mkdir(parents=True)
    assert trim(most_bytes=0) == []


def test_unpacking_trims_and_doctor_names_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("old", 31)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.json", "{}")
    folder = unpacked(tmp_path / "a.zip")
    assert names() == {folder.name}
    assert unpacked(tmp_path / "a.zip") == folder
    assert trim(most_bytes=0, most_days=0) == []  # this process uses it
    main(["doctor"])
    assert f"GiB in {cache_folder()} (removed after 30 days without use" in capsys.readouterr().out
