"""Folders of every usual layout are listed alike, and files that are left out are named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_cellseg.cli import main
from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.formats.label_images import class_files, write_class_images
from napari_cellseg.images.listing import find_images, list_images
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.instances import InstanceMasks
from training.dataset import find_samples
from training.report import scan


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def ids(root: Path) -> list[str]:
    return [image.image_id for image in list_images(root)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("x2.tif", "x10.tif", "X1.tif"), ["X1", "x2", "x10"]),
        (("a.tiff", "b.TIF", "c.png", "d.JPG", "e.bmp", "f.jp2", "g.svs"), list("abcdefg")),
        (("a/image.tif", "b/image.tiff", "c/IMAGE.TIF", "d/image.ome.tif", "e/image.png"), list("abcde")),
        (("id1/images/id1.png", "id1/masks/m1.png", "id2/images/id2.png"), ["id1", "id2"]),
        (("p1/tile_0001.tif", "p2/tile_0001.tif", "p2/deep/tile_0001.tif"), None),
        (("a.tif", "a.png", "b.tif"), ["a.png", "a.tif", "b"]),
        ((".hidden/a.tif", ".cellseg/training/x/image.tif", "b.tif"), ["b"]),
    ],
)
def test_layouts(tmp_path: Path, names: tuple[str, ...], expected: list[str] | None) -> None:
    found = ids(folder_of(tmp_path, *names))
    assert found == (expected or ["p1/tile_0001", "p2/deep/tile_0001", "p2/tile_0001"])


def test_an_image_of_its_own_folder_or_alone(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/image.tif", "a/class1.tif", "c/other.tif")
    assert ids(tmp_path / "a") == ["a"]
    assert ids(tmp_path / "a/image.tif") == ["a"]
    assert ids(tmp_path / "c/other.tif") == ["other"]


def test_masks_are_never_images_and_are_named(tmp_path: Path) -> None:
    folder_of(
        tmp_path, "a.tif", "a_masks.tif", "a_cp_masks.png", "a_seg.npy", "a_mask.png", "a_labels.ome.tif", "class1.tif",
        "thick_mask.tif", "overlays/a.png", "labels/a.tif",
    )  # fmt: skip
    listing = find_images(tmp_path)
    assert [image.image_id for image in listing.images] == [
        "a",
        "thick_mask",
    ]  # no image "thick" that it is the mask of
    named = " ".join(listing.skipped_lines())
    for name in ("a_masks.tif", "a_cp_masks.png", "a_seg.npy", "a_mask.png", "a_labels.ome.tif", "class1.tif"):
        assert name in named
    assert "not read (pictures that an export drew): overlays" in named
    assert "not read (a folder of masks): labels" in named


def test_an_export_inside_of_the_folder_is_not_read_again(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.tif", "out/test-results.json", "out/training/a/image.tif", "out/overlays/a.png")
    listing = find_images(tmp_path)
    assert [image.image_id for image in listing.images] == ["a"]
    assert listing.skipped_lines() == ["not read (a folder that predict or an export wrote): out"]


def test_what_another_package_would_read_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    folder_of(tmp_path, "a.tif", "b.czi", "c.zarr/zarr.json")
    lines = find_images(tmp_path).skipped_lines()
    assert 'not read (Zeiss CZI needs the package bioio_czi: pip install "napari-cellseg[bioio]"): b.czi' in lines
    assert any("napari-cellseg[formats]" in line and "c.zarr" in line for line in lines)


def test_another_image_next_to_image_tif_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/image.tif", "a/overview.png", "a/class1.tif")
    assert find_images(tmp_path).skipped_lines() == ["not read (image.tif is the image of this folder): a/overview.png"]


def test_names_are_in_nfc(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "Gewebe_müller")
    folder_of(tmp_path, f"{name}.tif")
    assert ids(tmp_path) == [unicodedata.normalize("NFC", name)]


def test_nothing_and_only_masks_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="no such file"):
        list_images(tmp_path / "absent")
    with pytest.raises(ImageReadError, match="There is no image in"):
        list_images(tmp_path)
    with pytest.raises(ImageReadError, match=r"a label image\): a_masks.tif"):
        list_images(folder_of(tmp_path, "a_masks.tif"))


def write_training(root: Path, image: str, label: str) -> None:
    rgb = generate_tissue((64, 64), 3)[0]
    for name in ("s0", "s1"):
        (root / name).mkdir(parents=True)
        tifffile.imwrite(root / name / image, rgb, photometric="rgb")
        tifffile.imwrite(root / name / label, np.pad(np.ones((9, 9), np.uint16), (20, 35)))


@pytest.mark.parametrize(("image", "label"), [("image.tiff", "class1.tif"), ("IMAGE.TIF", "class1.TIFF")])
def test_training_reads_every_spelling(tmp_path: Path, image: str, label: str) -> None:
    write_training(tmp_path / "data" / "patient", image, label)
    report = scan(tmp_path / "data")
    assert [facts.image_id for facts in report.images] == ["patient/s0", "patient/s1"]
    assert report.cells.tolist() == [2]
    assert not report.errors


def test_training_names_what_it_does_not_use(tmp_path: Path) -> None:
    write_training(tmp_path, "image.tif", "class1.tif")
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros((9, 9), np.uint8))
    (tmp_path / "s2").mkdir()
    tifffile.imwrite(tmp_path / "s2" / "class1.tif", np.zeros((9, 9), np.uint8))
    report = scan(tmp_path)
    assert "s2: " in str(report.errors[0])
    assert "Not read (without a folder of its own): flat.tif." in " ".join(map(str, report.warnings))
    with pytest.raises(AnnotationError, match="no image"):
        find_samples(tmp_path / "s2")


def test_a_class_file_of_another_spelling_is_written_again_and_not_doubled(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "class1.TIFF", np.eye(9, dtype=np.uint16))
    cells = InstanceMasks(
        image_size=(9, 9),
        boxes=np.array([[0, 0, 3, 3]], np.int32),
        class_ids=np.array([1], np.int32),
        scores=np.ones(1, np.float32),
        masks=[np.ones((3, 3), bool)],
    )
    write_class_images(tmp_path, cells)
    assert list(class_files(tmp_path)) == [1]
    assert tifffile.imread(class_files(tmp_path)[1]).sum() == 9


def test_two_images_of_one_name_stay_two_in_every_export(tmp_path: Path) -> None:
    for slide, seed in (("slide1", 3), ("slide2", 4)):
        (tmp_path / "in" / slide).mkdir(parents=True)
        rgb = generate_tissue((96, 96), seed)[0]
        tifffile.imwrite(tmp_path / "in" / slide / "tile_0001.tif", rgb, photometric="rgb")
    for out, inputs in (
        ("a", ["in"]),
        ("b", ["in/slide1", "in/slide2"]),
        ("c", ["in/slide1/tile_0001.tif", "in/slide2"]),
    ):
        paths = [str(tmp_path / name) for name in inputs]
        kinds = ["--masks", "--csv", "--overlay", "--geojson"]
        assert main(["predict", *paths, "--out", str(tmp_path / out), "--device", "cpu", *kinds]) == 0
        written = {
            path.relative_to(tmp_path / out).as_posix() for path in (tmp_path / out).rglob("*") if path.is_file()
        }
        for slide in ("slide1", "slide2"):
            assert f"overlays/{slide}/tile_0001.png" in written
            assert f"geojson/{slide}/tile_0001.geojson" in written
        listed = json.loads((tmp_path / out / "test_image_name_to_ids.json").read_text())
        assert sorted(entry["file_name"] for entry in listed) == ["slide1/tile_0001.tif", "slide2/tile_0001.tif"]


def test_the_command_names_the_masks_that_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = generate_tissue((64, 64), 3)[0]
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "a_cp_masks.tif", rgb[..., 0])
    assert main(["predict", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "not read (a label image): a_cp_masks.tif" in captured.err
    assert "1 image" in captured.out
