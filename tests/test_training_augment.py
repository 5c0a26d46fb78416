from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from skimage.color import hed2rgb, rgb2hed, rgb_from_hed

from napari_cellseg.classes import ClassTable
from napari_cellseg.model.config import ModelConfig
from training.augment import Augmentation, sample_seed
from training.config import AugmentConfig
from training.dataset import TrainingImage, find_samples, read_sample
from training.stain import STAIN_VECTORS, jitter_stains
from training.targets import targets_from_maps, validate_target

GEOMETRY = {"brightness_contrast": 0, "blur": 0, "hue_saturation_value": 0, "stain": 0}


def discs(size: tuple[int, int] = (120, 150), radius: int = 6, step: int = 20) -> TrainingImage:
    """Return white discs on black, every other one of class 2."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    label_images = {1: np.zeros(size, np.int64), 2: np.zeros(size, np.int64)}
    number = 0
    for y in range(step // 2, size[0], step):
        for x in range(step // 2, size[1], step):
            number += 1
            label_images[1 + number % 2][(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = number
    cells = label_images[1] + label_images[2] > 0
    rgb = np.repeat(255 * cells[..., None], 3, 2).astype(np.uint8)
    return TrainingImage.from_label_images("discs", rgb, label_images.items())


def coordinates(size: tuple[int, int] = (100, 120)) -> TrainingImage:
    """Return an image whose red is y and green is x."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    rgb = np.stack([rows, columns, np.zeros(size)], 2).astype(np.uint8)
    return TrainingImage.from_label_images("coordinates", rgb, [])


def augmentation(working_scale: float = 1.0, **settings) -> Augmentation:
    return Augmentation(AugmentConfig(**settings), working_scale=working_scale, class_count=2)


def test_the_same_seed_gives_the_same_view_and_another_seed_another() -> None:
    image, augment = discs(), augmentation(crop=64, stain=0.5)
    (a, maps_a), (b, maps_b), (c, _) = augment(image, 5), augment(image, 5), augment(image, 6)
    assert torch.equal(a, b)
    assert torch.equal(maps_a, maps_b)
    assert not torch.equal(a, c)


def test_seeds_differ_by_run_epoch_image_and_repeat() -> None:
    seeds = {sample_seed(s, e, i, r) for s in (0, 1) for e in (1, 2) for i in ("a", "b") for r in (0, 1)}
    assert len(seeds) == 16
    assert sample_seed(0, 1, "a", 0) == sample_seed(0, 1, "a", 0)


def test_the_source_is_not_changed() -> None:
    image = discs()
    rgb, maps = image.rgb.copy(), {class_id: m.copy() for class_id, m in image.class_maps.items()}
    for seed in range(20):
        augmentation(crop=None, stain=1)(image, seed)
    assert np.array_equal(image.rgb, rgb)
    assert all(np.array_equal(image.class_maps[class_id], m) for class_id, m in maps.items())


def test_read_only_pixels_are_fine() -> None:
    image = discs()
    image.rgb.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augmentation(crop=None)(image, 0)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("crop", [None, 64])
def test_image_and_cells_move_together_and_boxes_are_tight(scale: float, crop: int | None) -> None:
    image, augment = discs(), augmentation(scale, crop=crop, rotate=45, scale=0.2, shift=0.2, min_visible=0, **GEOMETRY)
    for seed in range(10):
        rgb, maps = augment(image, seed)
        white, cells = rgb[0] > 0.5, maps.sum(0) > 0
        shared, either = (white & cells).sum(), (white | cells).sum()
        assert shared > 0.8 * either  # a pixel of border apart at most, where the image is interpolated
        assert not (maps[0].bool() & maps[1].bool()).any()
        validate_target(rgb, targets_from_maps(maps), 2)


def test_flips_and_turns_alone_move_pixels_exactly() -> None:
    image, augment = discs(), augmentation(crop=64, shift_scale_rotate=0, min_visible=0, min_pixels=1, **GEOMETRY)
    for seed in range(15):
        rgb, maps = augment(image, seed)
        assert torch.equal(rgb[0] > 0.5, maps.sum(0) > 0)
        assert torch.all((rgb - rgb.round()).abs() < 1e-4)


