from __future__ import annotations

import numpy as np

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.pieces import in_one_piece


def cells_of(*pictures: str) -> InstanceMasks:
    masks = [np.array([[c == "#" for c in row] for row in picture.split()]) for picture in pictures]
    offsets = [(10 * i, 3) for i in range(len(masks))]
    return InstanceMasks.from_crops((20, 60), offsets, masks, range(1, len(masks) + 1), [0.5] * len(masks))


def picture(mask):
    return " ".join("".join("#" if pixel else "." for pixel in row) for row in mask)


def test_specks_go_and_the_box_is_tight_again():
    cleaned = in_one_piece(cells_of("##....# ##..... ......."))
    assert picture(cleaned.masks[0]) == "## ##"
    assert cleaned.boxes.tolist() == [[0, 3, 2, 5]]


def test_holes_are_filled_but_not_bays():
    cleaned = in_one_piece(cells_of("##### #.#.# ###.#"))
    assert picture(cleaned.masks[0]) == "##### ###.# ###.#"


def test_pieces_that_touch_at_a_corner_are_one():
    cells = cells_of("##.. ##.. ..## ..##")
    assert in_one_piece(cells).equals(cells)


def test_a_diagonal_ring_is_closed():
    assert picture(in_one_piece(cells_of(".#. #.# .#.")).masks[0]) == ".#. ### .#."


def test_what_is_whole_stays_the_same_object_with_classes_scores_and_label_values():
    cells = cells_of("## ##", "###")
    assert in_one_piece(cells) is cells
    mixed = in_one_piece(cells_of("#..## #.###", "###"))
    assert mixed.class_ids.tolist() == [1, 2]
    assert mixed.label_values.tolist() == [1, 2]
    assert picture(mixed.masks[0]) == ".## ###"


def test_no_cells():
    assert len(in_one_piece(InstanceMasks.empty((4, 4)))) == 0
