"""A level of a slide read by regions: the pixels and cells of the whole, and clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images import levels, overview, read, slide
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import read_size, read_tiff
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.slide import is_slide, open_slide

LEVEL_0 = ReadOptions(level=0)


def write_slide(path: Path, pixels: Any, levels: int = 3, **options: Any) -> Path:
    """Write a tiled pyramid, each level every second pixel of the one before."""
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, tile=(64, 80), subifds=levels - 1, **options)
        for level in range(1, levels):
            tif.write(pixels[:: 2**level, :: 2**level], tile=(64, 80), subfiletype=1, **options)
    return path


@pytest.fixture
def tissue() -> Any:
    return generate_tissue((300, 350), 40, seed=1)[0]


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memory be too small for the finest level, as it is for a whole slide."""
    for module in (read, slide, levels):
        monkeypatch.setattr(module, "MAX_BYTES", 300_000)


KINDS = {
    "deflate": ({"compression": "zlib", "photometric": "rgb"}, lambda rgb: rgb),
    "JPEG": ({"compression": "jpeg", "photometric": "rgb"}, lambda rgb: rgb),
    "RGBA": ({"photometric": "rgb"}, lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])),
    "12 bits in 16": ({"photometric": "rgb"}, lambda rgb: rgb.astype(np.uint16) * 16),
    "grey": ({"photometric": "minisblack"}, lambda rgb: rgb[..., 1]),
    "inverted grey": ({"photometric": "miniswhite"}, lambda rgb: 255 - rgb[..., 1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_region_has_the_pixels_of_the_whole_image(tmp_path: Path, tissue: Any, kind: str) -> None:
    options, change = KINDS[kind]
    path = write_slide(tmp_path / "slide.tif", change(tissue), **options)
    whole = read_tiff(path, options=LEVEL_0).rgb()
    with open_slide(path, LEVEL_0) as found:
        assert found.shape == whole.shape
        for rows, columns in [((0, 300), (0, 350)), ((10, 20), (300, 350)), ((63, 65), (79, 81)), ((250, 400), (0, 1))]:
            box = slice(*rows), slice(*columns)
            np.testing.assert_array_equal(found[box], whole[box])


def test_a_slide_without_coarser_levels_gets_its_limits_from_some_tiles(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 200)
    dim = (generate_tissue((300, 350), 40, seed=1)[0] // 4).astype(np.uint8)
    path = write_slide(tmp_path / "slide.tif", dim, levels=1, photometric="rgb")
    whole = read_tiff(path, options=LEVEL_0)
    with open_slide(path, LEVEL_0) as found:
        assert found.overview.size == (64 + 64 + 44, 80 + 30)
        assert found.overview.scaling.high == pytest.approx(whole.scaling.high, abs=2)


def test_what_fits_into_memory_is_read_as_a_whole(tmp_path: Path, tissue: Any) -> None:
    path = write_slide(tmp_path / "slide.tif", tissue, photometric="rgb")
    assert not is_slide(path, LEVEL_0)


@pytest.mark.usefixtures("small_memory")
def test_without_a_level_the_finest_that_fits_is_read_and_said(tmp_path: Path, tissue: Any) -> None:
    path = write_slide(tmp_path / "slide.tif", tissue, photometric="rgb")
    assert not is_slide(path, ReadOptions())
    image = read_tiff(path)
    assert image.size == (150, 175)
    assert any("resolution level 1" in text and "--level 0" in text for text in image.warnings())
    assert read_size(path) == (300, 350)
    assert not any("resolution level" in text for text in read_tiff(path, options=ReadOptions(level=2)).warnings())


def test_a_damaged_tile_is_an_error_that_names_its_place(tmp_path: Path, tissue: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 100)
    path = write_slide(tmp_path / "slide.tif", tissue, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[-1]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 40)
    with open_slide(path, LEVEL_0) as found:
        assert found[0:10, 0:10].shape == (10, 10, 3)
        with pytest.raises(ImageReadError, match=r"slide\.tif.*near x 320, y 256 px"):
            found[280:300, 330:350]


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.uint16, {"photometric": "miniswhite"}),
        (np.float32, {"photometric": "minisblack"}),
        (np.uint8, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    ],
    ids=["inverted 16 bits", "real numbers", "premultiplied alpha"],
)
def test_colours_that_the_whole_image_decides_are_not_read_by_regions(
    tmp_path: Path, tissue: Any, dtype: Any, options: Any
) -> None:
    pixels = np.dstack([tissue, tissue[..., :1]]) if "extrasamples" in options else tissue[..., 1]
    path = write_slide(tmp_path / "slide.tif", pixels.astype(dtype), **options)
    with pytest.raises(ImageReadError, match="RGB TIFF"), open_slide(path, LEVEL_0):
        pass


def test_an_error_in_the_work_on_a_slide_is_not_an_error_of_the_file(tmp_path: Path, tissue: Any) -> None:
    path = write_slide(tmp_path / "slide.tif", tissue, photometric="rgb")
    with pytest.raises(MemoryError), open_slide(path, LEVEL_0):
        raise MemoryError
