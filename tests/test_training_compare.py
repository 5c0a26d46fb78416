from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_settings import tissue

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CheckpointError, ConfigError
from napari_cellseg.events import Message, drive
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import CheckpointMetadata, load_checkpoint, read_header, save_checkpoint
from training.compare import _compare_image, compare
from training.comparison import Comparison, ComparisonStep
from training.dataset import find_samples, read_sample
from training.evaluate import evaluate
from training.validation import truth_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tissue(tmp_path_factory.mktemp("data"), images=2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the bundled model unchanged, with thresholds that no cell reaches, and with another class."""
    folder = tmp_path_factory.mktemp("models")
    model, header = load_checkpoint(bundled(), "cpu")

    def save(name: str, thresholds: tuple[float, ...] | None) -> Path:
        save_checkpoint(folder / f"{name}.safetensors", model, CheckpointMetadata(name=name, thresholds=thresholds))
        return folder / f"{name}.safetensors"

    paths = {"blind": save("blind", (1.0,) * 4), "plain": save("plain", None)}
    other = ClassTable(("other", "inflammatory", "tumour", "spindle-shaped"))
    model.config = model.config.with_changes(classes=other)
    return {**paths, "tumour": save("tumour", header.thresholds), "bundled": bundled()}


@pytest.fixture(scope="module")
def gains(data: Path, models: dict[str, Path]) -> tuple[list[Any], Comparison]:
    return finish(compare(data, models["blind"], models["bundled"], device="cpu"))


def finish(events: Generator[Any, None, Comparison]) -> tuple[list[Any], Comparison]:
    seen: list[Any] = []
    result = drive(events, seen.append)
    return seen, result


def test_a_model_that_finds_cells_gains_them_all_over_one_that_finds_none(gains) -> None:
    _, comparison = gains
    assert comparison.gained > 5
    assert comparison.lost == 0
    for scores in comparison.classes:
        assert scores.old is not None
        assert scores.gained == scores.new.matched
        assert (scores.old.matched, scores.old.false) == (0, 0)
        assert scores.new.matched + scores.new.missed == scores.cells
    assert comparison.new.pq > comparison.old.pq == 0
    assert comparison.old_name == "blind"


def test_the_measures_are_those_of_evaluate(gains, data: Path) -> None:
    _, comparison = gains
    samples = find_samples(data).samples
    truth = {sample.image_id: truth_of(read_sample(sample)) for sample in samples}
    found = {image.image_id: image.new for image in comparison.images}
    expected = evaluate(truth, found, TISSUE_CLASSES, min_scores=dict.fromkeys(TISSUE_CLASSES.class_ids, 0.0))
    for scores, of in zip(comparison.classes, expected.classes, strict=True):
        assert scores.cells == of.cells
        assert scores.new.pq == pytest.approx(of.pq, nan_ok=True)
        assert scores.new.f1 == pytest.approx(of.f1, nan_ok=True)
    thresholds = read_header(bundled()).thresholds
    assert thresholds is not None
    assert comparison.classes[2].new.min_score == pytest.approx(thresholds[2], abs=1e-3)


def test_each_tile_of_each_model_is_told_and_the_share_done_grows_to_one(gains) -> None:
    events, _ = gains
    steps = [event for event in events if isinstance(event, ComparisonStep)]
    assert {(step.image, step.model) for step in steps} == {(1, "old"), (1, "new"), (2, "old"), (2, "new")}
    shares = [step.done for step in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_other_way_round_the_same_cells_are_lost(gains, data: Path, models: dict[str, Path]) -> None:
    _, comparison = finish(compare(data, models["bundled"], models["blind"], device="cpu", image_ids=["tissue_02"]))
    (image,) = comparison.images
    assert image.image_id == "tissue_02"
    assert image.lost.tolist() == gains[1].images[1].gained.tolist()
    assert comparison.lost == image.count("lost") == sum(image.count("lost", k) for k in TISSUE_CLASSES.class_ids)


def test_a_model_against_itself_gains_and_loses_nothing_and_the_bundled_one_is_the_default(data: Path) -> None:
    _, comparison = finish(compare(data, None, bundled(), device="cpu", image_ids=["tissue_01"], side=96))
    assert comparison.gained == comparison.lost == 0
    assert comparison.old == comparison.new
    assert comparison.images[0].truth.image_size == (96, 96)


def test_thresholds_that_a_model_does_not_bring_are_the_best_on_these_images(data: Path, models) -> None:
    _, comparison = finish(compare(data, models["plain"], models["bundled"], device="cpu"))
    assert comparison.classes[2].old.min_score != comparison.classes[2].new.min_score
    assert all(c.old.f1 >= 0 for c in comparison.classes if c.cells)


def test_a_class_that_the_old_model_does_not_know_is_only_the_new_ones(data: Path, models: dict[str, Path]) -> None:
    events, comparison = finish(compare(data, models["tumour"], models["bundled"], device="cpu"))
    (message,) = [event for event in events if isinstance(event, Message)]
    assert "does not know epithelial" in message.text
    epithelial = comparison.classes[2]
    assert epithelial.old is None
    assert epithelial.gained == epithelial.new.matched
    known = [scores for scores in comparison.classes if scores.old is not None]
    assert len(known) == 3
    assert comparison.new.matched == sum(scores.new.matched for scores in known)
    assert not (comparison.images[0].old.class_ids == 3).any()


def test_a_result_can_be_sent_to_a_process_without_torch(gains, tmp_path: Path) -> None:
    file = tmp_path / "comparison"
    file.write_bytes(pickle.dumps(gains[1]))
    check = (
        "import pickle, sys; from pathlib import Path; c = pickle.loads(Path(sys.argv[1]).read_bytes());"
        "print(c.gained); sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", check, file], capture_output=True, text=True, check=True)
    assert int(result.stdout) == gains[1].gained


def test_what_cannot_be_compared_is_a_clear_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no image 'tissue_9'"):
        finish(compare(data, None, bundled(), device="cpu", image_ids=["tissue_9"]))
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        finish(compare(data, tmp_path / "gone.safetensors", bundled(), device="cpu"))
    other = with_classes(data, tmp_path / "other", ("inflammatory", "other", "tumour", "stroma"))
    with pytest.raises(ConfigError, match=r"tumour.*evaluate with --class-map"):
        finish(compare(other, None, bundled(), device="cpu"))


def with_classes(data: Path, folder: Path, names: tuple[str, ...], order: tuple[int, ...] = (1, 2, 3, 4)) -> Path:
    """Copy one image of the data with other names of its classes, and its class images in another order."""
    source = next((data / "train").glob("*_01"))
    target = folder / "train" / source.name
    target.mkdir(parents=True)
    shutil.copy(source / "image.tif", target)
    for new, old in enumerate(order, 1):
        if (source / f"class{old}.tif").exists():
            shutil.copy(source / f"class{old}.tif", target / f"class{new}.tif")
    (folder / "classes.json").write_text(json.dumps(dict(enumerate(names, 1))))
    return folder


def test_classes_are_paired_with_those_of_the_data_as_in_evaluate(
    data: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    names = TISSUE_CLASSES.names
    plain = with_classes(data, tmp_path / "plain", names)
    turned = with_classes(data, tmp_path / "turned", (names[2], names[0], names[3], names[1]), (3, 1, 4, 2))
    _, expected = finish(compare(plain, models["blind"], bundled(), device="cpu"))
    _, comparison = finish(compare(turned, models["blind"], bundled(), device="cpu"))
    assert expected.pairing == ""
    assert comparison.pairing == "Classes are paired by name; their order differs."
    assert comparison.table.names == (names[2], names[0], names[3], names[1])

    def figures(of: Comparison) -> dict[str, str]:
        return {one.name: f"{one.cells} {one.gained} {one.new.pq:.6f}" for one in of.classes}

    assert figures(comparison) == figures(expected)
    assert comparison.gained > 0


def cells(*places: tuple[int, int, int], score: float = 1.0) -> InstanceMasks:
    """Squares of 6 px at (class_id, x, y)."""
    masks = [np.ones((6, 6), bool)] * len(places)
    offsets = [place[1:] for place in places]
    return InstanceMasks.from_crops((40, 40), offsets, masks, [place[0] for place in places], [score] * len(places))


def test_gained_lost_and_false_cells_of_an_image_are_told_apart() -> None:
    truth = cells((1, 0, 0), (1, 10, 0), (2, 20, 0), (2, 30, 0), (1, 0, 20))
    old = cells((1, 0, 0), (1, 10, 0), (1, 20, 0), (1, 30, 30), score=0.9)  # third: wrong class; fourth: nothing there
    new = cells((1, 11, 1), (2, 20, 1), (2, 34, 0), score=0.8)  # third: IoU 0.2
    image = _compare_image("a", truth, old, new)
    assert image.gained.tolist() == [2]
    assert image.lost.tolist() == [0]
    assert image.old_false.tolist() == [2, 3]
    assert image.new_false.tolist() == [2]
    assert [image.count("gained", 1), image.count("gained", 2), image.count("old_false", 1)] == [0, 1, 2]


def test_without_any_cell_nothing_is_gained() -> None:
    nothing = InstanceMasks.empty((40, 40))
    image = _compare_image("a", nothing, nothing, nothing)
    assert image.count("gained") == image.count("lost") == image.count("new_false") == 0
