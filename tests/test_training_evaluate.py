from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from training.evaluate import evaluate
from training.metric_table import METRICS, Metric

CLASSES = ClassTable(("round", "long", "rare"))


def random_cells(seed: int, count: int, size: tuple[int, int] = (120, 150), classes: int = 3) -> InstanceMasks:
    rng = np.random.default_rng(seed)
    offsets, masks = [], []
    for _ in range(count):
        a, b = rng.integers(3, 9, 2)
        y, x = np.mgrid[-b : b + 1, -a : a + 1]
        masks.append((x / a) ** 2 + (y / b) ** 2 <= 1)
        offsets.append((rng.integers(0, size[1] - 2 * a), rng.integers(0, size[0] - 2 * b)))
    scores = rng.permutation(np.linspace(0.05, 0.99, count)) if count else np.zeros(0)
    return InstanceMasks.from_crops(size, offsets, masks, rng.integers(1, classes + 1, count), scores)


def shaken(cells: InstanceMasks, seed: int) -> InstanceMasks:
    """Return predicted cells for a ground truth: moved, some missing, some of another class, some invented."""
    rng = np.random.default_rng(seed)
    kept = cells.select(rng.random(len(cells)) < 0.85)
    class_ids = np.where(rng.random(len(kept)) < 0.1, 1 + kept.class_ids % 3, kept.class_ids)
    offsets = kept.boxes[:, :2] + rng.integers(-2, 3, (len(kept), 2))
    moved = InstanceMasks.from_crops(cells.image_size, offsets, kept.masks, class_ids, rng.random(len(kept)))
    return InstanceMasks.concatenate([moved, random_cells(seed + 1000, 4, cells.image_size)])


def as_truth(cells: InstanceMasks) -> InstanceMasks:
    """Give each pixel to one cell, as in a label image."""
    image = cells.paste(np.arange(1, len(cells) + 1))
    visible = [i for i in range(len(cells)) if (image == i + 1).any()]
    crops = [image == i + 1 for i in visible]
    return InstanceMasks.from_crops(cells.image_size, np.zeros((len(crops), 2), int), crops, cells.class_ids[visible])


def pycocotools_precision(truth: dict, found: dict, max_cells: int) -> np.ndarray:
    def rows(images):
        result = []
        for image_id, cells in enumerate(images, 1):
            for i in range(len(cells)):
                dense = np.zeros(cells.image_size, np.uint8, order="F")
                x0, y0, x1, y1 = cells.boxes[i]
                dense[y0:y1, x0:x1] = cells.masks[i]
                box = [int(x0), int(y0), int(x1 - x0), int(y1 - y0)]
                row = {
                    "image_id": image_id,
                    "category_id": int(cells.class_ids[i]),
                    "segmentation": coco_mask.encode(dense),
                }
                row |= {"bbox": box, "area": int(dense.sum()), "iscrowd": 0, "id": len(result) + 1}
                result.append(row | {"score": float(cells.scores[i])})
        return result

    coco = COCO()
    sizes = [cells.image_size for cells in truth.values()]
    coco.dataset = {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes, 1)],
        "categories": [{"id": i} for i in (1, 2, 3)],
        "annotations": rows(truth.values()),
    }
    coco.createIndex()
    run = COCOeval(coco, coco.loadRes(rows([found[name] for name in truth])), "segm")
    run.params.maxDets = [max_cells]
    run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
    run.evaluate()
    run.accumulate()
    return run.eval["precision"][:, :, :, 0, 0]


@pytest.fixture(scope="module")
def images() -> tuple[dict[str, InstanceMasks], dict[str, InstanceMasks]]:
    truth = {f"image{i}": as_truth(random_cells(i, 12 + 5 * i)) for i in range(4)}
    return truth, {name: shaken(cells, 10 + i) for i, (name, cells) in enumerate(truth.items())}


def test_average_precision_is_that_of_pycocotools(images) -> None:
    truth, found = images
    result = evaluate(truth, found, CLASSES)
    precision = pycocotools_precision(truth, found, 10**6)
    for scores in result.classes:
        curves = precision[:, :, scores.class_id - 1]
        assert scores.ap50 == pytest.approx(curves[0].mean(), abs=1e-12)
        assert scores.ap50_95 == pytest.approx(curves.mean(), abs=1e-12)
        assert 0.2 < scores.ap50 < 1  # neither perfect nor hopeless, so the comparison says something
    assert result.mean("ap50") == pytest.approx(precision[0].mean(0).mean())


