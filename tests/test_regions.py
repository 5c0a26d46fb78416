"""Each format with regions: a region has the pixels of the whole image, at each level; what is lost is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slide_files import chunk_file, damage_tile, write_pyramid, write_zarr

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images import formats, levels, overview, tiff_levels
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.slide import has_regions, open_slide
from napari_cellseg.images.slide_levels import open_levels
from napari_cellseg.images.stamp import image_stamp

RGB = generate_tissue((300, 350), 40, seed=1)[0]
PLANES = RGB.transpose(2, 0, 1)
STACK = np.stack([PLANES, 255 - PLANES])  # two planes of three channels
FIVE = np.concatenate([PLANES, PLANES[::-1] // 2])[:5]


def tiff(pixels: Any, **options: Any) -> Callable[[Path], Path]:
    return lambda folder: write_pyramid(folder / "a.tif", pixels, **options)


def strips(pixels: Any, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        size = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(folder / "a.tif", pixels, metadata=None, **({"photometric": "rgb"} | size | options))
        return folder / "a.tif"

    return write


def zarr(pixels: Any, axes: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        pytest.importorskip("zarr")
        return write_zarr(folder / "a.zarr", pixels, axes, **options)

    return write


def reading(**options: Any) -> ReadOptions:
    return ReadOptions(**options)


def ome_tiff(pixels: Any, axes: str, *, levels: int = 3, **options: Any) -> Callable[[Path], Path]:
    """Return what writes a stack of grey planes, which is read through tifffile's Zarr store."""

    def write(folder: Path) -> Path:
        pytest.importorskip("zarr")
        path = folder / "a.ome.tif"
        about = {"axes": axes} | {f"PhysicalSize{axis}": 0.25 for axis in "XY"}
        with tifffile.TiffWriter(path, ome=True) as tif:
            for level in range(levels):
                tif.write(
                    pixels[..., :: 2**level, :: 2**level],
                    subifds=levels - 1 if not level and levels > 1 else None,
                    subfiletype=1 if level else 0,
                    metadata=None if level else about,
                    photometric="minisblack",
                    **options,
                )
        return path

    return write


