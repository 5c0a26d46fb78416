"""Pickles are never run, and damaged files are left out by name."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
from import_cases import areas, ring, squares
from import_writers import image, write_json

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.plain_pickle import load_plain_npy
from napari_cellseg.importers import import_annotations


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/tmp/napari-cellseg-was-here"),))


@pytest.mark.parametrize("content", [Evil(), [Evil()], {"masks": Evil()}, np.array([Evil()], object), len, Path])
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path: Path, content: Any) -> None:
    with (tmp_path / "a_seg.npy").open("wb") as file:
        np.save(file, np.array(content, object), allow_pickle=True)
    with pytest.raises(AnnotationError, match="is not read"):
        load_plain_npy(tmp_path / "a_seg.npy")
    image(tmp_path)
    assert import_annotations(tmp_path).left_out[0].source == "a_seg.npy"
    assert not Path("/tmp/napari-cellseg-was-here").exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_and_plain_values_come_out_of_a_pickle(tmp_path: Path, protocol: int) -> None:
    content = {
        "masks": squares((2, 2)), "flows": [np.zeros((2, 3), np.float32), None, "x"], "n": np.float64(2.5),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "t": np.array(["ab", "c"]), "empty": np.zeros((0, 3)),
    }  # fmt: skip
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(content, object), file, protocol=protocol)
    loaded = load_plain_npy(tmp_path / "a.npy")
    assert loaded["n"] == 2.5
    assert loaded["flows"][1:] == [None, "x"]
    for name in ("masks", "f", "t", "empty"):
        np.testing.assert_array_equal(loaded[name], content[name])
        assert loaded[name].dtype == content[name].dtype  # type: ignore[attr-defined]


def test_a_damaged_npy_is_one_clear_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a_seg.npy", {"masks": squares((2, 2))}, allow_pickle=True)  # type: ignore[arg-type]
    whole = (tmp_path / "a_seg.npy").read_bytes()
    for length in range(1, len(whole), 37):
        (tmp_path / "a_seg.npy").write_bytes(whole[:length])
        with pytest.raises(AnnotationError):
            load_plain_npy(tmp_path / "a_seg.npy")


@pytest.mark.parametrize("operation", ["write_bytes", "rename"])
def test_a_zip_that_cannot_be_unpacked_is_an_error_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("instances.json", "{}")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, operation, full)
    with pytest.raises(AnnotationError, match=r"Cannot unpack into .*: No space left on device. Unpack"):
        import_annotations(tmp_path / "a.zip")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_json_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(AnnotationError, match=r"a\.json is not JSON"):
        import_annotations(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"x": 1}))
    with pytest.raises(AnnotationError, match="no annotations of a known format"):
        import_annotations(tmp_path / "a.json")


def test_one_damaged_file_among_others_is_counted_and_hides_none(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image(tmp_path, f"{name}.tif")
        shapes = [{"label": "x", "points": ring(2, 2, 4)[:-1], "shape_type": "polygon"}]
        write_json(tmp_path / f"{name}.json", {"shapes": shapes, "imagePath": f"{name}.tif"})
    (tmp_path / "b.json").write_text((tmp_path / "b.json").read_text()[:-9])
    result = import_annotations(tmp_path)
    assert (result.kept, result.rows) == (2, 3)
    assert [(item.source, item.row) for item in result.left_out] == [("b.json", 0)]
    assert "is not JSON" in result.left_out[0].reason


def test_a_damaged_zip_of_rois_is_left_out_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image(tmp_path, f"{name}.tif")
        roi = roifile.ImagejRoi.frompoints(np.array(ring(2, 2, 4)[:-1], np.float32))
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("1.roi", roi.tobytes())
    content = bytearray((tmp_path / "b.zip").read_bytes())
    content[40:50] = bytes(10)
    (tmp_path / "b.zip").write_bytes(content)
    result = import_annotations(tmp_path)
    assert areas(result) == [16]
    assert result.left_out[0].source == "b.zip"
