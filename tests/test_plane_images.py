"""All planes of stacks as separate images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cellseg.images.formats import plane_count, read_image
from napari_cellseg.images.listing import ImageFile, list_images
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.plane_images import all_planes, each_plane
from napari_cellseg.images.samples import generate_tissue

RGB = generate_tissue((48, 56), 9)[0]
GREY = RGB[..., 0]

STACKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "colour": (RGB, {"photometric": "rgb"}),
    "grey": (GREY, {"photometric": "minisblack"}),
    "z in colour": (np.stack([RGB] * 4), {"photometric": "rgb", "metadata": {"axes": "ZYXS"}}),
    "z, t and channels": (
        np.zeros((2, 3, 5, 48, 56), np.uint16),
        {"photometric": "minisblack", "metadata": {"axes": "TZCYX"}, "ome": True},
    ),
    "three pages": (np.stack([GREY] * 3), {"photometric": "minisblack", "metadata": None}),
    "seven pages": (np.stack([GREY] * 7), {"photometric": "minisblack", "metadata": None}),
    "palette pages": (np.stack([GREY] * 3), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
    "planar": (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "five samples": (np.zeros((48, 56, 5), np.uint8), {"photometric": "minisblack", "planarconfig": "contig"}),
}


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("options", [ReadOptions(), ReadOptions(channels=(0,))])
def test_the_header_gives_the_planes_that_reading_gives(tmp_path: Path, kind: str, options: ReadOptions) -> None:
    pixels, how = STACKS[kind]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **how)
    assert plane_count(tmp_path / "a.tif", options) == read_image(tmp_path / "a.tif", options=options).choices[0]


def test_the_planes_of_an_ome_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(4, 3, 32, 32), dtype="uint8")[:] = 7
    axes = [{"name": name} for name in "zcyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    assert plane_count(tmp_path / "a.zarr") == read_image(tmp_path / "a.zarr").choices[0] == 4


def test_planes_are_counted_without_decoding(tmp_path: Path) -> None:
    """Whatever the pixels are: these are damaged."""
    path = tmp_path / "a.tif"
    stack = np.stack([RGB] * 5)
    tifffile.imwrite(path, stack, photometric="rgb", metadata={"axes": "ZYXS"}, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        places = [place for page in tif.pages for place in page.dataoffsets]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(b"damaged")
    assert plane_count(path) == 5


def test_each_plane_is_an_image_that_keeps_its_plane_when_read_in_another_way(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "z.tif", np.stack([RGB, RGB // 2]), photometric="rgb", metadata={"axes": "ZYXS"})
    first, second = each_plane(ImageFile("z", tmp_path / "z.tif", ReadOptions(limits=(0, 255))))
    assert (first.image_id, second.image_id, second.plane) == ("z_plane0", "z_plane1", 1)
    for file in (second, second.read_as(ReadOptions(limits=(0, 255), plane=0))):
        np.testing.assert_array_equal(read_image(file.path, options=file.reading).rgb(), RGB // 2)


def test_ids_stay_apart_and_what_cannot_be_read_stays_one_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "z.tif", np.stack([RGB, RGB // 2]), photometric="rgb", metadata={"axes": "ZYXS"})
    tifffile.imwrite(tmp_path / "z_plane1.tif", RGB, photometric="rgb")
    (tmp_path / "broken.tif").write_text("no image")
    ids = [file.image_id for file in all_planes(list_images(tmp_path))]
    assert ids == ["broken", "z_plane0", "z.tif_plane1", "z_plane1"]