@pytest.mark.parametrize("crop", [None, 64])
def test_without_augmentation_pixels_stay_as_they_are(crop: int | None) -> None:
    image, augment = coordinates(), augmentation(crop=crop, enabled=False)
    corners = set()
    for seed in range(10):
        view = (augment(image, seed)[0] * 255).round().int()
        y, x = view[0, 0, 0].item(), view[1, 0, 0].item()
        height, width = view.shape[1:]
        assert torch.equal(view[0], torch.arange(y, y + height).int()[:, None].expand(height, width))
        assert torch.equal(view[1], torch.arange(x, x + width).int()[None].expand(height, width))
        corners.add((y, x))
    assert (len(corners) > 5) if crop else corners == {(0, 0)}


@pytest.mark.parametrize("size", [(1, 1), (33, 86), (7, 200), (300, 40)])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_images_smaller_than_the_crop_are_not_blown_up(size: tuple[int, int], scale: float) -> None:
    image, augment = coordinates(size), augmentation(scale, crop=128, rotate=45)
    longest = max(max(1, round(side * scale)) for side in size)
    for seed in range(5):
        rgb, maps = augment(image, seed)
        assert maps.shape == (2, *rgb.shape[1:])
        assert max(rgb.shape[1:]) == min(128, longest)
        assert torch.isfinite(rgb).all()


def test_cells_grow_with_the_working_scale() -> None:
    image = discs()
    for scale in (0.5, 2.0, 3.0):
        _, maps = augmentation(scale, crop=None, enabled=False)(image, 0)
        areas = np.bincount(maps[0].reshape(-1).numpy())[1:]
        assert np.allclose(areas / image.areas[1][1:] / scale**2, 1, atol=0.15)


def test_shrinking_does_not_alias() -> None:
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    image = TrainingImage.from_label_images("board", np.repeat(board[..., None], 3, 2), [])
    rgb, _ = augmentation(0.3, crop=None, enabled=False)(image, 0)
    assert (rgb[:, 3:-3, 3:-3] - 0.5).abs().max() < 0.1


def test_outside_the_image_is_the_neutral_colour() -> None:
    white = TrainingImage.from_label_images("white", np.full((60, 60, 3), 255, np.uint8), [])
    config = AugmentConfig(crop=64, shift=0.5, shift_scale_rotate=1, rotate=0, scale=0, **GEOMETRY)
    augment = Augmentation(config, class_count=1, fill=(0.1, 0.2, 0.3))
    seen = torch.cat([augment(white, seed)[0].reshape(3, -1) for seed in range(5)], 1)
    outside = seen[:, seen[0] < 0.5]
    assert outside.shape[1] > 0
    assert torch.allclose(outside, torch.tensor([0.1, 0.2, 0.3])[:, None].expand_as(outside), atol=0.01)


def test_cells_cut_to_slivers_are_dropped() -> None:
    image, augment = discs(), augmentation(crop=64, enabled=False, min_visible=0.5)
    every = augmentation(crop=64, enabled=False, min_visible=0, min_pixels=1)
    dropped = 0
    for seed in range(20):
        for class_id in (1, 2):
            kept = augment(image, seed)[1][class_id - 1]
            whole = every(image, seed)[1][class_id - 1]
            left = np.bincount(whole.reshape(-1).numpy(), minlength=len(image.areas[class_id]))
            wanted = {v for v in range(1, len(left)) if left[v] >= 0.5 * image.areas[class_id][v]}
            assert set(kept.unique().tolist()) - {0} == wanted
            dropped += np.count_nonzero(left[1:]) - len(wanted)
    assert dropped > 0


def test_balanced_crops_see_a_rare_class_more_often() -> None:
    label_images = {1: np.zeros((800, 800), np.int64), 2: np.zeros((800, 800), np.int64)}
    label_images[1][5::20, 5::20] = np.arange(1, 1601).reshape(40, 40)
    label_images[2][780:790, 20:30] = 1
    image = TrainingImage.from_label_images("rare", np.zeros((800, 800, 3), np.uint8), label_images.items())

    def seen(balance: float) -> int:
        augment = augmentation(crop=64, class_balance=balance, min_pixels=1, **GEOMETRY)
        return sum(bool(augment(image, seed)[1][1].any()) for seed in range(100))

    assert seen(0.0) < 10 < 30 < seen(1.0)


