"""Command-line options made from the settings classes: flags, types and values equal the earlier, hand-written ones."""

from __future__ import annotations

import pickle
import runpy
from pathlib import Path

import pytest

from napari_cellseg import __version__
from napari_cellseg.batch import predict_command
from napari_cellseg.cli import main
from napari_cellseg.commands.options import given
from napari_cellseg.commands.parser import make_parser
from napari_cellseg.commands.predict import prediction_options
from napari_cellseg.commands.train import _train_flags
from napari_cellseg.errors import ConfigError
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.flags import flags_of, given_flags


def test_help_keeps_names_and_says_what_an_off_flag_does(capsys: pytest.CaptureFixture[str]) -> None:
    def help_of(command: str) -> str:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        return " ".join(capsys.readouterr().out.split())

    assert "--nms X IoU above which" in help_of("predict")
    assert "--no-augment do not augment the images; only random crops remain" in help_of("train")


PREDICT = [
    ("--checkpoint=m.safetensors", {"checkpoint": Path("m.safetensors")}),
    ("--device=cuda:1", {"device": "cuda:1"}),
    ("--tile=512", {"tile": 512}),
    ("--overlap=64", {"overlap": 64}),
    ("--scale=1.5", {"scale": 1.5}),
    ("--nms=0.4", {"nms": 0.4}),
    ("--batch=2", {"batch": 2}),
    ("--precision=bf16", {"precision": "bf16"}),
    ("--runtime=openvino", {"runtime": "openvino"}),
    ("--tta=on", {"test_time_augmentation": "on"}),
]
TRAIN = [
    ("--start-from=random", {"start_from": "random"}),
    ("--epochs=3", {"epochs": 3}),
    ("--max-steps=7", {"max_steps": 7}),
    ("--minutes=5", {"max_minutes": 5}),
    ("--seed=5", {"seed": 5}),
    ("--device=cpu", {"device": "cpu"}),
    ("--devices=2", {"devices": 2}),
    ("--num-nodes=3", {"num_nodes": 3}),
    ("--monitor=val_loss", {"stopping__monitor": "val_loss"}),
    ("--patience=4", {"stopping__patience": 4}),
    ("--batch=6", {"optimizer__batch": 6}),
    ("--ram-budget=512", {"data__ram_budget_mib": 512}),
    ("--no-augment", {"augment__enabled": False}),
]


@pytest.mark.parametrize(("word", "settings"), PREDICT)
@pytest.mark.parametrize("command", [["predict", "x", "--out", "o"], ["evaluate", "--data", "d"]])
def test_every_prediction_option_works_as_before(command, word, settings):
    parsed = make_parser().parse_args([*command, word])
    assert prediction_options(parsed, None) == PredictOptions(**settings)


def test_nothing_given_is_the_defaults():
    parsed = make_parser().parse_args(["predict", "x", "--out", "o"])
    assert prediction_options(parsed, parsed.min_score) == PredictOptions()
    parsed = make_parser().parse_args(["train", "--data", "d", "--out", "o"])
    assert given(parsed, _train_flags()) == {}


@pytest.mark.parametrize(("word", "settings"), TRAIN)
@pytest.mark.parametrize("command", ["train", "experiment"])
def test_every_training_option_works_as_before(command, word, settings):
    parsed = make_parser().parse_args([command, "--data", "d", "--out", "o", word])
    assert given(parsed, _train_flags()) == settings


def test_the_lists_above_are_complete():
    assert {flag.name for flag in _train_flags()} == {word.split("=")[0] for word, _ in TRAIN}
    names = {flag.name for flag in flags_of(PredictOptions)}
    assert names == {word.split("=")[0] for word, _ in PREDICT} | {"--min-score"}


def test_every_field_of_prediction_has_its_place_on_the_command_line():
    other = PredictOptions(
        checkpoint=Path("a b.safetensors"),
        device="cpu",
        tile=256,
        overlap=0,
        scale=2.0,
        min_score=0.3,
        nms=0.6,
        batch=3,
        precision="fp32",
        runtime="openvino",
        test_time_augmentation="off",
    )
    default = PredictOptions()
    assert all(getattr(other, name) != getattr(default, name) for name in PredictOptions.model_fields), "a new field"
    assert len(given_flags(other)) == len(PredictOptions.model_fields)
    _, *arguments = predict_command(other, Path("/images"), Path("/out"))
    parsed = make_parser().parse_args(arguments)
    assert prediction_options(parsed, parsed.min_score) == other


@pytest.mark.parametrize("command", ["predict", "train", "evaluate"])
def test_the_help_of_each_flag_is_the_description_of_its_field(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for flag in _train_flags() if command == "train" else flags_of(PredictOptions):
        if flag.setting == "min_score" and command == "evaluate":
            continue  # there it is a limit of the counts
        assert flag.name in text
        if flag.setting == "checkpoint" and command != "train":
            assert "(default: the bundled one that suits the images)" in text  # a command picks the model by the images
            continue
        assert (flag.help[1:].replace("; when off, ", "; ") if flag.off else flag.help[1:]) in text


def test_values_of_a_wrong_type_or_range_are_refused(capsys):
    for word in ("--tile=big", "--precision=int4"):
        with pytest.raises(SystemExit):
            make_parser().parse_args(["predict", "x", "--out", "o", word])
        assert word.split("=")[0] in capsys.readouterr().err
    parsed = make_parser().parse_args(["predict", "x", "--out", "o", "--tile=100"])
    with pytest.raises(ConfigError, match="tile = 100"):
        prediction_options(parsed, None)


def test_chosen_fields_of_the_reading_take_precedence_one_by_one() -> None:
    trained = ReadOptions(limits=(0, 300), channels=(1,))
    assert ReadOptions().over(trained) == trained
    assert ReadOptions(plane=2).over(trained) == ReadOptions(plane=2, limits=(0, 300), channels=(1,))
    chosen = ReadOptions(plane=2).changed(limits="auto")  # as the button does: not the same as no choice
    assert chosen.over(trained) == ReadOptions(plane=2, channels=(1,))
    assert pickle.loads(pickle.dumps(chosen)).over(trained) == chosen.over(trained)


def test_the_package_runs_as_the_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["napari_cellseg", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("napari_cellseg", run_name="__main__")
    assert capsys.readouterr().out == f"napari-cellseg {__version__}\n"
