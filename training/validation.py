"""Validate the model: losses on the validation images, and whole predictions against the ground truth."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from napari_cellseg.events import ValidationStep
from napari_cellseg.formats.label_images import to_instances
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from training.augment import Augmentation, sample_seed
from training.config import TrainConfig
from training.dataset import Sample, TrainingImage, read_sample
from training.distributed import gather
from training.evaluate import Evaluation, evaluate
from training.targets import targets_from_maps

__all__ = ["Example", "Validation", "truth_of", "validate", "window"]


@dataclass(frozen=True)
class Example:
    """A validation image with its ground-truth and predicted cells, to be drawn."""

    image_id: str
    rgb: npt.NDArray[np.uint8]
    truth: InstanceMasks
    found: InstanceMasks


@dataclass(frozen=True)
class Validation:
    """The result of one validation; ``losses`` are means over the images, ``val_loss`` is their sum."""

    evaluation: Evaluation
    losses: dict[str, float]
    examples: tuple[Example, ...]

    def flat(self) -> dict[str, float]:
        """Return every number under a flat name."""
        return {**self.losses, **self.evaluation.flat()}


def validate(
    fabric: Fabric, model: CellMaskRCNN, config: TrainConfig, samples: Sequence[Sample], epoch: int
) -> Generator[ValidationStep, None, Validation]:
    """Predict the validation images and evaluate; each process predicts its share, all get the result.

    Weights and random generators do not change, so the frequency of validation does not affect the model.

    Parameters
    ----------
    fabric : Fabric
        Device and processes.
    model : CellMaskRCNN
        The bare network (the averaged one, where there is one).
    config : TrainConfig
        Settings.
    samples : sequence of Sample
        The validation images.
    epoch : int
        For the events.
    """
    samples = _spread(samples, config.validation.max_images)
    mine = range(fabric.global_rank, len(samples), fabric.world_size)
    parts: list[tuple[int, Example, dict[str, float]]] = []
    with _evaluating(model):
        predictor = Predictor(model, None, fabric.device, PredictOptions(test_time_augmentation="off"))
        for number in mine:
            image = window(read_sample(samples[number]), config.validation.window)
            losses = _losses(fabric, model, config, image)
            tiles = predictor.image(image.rgb)
            while True:
                yield ValidationStep(epoch, number + 1, len(samples))
                try:
                    next(tiles)
                except StopIteration as end:
                    found = end.value
                    break
            rgb = image.rgb if number < config.validation.examples else image.rgb[:0]
            parts.append((number, Example(image.image_id, rgb, truth_of(image), found), losses))
    parts = sorted(gather(fabric, parts), key=lambda part: part[0])
    truth = {example.image_id: example.truth for _, example, _ in parts}
    predicted = {example.image_id: example.found for _, example, _ in parts}
    names = parts[0][2]
    means = {name: float(np.mean([losses[name] for _, _, losses in parts])) for name in names}
    examples = tuple(example for _, example, _ in parts[: config.validation.examples])
    return Validation(evaluate(truth, predicted, config.classes), means, examples)


def _spread(samples: Sequence[Sample], most: int | None) -> Sequence[Sample]:
    """Return a limited number of samples, spread evenly; every validation uses the same ones."""
    if most is None or len(samples) <= most:
        return samples
    return [samples[i * len(samples) // most] for i in range(most)]


def window(image: TrainingImage, side: int | None) -> TrainingImage:
    """Return the middle square of an image, at most ``side`` px long; the whole image when None."""
    height, width = image.rgb.shape[:2]
    if side is None or (height <= side and width <= side):
        return image
    h, w = min(side, height), min(side, width)
    y, x = (height - h) // 2, (width - w) // 2
    part = np.s_[y : y + h, x : x + w]
    label_images = ((class_id, label_image[part]) for class_id, label_image in image.label_images)
    return TrainingImage.from_label_images(image.image_id, np.ascontiguousarray(image.rgb[part]), label_images)


def truth_of(image: TrainingImage) -> InstanceMasks:
    """Return the ground-truth cells of a training image."""
    size = image.rgb.shape[:2]
    each = [to_instances({class_id: label_image}, size) for class_id, label_image in image.label_images]
    return InstanceMasks.concatenate([InstanceMasks.empty(size), *each])


def _losses(fabric: Fabric, model: CellMaskRCNN, config: TrainConfig, image: TrainingImage) -> dict[str, float]:
    """Return the training losses of one fixed crop of the image, with the same random sampling every time."""
    plain = config.augment.model_copy(update={"enabled": False, "class_balance": 0.0})
    seed = sample_seed(config.seed, 0, image.image_id)
    augmentation = Augmentation.of(plain, model.config)
    rgb, class_maps = augmentation(image, seed)
    target = targets_from_maps(class_maps, augmentation.map_classes(image))
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.no_grad(), fabric.autocast():
        torch.manual_seed(seed % 2**63)
        losses = model([fabric.to_device(rgb)], [fabric.to_device(target)])
    values = {f"val_{name}": float(value) for name, value in losses.items()}
    return {"val_loss": sum(values.values()), **values}


@contextmanager
def _evaluating(model: CellMaskRCNN) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
