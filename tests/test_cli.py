"""The command as a whole: help, validate, export, evaluate, doctor, train, demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from command_cases import SIZE, in_child, write_labelled, write_model

from napari_cellseg import __version__
from napari_cellseg.cli import main
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.coco import ImageId, read_dataset, result_rows, write_image_ids, write_results
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.workspace import Sessions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a training folder of two samples with named classes."""
    for number, name in enumerate(("a", "b")):
        write_labelled(tmp_path / "data" / "train" / name, number)
    (tmp_path / "data" / "classes.json").write_text('{"1": "w", "2": "x", "3": "y", "4": "z"}')
    return tmp_path / "data"


@pytest.fixture
def perfect(data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return results that are the true cells, and their id file."""
    images = (ImageId("a.tif", 5, *SIZE), ImageId("b.tif", 6, *SIZE))
    rows = []
    for image in images:
        folder = data / "train" / image.image_id
        rows += result_rows(to_instances(read_class_images(folder, SIZE), SIZE), image.id)
    write_image_ids(tmp_path / "ids.json", images)
    return write_results(tmp_path / "perfect", rows, images), tmp_path / "ids.json"


def test_help_and_version_are_there_without_heavy_imports() -> None:
    done = in_child(
        code="import sys; from napari_cellseg import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'numpy', 'tifffile', 'napari', 'qtpy', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr
    for name in (
        "predict",
        "train",
        "evaluate",
        "validate",
        "export",
        "experiment",
        "doctor",
        "demo",
        "samples",
        "crops",
    ):
        assert name in done.stdout
    assert in_child("--version").stdout == f"napari-cellseg {__version__}\n"


def test_no_command_and_an_unknown_option_are_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["predict", "--fly"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    capsys.readouterr()


def test_an_unexpected_error_is_shown_as_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("napari_cellseg.commands.doctor.run", fail)
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: oh" in error
    assert "Traceback" in error


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["validate", str(tmp_path / "r.json"), "--ids", str(tmp_path / "absent.json")]
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main(["--debug", *arguments]) == 2
    assert AnnotationError.__name__ in capsys.readouterr().err


# ---- validate ----


def test_validate_accepts_a_good_file(perfect: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    results, ids = perfect
    for file in (results, results.with_suffix(".zip")):
        assert main(["validate", str(file), "--ids", str(ids), "--classes", "4"]) == 0
        assert "no problem, for 2 images" in capsys.readouterr().out


def test_validate_lists_what_is_wrong_row_by_row(
    perfect: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(perfect[0].read_text())
    rows[1]["score"], rows[3]["image_id"] = 7, 77
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(rows))
    assert main(["validate", str(path), "--ids", str(perfect[1])]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["row 1: score 7 is not a number 0..1", "row 3: image_id 77 is not in the id file"]
    assert main(["validate", str(path), "--ids", str(perfect[1]), "--limit", "1"]) == 1
    assert "... and 1 more" in capsys.readouterr().out
    assert main(["validate", str(path), "--ids", str(perfect[1]), "--json"]) == 1
    assert [problem["row"] for problem in json.loads(capsys.readouterr().out)] == [1, 3]


def test_validate_finds_the_id_file_and_says_which(
    perfect: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / "test-results.json"
    path.parent.mkdir()
    path.write_bytes(perfect[0].read_bytes())
    assert main(["validate", str(path)]) == 2
    error = capsys.readouterr().err
    assert "There is no test_image_name_to_ids.json in the folder of" in error
    assert "--ids" in error
    ids = path.with_name("test_image_name_to_ids.json")
    ids.write_bytes(perfect[1].read_bytes())
    assert main(["validate", str(path)]) == 0
    assert f"Ids of {ids}" in capsys.readouterr().err


def test_validate_says_once_that_the_id_file_is_of_another_set(
    perfect: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(perfect[0].read_text())
    for row in rows:
        row["segmentation"]["size"] = [7, 7]
    rows = (rows * 15)[:15]
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(rows))
    assert main(["validate", str(path), "--ids", str(perfect[1])]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("15 of 15 rows have another image id or image size than the id file")
    assert "probably of another set" in lines[0]
    assert [line.split(":")[0] for line in lines[1:11]] == [f"row {i}" for i in range(10)]
    assert lines[11].startswith("... and 5 more")


# ---- evaluate ----


def test_evaluate_a_perfect_file(
    data: Path, perfect: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, ids = perfect
    arguments = ["--data", str(data), "--results", str(results), "--ids", str(ids), "--json", str(tmp_path / "e.json")]
    assert main(["evaluate", *arguments]) == 0
    assert "AP50" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["all_cells"]["pq"] == pytest.approx(1)
    assert [row["name"] for row in numbers["classes"]] == ["w", "x", "y", "z"]


def test_evaluate_a_model(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "m.safetensors")
    arguments = ["evaluate", "--data", str(data), "--checkpoint", str(model), "--device", "cpu"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "2 images." in captured.out
    assert "a: " in captured.err
    (data / "classes.json").write_text('["only"]')
    assert main(arguments) == 2
    assert "knows 4 classes" in capsys.readouterr().err


def test_unnamed_classes_may_be_fewer_in_the_data_than_in_the_results(
    data: Path, perfect: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "classes.json").unlink()
    for file in data.glob("train/*/class[34].tif"):
        file.unlink()
    arguments = ["evaluate", "--data", str(data), "--results", str(perfect[0]), "--ids", str(perfect[1])]
    assert main(arguments) == 0
    assert "class4" in capsys.readouterr().out
    (data / "classes.json").write_text('["x", "y"]')
    assert main(arguments) == 2
    assert "there are 2 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--results", "r.json"], "needs --ids"),
        (["--results", "r.json", "--ids", "i", "--checkpoint", "m"], "not both"),
    ],
)
def test_evaluate_with_half_of_the_options_is_a_mistake(
    data: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(["evaluate", "--data", str(data), *more]) == 2
    assert message in capsys.readouterr().err


# ---- export ----


def test_a_training_folder_becomes_coco_and_comes_back(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(data), "--out", str(tmp_path / "1"), "--to", "coco", "results", "class-images"]) == 0
    assert "2 images, 0 without cells, 0 problems" in capsys.readouterr().out
    dataset = read_dataset(tmp_path / "1" / "coco.json")
    assert dataset.classes.names == ("w", "x", "y", "z")
    for image in dataset.images:
        expected = read_class_images(data / "train" / image.image_id)
        again = read_class_images(tmp_path / "1" / "training" / image.image_id)
        assert set(again) == set(expected)
        for class_id, label_image in expected.items():
            np.testing.assert_array_equal(again[class_id] > 0, label_image > 0)
    coco = tmp_path / "1" / "training" / "coco.json"
    coco.write_bytes((tmp_path / "1" / "coco.json").read_bytes())
    assert main(["export", str(coco), "--out", str(tmp_path / "2"), "--to", "class-images"]) == 0
    for file in sorted((tmp_path / "1" / "training").glob("*/class*.tif")):
        assert (tmp_path / "2" / "training" / file.parent.name / file.name).read_bytes() == file.read_bytes()


def test_results_become_a_training_folder(data: Path, perfect: tuple[Path, Path], tmp_path: Path) -> None:
    results, ids = perfect
    arguments = ["--ids", str(ids), "--images", str(data / "train"), "--out", str(tmp_path / "o")]
    assert main(["export", str(results), *arguments, "--to", "class-images", "measurements", "overlays"]) == 0
    for name in ("a", "b"):
        expected = to_instances(read_class_images(data / "train" / name, SIZE), SIZE)
        found = to_instances(read_class_images(tmp_path / "o" / "training" / name, SIZE), SIZE)
        assert len(found) == len(expected)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        assert (tmp_path / "o" / "overlays" / f"{name}.png").exists()


def test_a_reviewed_folder_is_exported_as_it_was_saved(data: Path, tmp_path: Path) -> None:
    folder = data / "train"
    with Sessions.of_folder(folder, user="me") as workspace:
        session = workspace.open_session("a", SIZE)
        session.reject([min(session.cells)])
        workspace.save("a")
        left = len(session.cells) - 1
    assert main(["export", str(folder), "--out", str(tmp_path / "o"), "--to", "results", "geojson"]) == 0
    rows = json.loads((tmp_path / "o" / "test-results.json").read_text())
    assert sum(row["image_id"] == 1 for row in rows) == left
    assert len(json.loads((tmp_path / "o" / "geojson" / "a.geojson").read_text())["features"]) == left


def test_export_of_results_alone_says_what_is_missing(
    perfect: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(perfect[0]), "--out", str(tmp_path / "o"), "--to", "coco"]) == 2
    assert "--ids FILE and --images DIR" in capsys.readouterr().err


def test_an_annotation_left_out_of_an_export_counts_as_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    tifffile.imwrite(tmp_path / "set" / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    rings = [[5, 5, 20, 5, 20, 1e300, 5, 20]], [[5, 5, 20, 5, 20, 20, 5, 20]]
    row = {"image_id": 1, "category_id": 1}
    dataset = {
        "images": [{"id": 1, "file_name": "a.tif", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{**row, "id": i, "segmentation": each} for i, each in enumerate(rings)],
    }
    (tmp_path / "set" / "coco.json").write_text(json.dumps(dataset))
    assert main(["export", str(tmp_path / "set" / "coco.json"), "--out", str(tmp_path / "o"), "--to", "coco"]) == 1
    said = capsys.readouterr()
    assert "1 of 2 annotations left out: a polygon has the coordinate 1e+300" in said.err
    assert "1 image, 0 without cells, 1 problem, 1 cell" in said.out


def test_files_of_an_earlier_run_are_replaced_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "samples"
    assert main(["samples", "--out", str(out), "--images", "1", "--size", "64"]) == 0
    assert main(["samples", "--out", str(out), "--images", "1", "--size", "64"]) == 0
    assert "replaced" not in capsys.readouterr().err, "the same files again"
    changed = out / "classes.json"
    changed.write_text('{"1": "mine"}')
    assert main(["samples", "--out", str(out), "--images", "1", "--size", "32"]) == 0
    said = capsys.readouterr().err
    assert f"files in {out} were replaced: classes.json (kept as classes.json.bak), " in said
    assert changed.with_name("classes.json.bak").read_text() == '{"1": "mine"}'


# ---- doctor, train, demo ----


def test_a_torchvision_of_another_build_is_named_with_the_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")\n')
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom napari_cellseg.cli import main\n"
        "print(main(['doctor']), main(['demo', '--no-viewer', '--out', 'demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.splitlines()[-1] == "1 2"
    assert "PROBLEM  torchvision does not load" in done.stdout
    assert "Install both from the same index" in done.stderr
    assert "bug" not in done.stderr


def test_doctor_knows_the_machine_and_imports_no_qt() -> None:
    done = in_child(
        code="import sys; from napari_cellseg import cli\ncode = cli.main(['doctor', '--json'])\n"
        "qt = [m for m in sys.modules if m.startswith(('PyQt', 'PySide', 'qtpy', 'napari.'))]\n"
        "assert not qt, qt\nsys.exit(code)"
    )
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["problems"] else 0)
    assert "LZW" in found["facts"]["codecs"]
    assert found["facts"]["device"]
    assert found["facts"]["torch"] != "missing"


def test_train_shows_its_settings_and_checks_the_data(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*arguments, "--seed", "5", "--set", "optimizer.batch=3", "data.views=2"]) == 0
    output = capsys.readouterr().out
    assert "seed: 5" in output
    assert "batch: 3" in output
    assert not (tmp_path / "run").exists()
    assert main([*arguments, "--set", "optimizer.nonsense=3"]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main([*arguments, "--set", "x"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
    assert main(["train", "--data", str(tmp_path / "absent"), "--out", str(tmp_path / "run")]) == 2
    assert "no data folder" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 2
    assert "no run to resume" in capsys.readouterr().err


def test_train_starts_from_a_model_that_knows_nuclei_and_takes_its_network(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def settings(*more: str) -> dict[str, Any]:
        assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), "--dry-run", *more]) == 0
        text = capsys.readouterr().out
        found: dict[str, Any] = yaml.safe_load(text[text.index("name:") :])
        return found

    usual, network = settings(), read_header(bundled()).config
    assert usual["start_from"] == "bundled"
    assert usual["model"]["box_head"]["iou_score"] == network.box_head.iou_score
    assert tuple(map(tuple, usual["model"]["rpn"]["anchor_sizes"])) == network.rpn.anchor_sizes
    assert "w" in json.dumps(usual["model"]["classes"])
    own = write_model(tmp_path / "own.safetensors")
    assert settings("--start-from", str(own))["model"]["backbone"]["name"] == "test_resnet"
    assert settings("--set", "model.backbone.name=test_resnet")["start_from"] == "imagenet"
    assert settings("--preset", "original")["start_from"] == "imagenet"
    assert settings("--as-is")["start_from"] == "imagenet"
    assert settings("--start-from", "random")["start_from"] == "random"


SMALL = [
    "--as-is",
    "--start-from",
    "random",
    "--batch",
    "1",
    "--monitor",
    "train_loss",
    "--set",
    "data.validation_fraction=0",
    "data.views=1",
    "model.backbone.name=test_resnet",
    "model.fpn.channels=16",
    "model.box_head.hidden=16",
    "model.mask_head.channels=8",
    "model.working_scale=1.0",
    "augment.crop=96",
    "data.chunks=2",
]


def test_train_prints_a_data_warning_once(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--device", "cpu", "--epochs", "1"]
    small = [word for word in SMALL if word != "--as-is"]
    assert main([*arguments, "--max-steps", "1", *small]) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert warnings
    assert len(warnings) == len(set(warnings))


def test_train_runs_and_goes_on(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*arguments, "--epochs", "1", *SMALL]) == 0
    output = capsys.readouterr().out
    assert "epoch 1: loss" in output
    assert (tmp_path / "run" / "best.safetensors").exists()
    assert main([*arguments, "--resume", "--epochs", "2"]) == 0
    assert "epoch 2: loss" in capsys.readouterr().out


def test_experiment_compares_its_variants(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["experiment", "--data", str(data), "--out", str(tmp_path / "e"), "--device", "cpu", "--epochs", "1"]
    assert main([*arguments, *SMALL, "--vary", "augment.enabled=true,false"]) == 0
    assert "enabled=False" in capsys.readouterr().out
    assert {"results.csv", "results.txt", "curves.png"} <= {path.name for path in (tmp_path / "e").iterdir()}
    assert main([*arguments, *SMALL, "--vary", "augment.enabled=true,true"]) == 2
    assert "give each value once" in capsys.readouterr().err


def test_demo_writes_everything_and_needs_no_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    model = write_model(tmp_path / "m.safetensors")
    out = tmp_path / "demo"
    journal = out / "images" / ".cellseg" / "journal" / "ihc.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("left by a demo that was killed")
    assert main(["demo", "--out", str(out), "--checkpoint", str(model), "--device", "cpu"]) == 0
    assert not journal.exists()
    assert (out / "images" / ".cellseg.bak" / "journal" / "ihc.jsonl").exists()
    for name in ("test-results.json", "test-results.zip", "measurements.csv", "table.txt", "overlays/ihc.png"):
        assert (out / name).stat().st_size > 0
    output = capsys.readouterr().out
    assert (out / "table.txt").read_text() in output
    assert "No screen was found" in output
