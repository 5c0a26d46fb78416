"""How the classes of a model and of annotated data are paired for a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_cases import SIZE, write_labelled, write_model

from napari_cellseg.classes import ClassTable
from napari_cellseg.cli import main
from napari_cellseg.commands.results_model import write_results_model
from napari_cellseg.errors import ConfigError
from napari_cellseg.formats.coco import ImageId, result_rows, write_image_ids
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from training.class_pairs import pair_classes, parse_class_map

MODEL = ClassTable(("round", "long", "small"))
CELLS = generate_tissue((96, 96), 12, 3)[1]


def test_the_same_names_in_another_order_are_paired_by_name() -> None:
    pairs = pair_classes(MODEL, ClassTable(("small", "round", "long")), has_names=True)
    assert dict(pairs.of_model) == {1: 2, 2: 3, 3: 1}
    assert pairs.text == "Classes are paired by name; their order differs."
    assert pairs.limits({1: 0.1, 2: 0.2, 3: 0.3}) == {2: 0.1, 3: 0.2, 1: 0.3}
    assert pair_classes(MODEL, MODEL, has_names=True).text == ""


def test_other_names_are_paired_by_number_and_the_pairs_are_said() -> None:
    pairs = pair_classes(MODEL, ClassTable(("Round", "long", "tiny")), has_names=True)
    assert dict(pairs.of_model) == {1: 1, 2: 2, 3: 3}
    assert "paired by number, since the names differ: round = Round, small = tiny (model = data)" in pairs.text
    assert pair_classes(ClassTable.numbered(3), MODEL, has_names=True).text == ""
    assert "round = class1" in pair_classes(MODEL, ClassTable.numbered(1), has_names=False).text


@pytest.mark.parametrize("names", [("nucleus",), ("long", "round", "other"), ("round", "long", "small", "more")])
def test_names_that_contradict_the_numbers_are_refused_with_both_remedies(names: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=rf"knows 3 classes .* the data has {len(names)} .*--class-map.*--class-blind"
    ):
        pair_classes(MODEL, ClassTable(names), has_names=True)


def test_a_map_takes_names_and_numbers_and_leaves_classes_out() -> None:
    chosen = parse_class_map("round=nucleus, 2=1,small=")
    pairs = pair_classes(MODEL, ClassTable(("nucleus", "dirt")), has_names=True, chosen=chosen)
    assert dict(pairs.of_model) == {1: 1, 2: 1}
    assert pairs.text.endswith("round = nucleus, long = nucleus, small is left out (model = data).")
    assert pairs.limits({1: 0.2, 2: 0.4, 3: 0.9}) == {1: pytest.approx(0.3)}
    kept = pairs.cells(CELLS)
    assert len(kept) == np.isin(CELLS.class_ids, (1, 2)).sum() < len(CELLS)
    assert set(kept.class_ids.tolist()) == {1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("round", '"round" is no pair'),
        ("round=a,round=b", "gives 'round' twice"),
        ("square=nucleus", "the model has no class 'square'; it has round, long, small"),
        ("round=cell,long=,small=", "the data has no class 'cell'; it has nucleus"),
        ("round=nucleus", "says nothing about 'long' .* Add long=TRUTH, or \"long=\" to leave"),
        ("round=,long=,small=", "leaves out all classes"),
    ],
)
def test_mistakes_in_a_map_are_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        pair_classes(MODEL, ClassTable(("nucleus",)), has_names=True, chosen=parse_class_map(text))


def test_evaluate_pairs_by_name_in_another_order_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results of a model whose classes are in the opposite order are perfect, as their names are known."""
    write_labelled(tmp_path / "data" / "train" / "a")
    names = TISSUE_CLASSES.names
    (tmp_path / "data" / "classes.json").write_text(json.dumps(names))
    rows = result_rows(to_instances(read_class_images(tmp_path / "data" / "train" / "a", SIZE), SIZE), 5)
    results = tmp_path / "r.json"
    results.write_text(json.dumps([{**row, "category_id": 5 - row["category_id"]} for row in rows]))
    write_image_ids(tmp_path / "ids.json", (ImageId("a.tif", 5, *SIZE),))
    arguments = ["evaluate", "--data", str(tmp_path / "data"), "--results", str(results), "--ids"]
    arguments += [str(tmp_path / "ids.json"), "--json", str(tmp_path / "e.json")]
    ap50 = []
    for more in ([], ["--class-map", "1=4,2=3,3=2,4=1"]):
        assert main([*arguments, *more]) == 0
        ap50.append(json.loads((tmp_path / "e.json").read_text())["mean"]["ap50"])
    assert ap50 == [pytest.approx(0, abs=0.01), pytest.approx(1)]
    assert "Classes are paired as chosen: class1 = spindle-shaped" in capsys.readouterr().out
    write_results_model(results, ClassTable(names[::-1]), {})
    assert main(arguments) == 0
    assert json.loads((tmp_path / "e.json").read_text())["mean"]["ap50"] == pytest.approx(1)
    said = capsys.readouterr().out
    assert "Classes are paired by name; their order differs." in said
    assert "DQ: F1 of cells matched by a mask IoU above 0.5." in said
    assert main([*arguments, "--class-map", "1=1", "--class-blind"]) == 2


def test_evaluate_of_a_model_names_both_ways_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_labelled(tmp_path / "data" / "train" / "a")
    (tmp_path / "data" / "classes.json").write_text('["nucleus", "b", "c", "d", "e"]')
    model = write_model(tmp_path / "m.safetensors", thresholds=(0.2, 0.4, 0.4, 0.2))
    arguments = ["evaluate", "--data", str(tmp_path / "data"), "--checkpoint", str(model), "--device", "cpu"]
    arguments += ["--tta", "off"]  # random weights: no cell is seen in several views
    assert main(arguments) == 2
    assert "Pair the classes with --class-map MODEL=TRUTH,..., or compare cells alone" in capsys.readouterr().err
    chosen = ",".join(f"{name}=nucleus" for name in TISSUE_CLASSES.names)
    assert main([*arguments, "--class-map", chosen, "--json", str(tmp_path / "e.json")]) == 0
    first, *others = json.loads((tmp_path / "e.json").read_text())["classes"]
    assert (first["name"], first["min_score"]) == ("nucleus", pytest.approx(0.3))
    assert first["found"] > 0
    assert not any(scores["found"] for scores in others)


def test_one_class_is_counted_as_one() -> None:
    with pytest.raises(ConfigError, match=r"knows 1 class \(nucleus\), the data has 2 \(a, b\)"):
        pair_classes(ClassTable(("nucleus",)), ClassTable(("a", "b")), has_names=True)
