from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile

from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue, ihc, write_training_folder


def test_ihc_photograph_is_colour() -> None:
    rgb = ihc()
    assert rgb.shape == (512, 512, 3)
    assert rgb.dtype == np.uint8


def test_tissue_has_the_cells_asked_for_of_all_classes_and_none_overlap() -> None:
    rgb, truth = generate_tissue((400, 500), cells=110, seed=1)
    assert rgb.shape == (400, 500, 3)
    assert rgb.dtype == np.uint8
    assert len(truth) == 110
    assert set(truth.class_ids.tolist()) == set(TISSUE_CLASSES.class_ids)
    assert np.count_nonzero(truth.paste()) == truth.areas.sum()
    assert truth.is_tight()


def test_nuclei_are_darker_than_the_tissue_and_differ_by_class() -> None:
    rgb, truth = generate_tissue((600, 600), cells=200, seed=2)
    red = rgb[..., 0]
    mean = {k: red[truth.select(truth.class_ids == k).paste() > 0].mean() for k in TISSUE_CLASSES.class_ids}
    assert max(mean.values()) < red[truth.paste() == 0].mean() - 30
    assert mean[1] < mean[2] < mean[4] < mean[3]
    longest = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(1)
    assert np.median(longest[truth.class_ids == 3]) > 1.5 * np.median(longest[truth.class_ids == 2])


def test_same_seed_same_image_and_another_seed_another() -> None:
    first, again, other = (generate_tissue((100, 120), 20, seed) for seed in (5, 5, 6))
    assert np.array_equal(first[0], again[0])
    assert first[1].equals(again[1])
    assert not np.array_equal(first[0], other[0])


def test_tiny_images_and_overfull_ones_work() -> None:
    for size in ((1, 1), (2, 5), (33, 86)):
        rgb, truth = generate_tissue(size, cells=3)
        assert rgb.shape == (*size, 3)
        assert truth.image_size == size
    assert 0 < len(generate_tissue((60, 60), cells=100)[1]) < 60
    assert len(generate_tissue((60, 60), cells=0)[1]) == 0


def test_training_folder_has_the_layout_of_the_course_data(tmp_path: Path) -> None:
    write_training_folder(tmp_path, images=2, size=(96, 128), seed=4)
    folders = sorted((tmp_path / "train").iterdir())
    assert [folder.name for folder in folders] == ["tissue_01", "tissue_02"]
    with tifffile.TiffFile(folders[0] / "image.tif") as image:
        assert image.pages.first.shape == (96, 128, 4)
        assert image.pages.first.compression == tifffile.COMPRESSION.LZW
    truth = generate_tissue((96, 128), 96 * 128 // 1800, seed=4)[1]
    for class_id in TISSUE_CLASSES.class_ids:
        path = folders[0] / f"class{class_id}.tif"
        assert path.exists() == (class_id in truth.class_ids)
        if path.exists():
            stored = tifffile.imread(path)
            assert stored.dtype == np.float64
            assert np.array_equal(stored, truth.select(truth.class_ids == class_id).paste())
    assert json.loads((tmp_path / "classes.json").read_text())["4"] == "spindle-shaped"
