"""An image looks equal however it is stored; clipped and dark images give a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_cellseg.images.brightness import Scaling, choose_limits, to_8bit
from napari_cellseg.images.read import Image, ReadOptions, read_tiff
from napari_cellseg.images.samples import generate_tissue

Pixels = npt.NDArray[Any]

RGB = generate_tissue((160, 176), 9)[0]


def wide(factor: int) -> Pixels:
    return RGB.astype(np.uint16) * np.uint16(factor)


def with_alpha(pixels: Pixels, opaque: float) -> Pixels:
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), opaque, pixels.dtype)], -1)


def with_strip(pixels: Pixels, value: float) -> Pixels:
    """Saturate 3 % of the rows."""
    pixels = pixels.copy()
    pixels[:5] = value
    return pixels


STORED: dict[str, tuple[Callable[[], Pixels], dict[str, Any]]] = {
    "12 bits in 16": (lambda: wide(16), {}),
    "10 bits in 16": (lambda: wide(4), {}),
    "16 bits": (lambda: wide(257), {}),
    "float to 1": (lambda: (RGB / 255).astype(np.float32), {}),
    "float to 255": (lambda: RGB.astype(np.float32), {}),
    "float to 4095": (lambda: wide(16).astype(np.float32), {}),
    "double": (lambda: RGB / 255, {}),
    "32 bits": (lambda: RGB.astype(np.uint32) * np.uint32(16843009), {}),
    "signed": (lambda: wide(16).astype(np.int16), {}),
    "8-bit alpha": (lambda: with_alpha(RGB, 255), {"extrasamples": ["unassalpha"]}),
    "12 bits, alpha 65535": (lambda: with_alpha(wide(16), 65535), {"extrasamples": ["unassalpha"]}),
    "16 bits, alpha": (lambda: with_alpha(wide(257), 65535), {"extrasamples": ["assocalpha"]}),
    "12 bits, saturated strip": (lambda: with_strip(wide(16), 65535), {}),
    "16 bits, black strip": (lambda: with_strip(wide(257), 0), {}),
    "float, NaN strip": (lambda: with_strip((RGB / 255).astype(np.float32), np.nan), {}),
    "float, infinite strip": (lambda: with_strip((RGB / 255).astype(np.float32), np.inf), {}),
    "float, padding of -9999": (lambda: with_strip((RGB / 255).astype(np.float32), -9999), {}),
    "planar": (lambda: np.moveaxis(wide(16), -1, 0), {"planarconfig": "separate"}),
}


@pytest.mark.parametrize("kind", STORED)
def test_the_same_picture_is_the_same_however_it_is_stored(tmp_path: Path, kind: str) -> None:
    make, options = STORED[kind]
    tifffile.imwrite(tmp_path / "a.tif", make(), photometric="rgb", **options)
    rgb = read_tiff(tmp_path / "a.tif").rgb()
    assert abs(rgb[5:].astype(int) - RGB[5:]).max() <= 2


def test_a_dim_picture_is_stretched_alike_in_8_and_16_bits() -> None:
    dim = RGB // 5
    shown = [to_8bit(pixels, choose_limits(pixels)) for pixels in (dim, dim.astype(np.uint16) * 20, dim / 255)]
    assert shown[0].max() > 240
    for other in shown[1:]:
        assert abs(other.astype(int) - shown[0]).mean() < 20


def test_fluorescence_over_an_offset_is_stretched() -> None:
    rng = np.random.default_rng(1)
    cells = (rng.random((128, 128)) > 0.8) * 900 + 700 + rng.integers(0, 30, (128, 128))
    scaling = choose_limits(cells.astype(np.uint16))
    assert 690 <= scaling.low <= 720
    assert 1590 <= scaling.high <= 1640


def test_a_blank_slide_is_not_stretched() -> None:
    blank = np.random.default_rng(1).integers(236, 246, (128, 128, 3)).astype(np.uint8)
    assert choose_limits(blank).is_identity(blank.dtype)
    np.testing.assert_array_equal(to_8bit(blank, choose_limits(blank)), blank)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_premultiplied_alpha_is_divided_out(tmp_path: Path, dtype: type) -> None:
    opaque = 1.0 if dtype is np.float32 else float(np.iinfo(dtype).max)
    alpha = np.full(RGB.shape[:2], 1.0)
    alpha[:, 40:90] = 0.5
    alpha[:, 90:100] = 0
    stored = np.concatenate([RGB / 255 * alpha[..., None], alpha[..., None]], -1) * opaque
    if opaque > 1:
        stored = np.rint(stored)
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(dtype), photometric="rgb", extrasamples=["assocalpha"])
    rgb = read_tiff(tmp_path / "a.tif").rgb().astype(int)
    assert abs(rgb - RGB)[:, :90].max() <= 3
    assert abs(rgb - RGB)[:, 100:].max() <= 3


def test_transparent_samples_have_no_say() -> None:
    pixels = with_alpha(wide(16), 65535)
    pixels[:40] = (65535, 65535, 65535, 0)
    pixels[:40, ::2, :3] = 40_000  # not one constant, which would be padding
    image = Image(pixels=pixels, axes="YXS", pixel_size_um=None, path=Path("a.tif"))
    assert (image.scaling.low, image.scaling.high) == (0, 4095)


def test_minimum_is_white_of_12_bits_is_inverted_in_its_own_range(tmp_path: Path) -> None:
    grey = RGB[..., 0].astype(np.uint16) * 16
    grey[0, :2] = (0, 4095)
    tifffile.imwrite(tmp_path / "a.tif", 4095 - grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").pixels, grey)


def warnings_of(pixels: Pixels, **options: Any) -> list[str]:
    return Image(
        pixels=pixels, axes="YXS", pixel_size_um=None, path=Path("a.tif"), options=ReadOptions(**options)
    ).warnings()


def test_what_is_clipped_or_dark_or_white_is_said() -> None:
    assert warnings_of(RGB) == []
    assert warnings_of(wide(16)) == []
    assert "of its values are outside" in warnings_of(RGB, limits=(0, 150))[0]
    assert "nearly black" in warnings_of(wide(16), limits="dtype")[0]
    assert "nearly white" in warnings_of(np.maximum(RGB, 240))[0]
    assert "3.1% of its values are outside" in warnings_of(with_strip(wide(16), 65535))[0]


def test_limits_say_what_decided() -> None:
    assert str(choose_limits(wide(16))) == "0..4095 (auto)"
    assert str(choose_limits(wide(16), choice="dtype")) == "0..65535 (dtype)"
    assert str(choose_limits(wide(16), choice=(5, 3000))) == "5..3000 (chosen)"
    with pytest.raises(ValueError, match="the first number must be below"):
        ReadOptions(limits=(5, 5))


def test_nan_is_shown_as_the_median_of_the_image_and_not_as_black():
    picture = np.full((64, 64, 3), np.nan, np.float32)
    picture[8:56, 8:56] = np.linspace(0.4, 0.8, 48 * 48 * 3, dtype=np.float32).reshape(48, 48, 3)
    scaling = Scaling(0.0, 1.0, "chosen")
    shown = to_8bit(picture, scaling)
    assert np.abs(shown[:8].astype(int) - 153).max() <= 10  # 0.6, from every eighth row and column
    assert shown[8, 8, 0] == 102
