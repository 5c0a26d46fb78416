"""A file is either the old or the new one, whatever happens during the write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_cellseg.atomic import atomic_write, export_write
from napari_cellseg.errors import ExportError


def write(path: Path, data: bytes, *, backup: bool = False) -> None:
    with atomic_write(path, keep="always" if backup else "foreign") as file:
        file.write(data)


def test_a_new_file_is_written_and_an_old_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write(path, b"one")
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for data in (b"one", b"two", b"three"):
        write(path, data, backup=True)
    assert path.read_bytes() == b"three"
    assert (tmp_path / "a.bin.bak").read_bytes() == b"two"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    write(path, b"old")

    def fail() -> None:
        with atomic_write(path, keep="always") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write(path, b"old")
    code = (
        "import os, signal, sys\nfrom napari_cellseg.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'x' * 2**20)\n    file.flush()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False).returncode == -9
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", b"x")
    (tmp_path / "b.bin").write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


def test_what_the_file_system_refuses_is_an_export_error_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "a.bin"
    with pytest.raises(FileNotFoundError):
        write(path, b"x")
    with pytest.raises(ExportError, match=r"absent.*No such file"), export_write(path) as file:
        file.write(b"x")
