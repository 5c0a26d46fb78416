"""Measurements agree with scikit-image and with geometry; CSV files are harmless."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from skimage.draw import ellipse
from skimage.measure import regionprops

from napari_cellseg.errors import ExportError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import measure, write_csv


@pytest.fixture
def cells() -> InstanceMasks:
    generator = np.random.default_rng(0)
    masks, offsets = [], []
    for k in range(12):
        mask = np.zeros((40, 40), bool)
        mask[ellipse(20, 20, generator.uniform(3, 15), generator.uniform(3, 15), rotation=k / 4)] = True
        masks.append(mask)
        offsets.append((5 * k, 3 * k))
    return InstanceMasks.from_crops((90, 110), offsets, masks, [1] * 12)


def test_shape_measures_agree_with_scikit_image(cells: InstanceMasks) -> None:
    columns = measure(cells)
    for i in range(len(cells)):
        (properties,) = regionprops(np.pad(cells.masks[i], 1).astype(np.uint8))
        y, x = properties.centroid
        assert columns["area_px"][i] == properties.area
        assert columns["centroid_x_px"][i] == pytest.approx(x - 1 + cells.boxes[i, 0] + 0.5)
        assert columns["centroid_y_px"][i] == pytest.approx(y - 1 + cells.boxes[i, 1] + 0.5)
        assert columns["perimeter_px"][i] == pytest.approx(properties.perimeter)
        assert columns["major_axis_px"][i] == pytest.approx(properties.axis_major_length)
        assert columns["minor_axis_px"][i] == pytest.approx(properties.axis_minor_length)
        assert columns["eccentricity"][i] == pytest.approx(properties.eccentricity)
        assert columns["solidity"][i] == pytest.approx(properties.solidity, abs=0.12)


def test_solidity_of_a_rectangle_is_one_and_of_an_l_is_not() -> None:
    corner = np.ones((10, 10), bool)
    corner[5:, 5:] = False
    cells = InstanceMasks.from_crops(
        (20, 20), [(0, 0), (5, 5), (3, 3)], [np.ones((4, 7)), corner, np.ones((1, 1))], [1] * 3
    )
    assert measure(cells)["solidity"] == pytest.approx([1, 75 / 87.5, 1])


def test_mean_colours_are_of_the_cells_pixels_only() -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[2:4, 2:4] = (200, 100, 50)
    cells = InstanceMasks.from_crops((8, 8), [(2, 2)], [np.array([[1, 1], [1, 0]])], [1])
    columns = measure(cells, rgb)
    assert [columns[f"mean_{c}"][0] for c in ("red", "green", "blue")] == [200, 100, 50]
    assert columns["mean_grey"][0] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_micrometres_follow_the_pixel_size(cells: InstanceMasks) -> None:
    columns = measure(cells, pixel_size_um=0.25)
    np.testing.assert_allclose(columns["area_um2"], columns["area_px"] / 16)
    np.testing.assert_allclose(columns["major_axis_um"], columns["major_axis_px"] / 4)
    assert "area_um2" not in measure(cells)


def test_cells_at_the_border_are_marked() -> None:
    cells = InstanceMasks.from_crops((9, 9), [(0, 4), (4, 4), (4, 8), (8, 4)], [np.ones((1, 1))] * 4, [1] * 4)
    assert measure(cells)["touches_border"].tolist() == [True, False, True, True]


def test_no_cells_give_empty_columns() -> None:
    columns = measure(InstanceMasks.empty((5, 5)), np.zeros((5, 5, 3), np.uint8), 0.5)
    assert {len(column) for column in columns.values()} == {0}


def test_csv_cannot_run_as_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    texts = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", 'Krebs, ä "q"', "plain"]
    write_csv(path, {"=name": texts, "n": np.array([-1.5, 0.1, 1e-9, 3, 4, 5, 1 / 3]), "b": [True] * 7})
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["'=name", "n", "b"]
    assert [row[0] for row in rows[1:]] == ["'" + text for text in texts[:5]] + texts[5:]
    assert [row[1] for row in rows[1:]] == ["-1.5", "0.1", "1e-09", "3", "4", "5", "0.333333"]
    assert rows[1][2] == "1"


def test_csv_into_no_folder_is_an_export_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="absent"):
        write_csv(tmp_path / "absent" / "a.csv", {"a": [1]})
