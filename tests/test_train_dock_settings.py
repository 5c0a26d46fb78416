"""The settings of *Train*, and the equivalent command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace

import pytest
from train_window import classes_of, tissue_folder

from napari_cellseg.commands.train import add_parser, config_of
from napari_cellseg.gui.train.form import TrainForm
from napari_cellseg.gui.train.settings import command_line, epoch_seconds, fitted, remember_speed, start_hint
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.images.statistics import PictureFacts
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header
from training.config import TrainConfig
from training.report import scan

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shlex reads lines of POSIX shells")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tissue_folder(tmp_path_factory.mktemp("my data"))


@pytest.fixture(scope="module")
def report(data):
    return scan(data)


def parsed(line: str) -> tuple[argparse.Namespace, TrainConfig]:
    """Read a command line as the program would, without training."""
    program, *words = shlex.split(line)
    assert program == "napari-cellseg"
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(words)
    return options, config_of(options, None)  # type: ignore[arg-type] - no progress to show


@pytest.mark.parametrize("preset", ["lite", "reference", "seresnextaa101d", "original"])
@pytest.mark.parametrize("start", ["imagenet", "bundled"])
def test_the_command_line_has_the_same_settings(data, report, tmp_path, preset, start):
    header = read_header(bundled()) if start == "bundled" else None
    config = fitted(report, preset, start, header).with_changes(
        epochs=7, device="cpu", augment__stain=0.0, stopping__patience=None, data__groups=tmp_path / "my groups.csv"
    )
    options, again = parsed(command_line(config, data, tmp_path / "a run"))
    assert again == config
    assert (options.data, options.out, options.resume) == (data, tmp_path / "a run", False)


def test_classes_without_a_file_that_names_them_are_on_the_command_line(tmp_path):
    folder = tissue_folder(tmp_path)
    (tmp_path / "classes.json").unlink()
    names = classes_of(["rund & groß", "länglich", "細胞", "it's one"])
    config = fitted(scan(folder, names), "lite", "random", None)
    _, again = parsed(command_line(config, folder, tmp_path / "run"))
    assert again.classes.names == names.names
    assert again == config


def test_resuming_takes_the_settings_of_the_run(data, report, tmp_path):
    config = fitted(report, "lite", "imagenet", None).with_changes(epochs=9)
    config.save(tmp_path / "config.yaml")
    options, again = parsed(command_line(config, data, tmp_path, resume=True))
    assert options.resume
    assert again == config


def test_going_on_from_a_model_keeps_its_network_but_for_classes_and_scale(report):
    header = read_header(bundled())
    plain, config = fitted(report, "lite", "imagenet", None), fitted(report, "lite", "bundled", header)
    assert config.model.rpn == header.config.rpn
    assert config.model.backbone == header.config.backbone
    assert config.model.working_scale == plain.model.working_scale
    assert config.classes == report.classes
    assert config.start_from == "bundled"


def test_what_is_odd_about_the_first_model_is_said():
    header = read_header(bundled())
    assert start_hint(None, TISSUE_CLASSES, "lite", "x") == ""
    assert start_hint(header, TISSUE_CLASSES, "lite", "x") == ""
    assert "class layer starts at random" in start_hint(header, classes_of(["a", "b"]), "lite", "x")
    assert "learns the new names" in start_hint(header, classes_of("abcd"), "lite", "x")
    assert "network is the model's (lite)" in start_hint(header, TISSUE_CLASSES, "reference", "x")
    assert "may be too high" in start_hint(header, TISSUE_CLASSES, "lite", "consep")


@pytest.mark.usefixtures("qtbot")
def test_the_time_of_an_epoch_is_known_after_the_first_run(report):
    config = fitted(report, "lite", "imagenet", None)
    assert epoch_seconds(config, report) is None
    remember_speed(config, report, images_per_s=2.0)
    images = round(len(report.images) * (1 - config.data.validation_fraction))
    assert epoch_seconds(config, report) == pytest.approx(images * config.data.views / 2)
    assert epoch_seconds(config.with_changes(device="cuda"), report) is None, "another device has another speed"


def test_changes_by_hand_stay_when_the_rest_is_fitted_anew(qtbot, report):
    form = TrainForm()
    qtbot.addWidget(form)
    form.set_report(report)
    form.forms[""].set_values({"epochs": 11})
    form.forms["optimizer"].set_values({"batch": 3})
    form.preset.setCurrentText("reference")
    config = form.config()
    assert (config.epochs, config.optimizer.batch, config.name) == (11, 3, "reference")
    assert config.optimizer.learning_rate == 5e-5
    assert form.forms["optimizer"].values()["learning_rate"] == 5e-5


def test_settings_that_are_not_touched_are_exactly_the_fitted_ones(qtbot, report):
    form = TrainForm()
    qtbot.addWidget(form)
    form.set_report(report)
    assert form.config() == fitted(report, "lite", form.start.value, form.start.header)


def test_every_setting_has_a_tooltip(qtbot):
    form = TrainForm()
    qtbot.addWidget(form)
    for settings in form.forms.values():
        assert all(settings.widget(name).toolTip() for name in settings.values())


def test_the_start_model_that_suits_the_images_is_picked_with_the_reason_until_the_user_chooses(qtbot, report):
    dark = replace(report, images=tuple(replace(i, picture=PictureFacts((12, 12, 12), 20, 0)) for i in report.images))
    form = TrainForm()
    qtbot.addWidget(form)
    form.set_report(dark)
    assert (form.start.value, form.start.currentText()) == ("nuclei", "nuclei (bundled)")
    assert form.hint.text().startswith("Training starts from the model nuclei. ")
    assert form.config().start_from == "nuclei"
    form.set_report(report)
    assert form.start.value == "bundled"
    assert "Training starts from" not in form.hint.text()
    form.set_report(dark)
    form.start.choose("bundled")
    assert "Training starts from" not in form.hint.text()
    form.set_report(replace(dark))
    assert form.start.value == form.config().start_from == "bundled"
    another = TrainForm()
    qtbot.addWidget(another)
    another.set_report(replace(dark))
    assert another.start.value == "bundled", "the choice is remembered"
