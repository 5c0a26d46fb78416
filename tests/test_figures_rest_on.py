"""Figures say what they rest on."""

from __future__ import annotations

from napari_cellseg.events import EpochDone
from tests.test_training_evaluate import CLASSES, random_cells
from training.evaluate import evaluate
from training.history import RunHistory


def test_few_validation_cells_and_classes_without_any_are_named() -> None:
    history = RunHistory()
    row = {"measured/images": 1.0, "measured/cells": 1.0, "cells/class1": 1.0, "cells/class2": 0.0}
    assert history.basis_text(row, ("class1", "class2")) == (
        "Measured on 1 image with 1 cell: too few to rely on. No validation cells of class2: not measured."
    )
    assert (
        history.basis_text({"measured/images": 3.0, "measured/cells": 812.0}, ())
        == "Measured on 3 images with 812 cells."
    )
    assert history.basis_text({"ap50": 1.0}, ("class1",)) == "", "a run of an older version"


def test_the_metrics_of_an_epoch_have_the_counts() -> None:
    cells = random_cells(1, 12)
    flat = evaluate({"a": cells}, {"a": cells}, CLASSES).flat()
    assert flat["measured/cells"] == sum(flat[f"cells/{name}"] for name in CLASSES.names) == 12


def test_early_stopping_after_the_end_of_the_run_is_not_promised() -> None:
    history = RunHistory()
    history.epochs = 3
    common = {"losses": {"loss": 1.0}, "metrics": {"ap50": 0.5}, "monitor": "ap50", "is_best": True, "seconds": 1.0}
    history.take(EpochDone(epoch=1, best_epoch=1, best_value=0.5, epochs_without_improvement=0, stops_in=10, **common))
    assert history.best_text() == "best AP50 0.500 at epoch 1"
    history.epochs = 50
    assert history.best_text().endswith("stops in 10 epochs without improvement")
