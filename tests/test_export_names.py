"""Images of one name in two folders, and tables for spreadsheets."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from export_cases import CLASSES, SIZE, shapes_of
from review_actions import some_cells

from napari_cellseg.cli import main
from napari_cellseg.export import (
    EXPORTERS,
)
from napari_cellseg.formats.coco import (
    CocoDataset,
    read_dataset,
    read_results,
    write_dataset,
)
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.ids import IDS_NAME, match_ids


@pytest.fixture
def two_of_a_name(tmp_path: Path) -> Path:
    """Give a COCO data set with slide1/tile.tif and slide2/tile.tif, of 3 and 5 cells."""
    data = tmp_path / "data"
    images, cells = [], {}
    for number, count in ((1, 3), (2, 5)):
        folder = data / f"slide{number}"
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
        tifffile.imwrite(folder / "tile.tif", pixels, photometric="rgb")
        images.append(ImageId(f"slide{number}/tile.tif", number, *SIZE))
        cells[number] = some_cells(count, number, SIZE)
    write_dataset(data / "instances.json", CocoDataset(tuple(images), CLASSES, cells))
    return data


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_same_named_images_of_two_folders_stay_two(tmp_path, two_of_a_name, exporter):
    out = tmp_path / "out"
    arguments = ["export", str(two_of_a_name / "instances.json"), "--out", str(out), "--to", exporter.name]
    assert main(arguments) == 0
    files = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    if exporter.per == "image":
        assert any("slide1" in name for name in files)
        assert any("slide2" in name for name in files)


def test_what_is_written_for_two_of_a_name_is_read_again(tmp_path, two_of_a_name):
    out, again = tmp_path / "out", tmp_path / "again"
    source = str(two_of_a_name / "instances.json")
    assert main(["export", source, "--out", str(out), "--to", "coco", "results", "class-images"]) == 0
    ids = match_ids(out / IDS_NAME, ["slide1/tile", "slide2/tile"])
    results = read_results(out / "test-results.json", ids.entries)
    assert [len(results[ids.entry(f"slide{n}/tile", SIZE).id]) for n in (1, 2)] == [3, 5]
    (two_of_a_name / "coco.json").write_bytes((out / "coco.json").read_bytes())  # next to its images
    assert main(["export", str(two_of_a_name / "coco.json"), "--out", str(again), "--to", "geojson"]) == 0
    assert [len(shapes_of(again / "geojson" / f"slide{n}" / "tile.geojson")) for n in (1, 2)] == [3, 5]
    assert sorted(path.name for path in (out / "training").iterdir()) == ["classes.json", "slide1_tile", "slide2_tile"]
    assert main(["export", str(out / "training"), "--out", str(tmp_path / "third"), "--to", "coco"]) == 0
    assert sum(map(len, read_dataset(tmp_path / "third" / "coco.json").cells.values())) == 8


# ---- tables for spreadsheets ----


def test_cells_that_the_user_labelled_are_not_proposals(tmp_path, two_of_a_name):
    source = str(two_of_a_name / "instances.json")
    assert main(["export", source, "--out", str(tmp_path / "o"), "--to", "measurements"]) == 0
    with (tmp_path / "o" / "measurements.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["status"], row["by"]) for row in rows} == {("given", "instances.json")}
    assert {row["image"] for row in rows} == {"slide1/tile", "slide2/tile"}


def test_decimal_commas_come_with_another_separator(tmp_path, two_of_a_name):
    source = str(two_of_a_name / "instances.json")
    out = str(tmp_path / "o")
    assert main(["export", source, "--out", out, "--to", "measurements", "--csv-style", "semicolon"]) == 0
    with (tmp_path / "o" / "measurements.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert len(rows) == 8
    assert all("," in row["mean_red"] or row["mean_red"].isdigit() for row in rows)
    assert all("." not in row["mean_red"] for row in rows)
