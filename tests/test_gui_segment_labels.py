"""Segment on an image that has labels: what the result says about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from segment_window import CONFIG, FOUND, GOOD, RGB, TRUTH, answer, segment

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.gui import docks
from napari_cellseg.gui.opening.class_editor import ClassEditor
from napari_cellseg.gui.review.action_table import action
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.checkpoint import CheckpointHeader


@pytest.fixture
def dock(monkeypatch: pytest.MonkeyPatch, open_dock: Any) -> Any:
    dock = open_dock(docks.Segment)
    monkeypatch.setattr(type(dock.model), "header", CheckpointHeader(name="lite", config=CONFIG))
    dock._on_model()
    return dock


def open_labelled(qtbot: Any, dock: Any, folder: Path, labels: InstanceMasks) -> Any:
    """Open an image with label images, as a training folder has them."""
    image = folder / "tissue"
    image.mkdir()
    tifffile.imwrite(image / "image.tif", RGB, photometric="rgb")
    write_class_images(image, labels)
    dock.state.set_classes(TISSUE_CLASSES)
    dock.opener.open_path(folder)
    qtbot.waitUntil(lambda: dock.state.session is not None and not dock.opener.job.is_busy, timeout=60_000)
    dock.state.set_min_scores({})
    return dock.state.session


def test_labels_without_class_names_get_those_of_the_model_with_a_warning(
    qtbot: Any, dock: Any, tmp_path: Path
) -> None:
    """The image that is segmented has no labels, but another one has those of a class of unknown name."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "image.tif", RGB, photometric="rgb")
    write_class_images(tmp_path / "b", replace(TRUTH, class_ids=np.ones_like(TRUTH.class_ids)))
    dock.opener.open_path(tmp_path)
    qtbot.waitUntil(lambda: dock.state.session is not None and not dock.opener.job.is_busy, timeout=60_000)
    assert dock.state.image_id == "a"
    segment(qtbot, dock, answer(GOOD))
    assert dock.state.classes.names == TISSUE_CLASSES.names
    (said,) = [record.message for record in notification_manager.records if "class1" in record.message]
    assert said == (
        "The labels of the folder have 1 class (class1), the model predicts 4 classes "
        "(other, inflammatory, epithelial, spindle-shaped). The folder has the model's class names now: class1 is now "
        "other. Rename them in Open if they mean another thing."
    )


def test_a_folder_with_a_class_of_another_name_is_not_segmented_and_the_reason_names_both(
    qtbot: Any, dock: Any, tmp_path: Path
) -> None:
    (tmp_path / "classes.json").write_text('["nucleus"]')
    open_labelled(qtbot, dock, tmp_path, replace(TRUTH, class_ids=np.ones_like(TRUTH.class_ids)))
    dock.state.set_classes(ClassTable(("nucleus",)))
    dock.button.click()
    text = dock.row.message.text()
    assert text.startswith("The project has 1 class (nucleus), the model predicts 4 classes (other, inflammatory, ")
    assert "Nothing was segmented, since the project lacks other, inflammatory, epithelial, spindle-shaped." in text


def test_names_taken_from_the_model_say_which_class_they_rename(dock: Any, open_dock: Any) -> None:
    opened = open_dock(docks.Open)
    editor = opened.findChild(ClassEditor)
    dock.state.set_classes(ClassTable(("nucleus", "inflammatory")))
    editor._from_model.click()
    assert dock.state.classes.names == TISSUE_CLASSES.names
    assert not editor.problem.isHidden()
    assert editor.problem.text().startswith("Renamed nucleus to other; cells and labels keep their number.")


def test_where_all_cells_are_given_the_result_says_that_they_stay(qtbot: Any, dock: Any, tmp_path: Path) -> None:
    session = open_labelled(qtbot, dock, tmp_path, TRUTH)
    labels = dict(session.cells)
    assert labels
    segment(qtbot, dock, answer(GOOD))
    text = f"0 new cells above the minimum score; {len(labels)} given cells kept, in 0:"
    assert dict(session.cells) == labels
    assert dock.row.message.text().startswith(text)
    assert dock.row.message.text().endswith("T in Review compares the model's cells with them.")
    assert action("truth").keys == ("T",)
    assert notification_manager.records[-1].message.startswith(text), "Review may be in front"


def test_new_cells_are_counted_apart_from_given_and_reviewed_ones(qtbot: Any, dock: Any, tmp_path: Path) -> None:
    some = TRUTH.select(np.arange(len(TRUTH)) % 2 == 0)
    session = open_labelled(qtbot, dock, tmp_path, some)
    kept = len(session.cells)
    session.accept([min(session.cells)])
    segment(qtbot, dock, answer(GOOD))
    new = len(session.cells) - kept
    assert 0 < new < len(FOUND)
    text = f"{new} new cells above the minimum score; {kept - 1} given and 1 reviewed cells kept, in 0:"
    assert dock.row.message.text().startswith(text)
    assert not any("new cell" in record.message for record in notification_manager.records)
