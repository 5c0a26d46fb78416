"""The tiles nearest to the middle of the view come first, and the cells are those of the plain order, byte by byte."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from test_predict import CPU, OracleModel, coded, oracle, result_of

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import CellsSoFar, TileDone
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.inference.tiles import plan_tiles
from napari_cellseg.model.network.mask_rcnn import Detections
from napari_cellseg.review.arriving import touches

RGB, TRUTH = generate_tissue((500, 620), cells=150, seed=3)
TILES = {"tile": 256, "overlap": 64}


def keys(cells: InstanceMasks) -> set[Any]:
    rows = zip(cells.boxes.tolist(), cells.class_ids.tolist(), cells.scores.tolist(), cells.masks, strict=True)
    return {(tuple(box), class_id, score, mask.tobytes()) for box, class_id, score, mask in rows}


class Recorder(OracleModel):
    """Remembers what each batch showed: the tiles of a batch influence each other in the last bits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.shown: list[tuple[bytes, ...]] = []

    def detect(self, images: Sequence[torch.Tensor], *_: object) -> list[Detections]:
        self.shown.append(tuple(image.numpy().tobytes() for image in images))
        return super().detect(images)


@pytest.mark.parametrize("batch", [1, 2])
def test_batches_and_cells_are_those_of_the_plain_order_byte_by_byte(batch: int) -> None:
    answers = []
    for centre in (None, (400.0, 500.0)):
        network: Any = Recorder(ModelConfig.preset("lite", ClassTable(("cell",))).with_changes(working_scale=1.0))
        predictor = Predictor(network, None, CPU, PredictOptions(**TILES, batch=batch, test_time_augmentation="off"))
        answers.append((*result_of(predictor.image(coded(TRUTH), centre=centre)), network.shown))
    (plain, expected, first), (events, found, second) = answers
    assert found.equals(expected)
    assert len(found) > 100
    assert first != second
    assert sorted(first) == sorted(second)
    assert not any(isinstance(event, CellsSoFar) for event in plain)
    assert sum(isinstance(event, CellsSoFar) for event in events) == len(events) - 1


@pytest.mark.slow
def test_a_real_network_gives_the_same_cells_in_both_orders() -> None:
    run = Predictor(*load_checkpoint(bundled()), CPU, PredictOptions(tile=512, overlap=64, batch=2)).image
    rgb = generate_tissue((400, 500), cells=80)[0]
    _, expected = result_of(run(rgb))
    _, found = result_of(run(rgb, centre=(390.0, 10.0)))
    assert len(found) > 40
    assert found.equals(expected)


def test_tiles_come_in_the_order_of_their_distance_from_the_middle_of_the_view() -> None:
    predictor, _ = oracle(**TILES)
    tiles = {tile.box for tile in plan_tiles((500, 620), *TILES.values(), 1.0)}
    events, _ = result_of(predictor.image(coded(TRUTH), centre=(250.0, 310.0)))
    assert [event.tile for event in events] == list(range(1, len(tiles) + 1))
    waiting = [tiles, *(set(event.waiting) for event in events[:-1]), set()]
    came = [next(iter(before - after)) for before, after in pairwise(waiting)]
    far = [np.hypot((x0 + x1) / 2 - 310, (y0 + y1) / 2 - 250) for x0, y0, x1, y1 in came]
    assert far == sorted(far)
    assert type(events[-1]) is TileDone, "the result follows immediately"


def test_a_reported_cell_that_reaches_into_no_waiting_tile_does_not_change_any_more() -> None:
    predictor, _ = oracle(**TILES)
    events, found = result_of(predictor.image(coded(TRUTH), centre=(250.0, 310.0)))
    final, before = keys(found), set()
    for event in events[:-1]:
        so_far = pickle.loads(pickle.dumps(event)).instances  # as it comes from the engine process
        settled = keys(so_far.select(~touches(so_far.boxes, event.waiting)))
        assert before <= settled <= final
        before = settled
    assert len(before) > 0.5 * len(found)


def test_reports_become_rarer_as_tiles_become_many() -> None:
    predictor, _ = oracle(tile=128, overlap=64)
    events, _ = result_of(predictor.image(np.full((1300, 1400, 3), 240, np.uint8), centre=(0.0, 0.0)))
    reports = [event.tile for event in events if isinstance(event, CellsSoFar)]
    assert len(events) > 300
    assert reports[:16] == list(range(1, 17))
    assert len(reports) < 100
    assert all(later - earlier <= 2 + later / 8 for earlier, later in pairwise(reports))
