from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CheckpointError
from napari_cellseg.events import ImageDone, ImageFailed, Message, ModelReady, PredictSummary, TileDone, drive
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header, save_checkpoint
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference.predict import ModelCache, PredictItem, Predictor, predict
from napari_cellseg.model.inference.tiles import plan_tiles
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN, Detections

CPU = Device("cpu", "for a test")


@pytest.fixture(scope="module")
def model() -> CellMaskRCNN:
    """Return a random small model that predicts cells everywhere."""
    torch.manual_seed(0)
    config = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(
        rpn__pre_nms_test=60,
        rpn__post_nms_test=60,
        rpn__cap_side=None,
        detection__per_image=40,
        detection__min_score=0.01,
    )
    return build_model(config).eval()


@pytest.fixture(scope="module")
def checkpoint(model: CellMaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_checkpoint(path, model, half=False)
    return path


def result_of(generator: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    events: list[Any] = []
    result = drive(generator, events.append)
    return events, result


class OracleModel:
    """Stands where the network is, and finds the true cells of a tile by their place in a colour-coded image.

    The image holds the cell's number in its red and green channels, so what a tile shows tells which cells it sees.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

        class Heads:
            score_thresh, nms_thresh = 0.05, 0.5

        self.roi_heads = Heads()
        self.batches: list[int] = []

    def detect(self, images: Sequence[torch.Tensor], *_: object) -> list[Detections]:
        self.batches.append(len(images))
        return [self._cells(image.numpy()) for image in images]

    def _cells(self, image: np.ndarray) -> Detections:
        numbers = image[0].astype(int) + 256 * image[1].astype(int)
        boxes, masks = [], []
        for number in np.unique(numbers[numbers > 0]).tolist():
            y, x = np.nonzero(numbers == number)
            box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
            boxes.append(box)
            crop = torch.from_numpy((numbers == number)[box[1] : box[3], box[0] : box[2]]).float()
            masks.append(torch.nn.functional.interpolate(crop[None, None], (28, 28), mode="area")[0, 0])
        count = len(boxes)
        return Detections(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            torch.full((count,), 0.9),
            torch.ones(count, dtype=torch.int64),
            torch.stack(masks) if masks else torch.zeros(0, 28, 28),
        )


def oracle(scale: float = 1.0, **options: Any) -> tuple[Predictor, OracleModel]:
    config = ModelConfig.preset("lite", ClassTable(("cell",))).with_changes(working_scale=scale)
    stand_in: Any = OracleModel(config)
    options.setdefault("test_time_augmentation", "off")
    return Predictor(stand_in, None, CPU, PredictOptions(**options)), stand_in


def coded(truth: InstanceMasks) -> np.ndarray:
    numbers = truth.paste()
    return np.stack([numbers % 256, numbers // 256, np.where(numbers > 0, 9, 0)], -1).astype(np.uint8)


def matched(found: InstanceMasks, truth: InstanceMasks) -> float:
    """Return the mean IoU of found cells with the true ones, which must be as many."""
    assert len(found) == len(truth)
    i, j, shared = intersections(found, truth)
    iou = shared / (found.areas[i] + truth.areas[j] - shared)
    best = np.zeros(len(truth))
    np.maximum.at(best, j, iou)
    return float(best.mean())


@pytest.mark.parametrize("batch", [1, 3])
def test_a_perfect_network_gives_each_cell_once_over_many_tiles(batch: int) -> None:
    _, truth = generate_tissue((500, 620), cells=150, seed=3)
    predictor, stand_in = oracle(tile=192, overlap=64, batch=batch)
    events, found = result_of(predictor.image(coded(truth)))
    assert matched(found, truth) > 0.9
    assert [e.tile for e in events] == list(range(1, len(events) + 1))
    assert {e.tiles for e in events} == {len(events)}
    assert max(stand_in.batches) == batch


def test_masks_are_drawn_at_the_resolution_of_the_image_at_any_working_scale() -> None:
    truth = InstanceMasks.from_crops((90, 120), [[20, 10], [70, 40]], [np.ones((20, 16), bool)] * 2, [1, 1])
    predictor, _ = oracle(scale=2.0, tile=128, overlap=64)
    image = np.zeros((90, 120, 3), np.uint8)
    for channel, (x0, y0, x1, y1) in enumerate(truth.boxes.tolist()):
        image[y0:y1, x0:x1, channel] = 200
    seen: list[torch.Tensor] = []

    def squares(images: Sequence[torch.Tensor], *_: object) -> list[Detections]:
        seen.extend(images)
        return [_bright_squares(image) for image in images]

    predictor.model.detect = squares  # type: ignore[assignment,method-assign]
    _, found = result_of(predictor.image(image))
    assert {tuple(i.shape[1:]) for i in seen} == {(128, 128), (128, 112), (116, 128), (116, 112)}
    assert matched(found, truth) > 0.9


def _bright_squares(image: torch.Tensor) -> Detections:
    boxes = []
    for channel in image[:2].numpy() > 100:
        if channel.any():
            y, x = np.nonzero(channel)
            boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    n = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.ones(n),
        torch.ones(n, dtype=torch.int64),
        torch.ones(n, 28, 28),
    )


def test_pixel_sizes_of_model_and_image_set_the_scale() -> None:
    predictor, _ = oracle()
    predictor.config = predictor.config.with_changes(pixel_size_um=0.25, working_scale=2.0)
    assert predictor.scale(0.5)[0] == 4
    assert predictor.scale(None)[0] == 2


def test_a_real_network_takes_images_of_any_size(model: CellMaskRCNN) -> None:
    predictor = Predictor(model, None, CPU, PredictOptions(tile=256, overlap=64))
    for size in ((1, 1), (33, 86), (260, 190)):
        rgb, _ = generate_tissue(size, cells=10)
        _, found = result_of(predictor.image(rgb))
        assert found.image_size == size
        assert found.is_tight()
        assert (np.diff(found.scores) <= 0).all()


def test_the_same_image_gives_the_same_cells_whatever_the_batch(model: CellMaskRCNN) -> None:
    rgb, _ = generate_tissue((150, 200), cells=20)
    one, two, again = (
        result_of(Predictor(model, None, CPU, PredictOptions(tile=256, overlap=64, batch=b)).image(rgb))[1]
        for b in (1, 2, 1)
    )
    assert len(one) > 10
    assert one.equals(again)
    assert abs(len(one) - len(two)) <= 1
    assert np.allclose(one.scores[:5], two.scores[:5], atol=1e-3)


def test_a_floor_score_and_nms_of_the_options_win_and_leave_the_model_as_it_was(model: CellMaskRCNN) -> None:
    rgb, _ = generate_tissue((100, 120), cells=20)
    _, low = result_of(Predictor(model, None, CPU, PredictOptions()).image(rgb))
    floor = float(np.median(low.scores))
    _, high = result_of(Predictor(model, None, CPU, PredictOptions(min_score=floor)).image(rgb))
    assert 0 < len(high) < len(low)
    assert high.scores.min() >= floor
    assert model.roi_heads.score_thresh == model.config.detection.min_score


def test_a_cell_that_suppression_trusts_less_falls_below_the_floor_only_when_nobody_asked_for_one(
    model: CellMaskRCNN,
) -> None:
    box = torch.tensor([[10.0, 10.0, 50.0, 50.0], [10.0, 25.0, 50.0, 65.0]])  # IoU 0.45: lowered by exp(-2)
    scores = torch.tensor([0.9, 0.2])
    detections = Detections(box, scores, torch.ones(2, dtype=torch.int64), torch.ones(2, 28, 28))
    tile = plan_tiles((80, 80), 128, 32, 1.0)[0]
    floor = model.config.detection.min_score  # 0.01

    def lowest(options: PredictOptions) -> float:
        return float(Predictor(model, None, CPU, options)._paste(detections, tile, (80, 80)).scores.min())

    assert floor < lowest(PredictOptions()) < 0.1
    assert lowest(PredictOptions(min_score=0.15)) == pytest.approx(0.9)
    detections.scores[1] = 0.05
    assert 0.4 * floor < lowest(PredictOptions()) < floor
    detections.scores[1] = 0.02
    assert lowest(PredictOptions()) == pytest.approx(0.9)


def test_an_empty_slide_has_no_cells_and_needs_no_network() -> None:
    predictor, stand_in = oracle(tile=128, overlap=32)
    events, found = result_of(predictor.image(np.full((300, 300, 3), 241, np.uint8)))
    assert len(found) == 0
    assert len(events) == 9
    assert stand_in.batches == []


def test_predict_goes_on_after_bad_images_and_sums_up(checkpoint: Path, tmp_path: Path) -> None:
    rgb, _ = generate_tissue((80, 96), cells=12)
    tifffile.imwrite(tmp_path / "good.tif", rgb, photometric="rgb")
    (tmp_path / "text.tif").write_text("not a TIFF")
    items = [
        PredictItem("text", tmp_path / "text.tif"),
        PredictItem("good", tmp_path / "good.tif"),
        PredictItem("grey", rgb[..., 0]),
        PredictItem("array", rgb),
        PredictItem("nowhere", tmp_path / "nowhere.tif"),
    ]
    events, summary = result_of(predict(items, PredictOptions(checkpoint=checkpoint, device="cpu")))
    ready, *rest = [e for e in events if not isinstance(e, TileDone | Message)]
    assert isinstance(ready, ModelReady)
    assert ready.class_names == TISSUE_CLASSES.names
    assert [(type(e), e.image, e.image_id) for e in rest] == [
        (ImageFailed, 1, "text"),
        (ImageDone, 2, "good"),
        (ImageFailed, 3, "grey"),
        (ImageDone, 4, "array"),
        (ImageFailed, 5, "nowhere"),
    ]
    assert rest[1].instances.equals(rest[3].instances)
    assert str(tmp_path / "text.tif") in rest[0].message
    assert isinstance(summary, PredictSummary)
    assert (summary.images, summary.failed, summary.cells) == (5, 3, 2 * len(rest[1].instances))


def test_a_stack_is_predicted_by_its_first_plane_with_a_warning(checkpoint: Path, tmp_path: Path) -> None:
    rgb, _ = generate_tissue((64, 64), cells=8)
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([rgb, 255 - rgb]), photometric="rgb")
    options = PredictOptions(checkpoint=checkpoint, device="cpu")
    events, _ = result_of(predict([PredictItem("s", tmp_path / "stack.tif"), PredictItem("a", rgb)], options))
    assert any(isinstance(e, Message) and e.level == "warning" and "2 planes" in e.text for e in events)
    stack, alone = [e.instances for e in events if isinstance(e, ImageDone)]
    assert stack.equals(alone)


def test_out_of_memory_fails_the_image_only(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = CellMaskRCNN.detect
    calls = iter([True, *[False] * 4])

    def detect(self: CellMaskRCNN, images: Sequence[torch.Tensor], *_: object) -> list[Detections]:
        if next(calls):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, images)

    monkeypatch.setattr(CellMaskRCNN, "detect", detect)
    rgb, _ = generate_tissue((64, 64), cells=8)
    options = PredictOptions(checkpoint=checkpoint, device="cpu")
    events, summary = result_of(predict([PredictItem("a", rgb), PredictItem("b", rgb)], options))
    assert summary.failed == 1
    (failure,) = [e for e in events if isinstance(e, ImageFailed)]
    assert "smaller tiles" in failure.message


@pytest.mark.parametrize("averages", ["off", "on"])
def test_closing_stops_between_tiles_and_views(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, averages: str
) -> None:
    count = 0
    original = CellMaskRCNN.detect

    def detect(self: CellMaskRCNN, *arguments: object) -> list[Detections]:
        nonlocal count
        count += 1
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(CellMaskRCNN, "detect", detect)
    rgb, _ = generate_tissue((300, 300), cells=50)
    options = PredictOptions(checkpoint=checkpoint, device="cpu", tile=128, overlap=0, test_time_augmentation=averages)
    run = predict([PredictItem("a", rgb)] * 3, options)
    while not isinstance(next(run), TileDone):
        pass
    run.close()
    assert count == 1
    with pytest.raises(StopIteration):
        next(run)


def test_a_cache_keeps_the_model_until_the_file_changes(model: CellMaskRCNN, checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path))
    cache = ModelCache()
    first = cache.get(path, CPU)[0]
    assert cache.get(path, CPU)[0] is first
    save_checkpoint(path, model, half=False)
    assert cache.get(path, CPU)[0] is not first


def test_no_model_no_prediction(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        next(predict([], PredictOptions(checkpoint=tmp_path / "nowhere.safetensors", device="cpu")))


def test_mirrored_views_find_what_the_plain_view_finds() -> None:
    _, truth = generate_tissue((200, 230), cells=30, seed=8)
    plain, _ = oracle(tile=256, overlap=32)
    averaged, _ = oracle(tile=256, overlap=32, test_time_augmentation="on")
    found = result_of(averaged.image(coded(truth)))[1]
    assert matched(found, truth) > 0.9
    assert found.scores.min() > 0.89
    assert replace(found, scores=np.ones(len(found))).areas.sum() == pytest.approx(
        result_of(plain.image(coded(truth)))[1].areas.sum(), rel=0.02
    )


def test_views_of_small_images_are_averaged_and_each_counts_as_a_tile() -> None:
    def run(size: tuple[int, int], **options: Any) -> tuple[list[tuple[int, int, int]], int]:
        predictor, stand_in = oracle(scale=2.0, tile=1024, **options)
        _, truth = generate_tissue(size, cells=5, seed=8)
        events, _ = result_of(predictor.image(coded(truth)))
        return [(e.tile, e.tiles, e.cells) for e in events], len(stand_in.batches)

    steps, calls = run((512, 512), test_time_augmentation="auto")
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [step[2] > 0 for step in steps] == [False, False, False, True]
    assert calls == 4
    steps, calls = run((512, 513), test_time_augmentation="auto")
    assert [step[:2] for step in steps] == [(1, 2), (2, 2)]
    assert calls == 2


def test_options_of_older_files_say_true_or_false() -> None:
    assert [PredictOptions(test_time_augmentation=old).test_time_augmentation for old in (False, True)] == ["off", "on"]  # type: ignore[arg-type]
    assert PredictOptions().test_time_augmentation == "auto"


def test_the_bundled_model_finds_most_nuclei_of_tissue_it_never_saw() -> None:
    rgb, truth = generate_tissue((220, 220), cells=27, seed=0)
    events, _ = result_of(predict([PredictItem("tissue", rgb)], PredictOptions(device="cpu")))
    (found,) = [e.instances for e in events if isinstance(e, ImageDone)]
    limits = np.array([0, *(read_header(bundled()).thresholds or ())])  # from which scores on the viewer shows a cell
    sure = found.select(found.scores > limits[found.class_ids])
    i, j, shared = intersections(sure, truth)
    iou = shared / (sure.areas[i] + truth.areas[j] - shared)
    hit = np.unique(j[iou > 0.5])
    assert len(hit) >= 0.8 * len(truth)
    assert len(sure) <= 1.4 * len(truth)
