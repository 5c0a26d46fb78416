"""An image gives equal cells however it is stored and opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_cellseg.batch import make_plan, predict_images
from napari_cellseg.cli import main
from napari_cellseg.events import ImageDone, drive
from napari_cellseg.gui.canvas.foreign_layer import image_of_layer
from napari_cellseg.images.read import ImageFile, read_tiff
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import ModelCache, predict
from napari_cellseg.model.inference.predict_item import PredictItem
from training.dataset import find_samples, read_sample

Pixels = npt.NDArray[Any]

RGB = generate_tissue((192, 192), 9)[0]
CACHE = ModelCache()


def cells_of(source: Path | Pixels) -> list[Any]:
    events = predict([PredictItem("a", source)], PredictOptions(device="cpu", precision="fp32"), cache=CACHE)
    (done,) = [event for event in events if isinstance(event, ImageDone)]
    return done.instances.boxes.tolist()


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    cells = cells_of(RGB)
    assert len(cells) > 10
    return cells


def twelve_bits() -> Pixels:
    return RGB.astype(np.uint16) * 16


def rgba(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 65535, pixels.dtype)], -1)


def saturated() -> Pixels:
    pixels = twelve_bits()
    pixels[:6] = 65535
    return pixels


FILES: dict[str, Callable[[], tuple[Pixels, dict[str, Any]]]] = {
    "12 bits in 16": lambda: (twelve_bits(), {}),
    "12 bits and alpha": lambda: (rgba(twelve_bits()), {"extrasamples": ["unassalpha"]}),
    "16 bits planar": lambda: (np.moveaxis(RGB.astype(np.uint16) * 257, -1, 0), {"planarconfig": "separate"}),
    "16 bits and alpha": lambda: (rgba(RGB.astype(np.uint16) * 257), {"extrasamples": ["unassalpha"]}),
    "float": lambda: ((RGB / 255).astype(np.float32), {}),
}


def assert_same(cells: list[Any], expected: list[Any]) -> None:
    assert abs(len(cells) - len(expected)) <= max(1, 0.02 * len(expected))
    same = sum(np.abs(np.subtract(expected, box)).max(1).min() <= 2 for box in cells)
    assert same >= 0.95 * len(expected)


def coarse() -> Pixels:
    """Return the picture in at most 64 colours, the middle of each, as a palette stores it."""
    return RGB // 64 * 64 + 32


def palette() -> tuple[Pixels, dict[str, Any]]:
    """Return indices, and the table of their colours."""
    colours, places = np.unique(coarse().reshape(-1, 3), axis=0, return_inverse=True)
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(colours)] = colours.T.astype(np.uint16) * 257
    return places.reshape(RGB.shape[:2]).astype(np.uint8), {"photometric": "palette", "colormap": table}


@pytest.mark.parametrize("kind", FILES)
def test_file(tmp_path: Path, expected: list[Any], kind: str) -> None:
    pixels, options = FILES[kind]()
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    assert_same(cells_of(tmp_path / "a.tif"), expected)


def test_a_saturated_strip_costs_no_cells_elsewhere(tmp_path: Path, expected: list[Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", saturated(), photometric="rgb")
    cells = cells_of(tmp_path / "a.tif")
    assert abs(len(cells) - len(expected)) <= 0.15 * len(expected)


def layer(pixels: Pixels) -> SimpleNamespace:
    """Return what napari gives for a layer of colours."""
    return SimpleNamespace(data=pixels, rgb=True, multiscale=False, units=(), scale=(1, 1), ndim=2, name="layer")


@pytest.mark.parametrize("make", [twelve_bits, lambda: rgba(twelve_bits()), lambda: (RGB / 255).astype(np.float32)])
def test_layer(expected: list[Any], make: Callable[[], Pixels]) -> None:
    found = image_of_layer(layer(make()))
    assert not isinstance(found, str)
    assert_same(cells_of(found.image.rgb()), expected)


def test_batch_gives_the_cells_of_the_file_however_it_is_stored(tmp_path: Path, expected: list[Any]) -> None:
    """As the dock calls it, with the model in this process."""
    for number, (pixels, options) in enumerate(make() for make in FILES.values()):
        tifffile.imwrite(tmp_path / f"{number}.tif", pixels, photometric="rgb", **options)
    tifffile.imwrite(tmp_path / "coarse.tif", coarse(), photometric="rgb")
    indices, how = palette()
    tifffile.imwrite(tmp_path / "palette.tif", indices, **how)
    plan = drive(make_plan(tmp_path, "key", None))
    found: dict[str, list[Any]] = {}

    def keep(file: ImageFile, event: ImageDone) -> bool:
        found[file.image_id] = event.instances.boxes.tolist()
        return True

    options = PredictOptions(device="cpu", precision="fp32")
    files = [image.file for image in plan.images]
    drive(predict_images(lambda task: predict(task.items, task.options, cache=CACHE), files, options, None, keep))
    same_as_coarse = found.pop("palette")
    assert_same(same_as_coarse, found.pop("coarse"))
    assert len(found) == len(FILES)
    for cells in found.values():
        assert_same(cells, expected)


def test_training_reads_the_picture_that_the_model_will_see(tmp_path: Path) -> None:
    (tmp_path / "s0").mkdir()
    tifffile.imwrite(tmp_path / "s0" / "image.tif", saturated(), photometric="rgb")
    tifffile.imwrite(tmp_path / "s0" / "class1.tif", np.eye(192, dtype=np.uint16))
    image = read_sample(find_samples(tmp_path).samples[0])
    np.testing.assert_array_equal(image.rgb, read_tiff(tmp_path / "s0" / "image.tif").rgb())


def test_limits_of_the_command_reach_the_model_and_bad_ones_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", twelve_bits(), photometric="rgb")
    command = ["predict", str(tmp_path / "a.tif"), "--out", str(tmp_path / "out")]
    assert main([*command, "--limits", "0", "4095"]) == 0
    assert "nearly black" not in capsys.readouterr().out
    assert main([*command, "--limits", "dtype"]) == 0
    assert "warning: a: it is nearly black with the brightness limits 0..65535 (dtype)" in capsys.readouterr().out
    assert main([*command, "--limits", "12"]) == 2
    assert "--limits 12: give auto, dtype or two numbers" in capsys.readouterr().err
    assert main([*command, "--limits", "9", "3"]) == 2
    error = capsys.readouterr().err
    assert "--limits 9 3: the first number must be below the second" in error
    assert "Value error" not in error
    assert "{" not in error


def test_limits_that_training_used_travel_in_the_model(tmp_path: Path) -> None:
    from napari_cellseg.images.options import ReadOptions
    from napari_cellseg.model.checkpoint import read_header, save_checkpoint

    model = load_checkpoint(bundled())[0]
    model.config = model.config.with_changes(reading=ReadOptions(limits=(0, 300)))
    save_checkpoint(tmp_path / "m.safetensors", model)
    assert read_header(tmp_path / "m.safetensors").config.reading.limits == (0, 300)
    tifffile.imwrite(tmp_path / "a.tif", twelve_bits(), photometric="rgb")
    options = PredictOptions(device="cpu", checkpoint=tmp_path / "m.safetensors")
    for reading in (None, ReadOptions(plane=0)):  # a plane that was chosen leaves the limits as they are
        events = list(predict([PredictItem("a", tmp_path / "a.tif", None, reading)], options))
        assert any("0..300 (chosen)" in getattr(event, "text", "") for event in events)
