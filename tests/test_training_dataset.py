from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import tifffile
from training_folders import coco_file, squares, write_sample

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError, ImageReadError
from napari_cellseg.images.samples import write_training_folder
from training.dataset import TrainingImage, find_samples, read_sample


def test_both_layouts_are_found_in_natural_order(tmp_path) -> None:
    for name in ("x10", "x2", "x1"):
        write_sample(tmp_path / "a" / "train" / name, {1: squares((1, 3, 3))})
        write_sample(tmp_path / "b" / name, {2: squares((1, 3, 3))})
    for data, classes in (("a", 1), ("b", 2)):
        source = find_samples(tmp_path / data)
        assert [sample.image_id for sample in source.samples] == ["x1", "x2", "x10"]
        assert source.classes == ClassTable.numbered(classes)


@pytest.mark.parametrize("given", ["", "train"])
def test_class_names_come_from_classes_json(given: str, tmp_path) -> None:
    write_sample(tmp_path / "train" / "a", {1: squares((1, 3, 3))})
    (tmp_path / "classes.json").write_text('{"1": "tumour", "2": "Lymphozyt ü"}', "utf-8")
    assert find_samples(tmp_path / given).classes.names == ("tumour", "Lymphozyt ü")


@pytest.mark.parametrize("text", ['{"2": "x"}', "[", "7"])
def test_a_wrong_classes_json_is_named(text: str, tmp_path) -> None:
    write_sample(tmp_path / "a", {1: squares((1, 3, 3))})
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(ConfigError, match=r"classes\.json"):
        find_samples(tmp_path)


def test_classes_in_another_order_than_the_data_say_are_refused(tmp_path) -> None:
    write_sample(tmp_path / "a", {1: squares((1, 3, 3))})
    (tmp_path / "classes.json").write_text('{"1": "x", "2": "y"}')
    with pytest.raises(ConfigError, match="x, y"):
        find_samples(tmp_path, ClassTable(("y", "x")))
    assert find_samples(tmp_path, ClassTable(("x", "y", "more"))).classes.names == ("x", "y", "more")


def test_no_data_is_an_error(tmp_path) -> None:
    with pytest.raises(AnnotationError, match="no training image"):
        find_samples(tmp_path)
    with pytest.raises(AnnotationError, match="no data folder"):
        find_samples(tmp_path / "nowhere")


def test_a_decoded_sample_is_compact_and_has_the_same_cells(tmp_path) -> None:
    first, third = squares((7, 2, 2), (4_000_000_000, 20, 30)), squares((3, 10, 10), (5, 10, 15), (300_000, 30, 40))
    folder = write_sample(tmp_path / "a", {1: first, 3: third})
    image = read_sample(find_samples(tmp_path).samples[0])
    assert image.rgb.dtype == np.uint8
    assert sorted(image.class_maps) == [1, 3]
    for class_id, truth in ((1, first), (3, third)):
        label_image = image.class_maps[class_id]
        assert label_image.dtype == np.uint16
        count = len(np.unique(truth)) - 1
        assert np.array_equal(np.unique(label_image), np.arange(count + 1))
        pairs = np.unique(np.stack([label_image.ravel(), truth.ravel()]), axis=1)
        assert pairs.shape[1] == count + 1  # a one-to-one renumbering
        assert image.areas[class_id].tolist() == [0] + [30] * count
    assert image.centres[1].tolist() == [[4.5, 4.0], [22.5, 32.0]]
    assert image.cell_count == 5
    assert image.nbytes == 40 * 50 * (3 + 2 * 2)
    assert folder.is_dir()


def test_more_cells_than_uint16_holds() -> None:
    values = np.arange(1, 300 * 300 + 1).reshape(300, 300)
    image = TrainingImage.from_label_images("a", np.zeros((300, 300, 3), np.uint8), [(1, values)])
    assert image.class_maps[1].dtype == np.int32
    assert np.array_equal(image.class_maps[1], values)


def test_an_image_without_cells_is_a_legal_sample(tmp_path) -> None:
    write_sample(tmp_path / "none", {})
    write_sample(tmp_path / "zeros", {1: squares()})
    for sample in find_samples(tmp_path).samples:
        image = read_sample(sample)
        assert image.class_maps == {}
        assert image.cell_count == 0


def test_the_course_layout_is_read_rgba_lzw_float64(tmp_path) -> None:
    write_training_folder(tmp_path, 2, size=(96, 128))
    source = find_samples(tmp_path)
    assert len(source.classes) == 4
    image = read_sample(source.samples[0])
    assert image.rgb.shape == (96, 128, 3)
    assert image.cell_count > 3


def test_wrong_files_are_named(tmp_path) -> None:
    write_sample(tmp_path / "small", {1: squares(size=(30, 30))})
    write_sample(tmp_path / "broken", {1: squares((1, 2, 2))})
    (tmp_path / "broken" / "image.tif").write_bytes(b"no tiff")
    broken, small = find_samples(tmp_path).samples
    with pytest.raises(ImageReadError, match="broken"):
        read_sample(broken)
    with pytest.raises(AnnotationError, match=r"small.class1\.tif"):
        read_sample(small)


def test_a_coco_file_gives_the_same_sample_as_label_images(tmp_path) -> None:
    path, label_images = coco_file(tmp_path)
    source = find_samples(path)
    assert [sample.image_id for sample in source.samples] == ["a", "b"]
    assert source.classes.names == ("x", "y")
    image = read_sample(pickle.loads(pickle.dumps(source.samples[0])))
    assert sorted(image.class_maps) == [1, 2]
    for class_id, truth in label_images.items():
        assert np.array_equal(image.class_maps[class_id] > 0, truth > 0)
    assert read_sample(source.samples[1]).cell_count == 0


def test_a_coco_file_with_other_classes_is_refused(tmp_path) -> None:
    path, _ = coco_file(tmp_path)
    with pytest.raises(ConfigError, match="x, y"):
        find_samples(path, ClassTable(("x", "z")))


def test_a_coco_file_that_says_another_image_size_is_refused(tmp_path) -> None:
    path, _ = coco_file(tmp_path, size=(41, 50))
    with pytest.raises(AnnotationError, match="40 x 50"):
        read_sample(find_samples(path).samples[0])


def test_a_coco_file_without_images_is_an_error(tmp_path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"images": [], "categories": [{"id": 1, "name": "x"}], "annotations": []}))
    with pytest.raises(AnnotationError):
        find_samples(path)


@pytest.mark.data
def test_a_real_tile_has_the_cells_of_its_files(consep) -> None:
    source = find_samples(consep)
    assert source.classes.names == ("other", "inflammatory", "epithelial", "spindle-shaped")
    assert len(source.samples) == 27
    sample = source.samples[0]
    image = read_sample(sample)
    expected = {i: len(np.unique(tifffile.imread(sample.image.parent / f"class{i}.tif"))) - 1 for i in image.class_maps}
    assert {class_id: len(centres) for class_id, centres in image.centres.items()} == expected
