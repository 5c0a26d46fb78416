"""A cell that is added where others are: it takes no pixel of a decided cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_cellseg.errors import AnnotationError
from napari_cellseg.review import ReviewSession, Status
from napari_cellseg.review.missed import add_missed, free_part, left_out_text
from tests.review_window import CLASSES, SIZE, disk, make_session


def session_with(status: Status) -> ReviewSession:
    """Return cells 1 (10..30, 10..30) and 2 (50..70, 10..30), #1 with a status."""
    cells = make_session().cells
    return ReviewSession(SIZE, CLASSES, [replace(cells[1], status=status), cells[2]], user="tester")


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.EDITED, Status.GIVEN])
def test_a_decided_neighbour_keeps_its_pixels_and_the_new_cell_says_what_it_lost(status: Status) -> None:
    session = session_with(status)
    before = session.cells[1]
    box, mask = (20, 10, 40, 30), disk(20)
    shared = np.count_nonzero(before.crop(box) & mask)
    part = free_part(session, box, mask)
    assert (part.left_out, part.owners) == (shared, (1,))
    assert left_out_text(part) == f"{shared} px at #1 left out"
    add_missed(session, 3, box, mask)
    new = session.cells[max(session.cells)]
    assert session.cells[1] is before
    assert not (new.crop(SIZE_BOX) & before.crop(SIZE_BOX)).any()
    assert new.area == disk(20).sum() - shared
    session.undo()
    assert len(session.cells) == 2


@pytest.mark.parametrize("status", [Status.PROPOSED, Status.REJECTED])
def test_cells_that_no_one_decided_to_keep_may_overlap(status: Status) -> None:
    session = session_with(status)
    add_missed(session, 3, (20, 10, 40, 30), disk(20))
    new = session.cells[max(session.cells)]
    assert new.area == disk(20).sum()


def test_of_a_cell_cut_in_two_the_larger_piece_is_added() -> None:
    session = session_with(Status.ACCEPTED)
    bar = np.ones((4, 40), bool)  # through the middle of #1, 20 px wide
    add_missed(session, 3, (5, 18, 45, 22), bar)
    new = session.cells[max(session.cells)]
    assert (new.box, new.area) == ((30, 18, 45, 22), 60)


def test_a_cell_inside_a_decided_one_is_refused_and_the_reason_names_it() -> None:
    session = session_with(Status.ACCEPTED)
    with pytest.raises(AnnotationError, match="all pixels of the new cell belong to #1"):
        add_missed(session, 3, (16, 16, 24, 24), disk(8))
    assert left_out_text(free_part(session, (16, 16, 24, 24), disk(8))) == "All its pixels belong to #1"
    assert len(session.cells) == 2


SIZE_BOX = (0, 0, SIZE[1], SIZE[0])
