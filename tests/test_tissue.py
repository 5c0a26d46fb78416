"""Glass is left out only where it is certain: a lone nucleus, pale tissue and a dark field stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_slide import write_slide

from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide import open_slide
from napari_cellseg.images.tissue import glass_boxes, is_glass, white_of


def glass(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return an empty slide with the noise of a camera and uneven light."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0, -6, size[1])[None, :, None]
    return np.clip(np.array([242, 240, 236]) + light + rng.normal(0, 4, (*size, 3)), 0, 255).astype(np.uint8)


def with_nucleus(rgb: np.ndarray, y: int, x: int, side: int, colour: tuple[int, int, int]) -> np.ndarray:
    changed = rgb.copy()
    changed[y : y + side, x : x + side] = colour
    return changed


def test_an_empty_slide_with_noise_is_glass() -> None:
    white = white_of(glass((512, 512)))
    assert white is not None
    assert is_glass(glass((300, 333), seed=1), white)
    assert is_glass(glass((2, 3), seed=1), white)


@pytest.mark.parametrize("place", [(0, 0), (101, 57), (193, 194)])
def test_a_lone_pale_nucleus_is_tissue(place: tuple[int, int]) -> None:
    white = white_of(glass((512, 512)))
    assert white is not None
    assert not is_glass(with_nucleus(glass((200, 200)), *place, 6, (195, 180, 210)), white)


def test_pale_even_tissue_is_tissue() -> None:
    white = white_of(glass((512, 512)))
    assert white is not None
    assert not is_glass(np.full((200, 200, 3), (240, 215, 228), np.uint8), white)


def test_in_a_dark_field_nothing_is_glass() -> None:
    dark = with_nucleus(np.full((256, 256, 3), 8, np.uint8), 40, 40, 30, (250, 250, 250))
    assert white_of(dark) is None


@pytest.mark.parametrize("offset", range(0, 16, 3))
def test_a_nucleus_of_an_eighth_of_a_coarse_pixel_is_seen(tmp_path: Path, offset: int) -> None:
    fine = with_nucleus(glass((1024, 1280)), 500 + offset, 700 + offset, 24, (110, 70, 150))
    path = tmp_path / "slide.tif"
    write_levels(path, pyramid(fine, 5), um=0.25)
    with open_slide(path, ReadOptions(level=0)) as slide:
        assert slide.coarse is not None
        assert slide.coarse.shape == (64, 80, 3)
        white = white_of(slide.overview.rgb())
        assert white is not None
        boxes = [(x, y, x + 320, y + 256) for y in range(0, 1024, 256) for x in range(0, 1280, 320)]
        found = [not answer for answer in glass_boxes(slide, boxes, white)]
        tissue = [
            x0 < 724 + offset and 700 + offset < x1 and y0 < 524 + offset and 500 + offset < y1
            for x0, y0, x1, y1 in boxes
        ]
        assert all(seen for seen, is_there in zip(found, tissue, strict=True) if is_there)
        assert sum(found) <= 4


def pyramid(pixels: np.ndarray, levels: int) -> list[np.ndarray]:
    """Return levels of half the size each; a pixel is the mean of four."""
    found = [pixels.astype(np.float32)]
    for _ in range(1, levels):
        last = found[-1][: found[-1].shape[0] // 2 * 2, : found[-1].shape[1] // 2 * 2]
        found.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    return [level.astype(np.uint8) for level in found]


def write_levels(path: Path, levels: list[np.ndarray], um: float) -> None:
    import tifffile

    per_cm = 10_000 / um
    with tifffile.TiffWriter(path) as tif:
        for number, level in enumerate(levels):
            tif.write(
                level,
                tile=(64, 80),
                photometric="rgb",
                subifds=len(levels) - 1 if not number else None,
                subfiletype=1 if number else 0,
                resolution=(per_cm / 2**number, per_cm / 2**number),
                resolutionunit="CENTIMETER",
            )


def test_a_level_too_coarse_for_a_nucleus_is_not_used(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tif", glass((1024, 1280)), levels=6, photometric="rgb")
    with open_slide(path, ReadOptions(level=0)) as slide:  # of unknown pixel size
        assert slide.coarse is not None
        assert slide.coarse.shape[:2] == (128, 160)
    path = write_slide(tmp_path / "single.tif", glass((256, 320)), levels=1, photometric="rgb")
    with open_slide(path, ReadOptions(level=0)) as slide:
        assert slide.coarse is None
