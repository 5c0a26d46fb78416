"""Small training data that several test files write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.coco import CocoDataset, ImageId, write_dataset
from napari_cellseg.formats.label_images import to_instances


def write_sample(folder: Path, label_images: dict[int, np.ndarray], size=(40, 50), seed=0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rgb = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    tifffile.imwrite(folder / "image.tif", rgb, photometric="rgb")
    for class_id, label_image in label_images.items():
        tifffile.imwrite(folder / f"class{class_id}.tif", label_image)
    return folder


def squares(*places: tuple[int, int, int], size=(40, 50), dtype=np.float64) -> np.ndarray:
    label_image = np.zeros(size, dtype)
    for value, y, x in places:
        label_image[y : y + 6, x : x + 5] = value
    return label_image


def coco_file(folder: Path, size=(40, 50)) -> tuple[Path, dict[int, np.ndarray]]:
    label_images = {1: squares((1, 2, 2), (2, 20, 30)), 2: squares((9, 30, 10))}
    write_sample(folder / "a", {})
    write_sample(folder / "b", {}, seed=1)
    images = (ImageId("a/image.tif", 7, *size), ImageId("b/image.tif", 3, *size))
    cells = {7: to_instances(label_images, (40, 50))} if size == (40, 50) else {}
    path = folder / "data.json"
    write_dataset(path, CocoDataset(images, ClassTable(("x", "y")), cells))
    return path, label_images
