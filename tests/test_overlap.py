"""Overlapping cells of a class are both kept in training and evaluation; a single label image gives a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import draw_image, draw_target, tiny_config
from training_folders import write_sample

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import TrainingError
from napari_cellseg.formats.coco import CocoDataset, ImageId, write_dataset
from napari_cellseg.formats.label_images import from_instances
from napari_cellseg.formats.layers import Covered, covered, layers_of
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_targets import mask_targets
from training.augment import Augmentation
from training.config import AugmentConfig
from training.dataset import find_samples, read_sample
from training.evaluate import evaluate
from training.report import scan
from training.step import Item, shrink
from training.targets import targets_from_maps, validate_target
from training.validation import truth_of, window

SIZE = (60, 80)


def nested(score: float = 1.0) -> InstanceMasks:
    """Return a cell inside another of its class, a third that overlaps both, and one of another class."""
    places = [(20, 20), (10, 10), (25, 5), (12, 12)]
    sides = [10, 30, 25, 20]
    masks = [np.ones((side, side), bool) for side in sides]
    return InstanceMasks.from_crops(SIZE, places, masks, [1, 1, 1, 2], np.full(4, score))


def shapes(cells: InstanceMasks) -> list[tuple[int, ...]]:
    return sorted(
        (int(class_id), *box, int(mask.sum()))
        for class_id, box, mask in zip(cells.class_ids, cells.boxes.tolist(), cells.masks, strict=True)
    )


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(1, 20)), max_size=12))
@settings(max_examples=50, deadline=None)
def test_layers_hold_every_pixel_of_every_cell(places: list[tuple[int, int, int]]) -> None:
    masks = [np.ones((side, side), bool) for _, _, side in places]
    cells = InstanceMasks.from_crops(SIZE, [(x, y) for x, y, _ in places], masks, np.ones(len(places), int))
    layers = layers_of(cells)
    pixels = np.bincount(np.concatenate([layer.ravel() for layer in layers] or [[0]]), minlength=len(cells) + 1)[1:]
    assert pixels.tolist() == cells.areas.tolist()


def test_cells_that_only_touch_share_one_layer() -> None:
    masks = [np.ones((4, 4), bool)] * 3
    cells = InstanceMasks.from_crops(SIZE, [(0, 0), (4, 0), (0, 4)], masks, [1, 1, 1])
    assert len(layers_of(cells)) == 1
    assert covered(cells) == Covered()


def test_one_label_image_has_the_smaller_cell_on_top_and_counts_what_it_hides() -> None:
    cells = nested()
    painted = from_instances(cells, [1])[1]
    assert (painted == 1).sum() == 100  # the smallest is whole
    assert covered(cells).cells == 2
    assert covered(cells).pixels == cells.areas[:3].sum() - (painted > 0).sum()
    twice = InstanceMasks.concatenate([cells, cells.select([0])])
    assert covered(twice).hidden == 1


def coco_with_overlap(folder: Path) -> Path:
    write_sample(folder / "a", {}, size=SIZE)
    path = folder / "instances.json"
    image = ImageId("a/image.tif", 1, *SIZE)
    write_dataset(path, CocoDataset((image,), ClassTable(("round", "long")), {1: nested()}))
    return path


def test_training_sees_each_overlapping_cell_whole(tmp_path: Path) -> None:
    path = coco_with_overlap(tmp_path)
    assert scan(path).images[0].cells.tolist() == [3, 1]
    image = read_sample(find_samples(path).samples[0])
    assert image.cell_count == 4
    assert shapes(truth_of(image)) == shapes(nested())
    assert len(truth_of(window(image, 50))) == 4
    augmentation = Augmentation(AugmentConfig(enabled=False, crop=None), class_count=2)
    rgb, maps = augmentation(image, 0)
    target = targets_from_maps(maps, augmentation.map_classes(image))
    validate_target(rgb, target, 2)
    boxes = {(int(label), *map(int, box)) for label, box in zip(target["labels"], target["boxes"], strict=True)}
    assert boxes == {shape[:5] for shape in shapes(nested())}
    # Squares: seen from its own box, each cell fills its whole mask target.
    masks = mask_targets(target["class_maps"], target["map_index"], target["values"], target["boxes"], 8)
    assert masks[:, :-1, :-1].min() > 0.99  # the last row and column are blended with what is beyond the edge
    assert shrink(Item("a", rgb, target), 40).target["map_classes"].tolist() == augmentation.map_classes(image)


def test_a_cell_in_the_map_of_another_class_is_refused(tmp_path: Path) -> None:
    image = read_sample(find_samples(coco_with_overlap(tmp_path)).samples[0])
    augmentation = Augmentation(AugmentConfig(enabled=False, crop=None), class_count=2)
    rgb, maps = augmentation(image, 0)
    target = targets_from_maps(maps, augmentation.map_classes(image))
    target["map_index"] = torch.flip(target["map_index"], (0,))
    with pytest.raises(TrainingError, match="map of another class"):
        validate_target(rgb, target, 2)


def test_a_perfect_answer_scores_one_whatever_overlaps() -> None:
    truth = {"a": nested()}
    result = evaluate(truth, {"a": nested(0.8)}, ClassTable(("round", "long")), min_scores={1: 0.5, 2: 0.5})
    assert [scores.pq for scores in result.classes] == [1, 1]
    assert [result.all_cells[name] for name in ("pq", "aji", "dice", "f1")] == [1, 1, 1, 1]
    assert result.mean("ap50") == 1
    assert result.confusion.tolist() == [[0, 0, 0], [0, 3, 0], [0, 0, 1]]
    assert result.errors.right == 4


def test_a_cell_found_twice_is_one_match_and_one_false_cell() -> None:
    cell = InstanceMasks.from_crops(SIZE, [(10, 10)], [np.ones((10, 10), bool)], [1])
    twice = InstanceMasks.from_crops(SIZE, [(10, 10), (11, 10)], [np.ones((10, 10), bool)] * 2, [1, 1], [0.9, 0.8])
    result = evaluate({"a": cell}, {"a": twice}, ClassTable(("round",)), min_scores={1: 0.5})
    assert result.all_cells["dq"] == pytest.approx(1 / 1.5)
    assert result.all_cells["sq"] == 1
    assert result.errors.doubled == 1


def test_the_losses_do_not_depend_on_which_map_holds_a_cell() -> None:
    plain = draw_target((96, 96), 8)
    image = draw_image(plain)
    moved = {name: tensor.clone() for name, tensor in plain.items()}
    of_first = plain["labels"] == 1
    chosen = torch.nonzero(of_first)[:1, 0]
    where = plain["class_maps"][0] == plain["values"][chosen]
    extra = torch.where(where, plain["class_maps"][0], 0)
    moved["class_maps"] = torch.cat(
        [torch.where(where, 0, plain["class_maps"][:1]), plain["class_maps"][1:], extra[None]]
    )
    moved["map_classes"] = torch.tensor([1, 2, 3, 1])
    moved["map_index"] = plain["labels"] - 1
    moved["map_index"][chosen] = 3
    validate_target(image.float() / 255, moved, 3)
    torch.manual_seed(0)
    model = build_model(tiny_config()).train()
    losses = []
    for target in (plain, moved):
        torch.manual_seed(1)
        losses.append(model([image], [target]))
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
