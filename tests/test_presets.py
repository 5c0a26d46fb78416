"""The table of presets: the command trains, and the dock offers, every row."""

from __future__ import annotations

import pytest
from command_cases import write_labelled

from napari_cellseg.cli import main
from napari_cellseg.gui.train.form import TrainForm
from napari_cellseg.model.presets import PRESETS
from training.config import TrainConfig

EACH = pytest.mark.parametrize("name", PRESETS)


@EACH
@pytest.mark.parametrize("more", [[], ["--as-is"]])
def test_the_command_trains_each(tmp_path, capsys, name, more):
    for number in (1, 2):
        write_labelled(tmp_path / "data" / f"x{number}", number)
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--preset", name]
    assert main(["train", *arguments, "--start-from", "random", "--dry-run", *more]) == 0
    text = capsys.readouterr().out
    config = TrainConfig.from_yaml(text[text.index("name:") :])
    assert config.name == name
    assert config.model.backbone.name == PRESETS[name].network["backbone"]["name"]


def test_the_dock_offers_each_with_its_tip(qtbot):
    form = TrainForm()
    qtbot.addWidget(form)
    box = form.preset
    offered = {box.itemText(i): box.itemData(i, 3) for i in range(box.count())}  # 3: the tooltip's role
    assert offered == {name: preset.tip for name, preset in PRESETS.items()}


@EACH
def test_every_preset_says_what_it_is_for(name):
    assert PRESETS[name].tip
