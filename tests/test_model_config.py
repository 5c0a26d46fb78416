"""Model settings: presets, validation, and JSON round trips; all without torch."""

from __future__ import annotations

import pytest

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.presets import PRESETS

CLASSES = ClassTable(("epithelial", "Lymphozyt", "細胞"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    config = ModelConfig.preset(name, CLASSES)
    again = ModelConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.classes.names == CLASSES.names


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no preset 'light'; the presets are lite, reference, seres"):
        ModelConfig.preset("light", CLASSES)


def test_every_wrong_setting_is_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        ModelConfig.parse({"classes": ["a"], "rpn": {"nms": 3}, "box_detections_per_image": 9})
    assert "box_detections_per_image: there is no such setting" in str(caught.value)
    assert "rpn.nms = 3" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rpn__anchor_sizes": ((16,), (32,))}, "2 levels, the pyramid has 4"),
        ({"rpn__anchor_sizes": ((16,), (32, 48), (64,), (128,))}, "same number"),
        ({"fpn__strides": (4, 16)}, "strides must double"),
        ({"box_head__class_weights": (1.0, 2.0)}, "needs 3 numbers"),
        ({"min_size": 800}, "go together"),
        ({"backbone__std": (0.0, 1.0, 1.0)}, "above 0"),
        ({"rpn__negative_iou": 0.9}, "not be above"),
        ({"working_scale": float("nan")}, "working_scale"),
        ({"classes": ["a", "a"]}, "used twice"),
    ],
)
def test_settings_that_do_not_fit_together(changes, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.preset("lite", CLASSES).with_changes(**changes)


def test_with_changes_reaches_nested_settings_only_by_their_names():
    config = ModelConfig.preset("lite", CLASSES)
    assert config.with_changes(rpn__nms=0.6, working_scale=1.5).rpn.nms == 0.6
    for name in ("rpn__nmss", "anchors__sizes", "name__x"):
        with pytest.raises(ConfigError, match="no"):
            config.with_changes(**{name: 1})


def test_predict_options_are_checked():
    assert PredictOptions.parse({"device": "cuda:3"}).device == "cuda:3"
    for wrong in ({"device": "gpu"}, {"tile": 100}, {"overlap": 900}, {"min_score": 2}, {"tiles": 4}):
        with pytest.raises(ConfigError, match=next(iter(wrong)) if "overlap" not in wrong else "half a tile"):
            PredictOptions.parse(wrong)
