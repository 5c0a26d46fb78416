from __future__ import annotations

from pathlib import Path

import pytest

from napari_cellseg.events import drive
from napari_cellseg.formats.label_images import read_class_images, to_instances, write_class_images
from napari_cellseg.images.read import read_tiff
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import choose_device
from napari_cellseg.model.inference.predictor import Predictor
from training.config import TrainConfig
from training.dataset import find_samples, read_sample
from training.engine import train
from training.evaluate import evaluate
from training.validation import truth_of


def cut_tile(source: Path, target: Path, x: int, y: int, side: int) -> None:
    """Write a square of a real tile as a tile of its own."""
    import tifffile

    target.mkdir(parents=True)
    rgb = read_tiff(source / "image.tif").rgb()
    maps = read_class_images(source, rgb.shape[:2])
    tifffile.imwrite(target / "image.tif", rgb[y : y + side, x : x + side].copy())
    cut = {class_id: label_image[y : y + side, x : x + side] for class_id, label_image in maps.items()}
    write_class_images(target, to_instances(cut, (side, side)))


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(3600)
def test_two_real_tiles_are_learnt_by_heart(consep: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    cut_tile(consep / "train" / "train_01", data / "one", 300, 300, 128)
    cut_tile(consep / "train" / "train_06", data / "two", 300, 300, 128)
    classes = find_samples(consep).classes
    config = TrainConfig.preset("lite", classes).with_changes(
        device="cpu",
        epochs=4,
        data__validation_fraction=0,
        data__views=25,
        data__chunks=1,
        stopping__monitor="train_loss",
        augment__enabled=False,
        augment__crop=None,
        optimizer__batch=1,
        optimizer__learning_rate=1e-3,
        optimizer__warmup_steps=20,
        optimizer__ema_decay=0.95,
    )
    for _ in train(config, data, tmp_path / "run"):
        pass
    model, header = load_checkpoint(tmp_path / "run" / "best.safetensors")
    predictor = Predictor(model, header, choose_device("cpu"), PredictOptions())
    images = [read_sample(sample) for sample in find_samples(data, classes).samples]
    found = {}
    for image in images:
        found[image.image_id] = drive(predictor.image(image.rgb))
    result = evaluate({image.image_id: truth_of(image) for image in images}, found, classes)
    assert result.mean("ap50") > 0.9, result.table()
