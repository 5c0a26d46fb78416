from __future__ import annotations

import pytest
import torch

from napari_cellseg.model.inference.views import VIEWS, View, fuse
from napari_cellseg.model.network.mask_rcnn import Detections


def found(
    boxes: list[list[float]], scores: list[float], class_ids: list[int], masks: torch.Tensor | None = None
) -> Detections:
    count = len(boxes)
    masks = torch.ones(count, 4, 4) if masks is None else masks
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(class_ids, dtype=torch.int64),
        masks,
    )


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_view_undone_is_where_it_was(turns: int, mirrored: bool) -> None:
    image = torch.zeros(1, 20, 30)
    image[0, 4:12, 5:8] = torch.rand(8, 3) + 0.1
    seen = View(turns, mirrored).of(image)
    y, x = torch.nonzero(seen[0], as_tuple=True)
    box = [float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)]
    crop = seen[:, int(box[1]) : int(box[3]), int(box[0]) : int(box[2])]
    back = View(turns, mirrored).undo(found([box], [0.5], [1], crop), (20, 30))
    assert back.boxes.tolist() == [[5, 4, 8, 12]]
    assert torch.equal(back.mask_probs[0], image[0, 4:12, 5:8])


def test_views_that_agree_are_averaged_and_a_cell_of_one_view_counts_its_share() -> None:
    cell = [10.0, 10, 20, 20]
    views = [
        found([cell], [0.8], [2]),
        found([[10, 10, 20, 22]], [0.4], [1]),
        found([], [], []),
        found([cell], [0.8], [2]),
    ]
    views[1] = found([[10, 10, 20, 22], [50, 50, 60, 60]], [0.4, 0.6], [1, 3])
    fused = fuse(views, 0.5)
    assert fused.scores.tolist() == pytest.approx([0.5, 0.15])
    assert fused.class_ids.tolist() == [2, 3]
    assert fused.boxes[0].tolist() == pytest.approx([10, 10, 20, 20.4])


def test_masks_are_averaged_by_score() -> None:
    cell = [0.0, 0, 8, 8]
    fused = fuse([found([cell], [0.9], [1], torch.ones(1, 4, 4)), found([cell], [0.3], [1], torch.zeros(1, 4, 4))], 0.5)
    assert torch.allclose(fused.mask_probs, torch.full((1, 4, 4), 0.75))


def test_two_cells_of_one_view_are_never_joined() -> None:
    near = found([[0, 0, 10, 10], [1, 0, 11, 10]], [0.9, 0.8], [1, 1])
    assert len(fuse([near, found([], [], [])], 0.5)) == 2


def test_nothing_found_in_any_view() -> None:
    assert len(fuse([found([], [], []) for _ in VIEWS], 0.5)) == 0
