"""The review queue: most doubtful first, with the reason, updated at the cost of the changed cells only."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from review_actions import CLASSES, SIZE, act, disc, some_cells

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import CellFilter, QueueOrder, Reason, ReviewQueue, ReviewSession, Status, cells_from
from napari_cellseg.review.queue import BATCH


def session_of(offsets, radii, class_ids, scores) -> ReviewSession:
    cells = InstanceMasks.from_crops(SIZE, offsets, [disc(radius) for radius in radii], class_ids, scores)
    return ReviewSession(SIZE, CLASSES, cells_from(cells, Status.PROPOSED, "model", 0.0))


GRID = [(x, y) for y in (10, 40, 70) for x in (10, 40, 70, 100)]


def reasons(queue: ReviewQueue) -> dict[int, tuple[Reason, str]]:
    return {item.cell_id: (item.reason, item.text) for item in queue.items()}


def test_the_lowest_score_comes_first_when_nothing_else_is_odd():
    queue = ReviewQueue(session_of(GRID, [6] * 12, [1] * 12, np.linspace(0.95, 0.4, 12)))
    items = queue.items()
    assert [item.cell_id for item in items] == list(range(12, 0, -1))
    assert (items[0].reason, items[0].text) == (Reason.LOW_SCORE, "low score")
    assert (items[-1].reason, items[-1].text) == (Reason.NONE, "")


def test_a_sure_cell_of_odd_size_comes_before_an_unsure_one_of_usual_size():
    queue = ReviewQueue(session_of(GRID, [6] * 11 + [2], [1] * 12, [0.8] * 11 + [0.99]))
    first = queue.items()[0]
    assert (first.cell_id, first.reason) == (12, Reason.SIZE)
    assert first.text.startswith("0.12 x the usual area")


def test_a_bent_cell_is_an_odd_shape():
    session = session_of(GRID, [6] * 12, [1] * 12, [0.9] * 12)
    bent = np.zeros((13, 13), bool)
    bent[:4], bent[:, :4] = True, True
    session.add(1, (100, 100, 113, 113), bent)
    session.set_status([13], Status.PROPOSED)
    assert reasons(ReviewQueue(session))[13] == (Reason.SHAPE, "odd shape")


def test_overlap_another_class_and_the_border_are_told():
    session = session_of(
        [(10, 10), (17, 10), (60, 60), (61, 60), (-3, 100)], [6] * 5, [1, 1, 2, 3, 1], [0.9] * 4 + [0.8]
    )
    found = reasons(ReviewQueue(session))
    assert found[1] == (Reason.OVERLAP, "overlaps #2")
    assert found[3] == (Reason.AMBIGUOUS, "or epithelial 0.90")
    assert found[4] == (Reason.AMBIGUOUS, "or inflammatory 0.90")
    assert found[5] == (Reason.BORDER, "touches border")


def test_labels_on_disk_tell_false_positives_other_classes_and_missed_cells():
    session = session_of([(10, 10), (40, 10), (70, 10)], [6] * 3, [1, 2, 3], [0.9] * 3)
    labels = InstanceMasks.from_crops(SIZE, [(10, 11), (40, 10), (100, 100)], [disc(6)] * 3, [1, 1, 2])
    queue = ReviewQueue(session, labels)
    found = reasons(queue)
    assert found[1] == (Reason.NONE, "")
    assert found[2] == (Reason.OTHER_IN_LABELS, "other in the labels")
    assert found[3] == (Reason.NOT_IN_LABELS, "not in the labels")
    missed = [item for item in queue.items() if item.is_missed]
    assert [(item.class_id, item.box) for item in missed] == [(2, (100, 100, 113, 113))]
    session.add(2, (100, 100, 113, 113), disc(6))
    assert not any(item.is_missed for item in queue.items())
    session.undo()
    assert any(item.is_missed for item in queue.items())


def test_decided_cells_leave_and_undo_brings_them_back_to_their_place():
    session = session_of(GRID, [6] * 12, [1] * 12, np.linspace(0.4, 0.95, 12))
    queue = ReviewQueue(session)
    before = queue.items()
    session.accept([3])
    session.reject([5])
    assert {item.cell_id for item in before} - {item.cell_id for item in queue.items()} == {3, 5}
    assert 3 in {item.cell_id for item in queue.items(reviewed_too=True)}
    session.undo()
    session.undo()
    assert queue.items() == before


def test_next_goes_on_from_a_cell_that_is_decided_about_and_round_at_the_end():
    session = session_of(GRID, [6] * 12, [1, 2] * 6, np.linspace(0.4, 0.95, 12))
    queue = ReviewQueue(session)
    assert queue.next().cell_id == 1
    session.accept([1])
    assert queue.next(1).cell_id == 2
    assert queue.next(2, class_id=2).cell_id == 4
    assert queue.next(12).cell_id == 2
    assert queue.previous(4).cell_id == 3
    assert queue.previous(2).cell_id == 12
    session.accept(session.find(CellFilter()))
    assert queue.next(3) is None
    assert queue.previous(3) is None


def test_other_orders():
    session = session_of(GRID[:4], [6, 3, 5, 4], [1] * 4, [0.9, 0.5, 0.4, 0.8])
    queue = ReviewQueue(session)
    wanted = {
        QueueOrder.LOWEST_SCORE: [3, 2, 4, 1],
        QueueOrder.SMALLEST: [2, 4, 3, 1],
        QueueOrder.LARGEST: [1, 3, 4, 2],
        QueueOrder.POSITION: [1, 2, 3, 4],
    }
    for order, ids in wanted.items():
        queue.order = order
        assert [item.cell_id for item in queue.items()] == ids
    assert len(queue.items(limit=2)) == 2


@pytest.mark.parametrize("with_labels", [False, True])
def test_followed_change_by_change_it_is_as_if_assessed_anew(with_labels):
    session = ReviewSession(SIZE, CLASSES, cells_from(some_cells(60, 1), Status.PROPOSED, "model", 0.0))
    labels = some_cells(40, 2) if with_labels else None
    queue = ReviewQueue(session, labels)
    queue.items()
    rng = np.random.default_rng(3)
    for _ in range(150):
        act(session, rng)
    # The usual sizes are those of the first look; all else must agree with a second one.
    again = ReviewQueue(session, labels)
    again.items()
    kept = {item.cell_id: item.doubt for item in queue.items()}
    fresh = {item.cell_id: item.doubt for item in again.items()}
    assert kept.keys() == fresh.keys()
    assert sum(abs(kept[i] - fresh[i]) > 0.35 for i in kept) <= len(kept) // 5


def test_a_new_prediction_in_the_middle_of_the_first_look_begins_it_again():
    session = ReviewSession((2000, 2000), CLASSES)
    session.load_proposals(some_cells(500, 1, (2000, 2000)))
    queue = ReviewQueue(session)
    steps = queue.assess()
    assert [done for done, _ in islice(steps, 2)] == [0, BATCH]
    session.load_proposals(some_cells(2500, 2, (2000, 2000)))
    for _ in steps:
        pass
    assert queue.is_ready
    assert {item.cell_id for item in queue.items()} == set(session.cells)


def test_closed_it_follows_no_more():
    session = session_of(GRID, [6] * 12, [1] * 12, [0.5] * 12)
    queue = ReviewQueue(session)
    before = queue.items(reviewed_too=True)
    queue.close()
    session.reclassify([1], 2)
    assert queue.items(reviewed_too=True) == before


def test_a_bulk_change_is_looked_at_in_steps_not_at_once():
    session = ReviewSession((2000, 2000), CLASSES)
    session.load_proposals(some_cells(1500, 1, (2000, 2000)))
    queue = ReviewQueue(session)
    queue.items()
    session.reject(range(1, 1001))
    assert not queue.is_ready
    assert len(list(queue.assess())) >= 5
    assert {item.cell_id for item in queue.items()} == set(range(1001, 1501))


def test_classes_with_other_names_are_told_with_these():
    session = session_of([(60, 60), (61, 60)], [6] * 2, [1, 2], [0.9] * 2)
    queue = ReviewQueue(session)
    assert reasons(queue)[1][1] == "or inflammatory 0.90"
    session.classes = ClassTable(("a", "lymphocyte", "c"))
    assert reasons(queue)[1][1] == "or lymphocyte 0.90"


def test_a_minimum_score_that_hides_no_cell_leaves_the_queue_ready():
    session = session_of(GRID, [6] * 12, [1] * 12, np.linspace(0.95, 0.4, 12))
    queue = ReviewQueue(session)
    queue.items()
    session.set_min_scores({1: 0.1})
    assert queue.is_ready