LZW = {"compression": "lzw", "predictor": True}
KINDS = {
    "TIFF in tiles": (tiff(RGB), reading()),
    "TIFF in tiles, colours in planes": (tiff(PLANES, planarconfig="separate", levels=1, **LZW), reading()),
    "TIFF in tiles, 16 bits, colours in planes": (
        tiff(PLANES.astype(np.uint16) * 16, planarconfig="separate", levels=1),
        reading(limits="dtype"),
    ),
    "TIFF in one strip": (strips(RGB), reading()),
    "TIFF in one strip, big-endian 16 bits": (
        strips(RGB.astype(np.uint16) * 9, byteorder=">"),
        reading(limits=(0, 2295)),
    ),
    "TIFF in strips": (strips(RGB, rowsperstrip=70), reading()),
    "TIFF in compressed strips": (strips(RGB, rowsperstrip=17, **LZW), reading()),
    "TIFF in compressed strips, colours in planes": (
        strips(PLANES, rowsperstrip=17, planarconfig="separate", **LZW),
        reading(),
    ),
    "TIFF in strips, colours in planes": (strips(PLANES, planarconfig="separate"), reading()),
    "TIFF in strips, grey with black as white": (strips(RGB[..., 0], photometric="miniswhite"), reading()),
    "OME-TIFF of three channels": (ome_tiff(PLANES, "CYX", tile=(64, 80), **LZW), reading()),
    "OME-TIFF of five channels, 16 bits": (
        ome_tiff(FIVE.astype(np.uint16) * 5, "CYX", tile=(64, 80), compression="zlib"),
        reading(channels=(3,), limits=(0, 1275)),
    ),
    "OME-TIFF, a plane": (ome_tiff(STACK.transpose(1, 0, 2, 3), "ZCYX", tile=(64, 80)), reading(plane=2)),
    "OME-TIFF in strips, maximum of the planes": (
        ome_tiff(STACK, "TCYX", levels=1, rowsperstrip=50, **LZW),
        reading(plane="max"),
    ),
    "TIFF of three pages": (
        lambda folder: strips(PLANES, photometric="minisblack", compression="zlib")(folder),
        reading(),
    ),
    "OME-Zarr 0.4": (zarr(PLANES, "cyx"), reading()),
    "OME-Zarr 0.5": (zarr(PLANES, "cyx", version="0.5"), reading()),
    "OME-Zarr 0.5 in shards": (zarr(PLANES, "cyx", version="0.5", shards=(3, 128, 128)), reading()),
    "OME-Zarr, grey": (zarr(PLANES[0], "yx"), reading()),
    "OME-Zarr, one of five channels": (zarr(FIVE, "cyx"), reading()),
    "OME-Zarr, three of five channels": (zarr(FIVE, "cyx"), reading(channels=(4, 1, 2))),
    "OME-Zarr, one of three colours": (zarr(PLANES, "cyx"), reading(channels=(1,))),
    "OME-Zarr, a plane": (zarr(STACK.transpose(1, 0, 2, 3), "czyx"), reading(plane=1)),
    "OME-Zarr, maximum of the planes": (zarr(STACK, "tcyx"), reading(plane="max")),
    "OME-Zarr, planes read as channels": (zarr(FIVE[:, None], "zcyx"), reading(channels=(0, 2, 3))),
    "OME-Zarr, time and depth": (
        zarr(np.stack([STACK, STACK[::-1] // 2, STACK // 3]).transpose(0, 2, 1, 3, 4), "tczyx"),
        reading(plane=5, channels=(2,)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_region_of_each_level_is_that_of_the_whole_image(tmp_path: Path, kind: str) -> None:
    write, options = KINDS[kind]
    path = write(tmp_path)
    rng = np.random.default_rng(7)
    has_levels = "OME" in kind and "strips" not in kind
    for level in range(3 if has_levels or kind == "TIFF in tiles" else 1):
        chosen = options.changed(level=level)
        whole = read_image(path, options=chosen)
        height, width = whole.size
        boxes = [(0, height, 0, width), (height - 1, height, 0, width)]
        for _ in range(12):
            (y0, y1), (x0, x1) = (sorted(rng.choice(side + 1, 2, replace=False)) for side in (height, width))
            boxes.append((int(y0), int(y1), int(x0), int(x1)))
        with open_slide(path, chosen) as slide:
            rgb = whole.rgb_between(slide.overview.scaling)
            assert slide.shape == rgb.shape
            assert slide.pixel_size_um == pytest.approx(whole.pixel_size_um, rel=0.02)
            assert slide.overview.shown == whole.shown
            assert slide.overview.choices == whole.choices
            for y0, y1, x0, x1 in boxes:
                np.testing.assert_array_equal(slide[y0:y1, x0:x1], rgb[y0:y1, x0:x1])


def test_a_plane_that_does_not_exist_is_an_error_as_for_the_whole_image(tmp_path: Path) -> None:
    path = zarr(STACK, "zcyx")(tmp_path)
    for options, told in ((reading(plane=2), "no plane 2"), (reading(channels=(3,)), "no channel 3")):
        with pytest.raises(ImageReadError, match=f"a.zarr: it has {told}"), open_slide(path, options):
            pass


def damage(path: Path) -> None:
    path.write_bytes(b"damaged")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("harm", "told"), [(damage, "damaged near x 64, y 128 px"), (Path.unlink, "x 64, y 128 px is")]
)
def test_a_damaged_or_missing_chunk_is_grey_in_a_view_and_an_error_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, harm: Any, told: str
) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 200)
    path = zarr(PLANES, "cyx", version=version)(tmp_path)
    harm(chunk_file(path, (1, 2, 1)))
    shown = open_levels(path, ReadOptions())
    found = shown.picture((0, 0, 350, 300), 1)
    shown.close()
    assert found is not None
    assert [told in problem for problem in found.problems] == [True]
    assert (found.rgb[128:192, 64:128] == 96).all()
    found.rgb[128:192, 64:128] = RGB[128:192, 64:128]
    np.testing.assert_array_equal(found.rgb, RGB)
    with open_slide(path, ReadOptions(level=0)) as slide:
        assert slide[0:60, 0:60].shape == (60, 60, 3)
        with pytest.raises(ImageReadError, match=r"a\.zarr.*x 64, y 128 px"):
            slide[100:150, 100:110]


def test_a_blank_chunk_that_the_format_leaves_out_is_read_as_blank(tmp_path: Path) -> None:
    pixels = PLANES.copy()
    pixels[:, 128:, :192] = 0
    path = zarr(pixels, "cyx")(tmp_path)
    assert not chunk_file(path, (1, 2, 1)).exists()
    with open_slide(path, ReadOptions(level=0)) as slide:
        np.testing.assert_array_equal(slide[0:300, 0:350], pixels.transpose(1, 2, 0))
        assert not any("chunks" in text for text in slide.overview.warnings())


def test_without_coarser_levels_chunks_that_are_not_stored_are_said(tmp_path: Path) -> None:
    path = zarr(PLANES, "cyx", levels=1)(tmp_path)
    chunk_file(path, (1, 2, 1)).unlink()
    with open_slide(path, ReadOptions()) as slide:
        assert any("1 of its 90 chunks are not stored" in text for text in slide.overview.warnings())


def test_one_large_compressed_strip_is_refused_with_the_way_to_convert_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_levels, "MAX_BLOCK_BYTES", 100_000)
    path = strips(RGB, rowsperstrip=300, **LZW)(tmp_path)
    assert not has_regions(path, ReadOptions(), any_size=True)
    with pytest.raises(ImageReadError, match=r"compressed in strips.*vips tiffsave"), open_slide(path, ReadOptions()):
        pass
    assert has_regions(strips(RGB)(tmp_path), ReadOptions(), any_size=True), "without compression, rows can be read"


def test_of_strips_only_a_bounded_part_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_levels, "_CACHE_BYTES", 40_000)
    path = strips(RGB, rowsperstrip=17, **LZW)(tmp_path)
    stored = levels.open_stored(path, ReadOptions())
    assert stored is not None
    (level,) = stored.levels
    for top in range(0, 300, 30):
        level.read((0, top, 350, top + 30))
    assert sum(strip.nbytes for strip in level._strips._kept.values()) <= 40_000
    stored.close()


def test_the_overview_of_wide_strips_is_a_sample_of_all_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 96)
    with open_slide(strips(RGB)(tmp_path), ReadOptions()) as slide:
        assert slide.overview.size == (96, 86)
        np.testing.assert_array_equal(slide.overview.pixels[:12, :12], RGB[:12, :12])
        np.testing.assert_array_equal(slide.overview.pixels[-12:, -2:], RGB[-12:, -2:])


