"""Which class of a project a class of a model is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from segment_window import TRUTH

from napari_cellseg.class_match import match_classes, with_class_ids
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.images.samples import TISSUE_CLASSES


def test_classes_are_matched_by_name():
    model, project = ClassTable(("b", "a")), ClassTable(("a", "x", "b"))
    match = match_classes(model, project)
    assert match == {1: 3, 2: 1}
    moved = with_class_ids(replace(TRUTH, class_ids=np.where(TRUTH.class_ids % 2, 1, 2)), match)
    assert set(moved.class_ids.tolist()) == {1, 3}


def test_classes_without_names_are_matched_by_number():
    assert match_classes(TISSUE_CLASSES, ClassTable.numbered(5)) == {i: i for i in range(1, 5)}
    with pytest.raises(ConfigError, match="the project lacks other"):
        match_classes(TISSUE_CLASSES, ClassTable.numbered(3))
