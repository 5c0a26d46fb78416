"""Every format of the table reads like the TIFF of an equal image, and a damaged file gives one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PillowImage

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.formats import FORMATS, image_size, read_image
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import generate_tissue

RGB = generate_tissue((48, 56), 9)[0]


def pillow(**options: Any) -> Callable[[Path], None]:
    return lambda path: PillowImage.fromarray(RGB).save(path, **options)


def with_alpha(path: Path) -> None:
    PillowImage.fromarray(RGB).convert("RGBA").save(path)


def sixteen(path: Path) -> None:
    path.write_bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 257))


def twelve_with_alpha(path: Path) -> None:
    pixels = np.concatenate([RGB.astype(np.uint16) * 16, np.full((48, 56, 1), 65535, np.uint16)], -1)
    path.write_bytes(imagecodecs.png_encode(pixels))


def jpeg_2000(path: Path) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(RGB.astype(np.uint16) * 257, level=0))


FILES: dict[str, tuple[Callable[[Path], None], int]] = {
    "a.png": (pillow(), 0),
    "rgba.PNG": (with_alpha, 0),
    "16.png": (sixteen, 0),
    "12a.png": (twelve_with_alpha, 2),
    "a.bmp": (pillow(), 0),
    "a.jpg": (pillow(quality=98, subsampling=0), 24),
    "a.JPEG": (pillow(quality=98, subsampling=0), 24),
    "a.jp2": (pillow(), 0),
    "16.jp2": (jpeg_2000, 1),
}


@pytest.mark.parametrize("name", FILES)
def test_flat_formats(tmp_path: Path, name: str) -> None:
    write, tolerance = FILES[name]
    write(tmp_path / name)
    assert abs(read_image(tmp_path / name).rgb().astype(int) - RGB).max() <= tolerance
    assert image_size(tmp_path / name) == RGB.shape[:2]


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    palette = PillowImage.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").rgb(), np.asarray(palette.convert("RGB")))


def test_grey_and_black_and_white(tmp_path: Path) -> None:
    for mode in ("L", "LA", "1"):
        picture = PillowImage.fromarray(RGB).convert(mode)
        picture.save(tmp_path / "a.png")
        image = read_image(tmp_path / "a.png")
        assert image.axes == "YX"
        np.testing.assert_array_equal(image.rgb()[..., 1], np.asarray(picture.convert("L")))


def test_cmyk_and_a_level_that_is_not_there_are_refused(tmp_path: Path) -> None:
    PillowImage.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageReadError, match=r"a\.jpg: it holds CMYK colours; save it as RGB"):
        read_image(tmp_path / "a.jpg")
    pillow()(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="no resolution level 1"):
        read_image(tmp_path / "a.png", options=ReadOptions(level=1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.jp2"])
def test_damaged_files_are_one_clear_error(tmp_path: Path, name: str) -> None:
    pillow()(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", b"no image at all", whole[: len(whole) // 3]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageReadError, match=f"Cannot read .*{name}"):
            read_image(tmp_path / name).rgb()


def test_another_format_under_a_wrong_name_is_named(tmp_path: Path) -> None:
    PillowImage.fromarray(RGB).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="it is a GIF file under another name"):
        read_image(tmp_path / "a.png")


def test_ome_zarr_with_channels_levels_and_pixel_size(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(tmp_path / "a.ome.zarr", mode="w", zarr_format=2)
    pixels = np.moveaxis(RGB, -1, 0)
    datasets = []
    for level, step in enumerate((1, 2)):
        root.create_array(str(level), data=np.ascontiguousarray(pixels[:, ::step, ::step]))
        scale = {"type": "scale", "scale": [1.0, 0.25 * step, 0.25 * step]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    image = read_image(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(image.rgb(), RGB)
    assert image.pixel_size_um == pytest.approx(0.25)
    assert image_size(tmp_path / "a.ome.zarr") == RGB.shape[:2]
    coarse = read_image(tmp_path / "a.ome.zarr", options=ReadOptions(level=1))
    np.testing.assert_array_equal(coarse.rgb(), RGB[::2, ::2])
    assert coarse.pixel_size_um == pytest.approx(0.5)
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(ImageReadError, match="it is not an OME-Zarr image"):
        read_image(tmp_path / "b.zarr")


def test_a_missing_reader_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for known in FORMATS:
        if known.needs:
            path = tmp_path / f"a{known.suffixes[0]}"
            path.write_bytes(b"x")
            with pytest.raises(ImageReadError, match=rf"pip install \"napari-cellseg\[{known.extra}\]\""):
                read_image(path)
