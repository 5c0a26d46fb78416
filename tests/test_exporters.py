"""The table of exporters: both commands and the dock offer every row, and every row is documented and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_cellseg.commands.parser import make_parser
from napari_cellseg.errors import ConfigError, ExportError
from napari_cellseg.export import EXPORTERS
from napari_cellseg.export import exporters as table
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.gui import docks

EACH = pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
ROOT = Path(__file__).parents[1]


@EACH
def test_both_commands_offer_it_by_one_name(exporter):
    for command in (["export", "x"], ["predict", "x"]):
        assert make_parser().parse_args([*command, "--out", "o", "--to", exporter.name]).to == [exporter.name]


@EACH
def test_the_documentation_names_it(exporter):
    assert f"`{exporter.name}`" in (ROOT / "docs" / "file-formats.md").read_text()


def test_the_dock_offers_each_with_its_label_and_tip(open_dock):
    dock = open_dock(docks.Export)
    offered = {name: (box.text(), box.toolTip()) for name, box in dock.format_boxes.items()}
    assert offered == {exporter.name: (exporter.label, exporter.tip) for exporter in EXPORTERS}


def test_names_labels_and_tips_are_given_and_distinct():
    for field in ("name", "label", "tip"):
        values = [getattr(exporter, field) for exporter in EXPORTERS]
        assert all(values)
        assert len(set(values)) == len(values)


def test_an_unknown_name_lists_the_known_ones(capsys):
    with pytest.raises(ConfigError, match="no export format 'jpeg'; choose from results, class-images"):
        exporters_of(["jpeg"])
    with pytest.raises(SystemExit):
        make_parser().parse_args(["export", "x", "--out", "o", "--to", "jpeg"])
    assert "geojson" in capsys.readouterr().err


def test_a_missing_package_is_said_before_anything_is_written(monkeypatch):
    from dataclasses import replace

    lacking = replace(EXPORTERS[0], missing=lambda: "Install it with: pip install x")
    monkeypatch.setattr(table, "EXPORTERS", (lacking,))
    with pytest.raises(ExportError, match="cannot be written: Install it with: pip install x"):
        exporters_of([lacking.name])


def test_the_former_flags_of_predict_still_work():
    parsed = make_parser().parse_args(["predict", "x", "--out", "o", "--masks", "--to", "coco", "--csv", "--overlay"])
    assert parsed.to == ["class-images", "coco", "measurements", "overlays"]
    assert make_parser().parse_args(["predict", "x", "--out", "o"]).to == []
