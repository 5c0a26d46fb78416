"""The effect of each review command."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from review_actions import CLASSES, SIZE, disc, some_cells
from scipy import ndimage

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Author, CellFilter, ChangeKind, ReviewSession, Status, cells_from
from napari_cellseg.review.rings import fill_rings


@pytest.fixture
def session() -> ReviewSession:
    """Two discs of class 1 that overlap (the second surer), one of class 2 apart, in that order."""
    cells = InstanceMasks.from_crops(
        SIZE, [(10, 10), (20, 10), (100, 100)], [disc(8)] * 3, [1, 1, 2], [0.4, 0.9, 0.6], [5, 7, 3]
    )
    return ReviewSession(SIZE, CLASSES, cells_from(cells, Status.PROPOSED, "model", 1.0), user="ana", clock=lambda: 2.0)


def test_decisions_are_signed_and_dated(session):
    session.accept([1])
    session.reject([2])
    assert (session.cells[1].status, session.cells[2].status) == (Status.ACCEPTED, Status.REJECTED)
    assert (session.cells[1].by, session.cells[1].at) == ("ana", 2.0)
    assert (session.cells[3].by, session.cells[3].at) == ("model", 1.0)
    assert (session.progress.reviewed, session.progress.total) == (2, 3)


def test_accepting_changes_no_pixel_and_rejecting_shows_what_lay_beneath(session):
    assert session.accept([2]).boxes == {}
    change = session.reject([2])
    assert change.boxes == {1: (20, 10, 37, 27)}
    assert (session.view(1) == 2).sum() == 0
    assert (session.view(1) == 1).sum() == disc(8).sum()


def test_overlapping_cells_stay_whole_and_the_surer_is_on_top(session):
    assert session.cell_at(1, 18, 22).cell_id == 2
    assert session.cells[1].covers(18, 22)
    assert session.view(1)[18, 22] == 2


def test_an_edited_cell_that_is_accepted_stays_edited(session):
    session.reclassify([1], 2)
    assert not session.accept([1])
    assert session.cells[1].status is Status.EDITED


def test_the_class_that_a_cell_has_confirms_it_and_one_undo_takes_all_back(session):
    give = partial(Author.give_class, class_id=1, class_name="other")
    change = session.do(give, [1, 3])
    assert change.text == "reclassify #3 to other, accept #1"
    assert (session.cells[1].status, session.cells[1].class_id) == (Status.ACCEPTED, 1)
    assert (session.cells[3].status, session.cells[3].class_id) == (Status.EDITED, 1)
    assert not session.do(give, [1, 3]), "both are decided and have the class"
    session.undo()
    assert {cell.status for cell in session.cells.values()} == {Status.PROPOSED}
    assert session.cells[3].class_id == 2
    assert session.do(give, [2]).text == "accept #2"


def test_another_class_moves_the_cell_to_the_other_view(session):
    change = session.reclassify([1], 3)
    assert change.text == "reclassify #1 to epithelial"
    assert set(change.boxes) == {1, 3}
    assert (session.view(3) == 1).sum() == disc(8).sum()
    assert session.cells[1].label_value == 0


def test_merge_keeps_the_first_and_the_union(session):
    union = session.cells[1].crop((0, 0, 60, 60)) | session.cells[2].crop((0, 0, 60, 60))
    session.merge([1, 2])
    assert 2 not in session.cells
    assert np.array_equal(session.cells[1].crop((0, 0, 60, 60)), union)
    assert session.cells[1].score == pytest.approx(0.9)


def test_a_line_splits_without_losing_a_pixel(session):
    session.split_by_line(3, [(108, 90), (108, 130)])
    first, second = session.cells[3], session.cells[4]
    both = first.crop((90, 90, 130, 130)).astype(int) + second.crop((90, 90, 130, 130))
    assert np.array_equal(both, np.pad(disc(8), ((10, 13), (10, 13))))
    assert first.area >= second.area
    assert second.class_id == 2


def test_a_line_that_ends_inside_the_cell_is_drawn_on_to_its_edge(session):
    session.split_by_line(3, [(108, 104), (108, 112)])
    assert 4 in session.cells


def test_a_bent_line_cuts_off_a_corner(session):
    session.split_by_line(3, [(98, 110), (108, 110), (108, 120)])
    assert session.cells[4].area < session.cells[3].area / 2


def test_a_line_beside_the_cell_says_what_to_do(session):
    with pytest.raises(AnnotationError, match="does not cut cell #3 in two"):
        session.split_by_line(3, [(10, 10), (10, 40)])
    with pytest.raises(AnnotationError, match="Draw a line"):
        session.split_by_line(3, [(108, 108)])
    assert session.undo_text is None


def test_seeds_split_two_touching_discs_at_the_neck():
    session = ReviewSession(SIZE, CLASSES)
    session.add(1, (10, 10, 27, 27), disc(8))
    session.add(1, (25, 10, 42, 27), disc(8))
    session.merge([1, 2])
    session.split_by_seeds(1, [(18, 18), (18, 33)])
    assert sorted(session.cells) == [1, 3]
    assert abs(session.cells[1].area - session.cells[3].area) < 10
    assert not (session.cells[1].crop((0, 0, 60, 60)) & session.cells[3].crop((0, 0, 60, 60))).any()


@pytest.mark.parametrize("seeds", [[(60, 53), (60, 67)], [(60, 58), (60, 62)], [(54, 54), (66, 66)]])
def test_two_seeds_in_a_round_cell_halve_it(seeds):
    y, x = np.ogrid[:20, :20]
    session = ReviewSession((100, 100), CLASSES)
    session.add(1, (50, 50, 70, 70), (y - 9.5) ** 2 + (x - 9.5) ** 2 <= 100)

    session.split_by_seeds(1, seeds)

    first, second = (session.cells[i].area for i in (1, 2))
    assert abs(first - second) <= 60


@pytest.mark.parametrize("seeds", [[(20, 5), (20, 40)], [(20, 26), (20, 34)], [(10, 14), (26, 42)]])
def test_seeds_anywhere_in_two_touching_cells_cut_them_at_the_neck(seeds):
    y, x = np.mgrid[:40, :60]
    large, small = (y - 20) ** 2 + (x - 18) ** 2 <= 15**2, (y - 20) ** 2 + (x - 40) ** 2 <= 9**2
    session = ReviewSession((40, 60), CLASSES)
    session.add(1, (0, 0, 60, 40), large | small)

    session.split_by_seeds(1, seeds)

    assert abs(session.cells[1].area - np.count_nonzero(large)) <= 40


def test_three_seeds_make_three_cells():
    session = ReviewSession(SIZE, CLASSES)
    session.add(2, (10, 10, 70, 20), np.ones((10, 60), bool))
    session.split_by_seeds(1, [(15, 15), (15, 40), (15, 65)])
    assert len(session.cells) == 3
    assert sum(cell.area for cell in session.cells.values()) == 600


@pytest.mark.parametrize("seeds", [[(108, 108)], [(108, 108), (108.2, 108.1)], [(108, 108), (10, 10)], []])
def test_seeds_that_are_not_two_places_in_the_cell_say_what_to_do(session, seeds):
    with pytest.raises(AnnotationError, match="two or more different places inside cell #3"):
        session.split_by_seeds(3, seeds)


def test_holes_are_filled_and_outlines_rounded():
    session = ReviewSession(SIZE, CLASSES)
    ring = disc(8) & ~np.pad(disc(3), 5)
    ring[8, 0] = True
    session.add(1, (10, 10, 27, 27), ring)
    assert session.do(Author.fill_holes, [1])
    assert session.cells[1].area == disc(8).sum()
    spiky = np.zeros((17, 40), bool)
    spiky[:, :17] = disc(8)
    spiky[8, 17:] = True
    session.add(1, (60, 60, 100, 77), spiky)
    session.do(Author.smooth, [2])
    assert session.cells[2].box[2] < 85
    assert session.cells[2].status is Status.EDITED


def _two_disks(gap):
    """Return a session with two disks of radius 8 whose edges are ``gap`` px apart."""
    session = ReviewSession(SIZE, CLASSES)
    session.add(1, (10, 10, 27, 27), disc(8))
    session.add(1, (27 + gap, 10, 44 + gap, 27), disc(8))
    return session


@pytest.mark.parametrize("gap", [1, 3, 12])
def test_cells_that_do_not_touch_are_merged_only_with_a_bridge(gap):
    session = _two_disks(gap)
    with pytest.raises(AnnotationError, match="#1 and #2 do not touch"):
        session.merge([1, 2])
    assert sorted(session.cells) == [1, 2]
    before = session.cells[1].area + session.cells[2].area
    session.merge([1, 2], bridge=True)
    merged = session.cells[1]
    assert ndimage.label(merged.mask, np.ones((3, 3)))[1] == 1
    assert before < merged.area < before + 17 * gap + 17  # no more than the strip between them
    session.undo()
    assert sorted(session.cells) == [1, 2]


def test_cells_far_apart_are_not_bridged():
    session = _two_disks(40)
    with pytest.raises(AnnotationError, match="more than 20 px apart"):
        session.merge([1, 2], bridge=True)


def test_cells_that_touch_at_a_corner_are_merged():
    session = ReviewSession(SIZE, CLASSES)
    session.add(1, (10, 10, 12, 12), np.ones((2, 2), bool))
    session.add(1, (12, 12, 14, 14), np.ones((2, 2), bool))
    session.merge([1, 2])
    assert session.cells[1].area == 8


def test_a_cell_too_small_to_smooth_stays():
    session = ReviewSession(SIZE, CLASSES)
    session.add(1, (10, 10, 11, 11), np.ones((1, 1), bool))
    assert not session.do(Author.smooth, [1])
    assert session.cells[1].area == 1


def test_a_new_prediction_keeps_decisions_and_does_not_bring_rejected_cells_back(session):
    session.accept([1])
    session.reject([3])
    again = InstanceMasks.from_crops(
        SIZE, [(11, 11), (100, 100), (100, 100), (150, 20)], [disc(8)] * 4, [1, 2, 3, 2], [0.9, 0.8, 0.7, 0.6]
    )
    session.load_proposals(again, by="lite")
    # 1 is accepted, 3 rejected; 2 was only proposed; of the new, the first is cell 1 and the second cell 3 again.
    assert sorted(session.cells) == [1, 3, 4, 5]
    assert [session.cells[i].class_id for i in (4, 5)] == [3, 2]
    assert session.cells[4].by == "lite"
    session.undo()
    assert sorted(session.cells) == [1, 2, 3]


def test_cells_that_only_touch_an_accepted_one_are_not_taken_for_it(session):
    session.accept([1])
    near = InstanceMasks.from_crops(SIZE, [(24, 10)], [disc(8)], [1], [0.9])
    session.load_proposals(near)
    assert len(session.cells) == 2


def test_the_minimum_score_hides_proposals_only(session):
    session.accept([1])
    change = session.set_min_scores({1: 0.95, 2: 0.5})
    assert change.kind is ChangeKind.VIEW
    assert change.cell_ids == (2,)
    assert not session.is_visible(session.cells[2])
    assert len(session.instances()) == 2
    assert session.progress.total == 2
    assert session.undo_text == "accept #1"
    session.set_min_scores({})
    assert session.progress.total == 3


def test_bulk_rejection_by_filter_takes_what_is_shown(session):
    session.set_min_scores({2: 0.7})
    assert session.find(CellFilter(max_score=0.7)) == (1,)
    assert session.find(CellFilter(class_ids={1}, min_score=0.5)) == (2,)
    area = int(disc(8).sum())
    assert session.find(CellFilter(min_area=area, max_area=area)) == (1, 2)
    assert session.find(CellFilter(min_area=area + 1)) == ()
    session.reject([1])
    assert session.find(CellFilter()) == (2,)
    assert session.find(CellFilter(statuses={Status.REJECTED})) == (1,)


def test_a_box_or_lasso_takes_cells_that_lie_in_it_by_half(session):
    assert session.find(CellFilter(box=(10, 10, 27, 27))) == (1,)
    assert session.find(CellFilter(box=(0, 0, 19, 160))) == (1,)
    assert session.find(CellFilter(box=(0, 0, 17, 160))) == ()
    assert session.find(CellFilter(polygon=[(0, 0), (0, 60), (60, 60), (60, 0)])) == (1, 2)
    assert session.find(CellFilter(polygon=[(0, 0), (0, 60), (60, 60), (60, 0)], class_ids={2})) == ()
    assert session.find(CellFilter(polygon=[(-50, -50), (-50, -10), (-10, -10)])) == ()
    assert session.find(CellFilter(polygon=[(0, 0), (5, 5)])) == ()


def test_the_result_is_what_is_shown_with_a_value_for_each_cell(session):
    session.reject([2])
    session.add(1, (60, 60, 77, 77), disc(8))
    found = session.instances()
    assert found.class_ids.tolist() == [1, 2, 1]
    assert found.values.tolist() == [5, 3, 6]
    assert len(session.instances((Status.EDITED,))) == 1


def test_ids_are_never_used_again(session):
    session.add(1, (60, 60, 77, 77), disc(8))
    session.undo()
    session.accept([1])
    session.add(1, (60, 60, 77, 77), disc(8))
    assert 4 not in session.cells
    assert 5 in session.cells


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.accept([99]),
        lambda s: s.delete([1, 99]),
        lambda s: s.merge([1]),
        lambda s: s.merge([1, 1]),
        lambda s: s.merge([1, 3]),
        lambda s: s.reclassify([1], 9),
        lambda s: s.add(1, (0, 0, 3, 3), np.zeros((3, 3), bool)),
        lambda s: s.add(1, (-2, 0, 1, 3), np.ones((3, 3), bool)),
        lambda s: s.add(7, (0, 0, 3, 3), np.ones((3, 3), bool)),
        lambda s: s.load_proposals(InstanceMasks.empty((10, 10))),
        lambda s: s.load_proposals(some_cells(9, 0, classes=9)),
        lambda s: setattr(s, "classes", ClassTable(("only one",))),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(session, wrong):
    before = dict(session.cells)
    with pytest.raises(AnnotationError):
        wrong(session)
    assert dict(session.cells) == before
    assert session.undo_text is None


def test_classes_can_be_renamed_and_added(session):
    told = []
    session.subscribe(told.append)
    session.classes = ClassTable(("a", "b", "c", "d"))
    session.reclassify([1], 4)
    assert told[0].kind is ChangeKind.VIEW
    assert told[1].text == "reclassify #1 to d"


def test_a_class_that_undo_would_bring_back_cannot_be_left_out(session):
    session.delete([3])
    session.reclassify([1, 2], 1)
    with pytest.raises(AnnotationError, match="class 2"):
        session.classes = ClassTable(("a",))


def test_masks_cannot_be_changed_behind_the_session(session):
    with pytest.raises(ValueError, match="read-only"):
        session.cells[1].mask[0, 0] = True


def test_a_lasso_of_many_corners_is_filled_as_even_odd():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(-20, 90, (int(rng.integers(3, 40)), 2))
        box, mask = fill_rings([corners], (0, 0, 70, 50))
        filled = np.zeros((50, 70), bool)
        filled[box[1] : box[3], box[0] : box[2]] = mask
        crossed = np.zeros((50, 70), int)
        y, x = np.mgrid[:50, :70] + 0.5
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, 0), strict=True):
            crosses = (ya <= y) != (yb <= y)
            crossed += crosses & (x > xa + (y - ya) * (xb - xa) / (yb - ya))
        assert np.array_equal(filled, crossed % 2 == 1)
