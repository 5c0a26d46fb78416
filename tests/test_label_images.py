"""Label images to InstanceMasks and back, unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.label_images import (
    class_file,
    from_instances,
    read_class_images,
    to_instances,
    write_class_images,
)
from napari_cellseg.instances import InstanceMasks

LABELS = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 0, 0, 1, 2, 7, 900, 2**40]),
)


@given(LABELS)
@settings(max_examples=200, deadline=None)
def test_any_label_image_makes_the_round_trip(label_image: np.ndarray) -> None:
    instances = to_instances({3: label_image}, label_image.shape)
    assert instances.is_tight()
    assert sorted(instances.values.tolist()) == sorted(set(np.unique(label_image)) - {0})
    np.testing.assert_array_equal(from_instances(instances, [3])[3], label_image)


def write(folder: Path, class_id: int, values: Any, dtype: Any = None) -> Path:
    path = class_file(folder, class_id)
    tifffile.imwrite(path, np.asarray(values, dtype))
    return path


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.uint16, np.int32, np.uint32, np.int64])
def test_label_images_of_every_type_are_read(tmp_path: Path, dtype: type) -> None:
    write(tmp_path, 2, [[0, 5, 5], [0, 0, 9]], dtype)
    images = read_class_images(tmp_path)
    assert list(images) == [2]
    assert images[2].dtype == np.int64
    assert images[2].tolist() == [[0, 5, 5], [0, 0, 9]]


def test_one_value_in_two_places_is_one_cell(tmp_path: Path) -> None:
    write(tmp_path, 1, [[4, 0, 0], [0, 0, 4]], np.float64)
    instances = to_instances(read_class_images(tmp_path), (2, 3))
    assert len(instances) == 1
    assert instances.boxes.tolist() == [[0, 0, 3, 2]]


def test_no_file_means_no_cell(tmp_path: Path) -> None:
    assert read_class_images(tmp_path) == {}
    instances = to_instances({}, (5, 6))
    assert (len(instances), instances.image_size) == (0, (5, 6))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1.5]], r"class1\.tif has the value 1\.5"),
        ([[0, np.nan]], "not numbers"),
        ([[0, np.inf]], "not numbers"),
        ([[0, -3.0]], r"-3\.0; labels are 0"),
        ([[0, 2.0**60]], "labels go up to"),
    ],
)
def test_values_that_are_no_labels_are_errors(tmp_path: Path, values: Any, message: str) -> None:
    write(tmp_path, 1, values, np.float64)
    with pytest.raises(AnnotationError, match=message):
        read_class_images(tmp_path)


def test_a_wrong_size_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 1, np.zeros((4, 5)))
    write(tmp_path, 2, np.zeros((4, 6)))
    with pytest.raises(AnnotationError, match=r"class2\.tif: it has 4 x 6 px; it must have 4 x 5 px"):
        read_class_images(tmp_path)
    with pytest.raises(AnnotationError, match=r"class1\.tif: it has 4 x 5 px; it must have 9 x 9 px"):
        read_class_images(tmp_path, (9, 9))
    with pytest.raises(AnnotationError, match="class 1 has 4 x 5 px, the image 9 x 9"):
        to_instances({1: np.zeros((4, 5), int)}, (9, 9))


def test_a_class_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 5, np.zeros((4, 5)))
    with pytest.raises(AnnotationError, match=r"class 5, but there are only 4"):
        read_class_images(tmp_path, count=4)
    write(tmp_path, 0, np.zeros((4, 5)))
    with pytest.raises(AnnotationError, match="numbered from 1"):
        read_class_images(tmp_path)


def test_colour_pixels_and_damaged_files_are_errors(tmp_path: Path) -> None:
    path = class_file(tmp_path, 1)
    tifffile.imwrite(path, np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(AnnotationError, match="one value per pixel"):
        read_class_images(tmp_path)
    path.write_text("text")
    with pytest.raises(AnnotationError, match="not a TIFF"):
        read_class_images(tmp_path)


def test_two_cells_with_one_value_become_two_values() -> None:
    masks = [np.ones((2, 2), bool)] * 4
    cells = InstanceMasks.from_crops(
        (4, 8), [(0, 0), (2, 0), (4, 0), (6, 0)], masks, [1] * 4, label_values=[7, 7, 0, 3]
    )
    painted = from_instances(cells, [1, 2])
    assert painted[1][0].tolist() == [7, 7, 8, 8, 9, 9, 3, 3]
    assert not painted[2].any()


def test_written_files_are_float64_and_classes_without_cells_have_none(tmp_path: Path) -> None:
    write(tmp_path, 3, np.ones((4, 8)))
    write(tmp_path, 1, np.ones((4, 8)))
    cells = InstanceMasks.from_crops((4, 8), [(1, 1)], [np.ones((2, 2))], [1], label_values=[12])
    (path,) = write_class_images(tmp_path, cells, keep="always")
    assert path == class_file(tmp_path, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["class1.tif", "class1.tif.bak", "class3.tif.bak"]
    stored = tifffile.imread(path)
    assert stored.dtype == np.float64
    assert stored[1, 1:4].tolist() == [12, 12, 0]


def test_a_folder_that_cannot_be_made_is_an_export_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="file"):
        write_class_images(tmp_path / "file" / "x", InstanceMasks.empty((3, 3)))
