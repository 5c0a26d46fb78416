from __future__ import annotations

import pytest

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.model.presets import PRESETS
from training.config import TrainConfig

CLASSES = ClassTable(("other", "epithelial"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_yaml(name: str) -> None:
    config = TrainConfig.preset(name, CLASSES)
    assert TrainConfig.from_yaml(config.to_yaml()) == config
    assert config.name == name
    assert config.classes == CLASSES


def test_saved_settings_load_as_they_were(tmp_path) -> None:
    config = TrainConfig.preset("lite", CLASSES).with_changes(data__groups=tmp_path / "gruppen ü.csv")
    config.save(tmp_path / "config.yaml")
    assert TrainConfig.load(tmp_path / "config.yaml") == config


def test_original_is_the_recipe_of_the_original_work() -> None:
    config = TrainConfig.preset("original", CLASSES)
    optimizer, augment = config.optimizer, config.augment
    assert (optimizer.learning_rate, optimizer.weight_decay, optimizer.batch) == (5e-5, 5e-4, 1)
    assert (config.epochs, config.stopping.patience, config.stopping.monitor) == (150, 10, "train_loss")
    assert (config.data.chunks, config.data.views, config.data.repeats) == (10, 1, 1)
    assert (augment.flip, augment.quarter_turn, augment.shift_scale_rotate) == (0.5, 0.5, 0.5)
    assert (augment.shift, augment.scale, augment.rotate) == (0.1, 0.1, 15)
    assert (augment.brightness_contrast, augment.blur, augment.hue_saturation_value) == (0.2, 0.2, 0.2)
    assert (augment.stain, augment.class_balance, augment.crop) == (0, 0, None)
    # Stated in the preset, so that no change of a default changes it: the heads of the original work have no dropout.
    stated = PRESETS["original"].network
    assert stated["box_head"]["dropout"] == stated["mask_head"]["dropout"] == 0
    assert config.model.detection.per_image == 100


def test_all_wrong_settings_are_named_at_once() -> None:
    data = TrainConfig.preset("lite", CLASSES).model_dump()
    data["optimizer"]["learning_rate"] = -1
    data["optimizer"]["momentum"] = 0.9
    data["augment"]["flip"] = 2
    with pytest.raises(ConfigError) as caught:
        TrainConfig.parse(data)
    for name in ("optimizer.learning_rate", "optimizer.momentum", "augment.flip"):
        assert name in str(caught.value)


def test_changes_are_checked_and_unknown_names_refused() -> None:
    config = TrainConfig.preset("lite", CLASSES)
    assert config.with_changes(optimizer__batch=7, epochs=3).optimizer.batch == 7
    assert config.with_changes(model__working_scale=1.5).model.working_scale == 1.5
    for wrong in ({"optimizer__batch": 0}, {"optimiser__batch": 2}, {"epoch": 3}, {"epochs__x": 3}):
        with pytest.raises(ConfigError):
            config.with_changes(**wrong)


def test_a_validation_metric_needs_images_held_back() -> None:
    config = TrainConfig.preset("lite", CLASSES)
    with pytest.raises(ConfigError, match="validation set"):
        config.with_changes(data__validation_fraction=0.0)
    assert config.with_changes(data__validation_fraction=0.0, stopping__monitor="train_loss")


@pytest.mark.parametrize("text", ["- a\n- b\n", "epochs: [", "epochs: 3\n", ""])
def test_yaml_that_is_no_settings_file_is_a_config_error(text: str, tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        TrainConfig.load(path)


def test_a_missing_settings_file_is_a_config_error(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        TrainConfig.load(tmp_path / "missing.yaml")


def test_an_unknown_preset_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="huge"):
        TrainConfig.preset("huge", CLASSES)


def test_every_setting_has_a_description_and_numbers_have_a_range() -> None:
    for section in (TrainConfig, *(f.annotation for n, f in TrainConfig.model_fields.items() if n in _SECTIONS)):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            if field.annotation in (int, float):
                assert field.metadata, f"{section.__name__}.{name} has no range"


_SECTIONS = ("data", "augment", "optimizer", "validation", "stopping")
