"""Batch on a folder with labels whose classes have no names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from batch_window import (
    RGB,
    TRUTH,
    batch_dock,
    fake_engine,
    make_folder,
    open_folder,
    predict,
    settle,
)
from napari.utils.notifications import notification_manager

from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.gui.batch.dock import BatchDock

engine = pytest.fixture(fake_engine)
dock = pytest.fixture(batch_dock)


@pytest.mark.parametrize("is_labelled", [True, False])
def test_a_folder_that_is_not_open_gets_the_models_names_and_says_what_its_labels_are_now(
    qtbot: Any, dock: BatchDock, tmp_path: Path, is_labelled: bool
) -> None:
    open_folder(qtbot, dock, make_folder(tmp_path / "open", "a"))
    other = tmp_path / "other"
    for name in ("x", "y"):
        (other / name).mkdir(parents=True)
        tifffile.imwrite(other / name / "image.tif", RGB, photometric="rgb")
    if is_labelled:
        write_class_images(other / "y", replace(TRUTH, class_ids=np.ones_like(TRUTH.class_ids)))
    dock.batch.choose_folder(other)
    settle(qtbot, dock)
    predict(qtbot, dock)
    assert dock.row.message.text().startswith("1 image" if is_labelled else "2 images")
    said = [record.message for record in notification_manager.records if "class1 is now other" in record.message]
    assert len(said) == is_labelled
