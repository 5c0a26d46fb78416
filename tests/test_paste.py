from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.paste import paste_crops

Floats = npt.NDArray[np.float32]


def detections(
    count: int, size: tuple[int, int], seed: int, side: tuple[float, float] = (6, 40), resolution: int = 28
) -> tuple[Floats, Floats]:
    """Soft blobs with noise, and boxes of which some leave the image."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(*side, (count, 2))
    corner = rng.uniform(-8, 1, (count, 2)) + rng.uniform(0, 1, (count, 2)) * np.array(size[::-1])
    boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    grid = (np.arange(resolution) + 0.5) / resolution - 0.5
    radius = np.hypot(grid[:, None], grid[None])
    soft = 1 / (1 + np.exp(20 * (radius - rng.uniform(0.2, 0.55, (count, 1, 1)))))
    masks = np.clip(soft + rng.normal(0, 0.05, soft.shape), 0, 1).astype(np.float32)
    return masks, boxes


def dense(
    masks: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    pasted = paste_masks_in_image(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), size)
    return (pasted[:, 0] > 0.5).numpy()


def placed(instances: InstanceMasks, count: int) -> npt.NDArray[np.bool_]:
    """Stack the crops again; cell i of the input carries class_id i + 1."""
    stack = np.zeros((count, *instances.image_size), bool)
    for box, mask, class_id in zip(
        instances.boxes.tolist(), instances.masks, instances.class_ids.tolist(), strict=True
    ):
        stack[class_id - 1, box[1] : box[3], box[0] : box[2]] = mask
    return stack


def check_same(masks: Floats, boxes: Floats, size: tuple[int, int]) -> InstanceMasks:
    count = len(masks)
    found = paste_crops(masks, boxes, size, np.arange(1, count + 1), np.full(count, 0.5))
    wanted = dense(masks, boxes, size)
    assert (placed(found, count) == wanted).mean() > 0.99999
    touched = wanted.reshape(count, -1).any(1)
    assert len(found) == np.count_nonzero(touched)
    assert found.is_tight()
    return found


def test_pixels_are_those_of_torchvision_for_cells_of_usual_size() -> None:
    check_same(*detections(200, (200, 300), seed=0), (200, 300))


def test_pixels_are_those_of_torchvision_for_tiny_and_huge_boxes() -> None:
    check_same(*detections(60, (120, 90), seed=1, side=(0, 3)), (120, 90))
    check_same(*detections(10, (400, 300), seed=2, side=(250, 600)), (400, 300))


def test_pixels_are_those_of_torchvision_at_another_mask_resolution() -> None:
    check_same(*detections(50, (100, 100), seed=3, resolution=14), (100, 100))


def test_of_all_pixels_that_either_paints_999_in_1000_agree() -> None:
    masks, boxes = detections(300, (300, 300), seed=4)
    found = placed(paste_crops(masks, boxes, (300, 300), np.arange(1, 301), np.ones(300)), 300)
    wanted = dense(masks, boxes, (300, 300))
    assert np.count_nonzero(found != wanted) <= 0.001 * np.count_nonzero(found | wanted)


def test_cells_keep_their_order_class_and_score_when_an_empty_one_is_dropped() -> None:
    masks = np.ones((3, 28, 28), np.float32)
    masks[1] = 0
    boxes = np.array([[0, 0, 9, 9], [10, 10, 20, 20], [30, 5, 40, 9]], np.float32)
    found = paste_crops(masks, boxes, (50, 50), [3, 1, 2], [0.9, 0.8, 0.7])
    assert found.class_ids.tolist() == [3, 2]
    assert found.scores.tolist() == np.array([0.9, 0.7], np.float32).tolist()


def test_a_box_outside_the_image_is_dropped_and_one_across_its_edge_is_cut() -> None:
    masks = np.ones((3, 28, 28), np.float32)
    boxes = np.array([[-5, -5, 5, 5], [60, 60, 80, 80], [-40, 3, -20, 9]], np.float32)
    found = paste_crops(masks, boxes, (50, 50), [1, 2, 3], [0.5, 0.5, 0.5])
    assert found.class_ids.tolist() == [1]
    assert found.equals(check_same(masks[:1], boxes[:1], (50, 50)).select([0]))  # torchvision fails on the other two


def test_no_detection_gives_no_cell_and_a_tensor_is_taken_as_it_is() -> None:
    assert len(paste_crops(np.zeros((0, 28, 28)), np.zeros((0, 4)), (5, 7), [], [])) == 0
    found = paste_crops(torch.ones(1, 28, 28), torch.tensor([[1.0, 1, 4, 4]]), (9, 9), torch.tensor([2]), torch.ones(1))
    assert found.class_ids.tolist() == [2]
