"""Regions of a slide as training samples: the pixels and reviewed cells of the slide, and nothing in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slide_cells import CLASSES, grid_cells, write_store
from slide_files import write_pyramid, write_zarr

from napari_cellseg.cli import main
from napari_cellseg.formats.cell_decisions import CellDecisions
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.label_images import read_class_images
from napari_cellseg.images import slide_levels
from napari_cellseg.images.read import read_tiff
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.slide import Slide
from training.dataset import find_samples, read_sample

SIZE = (300, 400)
RGB = generate_tissue(SIZE, 40, seed=2)[0]
CELLS = grid_cells(SIZE)  # 20 px on a grid of 50 px, from 10 px on


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    write_store(tmp_path / "cells" / "slide.sqlite", CELLS)
    return write_pyramid(tmp_path / "slide.tif", RGB)


def geojson(path: Path, *polygons: Any) -> Path:
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}} for rings in polygons]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def box(x0: float, y0: float, x1: float, y1: float) -> list[Any]:
    return [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]


def decide(store: Path, **cells: Any) -> None:
    """Accept, reject or set the class of cells, by their ids."""
    with CellReader(store) as reader, CellDecisions.open(reader, "ana") as decisions:
        found = {i: reader.cell(i) for i in range(1, len(CELLS) + 1)}
        for verb in ("accept", "reject"):
            if wanted := [found[i] for i in cells.get(verb, ())]:
                getattr(decisions, verb)(wanted)
        for i, class_id in cells.get("classes", {}).items():
            decisions.give_class([found[i]], class_id)


def crops(slide: Path, *words: Any) -> int:
    return main(["crops", str(slide), *map(str, words)])


def expected(y0: int, y1: int, x0: int, x1: int, leave: tuple[int, ...] = ()) -> np.ndarray:
    """Return which cell, by its id, each pixel of a box has."""
    whole = np.zeros(SIZE, int)
    for i, ((a, b, c, d), mask) in enumerate(zip(CELLS.boxes.tolist(), CELLS.masks, strict=True), start=1):
        if i not in leave:
            whole[b:d, a:c][mask] = i
    return whole[y0:y1, x0:x1]


def labelled(folder: Path, size: tuple[int, int]) -> tuple[np.ndarray, int]:
    """Return the class of each pixel of a sample, and its number of cells."""
    classes, count = np.zeros(size, int), 0
    for class_id, label_image in read_class_images(folder, size).items():
        classes[label_image > 0] = class_id
        count += len(set(label_image.ravel().tolist()) - {0})
    return classes, count


def test_a_region_becomes_a_sample_with_the_pixels_and_cells_of_the_slide(
    tmp_path: Path, slide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = range(1, len(CELLS) + 1)
    decide(slide.parent / "cells" / "slide.sqlite", accept=ids, reject=[2], classes={3: 2})
    regions = geojson(tmp_path / "regions.geojson", box(0, 0, 200, 115), box(205, 100, 400, 300))
    assert crops(slide, "--region", regions, "--out", tmp_path / "train") == 0
    told = capsys.readouterr().out
    for name, (y0, y1, x0, x1) in (("slide_region1", (0, 115, 0, 200)), ("slide_region2", (100, 300, 205, 400))):
        folder = tmp_path / "train" / name
        image = read_tiff(folder / "image.tif")
        np.testing.assert_array_equal(image.rgb(), RGB[y0:y1, x0:x1])
        assert image.pixel_size_um == pytest.approx(0.25)
        class_ids, count = labelled(folder, image.size)
        where = expected(y0, y1, x0, x1, leave=(2,))
        np.testing.assert_array_equal(class_ids > 0, where > 0)
        assert count == len(set(where.ravel()) - {0})
        assert not (folder / "region.json").exists()
        if (y0, x0) == (0, 0):
            assert set(class_ids[where == 3].tolist()) == {2}, "the class of the review"
    assert "2 samples" in told
    assert "4 cut by the border of a region: the part inside is kept" in told
    assert json.loads((tmp_path / "train" / "classes.json").read_text()) == {"1": "round", "2": "square"}
    assert len(find_samples(tmp_path / "train").samples) == 2


def test_around_a_polygon_training_sees_neither_pixels_nor_cells(tmp_path: Path, slide: Path) -> None:
    triangle = [[[0, 0], [200, 0], [0, 200], [0, 0]]]
    regions = geojson(tmp_path / "regions.geojson", triangle)
    assert crops(slide, "--region", regions, "--out", tmp_path / "train", "--unreviewed", "keep") == 0
    folder = tmp_path / "train" / "slide_region1"
    corners = json.loads((folder / "region.json").read_text())["region"]
    assert corners[:3] == [[-0.5, -0.5], [-0.5, 199.5], [199.5, -0.5]]
    y, x = np.mgrid[:199, :199]
    is_inside = x + y + 1 <= 199
    class_ids, _ = labelled(folder, (199, 199))
    np.testing.assert_array_equal(class_ids > 0, (expected(0, 199, 0, 199) > 0) & is_inside)
    (sample,) = find_samples(tmp_path / "train").samples
    rgb = read_sample(sample).rgb
    np.testing.assert_array_equal(rgb[is_inside], RGB[:199, :199][is_inside])
    assert len(np.unique(rgb[~is_inside], axis=0)) == 1


def test_cells_that_no_one_reviewed_are_refused_kept_or_left_out(
    tmp_path: Path, slide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(slide.parent / "cells" / "slide.sqlite", accept=[1])
    out = tmp_path / "train"
    assert crops(slide, "--region", "0,0,90,40", "--out", out) == 2
    assert "slide_region1: 1 of 2 cells" in capsys.readouterr().err
    assert not out.exists()
    for word, count in (("keep", 2), ("leave-out", 1)):
        assert crops(slide, "--region", "0,0,90,40", "--out", tmp_path / word, "--unreviewed", word) == 0
        assert labelled(tmp_path / word / "slide_region1", (40, 90))[1] == count
    assert crops(slide, "--region", "0,0,90,40", "--out", out, "--min-score", "0.95") == 0, "below the score: no cell"


def test_a_region_without_cells_is_an_annotated_sample(tmp_path: Path, slide: Path) -> None:
    assert crops(slide, "--region", "31,31,28,28", "--out", tmp_path / "train") == 0
    (sample,) = find_samples(tmp_path / "train").samples
    assert sample.image_id == "slide_region1"
    assert read_sample(sample).rgb.shape == (28, 28, 3)


@pytest.mark.parametrize(
    ("region", "told"),
    [
        (box(500, 500, 600, 600), "lies outside slide.tif, which has 400 x 300 px"),
        (box(0, 0, 8, 200), "200 x 8 px inside"),
        (box(0, 0, 100, 100) + box(20, 20, 40, 40), "Region 1 has a hole"),
        (box(0, 0, 400, 300), "Draw several smaller regions"),
    ],
)
def test_a_region_that_cannot_be_cut_is_refused_before_anything_is_written(
    tmp_path: Path, slide: Path, region: Any, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("napari_cellseg.export.crops.SLIDE_PX", 50_000)
    regions = geojson(tmp_path / "regions.geojson", region, box(0, 0, 90, 90))
    assert crops(slide, "--region", regions, "--out", tmp_path / "train", "--unreviewed", "keep") == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "train").exists()


def test_samples_that_exist_and_other_classes_are_refused(
    tmp_path: Path, slide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--region", "0,0,90,90", "--out", tmp_path / "train", "--unreviewed", "keep")
    assert crops(slide, *words) == 0
    before = (tmp_path / "train" / "slide_region1" / "image.tif").read_bytes()
    assert crops(slide, *words) != 0
    assert "slide_region1 exists" in capsys.readouterr().err
    assert (tmp_path / "train" / "slide_region1" / "image.tif").read_bytes() == before
    other = slide.rename(tmp_path / "other.tif")
    write_store(tmp_path / "cells" / "other.sqlite", CELLS, classes={"1": "a", "2": "b"})
    assert crops(other, *words) != 0
    assert "has other classes" in capsys.readouterr().err
    assert not (tmp_path / "train" / "other_region1").exists()


def test_cells_of_a_coarse_level_of_an_ome_zarr_give_samples_of_that_level_read_by_regions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "big.ome.zarr", np.repeat(np.repeat(RGB, 2, 0), 2, 1).transpose(2, 0, 1))
    write_store(tmp_path / "cells" / "big.ome.sqlite", CELLS)
    largest = []
    read = Slide.__getitem__
    monkeypatch.setattr(Slide, "__getitem__", lambda slide, box: largest.append(part := read(slide, box)) or part)
    monkeypatch.setattr(slide_levels, "SMALL_PX", 100)
    assert crops(path, "--region", "100,200,200,160", "--out", tmp_path / "train", "--unreviewed", "keep") == 0
    image = read_tiff(tmp_path / "train" / "big.ome_region1" / "image.tif")
    np.testing.assert_array_equal(image.rgb(), RGB[100:180, 50:150])
    assert image.pixel_size_um == pytest.approx(0.5)
    assert max(part.size for part in largest) < RGB.size
    assert CLASSES.names == ("round", "square")


def write_labels(folder: Path, dtype: Any = np.uint16, **options: Any) -> Path:
    """Write the cells as one label image per class."""
    folder.mkdir()
    for class_id in (1, 2):
        label_image = CELLS.select(CELLS.class_ids == class_id).paste(dtype=dtype)
        tifffile.imwrite(folder / f"class{class_id}.tif", label_image, metadata=None, **options)
    (folder / "classes.json").write_text(json.dumps({"1": "round", "2": "square"}))
    return folder


def write_zarr_labels(folder: Path) -> Path:
    """Write the slide and the cells as *Export* does."""
    zarr = pytest.importorskip("zarr")
    path = write_zarr(folder / "labels.ome.zarr", RGB.transpose(2, 0, 1))
    root = zarr.open_group(path, mode="r+")
    cells = CELLS.paste()
    for name, values in (("cells", cells), ("classes", np.concatenate([[0], CELLS.class_ids])[cells])):
        group = root.create_group(f"labels/{name}")
        group.create_array("0", shape=values.shape, chunks=(64, 64), dtype=values.dtype)[:] = values
    properties = [{"label-value": i, "class": name} for i, name in enumerate(CLASSES.names, start=1)]
    root["labels/classes"].attrs["image-label"] = {"properties": properties}
    return path


LABELS = {
    "compressed strips of float64": lambda folder: write_labels(folder / "l", dtype=np.float64, compression="zlib"),
    "one strip": lambda folder: write_labels(folder / "l"),
    "tiles of int32": lambda folder: write_labels(folder / "l", dtype=np.int32, tile=(64, 64), compression="lzw"),
    "OME-Zarr": write_zarr_labels,
}


@pytest.mark.parametrize("kind", LABELS)
def test_label_images_of_a_slide_are_read_by_regions_and_give_the_samples_of_its_cells(
    tmp_path: Path, slide: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = LABELS[kind](tmp_path)
    regions = geojson(tmp_path / "regions.geojson", box(0, 0, 200, 115), [[[0, 0], [200, 0], [0, 200], [0, 0]]])
    assert crops(slide, "--region", regions, "--out", tmp_path / "a", "--unreviewed", "keep") == 0
    of_cells = capsys.readouterr().out.replace(str(tmp_path / "a"), "")
    assert crops(slide, "--region", regions, "--out", tmp_path / "b", "--labels", labels) == 0
    assert capsys.readouterr().out.replace(str(tmp_path / "b"), "") == of_cells
    for name, size in (("slide_region1", (115, 200)), ("slide_region2", (199, 199))):
        one, other = (labelled(tmp_path / folder / name, size)[0] for folder in "ab")
        np.testing.assert_array_equal(one, other)


def test_labels_that_are_none_or_of_another_image_are_refused(
    tmp_path: Path, slide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--region", "0,0,90,90", "--out", tmp_path / "train", "--labels")
    labels = write_labels(tmp_path / "l")
    tifffile.imwrite(labels / "class1.tif", np.full(SIZE, 0.5))
    assert crops(slide, *words, labels) != 0
    assert "no labels" in capsys.readouterr().err
    for class_id in (1, 2):
        tifffile.imwrite(labels / f"class{class_id}.tif", np.zeros((90, 90), np.uint8))
    assert crops(slide, *words, labels) != 0
    assert "90 x 90 px, which no level" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert crops(slide, *words, tmp_path / "empty") != 0
    assert "has no class1.tif" in capsys.readouterr().err


def test_an_unfinished_run_is_said(tmp_path: Path, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = write_store(tmp_path / "half.sqlite", CELLS, complete=False)
    assert crops(slide, "--cells", store, "--region", "0,0,9,9", "--out", tmp_path / "train") != 0
    assert "The cells of the rest are missing" in capsys.readouterr().err