def test_the_crop_covers_all_places_evenly() -> None:
    image, augment = coordinates((200, 200)), augmentation(crop=64, enabled=False)
    corners = np.array([augment(image, seed)[0][:2, 0, 0].numpy() * 255 for seed in range(200)])
    assert corners.min() < 8
    assert corners.max() > 128
    assert np.allclose(corners.mean(0), 68, atol=10)


@pytest.mark.parametrize("name", ["brightness_contrast", "blur", "hue_saturation_value", "stain", "tint", "invert"])
def test_each_change_of_colour_keeps_cells_and_range(name: str) -> None:
    rng = np.random.default_rng(0)
    image = TrainingImage.from_label_images("noise", rng.integers(0, 256, (64, 64, 3), np.uint8), [])
    off = {"flip": 0, "quarter_turn": 0, "shift_scale_rotate": 0, **GEOMETRY}
    plain, _ = augmentation(crop=None, **off)(image, 0)
    changed, _ = augmentation(crop=None, **{**off, name: 1})(image, 0)
    assert not torch.allclose(plain, changed, atol=0.01)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_tint_colours_grey_cells_and_keeps_black_and_the_brightest_colour() -> None:
    off = {"flip": 0, "quarter_turn": 0, "shift_scale_rotate": 0, **GEOMETRY}
    augment = augmentation(crop=None, tint=1, **off)
    tints = set()
    for seed in range(5):
        rgb, _ = augment(discs(), seed)
        assert torch.equal(rgb.amax(0), augmentation(crop=None, **off)(discs(), seed)[0][0])
        tints.add(tuple(rgb.amax((1, 2)).tolist()))
    assert len(tints) == 5


def test_an_inversion_makes_bright_cells_dark() -> None:
    off = {"flip": 0, "quarter_turn": 0, "shift_scale_rotate": 0, **GEOMETRY}
    rgb, _ = augmentation(crop=None, invert=1, **off)(discs(), 0)
    assert torch.equal(rgb, 1 - augmentation(crop=None, **off)(discs(), 0)[0])


def test_the_model_gives_scale_classes_and_fill() -> None:
    model = ModelConfig.preset("lite", ClassTable.numbered(3)).with_changes(backbone__mean=(0.1, 0.2, 0.3))
    augment = Augmentation.of(AugmentConfig(), model)
    assert (augment.working_scale, augment.class_count, augment.fill) == (model.working_scale, 3, (0.1, 0.2, 0.3))


@pytest.mark.data
@pytest.mark.parametrize("copies", [0, 30])
def test_every_crop_of_a_real_tile_is_a_valid_target(consep, copies: int) -> None:
    image = read_sample(find_samples(consep).samples[0])
    augment = Augmentation(AugmentConfig(stain=0.5, class_balance=0.5, copies=copies), working_scale=2.0, class_count=4)
    for seed in range(10):
        rgb, maps = augment(image, seed)
        validate_target(rgb, targets_from_maps(maps), 4)


# ---- stain ----


def test_stain_vectors_are_those_of_ruifrok_and_johnston() -> None:
    assert np.array_equal(STAIN_VECTORS, rgb_from_hed)


def test_unit_factors_change_nothing_and_white_stays_white() -> None:
    rgb = torch.rand((3, 20, 30), generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    assert torch.allclose(jitter_stains(rgb, [1, 1, 1], [0, 0, 0]), rgb, atol=1e-5)
    white = torch.ones((3, 4, 4))
    assert torch.allclose(jitter_stains(white, [1.2, 0.8, 1.1], [0, 0, 0]), white)


def test_stain_jitter_equals_separating_changing_and_joining() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.uniform(0.3, 0.9, (16, 16, 3))
    factors = np.array([1.1, 0.9, 1.0])
    # skimage counts stains in units of -log(1e-6); factors do not care about the unit. Its negative stains are cut off.
    stains = rgb2hed(rgb)
    positive = (stains > 0).all(2)
    expected = hed2rgb(stains * factors)
    ours = jitter_stains(torch.from_numpy(rgb).permute(2, 0, 1).float(), factors, np.zeros(3)).permute(1, 2, 0).numpy()
    assert positive.sum() > 10
    assert np.allclose(ours[positive], expected[positive], atol=1e-4)