def test_the_leaderboards_rule_sees_100_cells_an_image_and_class() -> None:
    size = (400, 400)
    grid = [(20 * (i % 20), 20 * (i // 20)) for i in range(300)]
    cells = InstanceMasks.from_crops(
        size, grid, [np.ones((9, 9), bool)] * 300, np.ones(300, int), np.linspace(0.5, 1, 300)
    )
    result = evaluate({"a": cells}, {"a": cells}, ClassTable(("cell",)))
    assert result.mean("ap50") == 1
    assert result.mean("ap50_max100") == pytest.approx(34 / 101)  # recall 0 ... 0.33 of the 101 points
    assert result.mean("ap50_max100") == pytest.approx(
        pycocotools_precision({"a": cells}, {"a": cells}, 100)[0, :, 0].mean()
    )
    assert result.all_cells["pq"] == 1
    assert result.all_cells["f1"] == 1


def dense(cells: InstanceMasks) -> list[np.ndarray]:
    full = np.zeros((len(cells), *cells.image_size), bool)
    for mask, (x0, y0, x1, y1), crop in zip(full, cells.boxes.tolist(), cells.masks, strict=True):
        mask[y0:y1, x0:x1] = crop
    return list(full)


def best_pairs(iou: np.ndarray) -> np.ndarray:
    """Return which pairs match: the best of all first, then the best of the cells that are left, above 0.5."""
    chosen, left = np.zeros(iou.shape, bool), iou.copy()
    while left.size and left.max() > 0.5:
        i, j = np.unravel_index(left.argmax(), left.shape)
        chosen[i, j] = True
        left[i], left[:, j] = 0, 0
    return chosen


def test_segmentation_measures_are_those_of_dense_masks(images) -> None:
    truth, found = images
    result = evaluate(truth, found, CLASSES, min_scores={1: 0.3, 2: 0.3, 3: 0.3})
    dices, ajis, dqs, sqs = [], [], [], []
    for name in truth:
        a, b = dense(truth[name]), dense(found[name].select(found[name].scores >= 0.3))
        inter = np.array([[np.sum(t & f) for f in b] for t in a], float)
        union = np.array([[np.sum(t | f) for f in b] for t in a], float)
        iou = inter / union
        dices.append(2 * np.sum(np.any(a, 0) & np.any(b, 0)) / (np.any(a, 0).sum() + np.any(b, 0).sum()))
        best = iou.argmax(1)
        paired = iou.max(1) > 0
        shared, whole = inter[paired, best[paired]].sum(), union[paired, best[paired]].sum()
        whole += sum(t.sum() for t, p in zip(a, paired, strict=True) if not p)
        whole += sum(f.sum() for j, f in enumerate(b) if j not in set(best[paired]))
        ajis.append(shared / whole)
        matches = best_pairs(iou)
        dqs.append(matches.sum() / (matches.sum() + 0.5 * (len(a) + len(b) - 2 * matches.sum())))
        sqs.append(iou[matches].mean())
    assert result.all_cells["dice"] == pytest.approx(np.mean(dices))
    assert result.all_cells["aji"] == pytest.approx(np.mean(ajis))
    assert result.all_cells["dq"] == pytest.approx(np.mean(dqs))
    assert result.all_cells["sq"] == pytest.approx(np.mean(sqs))
    assert result.all_cells["pq"] == pytest.approx(np.mean(np.multiply(dqs, sqs)))


def test_class_measures_of_a_case_counted_by_hand() -> None:
    square = np.ones((10, 10), bool)
    spots = [(0, 0), (30, 0), (60, 0), (90, 0)]
    truth = InstanceMasks.from_crops((40, 150), spots, [square] * 4, [1, 1, 2, 2])
    # One right; one 4 px aside (IoU 0.43, centroids near); one of the wrong class; one missed; one invented.
    moved = [(0, 0), (34, 0), (60, 0), (120, 20)]
    found = InstanceMasks.from_crops((40, 150), moved, [square] * 4, [1, 1, 1, 2], [0.9, 0.8, 0.7, 0.6])
    result = evaluate({"a": truth}, {"a": found}, ClassTable(("one", "two")), min_scores={1: 0.5, 2: 0.5})
    one, two = result.classes
    assert result.all_cells["f1"] == pytest.approx(
        2 * 3 / (2 * 3 + 2)
    )  # three found by centroid, one missed, one invented
    assert one.f1 == pytest.approx(2 * 2 / (2 * 2 + 2 * 1))
    assert two.f1 == 0
    assert (one.dq, one.sq) == pytest.approx((1 / (1 + 0.5 * (2 + 1)), 1))
    assert result.all_cells["dq"] == pytest.approx(2 / (2 + 0.5 * (2 + 2)))
    assert result.confusion.tolist() == [[0, 1, 1], [1, 1, 0], [1, 1, 0]]
    assert result.thresholds == {1: 0.5, 2: 0.5}


def test_score_thresholds_are_picked_for_the_best_f1_of_each_class() -> None:
    square = np.ones((8, 8), bool)
    spots = [(12 * i, 0) for i in range(10)]
    truth = InstanceMasks.from_crops((60, 140), spots, [square] * 10, [1] * 10)
    wrong = [(12 * i, 30) for i in range(10)]
    scores = [*np.linspace(0.6, 0.9, 10), *np.linspace(0.1, 0.5, 10)]
    found = InstanceMasks.from_crops((60, 140), [*spots, *wrong], [square] * 20, [1] * 20, scores)
    result = evaluate({"a": truth}, {"a": found}, ClassTable(("one",)))
    assert result.scores_picked
    assert 0.5 < result.thresholds[1] < 0.6
    assert result.classes[0].found == 10
    assert result.all_cells["pq"] == 1


def test_images_without_cells_or_results_count() -> None:
    empty = InstanceMasks.empty((50, 60))
    cells = as_truth(random_cells(3, 6, (50, 60)))
    nothing = evaluate({"a": empty, "b": cells}, {}, CLASSES)
    assert nothing.mean("ap50") == 0
    assert nothing.all_cells["f1"] == 0
    assert nothing.all_cells["pq"] == 0
    invented = evaluate({"a": empty, "b": cells}, {"a": cells, "b": cells}, CLASSES, min_scores={1: 0, 2: 0, 3: 0})
    assert invented.all_cells["pq"] == pytest.approx(0.5)  # perfect on b, all false on a
    blank = evaluate({"a": empty}, {"a": empty}, CLASSES)
    assert math.isnan(blank.mean("ap50"))
    assert json.loads(json.dumps(blank.to_json(), allow_nan=False))["mean"]["ap50"] is None


def test_flat_table_and_json_tell_the_same(images) -> None:
    truth, found = images
    result = evaluate(truth, found, CLASSES)
    flat = result.flat()
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert flat["ap50"] == values["mean"]["ap50"]
    assert flat["ap50/long"] == values["classes"][1]["ap50"]
    assert flat["aji"] == values["all_cells"]["aji"]
    table = result.table()
    assert f"{flat['ap50/long']:.3f}" in next(line for line in table.splitlines() if line.startswith("long"))
    assert max(map(len, table.splitlines())) <= 120
    assert sum(map(sum, values["confusion"][1:])) == sum(map(len, truth.values()))


@pytest.mark.parametrize(
    ("truth", "found", "text"),
    [
        ({}, {}, "no annotated image"),
        ({"a": InstanceMasks.empty((5, 5))}, {"b": InstanceMasks.empty((5, 5))}, "'b'"),
        ({"a": InstanceMasks.empty((5, 5))}, {"a": InstanceMasks.empty((5, 6))}, r"\(5, 6\)"),
        ({"a": random_cells(0, 3, classes=1)}, {"a": random_cells(0, 30, classes=9)}, "there are 3 classes"),
    ],
)
def test_what_does_not_fit_is_refused(truth, found, text) -> None:
    with pytest.raises(AnnotationError, match=text):
        evaluate(truth, found, CLASSES)


def test_a_row_of_the_table_of_metrics_is_in_every_output_of_an_evaluation(monkeypatch) -> None:
    row = Metric(name="images", label="Images", of_all_cells=lambda predicted: float(len(predicted.overlaps)))
    monkeypatch.setattr("training.evaluate.METRICS", (*METRICS, row))
    cells = random_cells(0, 5)
    result = evaluate({"a": cells, "b": cells}, {}, CLASSES, min_scores={1: 0.5})
    assert result.flat()["images"] == result.to_json()["all_cells"]["images"] == 2
    assert "Images 2.000" in result.table()


def test_every_metric_of_the_table_is_measured() -> None:
    cells = random_cells(0, 5)
    measured = evaluate({"a": cells}, {"a": cells}, CLASSES).flat()
    assert [name for name in measured if "/" not in name] == [metric.name for metric in METRICS]
