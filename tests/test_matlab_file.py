"""The reader of MATLAB files: what scipy writes comes back, and every damaged file is a clear error."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.matlab_file import NewerMatlabError, array_names, read_arrays
from napari_cellseg.importers import import_annotations

KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?")
LABELS = np.zeros((40, 60), np.int32)
LABELS[2:9, 3:12], LABELS[20:33, 30:50] = 1, 2


def saved(folder: Path, *, packed: bool = False, **content: Any) -> Path:
    path = folder / "a.mat"
    savemat(path, content, do_compression=packed)
    return path


def part(order: str, kind: int, data: bytes) -> bytes:
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(order: str, name: bytes, values: np.ndarray, flags: int = 12, *, length: int | None = None) -> bytes:
    """Return an array of int32 as the format describes it, written without scipy."""
    data = values.astype(order + "i4").tobytes(order="F")
    content = (
        part(order, 6, struct.pack(order + "II", flags, 0))
        + part(order, 5, struct.pack(f"{order}{values.ndim}i", *values.shape))
        + part(order, 1, name)
        + part(order, 5, data)
    )
    return struct.pack(order + "II", 14, len(content) if length is None else length) + content


def of_width(width: int) -> bytes:
    return variable("<", b"inst_map", LABELS).replace(struct.pack("<i", 60), struct.pack("<i", width), 1)


def header(order: str = "<") -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")


def packed_variable(content: bytes) -> bytes:
    data = zlib.compress(content)
    return struct.pack("<II", 15, len(data)) + data


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    kind=st.sampled_from(KINDS),
    packed=st.booleans(),
    name=st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True),
)
def test_arrays_of_every_type_and_shape_come_back_as_scipy_reads_them(
    tmp_path_factory, data, kind, packed, name
) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=6))
    values = data.draw(arrays.arrays(kind, shape))
    path = saved(tmp_path_factory.mktemp("mat"), packed=packed, **{name: values})
    found, expected = read_arrays(path, [name])[name], loadmat(path)[name]
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_an_array_is_listed_and_passed_over(tmp_path: Path, packed: bool) -> None:
    content = {
        "text": "ab", "cells": np.array([np.ones(3), "x"], object), "structure": {"a": 1, "b": "c"},
        "sparse": csc_matrix(np.eye(5)), "inst_map": LABELS, "complex": np.ones((2, 2), complex), "scalar": 4.5,
    }  # fmt: skip
    path = saved(tmp_path, packed=packed, **content)
    assert array_names(path) == list(content)
    found = read_arrays(path, ["inst_map", "scalar", "absent"])
    np.testing.assert_array_equal(found["inst_map"], LABELS)
    assert found["scalar"].tolist() == [[4.5]]
    assert set(found) == {"inst_map", "scalar"}
    for name, reason in (("text", "not a numeric array"), ("sparse", "not a numeric"), ("complex", "complex")):
        with pytest.raises(AnnotationError, match=rf"a\.mat cannot be read: variable {name} .*{reason}"):
            read_arrays(path, [name])


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(header(order) + variable(order, b"inst_map", LABELS))
    found = read_arrays(path, ["inst_map"])["inst_map"]
    np.testing.assert_array_equal(found, LABELS)
    assert found.dtype == np.dtype(np.int32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header() + variable("<", b"inst_map", LABELS)[:-9], "no sound variable at byte 128"),
        (header() + b"\0" * 5, "ends too early"),
        (header() + variable("<", b"inst_map", LABELS, length=2**31), "no sound variable"),
        (header() + of_width(61), "does not fit its shape"),
        (header() + of_width(-60), "type or shape"),
        (header() + packed_variable(variable("<", b"inst_map", LABELS)[:-100]), "ends too early"),
        (header() + packed_variable(variable("<", b"inst_map", LABELS) + b"x" * 10**6), "more or less data"),
        (header() + packed_variable(variable("<", b"inst_map", LABELS))[:60] + b"\xff" * 20, "no sound variable"),
        (header() + packed_variable(b"")[:8] + b"\xff" * 8, "packed data is not intact"),
        (header() + packed_variable(b"\0" * 200), "not a variable"),
        (b"x" * 500, "not a MATLAB file"),
        (header()[:100], "not a MATLAB file"),
        (b"\0" * 300, "not a MATLAB file"),
        (header() + variable("<", b"inst_map", np.zeros((0, 0))) * 10_001, "more than 10000 variables"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_its_name_and_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=rf"a\.mat cannot be read: .*{reason}"):
        read_arrays(path, ["inst_map"])


def test_a_flipped_bit_in_packed_values_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2**31, (50, 50), np.int32)
    path = saved(tmp_path, packed=True, inst_map=noise)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match="not intact"):
        read_arrays(path, ["inst_map"])


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = saved(tmp_path, packed=True, inst_map=np.zeros((8_000, 8_000), np.uint8))
    assert path.stat().st_size < 10**6
    with pytest.raises(AnnotationError, match="has 64 million values, too many"):
        read_arrays(path, ["inst_map"])


@pytest.mark.parametrize("start", [b"\x89HDF\r\n", b"MATLAB 7.3 MAT-file, Platform: GLNXA64"])
def test_version_7_3_is_named_with_what_to_do(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "Labels").mkdir()
    path = tmp_path / "Labels" / "a.mat"
    path.write_bytes(start.ljust(600))
    with pytest.raises(NewerMatlabError, match=r"version 7\.3\. Save it in MATLAB with -v7"):
        array_names(path)
    (left_out,) = import_annotations(tmp_path).left_out
    assert left_out.source == "Labels/a.mat"
    assert "-v7" in left_out.reason


def test_a_damaged_file_next_to_sound_ones_is_left_out_with_its_reason(tmp_path: Path) -> None:
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((*LABELS.shape, 3), np.uint8), photometric="rgb")
        savemat(tmp_path / f"{name}.mat", {"inst_map": LABELS})
    content = (tmp_path / "b.mat").read_bytes()
    (tmp_path / "b.mat").write_bytes(content[: len(content) // 2])
    result = import_annotations(tmp_path)
    assert (result.kept, [item.source for item in result.left_out]) == (2, ["b.mat"])
    assert "damaged" in result.left_out[0].reason
    alone = import_annotations(tmp_path / "b.mat")
    assert (alone.kept, alone.left_out[0].source) == (0, "b.mat")
