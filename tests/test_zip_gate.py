import io
import os
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.zip_gate import opened_zip


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def read_all(path: Path) -> dict[str, bytes]:
    with opened_zip(path) as archive:
        return {name: archive.read(name) for name in archive.names}


def test_a_sound_zip_is_read(tmp_path: Path) -> None:
    members = {"a.txt": b"1" * 10**6, "b/c.txt": os.urandom(3000), "empty": b""}
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        (tmp_path / "x.zip").write_bytes(packed(members, method))
        assert read_all(tmp_path / "x.zip") == members


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed({"big": bytes(200 * 2**20)}))
    with pytest.raises(AnnotationError, match=r"more than 64 MiB \(at big\)"):
        read_all(tmp_path / "x.zip")


def test_a_bomb_that_lies_about_its_size_is_refused_on_the_way(tmp_path: Path) -> None:
    data = bytearray(packed({"big": bytes(100 * 2**20)}))
    lie = struct.pack("<I", 1000)
    data[22:26] = lie  # unpacked size in the local header
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = lie
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(AnnotationError, match="not an intact zip file"):
        read_all(tmp_path / "x.zip")


def test_many_members_share_one_budget(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed({f"{i}": bytes(10 * 2**20) for i in range(9)}))
    with pytest.raises(AnnotationError, match="at 6"):
        read_all(tmp_path / "x.zip")


def test_a_damaged_byte_is_one_clear_error(tmp_path: Path) -> None:
    data = packed({"a": os.urandom(500) + b"text" * 500})
    path = tmp_path / "x.zip"
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with suppress(AnnotationError):  # and no other error; most damage is in the data
            read_all(path)


def test_what_is_no_ordinary_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    encrypted = bytearray(packed({"a": b"text"}))
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    cases = [
        (bytes(encrypted), "encrypted"),
        (packed({"a": b"text"}, zipfile.ZIP_LZMA), "not packed with Deflate"),
        (packed({"a": b"text"})[:-30], "not an intact zip file"),
        (b"no zip", "not an intact zip file"),
    ]
    for data, words in cases:
        path.write_bytes(data)
        with pytest.raises(AnnotationError, match=words):
            read_all(path)
    path.write_bytes(packed({"a": b"1", "b": b"2"}).replace(b"b", b"a"))
    with pytest.raises(AnnotationError, match="two files of the same name"):
        read_all(path)
    with pytest.raises(AnnotationError, match="folder"):
        read_all(tmp_path)
    with pytest.raises(AnnotationError, match="No such file"):
        read_all(tmp_path / "none.zip")
