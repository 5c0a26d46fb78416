"""Cells copied to free places in their image: they look like the original, touch nothing, and are counted."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from training.augment import Augmentation
from training.config import AugmentConfig
from training.copy_paste import copy_cells
from training.dataset import TrainingImage
from training.targets import targets_from_maps

BACKGROUND, COMMON, RARE = 240, 100, 30


def tissue() -> TrainingImage:
    """Return 15 dark grey squares of class 1 on the left of a light image, and one darker bar of class 3."""
    label_images = {1: np.zeros((100, 300), np.int64), 3: np.zeros((100, 300), np.int64)}
    for number in range(15):
        y, x = 5 + 20 * (number // 3), 5 + 20 * (number % 3)
        label_images[1][y : y + 9, x : x + 9] = number + 1
    label_images[3][80:86, 100:118] = 7
    rgb = np.full((100, 300, 3), BACKGROUND, np.uint8)
    rgb[label_images[1] > 0], rgb[label_images[3] > 0] = COMMON, RARE
    return TrainingImage.from_label_images("tissue", rgb, label_images.items())


def test_copies_look_like_their_class_and_touch_no_other_cell() -> None:
    image = tissue()
    more = copy_cells(image, 40, np.random.default_rng(0))
    assert more.cell_count > image.cell_count + 10
    taken = np.zeros((100, 300), int)
    for class_id, level, area in ((1, COMMON, 81), (3, RARE, 108)):
        label_image = more.class_maps[class_id]
        for number in range(1, len(more.centres[class_id]) + 1):
            mask = label_image == number
            assert mask.sum() == more.areas[class_id][number] == area
            assert np.allclose(np.argwhere(mask).mean(0), more.centres[class_id][number - 1])
            assert abs(np.median(more.rgb[mask]) - level) <= 3
        taken += label_image > 0
    assert taken.max() == 1
    pieces = ndimage.label(taken, np.ones((3, 3)))[1]
    assert pieces == more.cell_count  # not even corners touch


def test_the_rare_class_is_copied_as_often_as_the_common_one() -> None:
    image = tissue()
    added = {1: 0, 3: 0}
    for seed in range(20):
        more = copy_cells(image, 4, np.random.default_rng(seed))
        for class_id in added:
            added[class_id] += len(more.centres[class_id]) - len(image.centres[class_id])
    assert 0.5 < added[3] / added[1] < 2


def test_the_image_itself_stays_as_it_was() -> None:
    image, again = tissue(), tissue()
    copy_cells(image, 40, np.random.default_rng(0))
    assert np.array_equal(image.rgb, again.rgb)
    assert all(np.array_equal(image.class_maps[k], again.class_maps[k]) for k in (1, 3))
    assert image.cell_count == 16


def test_without_cells_or_copies_nothing_is_done() -> None:
    empty = TrainingImage.from_label_images("empty", np.zeros((20, 20, 3), np.uint8), [])
    assert copy_cells(empty, 5, np.random.default_rng(0)) is empty
    image = tissue()
    assert copy_cells(image, 0, np.random.default_rng(0)) is image


def test_an_image_that_is_full_gets_no_copy() -> None:
    label_image = np.arange(1, 17).reshape(4, 4).repeat(5, 0).repeat(5, 1)
    full = TrainingImage.from_label_images("full", np.zeros((20, 20, 3), np.uint8), [(1, label_image)])
    assert copy_cells(full, 30, np.random.default_rng(0)).cell_count == 16


def test_augmentation_copies_only_when_it_is_switched_on() -> None:
    image = tissue()

    def cells(**settings) -> int:
        augment = Augmentation(AugmentConfig(crop=None, **settings), class_count=3)
        return len(targets_from_maps(augment(image, 3)[1])["labels"])

    off = {"shift_scale_rotate": 0}
    assert cells(**off) == cells(**off, copies=40, enabled=False) == 16
    assert cells(**off, copies=40) > 20
