"""``evaluate --class-blind``: cells are compared alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_cases import SIZE, write_labelled, write_model

from napari_cellseg.cli import main
from napari_cellseg.formats.coco import ImageId, result_rows, write_image_ids
from napari_cellseg.formats.label_images import read_class_images, to_instances


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_labelled(tmp_path / "data" / "train" / "a")
    (tmp_path / "data" / "classes.json").write_text('["v", "w", "x", "y", "z"]')
    return tmp_path / "data"


def test_right_cells_of_the_wrong_class_are_right(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = result_rows(to_instances(read_class_images(data / "train" / "a", SIZE), SIZE), 5)
    wrong = [{**row, "category_id": 1 + row["category_id"] % 4} for row in rows]
    (tmp_path / "r.json").write_text(json.dumps(wrong))
    write_image_ids(tmp_path / "ids.json", (ImageId("a.tif", 5, *SIZE),))
    arguments = ["--data", str(data), "--results", str(tmp_path / "r.json"), "--ids", str(tmp_path / "ids.json")]
    for more, classes, ap50 in (([], 5, 0), (["--class-blind"], 1, 1)):
        assert main(["evaluate", *arguments, "--json", str(tmp_path / "e.json"), *more]) == 0
        numbers = json.loads((tmp_path / "e.json").read_text())
        assert len(numbers["classes"]) == classes
        assert numbers["mean"]["ap50"] == pytest.approx(ap50, abs=0.01)
        assert ("all classes count as one" in capsys.readouterr().out) == bool(more)


def test_a_model_of_other_classes_can_be_judged(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "m.safetensors", thresholds=(0.2, 0.4, 0.4, 0.2))
    arguments = ["evaluate", "--data", str(data), "--checkpoint", str(model), "--device", "cpu"]
    assert main(arguments) == 2
    assert "knows 4 classes" in capsys.readouterr().err
    assert main([*arguments, "--class-blind", "--json", str(tmp_path / "e.json")]) == 0
    (only,) = json.loads((tmp_path / "e.json").read_text())["classes"]
    assert only["name"] == "cell"
    assert only["min_score"] == pytest.approx(0.3)
