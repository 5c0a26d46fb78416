"""Planes, projections and channels of stacks: chosen, named, and never guessed silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cellseg.cli import main
from napari_cellseg.errors import ConfigError, ImageReadError
from napari_cellseg.images.formats import image_size, read_image
from napari_cellseg.images.options import ReadOptions, parse_channels, parse_plane
from napari_cellseg.images.samples import generate_tissue

RGB = generate_tissue((48, 56), 9)[0]


def read(path: Path, **options: Any) -> Any:
    return read_image(path, options=ReadOptions(**options))


def test_rgb_as_three_pages_is_rgb_and_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(RGB, -1, 0), photometric="minisblack", metadata=None)
    image = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.rgb(), RGB)
    assert "its three pages are read as red, green and blue" in image.warnings()[0]
    chosen = read(tmp_path / "a.tif", channels=(2, 1, 0))
    np.testing.assert_array_equal(chosen.rgb(), RGB[..., ::-1])
    assert chosen.shown == "pages 2, 1, 0 as red, green, blue"
    grey = read(tmp_path / "a.tif", channels=(1,))
    np.testing.assert_array_equal(grey.rgb()[..., 0], RGB[..., 1])


def test_channels_of_a_multi_channel_file(tmp_path: Path) -> None:
    stack = np.concatenate([np.moveaxis(RGB, -1, 0), np.zeros_like(RGB[None, ..., 0])])
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": "CYX"})
    image = read(tmp_path / "a.ome.tif")
    assert image.choices == (1, 4)
    assert image.shown == "channel 0 of 4"
    assert "channel 0 is read as grey; --channels chooses others" in " ".join(image.warnings())
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif", channels=(0, 1, 2)).rgb(), RGB)
    with pytest.raises(ImageReadError, match=r"a\.ome\.tif: it has no channel 4; there are 4, counted from 0"):
        read(tmp_path / "a.ome.tif", channels=(4,))


def test_planes_and_projections_of_a_z_stack_in_colour(tmp_path: Path) -> None:
    stack = np.stack([RGB, RGB // 2, RGB // 3])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    limits = {"limits": (0, 255)}
    image = read(tmp_path / "a.tif", **limits)
    np.testing.assert_array_equal(image.rgb(), RGB)
    assert (image.choices, image.shown) == ((3, 1), "plane 0 of 3")
    assert "it has 3 planes, and plane 0 is read" in image.warnings()[-1]
    np.testing.assert_array_equal(read(tmp_path / "a.tif", plane=1, **limits).rgb(), RGB // 2)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", plane="max", **limits).rgb(), RGB)
    mean = read(tmp_path / "a.tif", plane="mean", **limits)
    assert abs(mean.rgb() - stack.mean(0)).max() <= 0.51
    assert mean.shown == "mean of 3 planes"
    assert mean.warnings() == []
    with pytest.raises(ImageReadError, match="it has no plane 3; there are 3, counted from 0"):
        read(tmp_path / "a.tif", plane=3)


def test_z_t_and_channels_together(tmp_path: Path) -> None:
    stack = np.random.default_rng(1).integers(0, 4000, (2, 3, 5, 48, 56), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": "TZCYX"})
    image = read(tmp_path / "a.ome.tif", plane=4, channels=(3,), limits=(0, 4095))
    assert image.choices == (6, 5)
    assert image.shown == "plane 4 of 6, channel 3 of 5"
    assert abs(image.rgb()[..., 0] - stack[1, 1, 3] * (255 / 4095)).max() <= 0.51


def test_a_thumbnail_before_the_image_is_not_the_image(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(RGB, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").rgb(), RGB)
    assert image_size(tmp_path / "a.tif") == RGB.shape[:2]


def test_a_coarser_level_has_larger_pixels(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        options = {"photometric": "rgb", "tile": (16, 16)}
        writer.write(RGB, subifds=1, metadata={"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}, **options)
        writer.write(RGB[::2, ::2], subfiletype=1, **options)
    image = read(tmp_path / "a.ome.tif", level=1)
    np.testing.assert_array_equal(image.rgb(), RGB[::2, ::2])
    assert image.pixel_size_um == pytest.approx(0.5)
    with pytest.raises(ImageReadError, match="no resolution level 2"):
        read(tmp_path / "a.ome.tif", level=2)


def test_words_of_the_command() -> None:
    assert (parse_plane("2"), parse_plane("max"), parse_channels("0, 1,2")) == (2, "max", (0, 1, 2))
    for wrong in ("-1", "first", ""):
        with pytest.raises(ConfigError, match="--plane"):
            parse_plane(wrong)
    with pytest.raises(ConfigError, match="--channels"):
        parse_channels("red")
    with pytest.raises(ValueError, match="give one channel"):
        ReadOptions(channels=(0, 1))


def test_every_plane_can_be_an_image_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.stack([generate_tissue((96, 96), seed)[0] for seed in (3, 4)])
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    tifffile.imwrite(tmp_path / "in" / "b.tif", stack[0], photometric="rgb")
    command = ["predict", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--device", "cpu", "--overlay"]
    assert main([*command, "--plane", "all"]) == 0
    written = sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir())
    assert written == ["a_plane0.png", "a_plane1.png", "b.png"]
    assert "planes, and plane 0 is read" not in capsys.readouterr().out
