"""All levels of a slide by regions: the pixels of the file at any resolution, damaged tiles, and what is a slide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slide_files import damage_tile, write_pyramid

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images import overview, slide_levels
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import read_tiff
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.slide_levels import is_large, open_levels

DEFAULT = ReadOptions()


@pytest.fixture(scope="module")
def tissue() -> Any:
    return generate_tissue((300, 350), 40, seed=1)[0]


KINDS = {
    "zlib": ({"compression": "zlib"}, lambda rgb: rgb),
    "dim 16 bits": ({}, lambda rgb: rgb.astype(np.uint16) * 4),
    "grey": ({"photometric": "minisblack"}, lambda rgb: rgb[..., 1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_has_the_pixels_of_its_level(tmp_path: Path, tissue: Any, kind: str) -> None:
    options, change = KINDS[kind]
    path = write_pyramid(tmp_path / "slide.tif", change(tissue), **options)
    levels = open_levels(path, DEFAULT)
    assert levels.factors == pytest.approx((1, 2, 4), rel=0.02)
    assert levels.pixel_size_um == pytest.approx(0.25)
    scaling = levels.overview.scaling
    for number, factor in ((0, 1), (1, 2), (2, 4)):
        whole = read_tiff(path, level=number).rgb_between(scaling)
        found = levels.picture((0, 0, 350, 300), factor)
        assert found is not None
        np.testing.assert_array_equal(found.rgb, whole)
    part = levels.picture((100, 40, 170, 90), 1)
    assert part is not None
    assert part.box == (100, 40, 170, 90)
    np.testing.assert_array_equal(part.rgb, read_tiff(path, level=0).rgb_between(scaling)[40:90, 100:170])
    levels.close()


def test_between_two_levels_the_finer_one_is_averaged(tmp_path: Path, tissue: Any) -> None:
    levels = open_levels(write_pyramid(tmp_path / "slide.tif", tissue, levels=1), DEFAULT)
    found = levels.picture((3, 0, 350, 300), 4)
    levels.close()
    assert found is not None
    assert (found.factor, found.box) == (4, (0, 0, 352, 300))
    expected = tissue[:300, :348].reshape(75, 4, 87, 4, 3).astype(int).sum((1, 3)) // 16
    np.testing.assert_array_equal(found.rgb[:, :87], expected)


def test_a_damaged_tile_is_grey_and_the_others_are_right(tmp_path: Path, tissue: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 200)
    path = write_pyramid(tmp_path / "slide.tif", tissue, compression="zlib")
    damage_tile(path, 7)  # 6 tiles in a row: x 64, y 64
    levels = open_levels(path, DEFAULT)
    found = levels.picture((0, 0, 350, 300), 1)
    levels.close()
    assert found is not None
    (problem,) = found.problems
    assert "damaged near x 64, y 64 px" in problem
    assert (found.rgb[64:128, 64:128] == 96).all()
    found.rgb[64:128, 64:128] = tissue[64:128, 64:128]
    np.testing.assert_array_equal(found.rgb, tissue)


def test_what_is_stale_outside_or_too_much_gives_no_picture(tmp_path: Path, tissue: Any) -> None:
    levels = open_levels(write_pyramid(tmp_path / "slide.tif", tissue), DEFAULT)
    assert levels.picture((0, 0, 350, 300), 1, lambda: True) is None
    assert levels.picture((400, 0, 500, 300), 1) is None
    assert levels.picture((0, 0, 350, 300), 1, most_px=1000) is None
    levels.close()


def test_a_large_image_is_a_slide_and_another_is_not(tmp_path: Path, tissue: Any, monkeypatch: Any) -> None:
    path = write_pyramid(tmp_path / "slide.tif", tissue)
    assert not is_large(path, DEFAULT)
    monkeypatch.setattr(slide_levels, "SLIDE_PX", 50_000)
    assert is_large(path, DEFAULT)
    assert not is_large(path, ReadOptions(level=1)), "a coarse level that was chosen is read as a whole"
    real = write_pyramid(tmp_path / "real.tif", tissue[..., 0].astype(np.float32), photometric="minisblack")
    assert not is_large(real, DEFAULT)
    with pytest.raises(ImageReadError, match="neither one plane"):
        open_levels(real, DEFAULT)
