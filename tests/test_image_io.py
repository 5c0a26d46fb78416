"""TIFFs of all common kinds give the right pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.listing import natural_key
from napari_cellseg.images.read import ReadOptions, list_images, read_tiff

SIZE = (37, 53)


def picture(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    generator = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return generator.random(shape).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": "lzma"},
        {"byteorder": ">"},
        {"bigtiff": True, "byteorder": ">"},
        {"tile": (16, 16)},
        {"tile": (16, 32), "compression": "lzw", "predictor": True, "bigtiff": True},
        {"rowsperstrip": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("planar", [False, True])
def test_rgb_of_every_layout_is_exact(tmp_path: Path, options: dict[str, Any], planar: bool) -> None:
    rgb = picture(*SIZE, 3)
    stored = np.moveaxis(rgb, -1, 0) if planar else rgb
    layout = "separate" if planar else "contig"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=layout, **options)
    image = read_tiff(tmp_path / "a.tif")
    assert (image.axes, image.size, image.planes) == ("YXS", SIZE, 1)
    np.testing.assert_array_equal(image.rgb(), rgb)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp"])
def test_lossy_rgb_is_close(tmp_path: Path, compression: str) -> None:
    y, x = np.mgrid[:64, :64]
    rgb = np.stack([x * 3, y * 3, 255 - x - y], -1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", compression=compression, tile=(32, 32))
    difference = read_tiff(tmp_path / "a.tif").rgb().astype(int) - rgb
    assert abs(difference).mean() < 5


def test_alpha_is_kept_in_pixels_and_dropped_in_rgb(tmp_path: Path) -> None:
    rgba = picture(*SIZE, 4)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"], compression="lzw")
    image = read_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, rgba)
    np.testing.assert_array_equal(image.rgb(), rgba[..., :3])


def test_grey_and_grey_with_alpha_are_repeated(tmp_path: Path) -> None:
    grey = picture(*SIZE, 2)
    tifffile.imwrite(tmp_path / "a.tif", grey[..., 0], photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "b.tif", grey, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    for name in "ab":
        image = read_tiff(tmp_path / f"{name}.tif")
        assert image.axes == "YX"
        np.testing.assert_array_equal(image.rgb(), np.repeat(grey[..., :1], 3, -1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_inverted(tmp_path: Path, dtype: type) -> None:
    grey = picture(*SIZE, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").pixels, np.iinfo(dtype).max - grey)


def test_bilevel_becomes_black_and_white(tmp_path: Path) -> None:
    mask = picture(*SIZE) > 100
    tifffile.imwrite(tmp_path / "a.tif", mask, photometric="minisblack")
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").pixels, mask * np.uint8(255))
    tifffile.imwrite(tmp_path / "a.tif", mask, photometric="miniswhite")
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").pixels, ~mask * np.uint8(255))


@pytest.mark.parametrize("in_eight_bits", [False, True])
def test_palette_is_looked_up(tmp_path: Path, in_eight_bits: bool) -> None:
    index, colours = picture(*SIZE), picture(3, 256)
    table = colours.astype(np.uint16) * (1 if in_eight_bits else 257)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").rgb(), colours.T[index])


def test_cmyk_is_refused_with_what_to_do(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4, 4), np.uint8), photometric="separated")
    with pytest.raises(ImageReadError, match=r"CMYK.*save it as RGB"):
        read_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64, np.int8])
def test_limits_of_ones_own_apply_to_every_type(tmp_path: Path, dtype: type) -> None:
    values = picture(*SIZE, 3, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    low, high = (float(value) for value in np.percentile(values, (5, 95)))
    image = read_tiff(tmp_path / "a.tif", options=ReadOptions(limits=(low, high)))
    np.testing.assert_array_equal(image.pixels, values)
    assert (image.scaling.low, image.scaling.high, image.scaling.source) == (low, high, "chosen")
    expected = np.clip((values.astype(float) - low) / (high - low) * 255, 0, 255)
    assert abs(image.rgb() - expected).max() <= 0.51


def test_the_range_of_the_type_can_be_asked_for(tmp_path: Path) -> None:
    values = picture(*SIZE, 3, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    image = read_tiff(tmp_path / "a.tif", options=ReadOptions(limits="dtype"))
    assert (image.scaling.low, image.scaling.high) == (0, 65535)
    assert abs(image.rgb() - values / 257).max() <= 0.51


def test_nan_becomes_the_median_and_a_constant_image_does_not_divide_by_zero(tmp_path: Path) -> None:
    values = picture(*SIZE, dtype=np.float32)
    values[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    rgb = read_tiff(tmp_path / "a.tif").rgb()
    assert 60 < rgb[3, 4, 0] < 200
    assert rgb.max() > 230
    for value in (0.0, 7.5, 1e30, np.nan):
        tifffile.imwrite(tmp_path / "b.tif", np.full(SIZE, value, np.float32), photometric="minisblack")
        assert read_tiff(tmp_path / "b.tif").rgb().shape == (*SIZE, 3)


def test_a_stack_keeps_its_axes_and_one_page_can_be_read(tmp_path: Path) -> None:
    stack = picture(5, *SIZE, 3)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    image = read_tiff(tmp_path / "a.tif")
    assert (image.axes, image.size, image.planes) == ("ZYXS", SIZE, 5)
    np.testing.assert_array_equal(image.rgb(3), stack[3])
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif", page=3).pixels, stack[3])
    with pytest.raises(ImageReadError, match=r"no page 5; there are 5"):
        read_tiff(tmp_path / "a.tif", page=5)


def test_pages_without_metadata_are_a_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in (stack := picture(4, *SIZE)):
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False)
    image = read_tiff(tmp_path / "a.tif")
    assert (image.planes, image.size) == (4, SIZE)
    np.testing.assert_array_equal(image.pixels, stack)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif", page=2).pixels, stack[2])


def test_ome_axes_and_pixel_size(tmp_path: Path) -> None:
    stack = picture(2, 3, *SIZE, dtype=np.uint16)
    metadata = {"axes": "ZCYX", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata=metadata)
    image = read_tiff(tmp_path / "a.ome.tif")
    assert image.axes == "ZYXS"  # three channels are taken for red, green and blue
    np.testing.assert_array_equal(image.pixels, np.moveaxis(stack, 1, -1))
    assert image.pixel_size_um == pytest.approx(0.25)


def test_imagej_axes_and_pixel_size(tmp_path: Path) -> None:
    stack = picture(4, *SIZE)
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(1 / 0.5, 1 / 0.5), metadata={"axes": "ZYX", "unit": "um"}
    )
    image = read_tiff(tmp_path / "a.tif")
    assert (image.axes, image.pixel_size_um) == ("ZYX", pytest.approx(0.5))
    np.testing.assert_array_equal(image.pixels, stack)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif", page=1).pixels, stack[1])


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [(40_000, "CENTIMETER", 0.25), (101_600, "INCH", 0.25), (72, "INCH", None), (300, "INCH", None), (4, "NONE", None)],
)
def test_plain_resolution_counts_only_when_it_can_be_a_microscopes(
    tmp_path: Path, resolution: int, unit: str, expected: float | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture(*SIZE), resolution=(resolution, resolution), resolutionunit=unit)
    assert read_tiff(tmp_path / "a.tif").pixel_size_um == (None if expected is None else pytest.approx(expected))


def test_a_level_of_a_pyramid_has_its_own_pixel_size(tmp_path: Path) -> None:
    full = picture(128, 192, 3)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", bigtiff=True) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
        writer.write(full, subifds=2, metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **options)
        writer.write(full[::2, ::2], subfiletype=1, **options)
        writer.write(full[::4, ::4], subfiletype=1, **options)
    for level, step in enumerate((1, 2, 4)):
        image = read_tiff(tmp_path / "a.ome.tif", level=level)
        np.testing.assert_array_equal(image.rgb(), full[::step, ::step])
        assert image.pixel_size_um == pytest.approx(0.5 * step)
    with pytest.raises(ImageReadError, match="no resolution level 3; there are 3"):
        read_tiff(tmp_path / "a.ome.tif", level=3)


def test_a_tiny_image_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture(1, 1, 3), photometric="rgb")
    assert read_tiff(tmp_path / "a.tif").rgb().shape == (1, 1, 3)


def test_names_that_are_hashes_sort_letter_by_letter() -> None:
    names = ["06c779330d", "0402a81e75", "0bf33d3db4", "02903040e1", "03f583ec50"]
    assert sorted(names, key=natural_key) == sorted(names)
    assert sorted(["x10", "x2", "10", "9", "20260101_2", "20260101_10"], key=natural_key) == [
        "9",
        "10",
        "20260101_2",
        "20260101_10",
        "x2",
        "x10",
    ]


def test_images_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("x10.tif", "x2.TIFF", "X1.tif", ".hidden.tif", "class1.tif", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [image.image_id for image in list_images(tmp_path)] == ["X1", "x2", "x10"]


@pytest.mark.data
def test_real_images_are_read(consep: Path) -> None:
    images = list_images(consep / "train")
    assert len(images) == 27
    assert images[0].image_id == "train_01"
    assert read_tiff(images[0].path).rgb().shape == (1000, 1000, 3)
