"""Images unlike the training images give a warning, and pixel sizes take effect or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_cellseg.classes import ClassTable
from napari_cellseg.cli import main
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.statistics import PictureFacts, picture_facts, summarise
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import (
    CheckpointHeader,
    CheckpointMetadata,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.suitability import scale_hint, unlike_training

HEADER = read_header(bundled())
TISSUE = generate_tissue((160, 160), 3)[0]


def fluorescence() -> np.ndarray:
    image = np.zeros((160, 160), np.uint8)
    image[40:60, 40:60] = 220
    return np.stack([image] * 3, -1)


def test_the_bundled_model_knows_its_training_images() -> None:
    assert HEADER.config.pixel_size_um == 0.25
    assert HEADER.statistics is not None
    assert HEADER.statistics.images == 22
    read_header(bundled(), verify=True)


def test_tissue_is_like_the_training_images() -> None:
    for picture in (TISSUE, np.clip(TISSUE * 1.1, 0, 255).astype(np.uint8), (TISSUE * 0.8).astype(np.uint8)):
        assert unlike_training(picture_facts(picture), HEADER, ()) is None


def test_a_pale_tile_is_like_the_training_images() -> None:
    pale = np.full((160, 160, 3), (243, 240, 244), np.uint8)
    pale[:20, :20] = TISSUE[:20, :20]
    assert unlike_training(picture_facts(pale), HEADER, ()) is None


def test_black_fluorescence_and_grey_are_not() -> None:
    text = unlike_training(picture_facts(fluorescence()), HEADER, ())
    assert text is not None
    assert "dark (mean 3 of 255, they have 204" in text
    assert "grey, they are coloured" in text
    grey = np.stack([TISSUE.mean(-1).astype(np.uint8)] * 3, -1)
    assert "grey" in str(unlike_training(picture_facts(grey), HEADER, ()))


def test_a_better_model_of_the_library_is_named() -> None:
    facts = picture_facts(fluorescence())
    statistics = summarise([facts, facts], np.array([12.0], np.float32))
    config = ModelConfig.preset("lite", ClassTable.numbered(1))
    other = CheckpointHeader(config=config, statistics=statistics, sha256="1")
    text = unlike_training(facts, HEADER, [("lite", HEADER), ("DAPI", other)])
    assert "the model 'DAPI' was trained on images like it" in str(text)
    assert unlike_training(facts, other, ()) is None
    assert unlike_training(PictureFacts((200, 60, 200), 30, 140), other, ()) is not None


def test_a_model_without_statistics_says_nothing() -> None:
    config = ModelConfig.preset("lite", ClassTable.numbered(1))
    assert unlike_training(picture_facts(fluorescence()), CheckpointHeader(config=config), ()) is None


def cells_of(side: float, count: int = 30) -> InstanceMasks:
    side_px = round(side)
    boxes = np.array([[i * 60, 0, i * 60 + side_px, side_px] for i in range(count)], np.int32)
    masks = [np.ones((side_px, side_px), bool)] * count
    return InstanceMasks(
        image_size=(200, 60 * count),
        boxes=boxes,
        class_ids=np.ones(count, np.int32),
        scores=np.full(count, 0.9, np.float32),
        masks=masks,
    )


@pytest.mark.parametrize(("side", "better"), [(17, None), (15, None), (11, 4), (8, 6), (30, 1), (22, None)])
def test_cells_of_another_size_suggest_a_scale(side: float, better: float | None) -> None:
    assert scale_hint(cells_of(side), HEADER, 2.0) == better


@pytest.mark.parametrize(("side", "better"), [(8, None), (20, None), (50, None), (5, 8), (60, 0.33)])
def test_the_model_for_any_stain_knows_cells_of_many_sizes(side: float, better: float | None) -> None:
    assert scale_hint(cells_of(side), read_header(bundled("nuclei")), 2.0) == better


def test_a_few_cells_suggest_nothing() -> None:
    assert scale_hint(cells_of(8, 19), HEADER, 2.0) is None


def predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = main(["predict", str(tmp_path / "a.tif"), "--out", str(tmp_path / "out"), "--device", "cpu", *options])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_pixel_size_of_file_and_option_set_the_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", TISSUE[:64, :64], photometric="rgb")
    assert "scale 4, from 0.5 um per px" in predicted(tmp_path, capsys, "--pixel-size", "0.5")[1]
    assert "pixel size of the image unknown" in predicted(tmp_path, capsys)[1]
    tifffile.imwrite(
        tmp_path / "a.tif",
        TISSUE[:64, :64],
        photometric="rgb",
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    assert "scale 4, from 0.5 um per px" in predicted(tmp_path, capsys)[1]


def test_a_pixel_size_without_effect_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", TISSUE[:64, :64], photometric="rgb")
    code, text = predicted(tmp_path, capsys, "--pixel-size", "0.5", "--scale", "2")
    assert (code, "only the scale is used" in text) == (2, True)
    model, header = load_checkpoint(bundled())
    model.config = header.config.with_changes(pixel_size_um=None)
    save_checkpoint(tmp_path / "m.safetensors", model, CheckpointMetadata(name="m"))
    code, text = predicted(tmp_path, capsys, "--pixel-size", "0.5", "--checkpoint", str(tmp_path / "m.safetensors"))
    assert code == 2
    assert "The pixel size has no effect: the model m does not state" in text
    code, text = predicted(tmp_path, capsys, "--pixel-size", "25")
    assert code == 2
    assert "25 um" in text


def test_a_far_image_gets_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", fluorescence(), photometric="rgb")
    code, text = predicted(tmp_path, capsys, "--checkpoint", "lite-consep")
    assert code == 0
    assert text.count("unlike the 22 images") == 1
    assert "the model 'nuclei' was trained on images like it" in text
