"""Files that are not images, are damaged or are bombs: one clear `ImageReadError`, and no allocation."""

from __future__ import annotations

import os
import socket
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.read import read_raw, read_tiff


def header(width: int, height: int, *, bits: int = 8, strip_bytes: int = 16) -> bytes:
    """Make a small TIFF of one strip whose header says what it likes."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, strip_bytes)]
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
    return (b"II*\0" + struct.pack("<I", 8) + ifd + bytes(4)).ljust(200, b"\0") + bytes(16)


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [(200_000, 10, "100000 px per side"), (10, 200_000, "100000 px per side"), (90_000, 90_000, "GiB"), (0, 5, "px")],
)
def test_a_huge_header_is_refused_before_anything_is_allocated(
    tmp_path: Path, width: int, height: int, message: str
) -> None:
    path = tmp_path / "wide.tif"
    path.write_bytes(header(width, height))
    tracemalloc.start()
    try:
        with pytest.raises(ImageReadError, match=message) as caught:
            read_tiff(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)


def test_a_huge_tile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["TileWidth"].overwrite(2**20 * 16, dtype="I")
        tif.pages[0].tags["TileLength"].overwrite(2**20 * 16, dtype="I")
    with pytest.raises(ImageReadError):
        read_tiff(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    blank = np.zeros((20_000, 20_000), np.uint8)
    tifffile.imwrite(path, blank, compression="zstd", rowsperstrip=20_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(ImageReadError, match="claims to unpack"):
        read_tiff(path)


def test_a_deflate_bomb_is_refused_and_a_blank_image_of_modest_size_is_read(tmp_path: Path) -> None:
    bomb, modest = tmp_path / "bomb.tif", tmp_path / "modest.tif"
    for path, rows in ((bomb, 20_000), (modest, 12_000)):
        tifffile.imwrite(path, np.zeros((rows, 20_000), np.uint8), compression="zlib", rowsperstrip=rows)
    assert 900 < 20_000 * 20_000 / bomb.stat().st_size < 1100  # as far as Deflate goes
    with pytest.raises(ImageReadError, match="more than 500 times"):
        read_tiff(bomb)
    assert read_tiff(modest).size == (12_000, 20_000)


def test_a_label_image_of_few_cells_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "class1.tif"
    tifffile.imwrite(path, np.zeros((9000, 9000)), compression="zlib", rowsperstrip=9000)
    with pytest.raises(ImageReadError, match="more than 500 times"):
        read_raw(path)
    assert read_raw(path, (9000, 9000)).shape == (9000, 9000)  # its image is as large, so it is no surprise
    with pytest.raises(ImageReadError, match="it must have 64 x 64 px"):
        read_raw(path, (64, 64))


def damaged_tag(path: Path, name: str, offset: int, value: int) -> None:
    """Write an RGB image with other bytes in one tag: offset 4 is its count, 8 its value or the place of it."""
    pixels = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[0].tags[name].offset + offset
    data = bytearray(path.read_bytes())
    data[place : place + 4] = struct.pack("<I", value)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["BitsPerSample", "SamplesPerPixel", "PhotometricInterpretation"])
def test_a_tag_that_claims_4e9_values_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tif"
    damaged_tag(path, name, 4, 4_000_000_000)
    with pytest.raises(ImageReadError, match=f"its tag {name} cannot be read"):
        read_tiff(path)


def test_a_damaged_tag_that_says_nothing_about_pixels_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    damaged_tag(path, "Software", 4, 4_000_000_000)
    assert read_tiff(path).pixels[0, 1, 0] == 3


@pytest.mark.parametrize("name", ["StripOffsets", "StripByteCounts"])
def test_a_lost_strip_is_not_silently_black(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tif"
    damaged_tag(path, name, 8, 0)
    with pytest.raises(ImageReadError, match="no offset for some of its pixels"):
        read_tiff(path)


def test_pages_that_follow_each_other_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 16, 16), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[2]
        place = last.offset + 2 + 12 * len(last.tags)
    data = bytearray(path.read_bytes())
    data[place : place + 4] = struct.pack("<I", first)
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match="follow each other in a circle"):
        read_tiff(path)


def test_text_renamed_to_tif_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.tif"
    path.write_text("these are notes")
    with pytest.raises(ImageReadError, match="not a TIFF"):
        read_tiff(path)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "jpeg"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_refused(tmp_path: Path, compression: str | None, kept: float) -> None:
    path = tmp_path / "cut.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", compression=compression, rowsperstrip=16)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageReadError, match=r"cut\.tif"):
        read_tiff(path)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
def test_a_damaged_strip_is_not_silently_black(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", compression=compression, rowsperstrip=50)
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[1]
    data = bytearray(path.read_bytes())
    data[offset : offset + 400] = bytes(range(200, 240)) * 10
    path.write_bytes(data)
    try:
        damaged = read_tiff(path).pixels
    except ImageReadError:
        return
    assert compression == "lzw"  # LZW has no checksum: any code is some pixel
    assert damaged[50:100].any()


def test_an_empty_file_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder.tif").mkdir()
    for name, message in (("empty", "empty"), ("folder", "a folder"), ("absent", "no such file")):
        with pytest.raises(ImageReadError, match=message):
            read_tiff(tmp_path / f"{name}.tif")


@pytest.mark.skipif(os.name != "posix", reason="sockets and pipes are files on POSIX systems only")
def test_sockets_and_pipes_are_refused_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.tif")
        for name in ("pipe.tif", "socket.tif", "/dev/zero"):
            with pytest.raises(ImageReadError, match="not a file"):
                read_tiff(name)


def test_numbers_that_are_no_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.complex64))
    with pytest.raises(ImageReadError, match="complex64"):
        read_tiff(tmp_path / "a.tif")


def test_colours_that_are_not_understood_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4, 3), np.uint8), photometric="cielab")
    with pytest.raises(ImageReadError, match="CIELAB"):
        read_tiff(tmp_path / "a.tif")


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bytes_are_read_or_refused_but_never_another_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.tif"
    pixels = np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", rowsperstrip=8)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        image = read_tiff(path)
        image.rgb()
    except ImageReadError as error:
        assert str(path) in str(error)  # noqa: PT017