def test_an_image_file_that_is_never_read_by_regions_says_so(tmp_path: Path) -> None:
    assert not has_regions(tmp_path / "a.png", ReadOptions(), any_size=True)
    with pytest.raises(ImageReadError, match="tiled"), open_slide(tmp_path / "a.png", ReadOptions()):
        pass


def test_two_folders_of_one_shape_have_two_stamps_and_a_copy_with_other_files_has_the_same(tmp_path: Path) -> None:
    for name, pixels in (("a", PLANES), ("b", 255 - PLANES), ("c", PLANES)):
        (tmp_path / name).mkdir()
        zarr(pixels, "cyx")(tmp_path / name)
    (tmp_path / "c" / "a.zarr" / "cells").mkdir()
    (tmp_path / "c" / "a.zarr" / "cells" / "a.sqlite").touch()
    stamps = [image_stamp(tmp_path / name / "a.zarr") for name in "abc"]
    assert stamps[0] == stamps[2] != stamps[1]


def test_a_dim_image_has_the_same_limits_in_memory_and_by_regions_and_says_where_they_are_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 100)
    path = tiff((255 - RGB).astype(np.uint16) * 5)(tmp_path)
    alone = read_image(path)
    monkeypatch.setattr(formats, "LARGE_BYTES", 100_000)
    whole = read_image(path)
    with open_slide(path, ReadOptions()) as slide:
        told = slide.overview.warnings()
        assert whole.scaling == slide.overview.scaling != alone.scaling
        np.testing.assert_array_equal(slide[0:300, 0:350], whole.rgb())
    assert [text for text in told if "come from its overview of 75 x 88 px" in text]
    assert whole.warnings() == told
    chosen = ReadOptions(limits=(0, 999))
    assert read_image(path, options=chosen).scaling.high == whole.with_options(chosen).scaling.high == 999


def test_a_damaged_tile_of_a_stack_in_a_tiff_is_grey_in_a_view_and_an_error_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PX", 200)
    path = ome_tiff(PLANES, "CYX", tile=(64, 64), compression="zlib")(tmp_path)
    damage_tile(path, 7)  # of the first channel, 6 tiles in a row: x 64, y 64
    shown = open_levels(path, ReadOptions())
    found = shown.picture((0, 0, 350, 300), 1)
    shown.close()
    assert found is not None
    assert ["damaged near x 64, y 64 px" in problem for problem in found.problems] == [True]
    assert (found.rgb[64:128, 64:128] == 96).all()
    found.rgb[64:128, 64:128] = RGB[64:128, 64:128]
    np.testing.assert_array_equal(found.rgb, RGB)
    with (
        open_slide(path, ReadOptions(level=0)) as slide,
        pytest.raises(ImageReadError, match=r"a\.ome\.tif.*near x 64, y 64 px"),
    ):
        slide[0:100, 0:100]
