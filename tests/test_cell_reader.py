"""Cells of a store in a box and in a grid, and how they are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slide_cells import CLASSES, grid_cells, write_store

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.cell_decisions import Decided, Decision
from napari_cellseg.formats.cell_reader import BoxCells, CellCounts, CellReader
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.gui.canvas.colours import STATUS_COLOURS, ColourMode, to_rgb
from napari_cellseg.gui.slides.cell_pictures import contour_of, density_picture, draw_cells, fill_colours
from napari_cellseg.gui.slides.looks import SlideLooks
from napari_cellseg.review import Status

SIZE = (300, 400)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_store(tmp_path / "a.sqlite", grid_cells(SIZE))


def test_cells_in_a_box_come_with_their_masks_lowest_score_first(path: Path) -> None:
    with CellReader(path) as reader, CellStore.open(path, read_only=True) as store:
        assert reader.image_size == SIZE
        assert reader.classes == CLASSES
        assert reader.is_complete
        box = (30, 10, 130, 90)
        found, expected = reader.in_box(box), store.in_box(box).cells
        assert found is not None
        assert found.boxes.tolist() == expected.boxes[::-1].tolist()
        assert (np.diff(found.scores) >= 0).all()
        for i in range(len(found)):
            assert np.array_equal(found.cell(i).mask, expected.masks[len(found) - 1 - i])
        assert reader.in_box(box, most=len(found)) is not None
        assert reader.in_box(box, most=len(found) - 1) is None
        cell = found.cell(0)
        again = reader.cell(cell.id)
        assert again is not None
        assert (again.box, again.class_id) == (cell.box, cell.class_id)
        assert reader.cell(10_000) is None
        none = reader.in_box((0, 0, 2, 2))
        assert none is not None
        assert len(none) == 0


def test_counts_grow_with_the_store_and_leave_low_scores_out(tmp_path: Path) -> None:
    cells = grid_cells(SIZE)
    path = write_store(tmp_path / "a.sqlite", cells, complete=False)
    counts = CellCounts(SIZE, 100, 2)
    with CellReader(path) as reader:
        assert reader.tiles_done == (1, 0), "the file does not state how many there are"
        assert reader.count_on(counts, {2: 0.7})
        shown = cells.select((cells.class_ids == 1) | (cells.scores >= 0.7))
        assert counts.totals == {i: int((shown.class_ids == i).sum()) for i in (1, 2)}
        middles = (shown.boxes[:, :2] + shown.boxes[:, 2:]) // 200
        expected = np.zeros((2, 3, 4), int)
        np.add.at(expected, (shown.class_ids - 1, middles[:, 1], middles[:, 0]), 1)
        assert np.array_equal(counts.counts, expected)
    with CellStore.open(path) as store:
        more = TileCells.of_tile(1, cells, np.zeros((len(cells), 3), np.int64))
        store.add({1: "done"}, more, TileCells.empty(SIZE))
    with CellReader(path) as reader:
        assert not reader.count_on(counts, {2: 0.7}, lambda: True)
        assert reader.count_on(counts, {2: 0.7})
        assert np.array_equal(counts.counts, 2 * expected)


def test_another_or_damaged_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file"):
        CellReader(tmp_path / "none.sqlite")
    path = tmp_path / "text.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(AnnotationError, match=r"text\.sqlite"):
        CellReader(path)
    cells = grid_cells(SIZE)
    damaged = write_store(tmp_path / "cells.sqlite", cells)
    data = bytearray(damaged.read_bytes())
    data[4096 * 4 :] = b"\x55" * len(data[4096 * 4 :])
    damaged.write_bytes(data)
    with CellReader(damaged) as reader, pytest.raises(AnnotationError, match="damaged"):
        reader.in_box((0, 0, 400, 300))


def test_a_picture_has_the_pixels_of_the_masks_with_a_contour_inside(path: Path) -> None:
    cells = grid_cells(SIZE)
    box = (35, 5, 333, 211)  # through cells
    with CellReader(path) as reader:
        found = reader.in_box(box)
    assert found is not None
    picture = draw_cells(found, box, 1)
    assert (picture.corner, picture.codes.shape) == ((35, 5), (206, 298))
    expected = np.zeros(SIZE, int)
    for (x0, y0, x1, y1), class_id, mask in zip(
        cells.boxes.tolist(), cells.class_ids.tolist(), cells.masks, strict=True
    ):
        expected[y0:y1, x0:x1][mask] = class_id
    assert np.array_equal((picture.codes.astype(int) + 1) // 2, expected[5:211, 35:333])
    square = picture.codes[5:25, 60 - 35 : 80 - 35]
    assert (square[1:-1, 1:-1] == 3).all()
    assert (square[0] == 4).all()
    half = draw_cells(found, box, 2)
    assert (half.corner, half.factor) == ((34, 4), 2)
    blocks = expected[4:212, 34:334].reshape(104, 2, 150, 2).any((1, 3))
    assert np.array_equal(half.codes > 0, blocks)


def test_of_overlapping_cells_of_a_class_the_last_lies_on_top() -> None:
    ones = np.packbits(np.ones((10, 10), bool)).tobytes()
    cells = BoxCells(
        np.array([7, 8]), np.array([1, 1], np.int32), np.array([0.4, 0.6]),
        np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.int32), (ones, ones),
    )  # fmt: skip
    codes = draw_cells(cells, (0, 0, 20, 10), 1).codes
    assert codes[5].tolist() == [1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0, 0, 0, 0, 0]


def test_a_cell_has_one_of_some_colours_whatever_its_class() -> None:
    ones = np.packbits(np.ones((3, 3), bool)).tobytes()
    boxes = np.array([[0, 0, 3, 3], [4, 0, 7, 3], [8, 0, 11, 3]], np.int32)
    cells = BoxCells(np.arange(1, 4), np.array([1, 2, 2], np.int32), np.ones(3), boxes, (ones,) * 3)
    decisions = {1: Decision(Decided.ACCEPTED, 1), 3: Decision(Decided.EDITED, 2)}
    looks = SlideLooks(ColourMode.STATUS, decisions)
    cells = replace(cells, boxes=boxes + 1)
    picture = draw_cells(cells, (0, 0, 13, 5), 1, 1, looks.hues, looks.of(cells))
    shown = fill_colours(CLASSES, 0.4, {2: 0.5}, picture.hues)[picture.codes]
    for x, status, opacity in ((2, Status.ACCEPTED, 1), (6, Status.PROPOSED, 0.5), (10, Status.EDITED, 0.5)):
        rgb = [round(255 * value) for value in to_rgb(STATUS_COLOURS[status])]
        assert shown[2, x].tolist() == [*rgb, round(255 * 0.4 * opacity)]
        assert shown[1, x].tolist() == [*rgb, round(255 * opacity)], "its contour"


def test_colours_densities_and_the_outline_of_one_cell() -> None:
    colours = fill_colours(CLASSES, 0.4, {2: 0.5})
    assert colours[:, 3].tolist() == [0, 102, 255, 51, 128]
    assert (colours[1, :3] == np.round(255 * np.array(CLASSES.rgb(1)))).all()
    counts = np.array([[[0, 4]], [[2, 0]]], np.int32)
    both = density_picture(counts, CLASSES, [1, 2], {})
    assert (both[0, 0, :3] == (255 * np.array(CLASSES.rgb(2))).astype(int)).all()
    assert both[0, 1, 3] > both[0, 0, 3] > 0
    one = density_picture(counts, CLASSES, [1], {})
    assert one[0, 0, 3] == 0
    outline = contour_of(np.ones((3, 3), bool), 1)
    assert outline[..., 3].astype(bool).sum() == 20, "inside and outside of the edge, without the corners"


def test_cells_are_read_while_a_run_adds_more_and_the_log_is_gone_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    cells, none = grid_cells(SIZE), TileCells.empty(SIZE)
    colours = np.zeros((len(cells), 3), np.int64)
    with CellStore.create(path, SIZE, {}) as store:
        store.add({0: "done"}, TileCells.of_tile(0, cells, colours), none)
        reader = CellReader(path)
        first = reader.in_box((0, 0, 400, 300))
        assert first is not None
        assert len(first) == len(cells)
        store.add({1: "done"}, TileCells.of_tile(1, cells, colours), none)
        second = reader.in_box((0, 0, 400, 300))
        assert second is not None
        assert len(second) == 2 * len(cells)
        assert not reader.is_complete
        store.finish()
        assert reader.is_complete
    reader.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]
    with CellStore.open(path, read_only=True) as store:
        assert len(store) == 2 * len(cells)
