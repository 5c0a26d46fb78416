"""The cell at a click: the heads on boxes around it, the sizes from small to large, and the watershed on the stain."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_cellseg.engine_process.tasks import TASKS, Prompt, TaskRunner
from napari_cellseg.errors import CheckpointError
from napari_cellseg.events import drive
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference.candidates import Candidates, ladder
from napari_cellseg.model.inference.paste import paste_crops, soft_masks
from napari_cellseg.model.inference.prompted import PromptedModel
from napari_cellseg.model.inference.prompts import CellAnswer, CellPrompt, Way, region_around
from napari_cellseg.model.inference.stain import answer_by_stain

SIZE = (150, 170)
CPU = Device("cpu", "for a test")


def ellipse(y: float, x: float, height: float, width: float) -> np.ndarray:
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    return ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= 1


NUCLEUS = ellipse(70, 80, 11, 8)


def tissue() -> np.ndarray:
    """Pink tissue with one violet nucleus, and a second one that it touches."""
    rng = np.random.default_rng(0)
    rgb = np.full((*SIZE, 3), (225, 175, 205), np.float64)
    rgb[ellipse(70, 98, 10, 9)] = (110, 80, 150)
    rgb[NUCLEUS] = (100, 70, 145)
    return np.clip(rgb + rng.normal(0, 5, rgb.shape), 0, 255).astype(np.uint8)


def prompt(**changes: object) -> CellPrompt:
    rgb = tissue()
    box = changes.get("drawn") or (80, 70, 80, 70)
    x0, y0, x1, y1 = region = region_around(box, 2.0, SIZE)
    made = CellPrompt(
        image_key="a",
        image_size=SIZE,
        region=region,
        pixels=np.ascontiguousarray(rgb[y0:y1, x0:x1]),
        taken=np.zeros((y1 - y0, x1 - x0), bool),
        point=None if "drawn" in changes else (70, 80),
    )
    return replace(made, **changes)


def first(answer: CellAnswer | None) -> np.ndarray:
    assert answer is not None
    return answer.sizes.select([answer.first]).paste() > 0


def iou(mask: np.ndarray, truth: np.ndarray = NUCLEUS) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.fixture(scope="module")
def model() -> PromptedModel:
    network, header = load_checkpoint(bundled(), "cpu")
    return PromptedModel(network, header, CPU, PredictOptions(device="cpu"))


def test_a_region_lies_in_the_image_and_holds_the_box_with_its_surroundings() -> None:
    assert region_around((80, 70, 80, 70), 2.0, (1000, 1000)) == (16, 6, 144, 134)
    assert region_around((5, 995, 5, 995), 2.0, (1000, 1000)) == (0, 872, 128, 1000)
    assert region_around((0, 0, 0, 0), 2.0, (50, 300)) == (0, 0, 128, 50)
    x0, y0, x1, y1 = region_around((100, 100, 400, 200), 2.0, (1000, 1000))
    assert x0 <= 25
    assert x1 >= 475
    assert (x1 - x0, y1 - y0) == (450, 450)


def test_the_clicked_nucleus_is_found_and_not_its_neighbour(model: PromptedModel) -> None:
    answer = model.answer(prompt())
    assert iou(first(answer)) > 0.7
    assert answer is not None
    assert answer.way is Way.HEADS
    assert answer.classes is not None
    assert answer.sizes.class_ids[0] in answer.classes.class_ids


def test_the_sizes_grow_and_all_hold_the_clicked_pixel(model: PromptedModel) -> None:
    answer = model.answer(prompt())
    assert answer is not None
    areas = answer.sizes.areas
    assert len(areas) >= 3
    assert np.all(np.diff(areas) > 0)
    for k in range(len(areas)):
        assert answer.sizes.select([k]).paste()[70, 80]


def test_a_drawn_box_is_filled_by_the_cell(model: PromptedModel) -> None:
    answer = model.answer(prompt(drawn=(72.0, 59.0, 89.0, 82.0)))
    assert iou(first(answer)) > 0.75
    assert answer is not None
    assert np.abs(answer.sizes.boxes[answer.first] - (72, 59, 89, 82)).max() <= 3


def test_the_answer_is_the_same_again_and_the_region_is_looked_at_once(
    model: PromptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    network = model._predictor.model
    features_of = type(network).features_of
    monkeypatch.setattr(network, "features_of", lambda image: looked.append(1) or features_of(network, image))
    answers = [model.answer(prompt(image_key="again")) for _ in range(2)]
    assert len(looked) == 1
    assert answers[0] is not None
    assert answers[1] is not None
    assert answers[0].sizes.equals(answers[1].sizes)
    model.answer(prompt(image_key="other pixels"))
    assert len(looked) == 2


def test_a_proposal_that_fits_best_is_named_as_the_way(model: PromptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_boxes", lambda: np.zeros((0, 4), np.float32))
    answer = model.answer(prompt(proposals=[(72, 59, 89, 82)]))
    assert answer is not None
    assert answer.way is Way.PROPOSAL


def test_the_device_and_the_rng_are_left_as_they_are(model: PromptedModel) -> None:
    before = torch.get_rng_state()
    model.answer(prompt())
    assert torch.equal(before, torch.get_rng_state())


# ---- without a model ----


def test_the_watershed_finds_a_nucleus_against_the_one_it_touches() -> None:
    answer = answer_by_stain(prompt())
    assert answer is not None
    assert answer.way is Way.STAIN
    assert iou(first(answer)) > 0.7
    assert np.all(np.diff(answer.sizes.areas) >= 0)


def test_the_watershed_stays_in_a_drawn_box_and_out_of_other_cells() -> None:
    asked = prompt(drawn=(72.0, 59.0, 89.0, 82.0))
    answer = answer_by_stain(asked)
    assert iou(first(answer)) > 0.6
    taken = asked.taken.copy()
    x0, y0, x1, y1 = asked.region
    taken[:] = ellipse(70, 98, 10, 9)[y0:y1, x0:x1]
    answer = answer_by_stain(prompt(taken=taken))
    assert not (first(answer) & ellipse(70, 98, 10, 9) & ~NUCLEUS).any()


def test_where_nothing_is_stained_nothing_is_found() -> None:
    blank = prompt()
    flat = replace(blank, pixels=np.full_like(blank.pixels, 230))
    assert answer_by_stain(flat) is None


# ---- parts ----


def test_soft_masks_agree_with_the_pasted_crops() -> None:
    rng = np.random.default_rng(1)
    probs = rng.random((6, 28, 28)).astype(np.float32)
    corners = rng.uniform(-5, 60, (6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 40, (6, 2))], 1).astype(np.float32)
    soft = soft_masks(probs, boxes, (70, 90))
    assert soft.shape == (6, 70, 90)
    pasted = paste_crops(probs, boxes, (70, 90), np.ones(6, int), np.ones(6))
    for k in range(len(pasted)):
        assert np.array_equal(soft[k] > 0.5, pasted.select([k]).paste() > 0)


def test_a_candidate_on_the_click_is_better_than_one_that_only_covers_it() -> None:
    asked = prompt()
    x0, y0, x1, y1 = asked.region
    soft = np.stack([NUCLEUS, ellipse(70, 88, 11, 18), ellipse(70, 98, 10, 9)])[:, y0:y1, x0:x1].astype(np.float32)
    candidates = Candidates(soft, np.full(3, 0.5, np.float32), asked.pixels, asked.taken)
    quality = candidates.quality_at(70 - y0, 80 - x0)
    assert quality.argmax() == 0
    assert quality[2] == -1, "it does not cover the click"


def test_the_ladder_has_the_first_mask_and_others_of_clearly_other_areas() -> None:
    rows, columns = np.ogrid[:60, :60]
    soft = np.clip(1.2 - np.hypot(rows - 30, columns - 30) / 20, 0, 1)[None].astype(np.float32)
    candidates = Candidates(soft, np.ones(1, np.float32), np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60), bool))
    masks, origins, place = ladder(candidates, np.ones(1, np.float32), soft[0] > 0.5, (30, 30))
    areas = [int(mask.sum()) for mask in masks]
    assert np.array_equal(masks[place], soft[0] > 0.5)
    assert origins[place] == -1
    assert all(b > 1.1 * a for a, b in pairwise(areas))


# ---- the task ----


def test_the_task_loads_the_model_without_a_prompt_and_answers_with_one() -> None:
    runner, options = TaskRunner(TASKS), PredictOptions(device="cpu")

    def result(task: Prompt) -> CellAnswer | None:
        return drive(task.on(runner.run))

    assert result(Prompt(None, options)) is None
    assert iou(first(result(Prompt(prompt(), options)))) > 0.7
    assert runner.load("prompt") is runner.load("predict"), "one model in memory for both"


def test_a_model_that_is_gone_is_an_error_in_words(tmp_path: object) -> None:
    from pathlib import Path

    options = PredictOptions(device="cpu", checkpoint=Path(str(tmp_path)) / "gone.safetensors")
    run = Prompt(prompt(), options).on(TaskRunner(TASKS).run)
    with pytest.raises(CheckpointError, match="gone"):
        next(run)
