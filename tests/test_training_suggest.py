from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage
from stains import fluorescence

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import drive
from napari_cellseg.images.statistics import PictureFacts
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import load_weights, read_header
from training.config import TrainConfig
from training.dataset import Sample
from training.fit import fit, pick_start
from training.prepare import first_network
from training.report import DataReport, ImageFacts
from training.suggest import anchor_factor, suggest, working_scale_of

H_AND_E = PictureFacts((200, 170, 190), 40, 60)
DAPI = PictureFacts((12, 12, 12), 20, 0)


def report(
    images: int = 20, side: float = 17, size=(1000, 1000), chroma: float = 60, pixel_sizes=(None,), pictures=()
) -> DataReport:
    rng = np.random.default_rng(0)
    facts = [
        ImageFacts(
            sample=Sample(f"i{i}", Path(f"i{i}/image.tif")),
            size=size,
            digest=str(i),
            cells=np.array([50, 50]),
            sides=(side * rng.lognormal(0, 0.3, 100)).astype(np.float32),
            nbytes=9 * size[0] * size[1],
            picture=pictures[i % len(pictures)] if pictures else replace(H_AND_E, chroma=chroma),
            pixel_size_um=pixel_sizes[i % len(pixel_sizes)],
        )
        for i in range(images)
    ]
    return DataReport(Path("data"), ClassTable.numbered(2), tuple(facts))


def test_small_cells_are_magnified_and_large_ones_shrunk() -> None:
    scales = [suggest(report(side=side)).model.working_scale for side in (8, 17, 32, 120)]
    assert scales == [4.0, 2.0, 1.0, 0.25]
    assert working_scale_of(np.zeros(0, np.float32)) == 1.0


def test_anchors_change_only_when_others_fit_clearly_better() -> None:
    cells = np.array([16, 17, 33, 64], np.float32)
    assert anchor_factor(cells, [16, 32, 64]) == 1
    assert anchor_factor(cells / 2, [16, 32, 64, 128]) == 0.5
    assert anchor_factor(cells * 1.25, [16, 32, 64]) == 1.25


def test_anchors_keep_their_levels() -> None:
    config, preset = suggest(report(side=32)), TrainConfig.preset("lite", ClassTable.numbered(2))
    levels = [len(level) for level in config.model.rpn.anchor_sizes]
    assert levels == [len(level) for level in preset.model.rpn.anchor_sizes]


def test_the_original_recipe_keeps_its_scale_anchors_and_length() -> None:
    config, preset = suggest(report(), "original"), TrainConfig.preset("original", ClassTable.numbered(2))
    assert config.model == preset.model
    assert (config.epochs, config.data.views) == (150, 1)


def test_one_image_is_trained_on_without_validation() -> None:
    config = suggest(report(images=1))
    assert config.data.validation_fraction == 0
    assert config.stopping.monitor == "train_loss"


@pytest.mark.parametrize(("images", "held"), [(2, 1), (5, 1), (27, 5), (100, 20), (1000, 40)])
def test_the_share_held_back_grows_slower_than_the_data(images: int, held: int) -> None:
    assert round(suggest(report(images=images)).data.validation_fraction * images) == held


def test_few_images_are_seen_often_and_many_once() -> None:
    few, many = suggest(report(images=2)), suggest(report(images=2000, size=(256, 256)))
    assert few.data.views >= 50
    assert many.data.views == 1
    for config, images in ((few, 1), (many, 1960)):
        steps = images * config.data.views // config.optimizer.batch
        assert steps >= 50
        assert 20 <= config.epochs <= 150


@pytest.mark.parametrize(("images", "most"), [(1, 20), (8, 64), (19, 150), (27, 150)])
def test_a_run_on_few_images_has_fewer_epochs(images: int, most: int) -> None:
    assert suggest(report(images=images, size=(256, 256))).epochs == most


def test_little_memory_means_small_crops_and_a_small_budget() -> None:
    small, large = (suggest(report(), ram_mib=ram) for ram in (3000, 64_000))
    assert (small.augment.crop, small.optimizer.batch, small.data.ram_budget_mib) == (384, 1, 375)
    assert (large.augment.crop, large.data.ram_budget_mib) == (512, 2048)


def test_grey_images_get_no_stain_and_hue_changes() -> None:
    grey, coloured = suggest(report(chroma=1)).augment, suggest(report()).augment
    assert (grey.stain, grey.hue_saturation_value) == (0, 0)
    assert coloured.stain > 0


def test_the_pixel_size_is_taken_only_when_all_images_agree() -> None:
    assert suggest(report(pixel_sizes=(0.25, 0.251))).model.pixel_size_um == pytest.approx(0.25, abs=0.01)
    assert suggest(report(pixel_sizes=(0.25, None))).model.pixel_size_um is None
    assert suggest(report(pixel_sizes=(0.25, 0.5))).model.pixel_size_um is None


def test_training_starts_from_the_bundled_model_that_suits_most_of_the_images() -> None:
    assert pick_start(report(pictures=(H_AND_E,))) == ("bundled", "")
    assert pick_start(report(images=4, pictures=(H_AND_E, DAPI))) == ("bundled", "")
    start, why = pick_start(report(images=3, pictures=(DAPI, H_AND_E, DAPI)))
    assert start == "nuclei"
    assert why.startswith(
        "Training starts from the model nuclei. i0: it is unlike the training images of lite-consep: "
    )
    assert why.endswith(" (2 of 3 images are).")


def dapi_folder(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        pixels = fluorescence()
        tifffile.imwrite(folder / name / "image.tif", pixels)
        tifffile.imwrite(folder / name / "class1.tif", ndimage.label(pixels > 1500)[0].astype(np.float64))
    return folder


@pytest.mark.parametrize(
    ("chosen", "picks", "start"),
    [("bundled", True, "nuclei"), ("bundled", False, "bundled"), ("imagenet", True, "imagenet")],
)
def test_only_a_start_model_that_nobody_chose_is_picked(tmp_path: Path, chosen, picks, start) -> None:
    config, _, why = drive(fit(dapi_folder(tmp_path), "lite", chosen, picks=picks))
    assert config.start_from == start
    assert bool(why) == (start == "nuclei")
    if start == "nuclei":
        assert why.endswith("--start-from bundled uses lite-consep.")
        assert config.model.fpn == read_header(bundled("nuclei")).config.fpn
        network = first_network(config)
        weights, _ = load_weights(bundled("nuclei"))
        name = next(name for name in weights if name.startswith("backbone"))
        assert torch.equal(network.state_dict()[name], weights[name])
