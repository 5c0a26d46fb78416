"""The log of predictions, the remaining images of a folder, and proposed cells of images that are not open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import drive
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions, recoverable
from napari_cellseg.workspace.own_labels import forget_annotations
from napari_cellseg.workspace.predictions import (
    ImageState,
    PredictionLog,
    plan_images,
    prediction_key,
)
from napari_cellseg.workspace.store import ProposalStore, store_in_session

CLASSES = ClassTable.numbered(4)
RGB, TRUTH = generate_tissue((96, 96), 10, seed=1)
FOUND = replace(TRUTH, scores=np.linspace(0.9, 0.3, len(TRUTH), dtype=np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    folder.mkdir()
    for name in ("a", "b", "c"):
        tifffile.imwrite(folder / f"{name}.tif", RGB, photometric="rgb")
    return folder


@pytest.fixture
def workspace(folder: Path):
    with Sessions.of_folder(folder, user="tester") as workspace:
        workspace.set_classes(CLASSES)
        yield workspace


def states(workspace: Sessions, key: str = "k", open_image: str | None = None) -> dict[str, ImageState]:
    now = {} if open_image is None else {open_image: workspace.summary(open_image)}
    return {image.file.image_id: image.state for image in drive(plan_images(workspace.project, key, now))}


def predict(workspace: Sessions, image_id: str, key: str = "k") -> bool:
    if workspace.is_open(image_id):
        is_saved = store_in_session(workspace, image_id, FOUND, "lite")
    else:
        store = ProposalStore(workspace.project)
        is_saved = store.put(image_id, FOUND, "lite", dict.fromkeys(CLASSES.class_ids, 0.5))
    if is_saved:
        PredictionLog(workspace.project.folder).note(workspace.project.file(image_id), key, "lite", len(FOUND))
    return is_saved


def test_proposals_of_an_image_that_is_not_open_are_saved_with_the_minimum_scores(workspace):
    assert predict(workspace, "a")
    annotations = workspace.read("a")
    assert len(annotations.cells) == len(FOUND)
    assert len(annotations.shown()) == (FOUND.scores >= 0.5).sum() < len(FOUND)
    assert not workspace.is_open("a")
    assert not list(workspace.project.state_folder.glob("journal/*.jsonl"))


def test_what_is_done_is_known_after_the_viewer_was_killed(workspace, folder):
    assert set(states(workspace).values()) == {ImageState.TO_DO}
    predict(workspace, "a")
    predict(workspace, "b")
    workspace.close()
    log = PredictionLog(folder)
    log.path.write_bytes(log.path.read_bytes()[:-20])  # cut off while the last line was written

    with Sessions.of_folder(folder) as again:
        assert states(again) == {"a": ImageState.PREDICTED, "b": ImageState.TO_DO, "c": ImageState.TO_DO}
        predict(again, "b")
        assert states(again)["b"] is ImageState.PREDICTED
        assert [json.loads(line)["image_id"] for line in log.path.read_bytes().splitlines()[::2]] == ["a", "b"]


def test_another_model_another_image_or_annotations_that_are_gone_make_it_to_do_again(workspace, folder):
    for name in "abc":
        predict(workspace, name)
    assert set(states(workspace, key="other").values()) == {ImageState.TO_DO}
    tifffile.imwrite(folder / "b.tif", RGB[::-1], photometric="rgb", compression="zlib")
    forget_annotations(workspace, "c")
    assert states(workspace) == {"a": ImageState.PREDICTED, "b": ImageState.TO_DO, "c": ImageState.TO_DO}


def test_a_failure_is_to_do_again_and_told(workspace):
    entry = PredictionLog(workspace.project.folder).note(workspace.project.file("a"), "k", "lite", problem="cut off")
    assert states(workspace)["a"] is ImageState.TO_DO
    assert PredictionLog(workspace.project.folder).entries()["a"] == entry


def test_cells_a_person_decided_about_stay_and_their_image_is_told_apart(workspace):
    predict(workspace, "a")
    session = workspace.open_session("a", FOUND.image_size)
    kept, gone = session.accept([1]), session.reject([2])
    assert kept
    assert gone
    mask = session.cells[1].mask
    workspace.save("a")
    workspace.close_session("a")

    assert states(workspace, key="other")["a"] is ImageState.REVIEWED
    predict(workspace, "a", key="other")
    cells = {cell.cell_id: cell for cell in workspace.read("a").cells}
    assert cells[1].status is Status.ACCEPTED
    np.testing.assert_array_equal(cells[1].mask, mask)
    assert cells[2].status is Status.REJECTED


def test_labels_on_disk_are_a_persons_work(tmp_path):
    from napari_cellseg.images.samples import write_training_folder

    write_training_folder(tmp_path, 1, (64, 64), seed=0)
    with Sessions.of_folder(tmp_path / "train") as labelled:
        assert set(states(labelled).values()) == {ImageState.GIVEN}
        labelled.open_session("tissue_01", (64, 64))
        labelled.save("tissue_01")
        labelled.close_session("tissue_01")
        assert set(states(labelled).values()) == {ImageState.GIVEN}, "also when it was opened and saved"


def test_edits_that_were_never_saved_are_not_touched(workspace):
    predict(workspace, "a")
    session = workspace.open_session("a", FOUND.image_size)
    session.accept([1])
    assert states(workspace, open_image="a")["a"] is ImageState.PREDICTED
    workspace.close_session("a")  # as a killed viewer leaves it

    assert states(workspace)["a"] is ImageState.UNSAVED
    with pytest.raises(AnnotationError, match="never saved"):
        predict(workspace, "a")
    assert recoverable(workspace.project, "a").edits == 1


def test_an_open_image_gets_the_proposals_and_its_edits_are_not_saved_for_the_person(workspace):
    predict(workspace, "a")
    session = workspace.open_session("a", FOUND.image_size)
    session.accept([1])
    assert not predict(workspace, "a")
    assert workspace.is_modified("a")
    assert session.cells[1].reviewed
    workspace.save("a")
    assert predict(workspace, "a")
    assert not workspace.is_modified("a")


def test_cells_that_do_not_fit_change_nothing(workspace):
    workspace.set_classes(ClassTable.numbered(1))
    with pytest.raises(AnnotationError, match="class"):
        predict(workspace, "a")
    assert workspace.read("a") is None
    assert recoverable(workspace.project, "a") is None


def test_the_key_knows_what_changes_the_result():
    options = {"tile": 512, "device": "cpu", "batch": 1, "precision": "auto", "checkpoint": "x"}
    key = prediction_key("abc", options, None)
    assert key == prediction_key("abc", {**options, "device": "cuda", "batch": 4, "checkpoint": "y"}, None)
    others = [
        prediction_key("abd", options, None),
        prediction_key("abc", {**options, "tile": 256}, None),
        prediction_key("abc", options, 0.25),
    ]
    assert len({key, *others}) == 4
