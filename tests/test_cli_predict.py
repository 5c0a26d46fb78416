"""``napari-cellseg predict`` through the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command_cases import SIZE, write_image, write_model

from napari_cellseg.cli import main
from napari_cellseg.formats.coco import ImageId, check_results, read_image_ids, read_results, write_image_ids
from napari_cellseg.images.samples import generate_tissue


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        write_image(tmp_path / "images" / f"x{number}.tif", number)
    return tmp_path / "images"


def predict(*arguments: Any, model: Path) -> int:
    return main(["predict", *map(str, arguments), "--checkpoint", str(model), "--device", "cpu"])


def test_results_without_ids_are_numbered_in_natural_order(
    tmp_path: Path, images: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(images, "--out", out, model=model) == 0
    ids = read_image_ids(out / "test_image_name_to_ids.json")
    assert [(image.file_name, image.id, image.size) for image in ids] == [
        ("x1.tif", 1, SIZE),
        ("x2.tif", 2, SIZE),
        ("x10.tif", 3, SIZE),
    ]
    assert check_results(out / "test-results.json", ids, 4) == []
    assert check_results(out / "test-results.zip", ids, 4) == []
    assert sum(map(len, read_results(out / "test-results.json", ids).values())) > 0
    assert "x10: " in capsys.readouterr().out
    assert main(["validate", str(out / "test-results.json"), "--ids", str(out / "test_image_name_to_ids.json")]) == 0


def test_folders_with_an_image_each_and_all_other_files(tmp_path: Path, model: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "data" / name / "image.tif")
    out = tmp_path / "out"
    assert predict(tmp_path / "data", "--out", out, "--masks", "--csv", "--overlay", "--geojson", model=model) == 0
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {
        "measurements.csv",
        "overlays/a.png",
        "overlays/b.png",
        "geojson/a.geojson",
        "training/a/image.tif",
        "training/classes.json",
        "test-results.json",
        "test-results.zip",
    } <= files
    assert any(name.startswith("training/a/class") for name in files)


def test_min_score_holds_in_every_file(tmp_path: Path, images: Path, model: Path) -> None:
    every = tmp_path / "every"
    assert predict(images, "--out", every, "--csv", model=model) == 0
    scores = sorted(row["score"] for row in json.loads((every / "test-results.json").read_text()))
    limit = round(scores[len(scores) // 2] + 1e-4, 4)
    some = tmp_path / "some"
    assert predict(images, "--out", some, "--csv", "--min-score", limit, model=model) == 0
    kept = [row["score"] for row in json.loads((some / "test-results.json").read_text())]
    assert 0 < len(kept) < len(scores)
    assert min(kept) >= limit
    assert len((some / "measurements.csv").read_text().splitlines()) == len(kept) + 1
    assert len((every / "measurements.csv").read_text().splitlines()) == len(scores) + 1


def test_the_models_own_score_limits_hold_in_all_but_the_results(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "m.safetensors", thresholds=(1.0, 1.0, 1.0, 1.0))
    assert predict(images, "--out", tmp_path / "out", "--csv", "--json", model=model) == 0
    predicted = len(json.loads((tmp_path / "out" / "test-results.json").read_text()))
    assert predicted > 0
    told = capsys.readouterr()
    assert f"3 images, 0 of {predicted} predicted cells reach score 1.00, " in told.err
    summary = json.loads(told.out)
    assert set(summary["min_scores"].values()) == {1.0}
    assert sum(sum(counts.values()) for counts in summary["predicted"].values()) == predicted
    assert not any(any(counts.values()) for counts in summary["images"].values())
    assert len((tmp_path / "out" / "measurements.csv").read_text().splitlines()) == 1


def test_given_ids_are_used(tmp_path: Path, images: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "test-results.json").write_text("mine")
    known = tuple(ImageId(f"x{n}.tif", 100 + n, *SIZE) for n in (2, 1, 10, 99))
    write_image_ids(tmp_path / "ids.json", known)
    assert predict(images, "--out", tmp_path / "out", "--ids", tmp_path / "ids.json", model=model) == 0
    replaced = f"1 file in {tmp_path / 'out'} was replaced: test-results.json (kept as test-results.json.bak)."
    assert replaced in capsys.readouterr().err
    found = read_results(tmp_path / "out" / "test-results.json", known)
    assert sorted(i for i, cells in found.items() if len(cells)) == [101, 102, 110]
    assert not (tmp_path / "out" / "test_image_name_to_ids.json").exists()


def test_ids_are_those_of_the_level_that_is_read(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture) -> None:
    folder, rgb = tmp_path / "slides", generate_tissue((128, 192), 12)[0]
    folder.mkdir()
    with tifffile.TiffWriter(folder / "s.tif") as slide:
        slide.write(rgb, photometric="rgb", tile=(64, 64), subifds=1)
        slide.write(rgb[::2, ::2].copy(), photometric="rgb", tile=(64, 64), subfiletype=1)
    half, whole = (ImageId("s.tif", 7, 64, 96),), (ImageId("s.tif", 7, 128, 192),)
    ids = tmp_path / "ids.json"
    write_image_ids(ids, half)
    options = (folder, "--level", "1", "--ids", ids, "--out")
    assert predict(*options, tmp_path / "out", model=model) == 0
    assert set(read_results(tmp_path / "out" / "test-results.json", half)) == {7}
    write_image_ids(ids, whole)
    capsys.readouterr()
    assert predict(*options, tmp_path / "other", model=model) == 2
    told = capsys.readouterr()
    assert "the image has 64 x 96 px" in told.err
    assert "cells" not in told.out  # refused before anything was computed


def test_a_plane_that_no_image_has_is_refused_before_the_model_is_loaded(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, rgb = tmp_path / "stacks", generate_tissue((96, 96), 8)[0]
    folder.mkdir()
    tifffile.imwrite(folder / "z.tif", np.stack([rgb, rgb]), photometric="rgb", metadata={"axes": "ZYXS"})
    assert predict(folder, "--plane", "9", "--out", tmp_path / "out", model=model) == 2
    told = capsys.readouterr()
    assert "it has no plane 9; there are 2, counted from 0" in told.err
    assert "model" not in told.out  # which names the device once it is loaded
    assert predict(folder, "--plane", "1", "--out", tmp_path / "out", model=model) == 0


def test_ids_may_list_each_plane(tmp_path: Path, model: Path) -> None:
    folder, rgb = tmp_path / "stacks", generate_tissue((96, 96), 8)[0]
    folder.mkdir()
    tifffile.imwrite(folder / "z.tif", np.stack([rgb, rgb]), photometric="rgb", metadata={"axes": "ZYXS"})
    ids = (ImageId("z_plane0.tif", 3, 96, 96), ImageId("z_plane1.tif", 4, 96, 96))
    write_image_ids(tmp_path / "ids.json", ids)
    options = ("--plane", "all", "--ids", tmp_path / "ids.json")
    assert predict(folder, *options, "--out", tmp_path / "out", model=model) == 0
    assert set(read_results(tmp_path / "out" / "test-results.json", ids)) == {3, 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_name": "../x1.tif"}, "not a name inside"),
        ({"id": 2}, "id 2 is used twice"),
        ({"height": 97}, "97 x 128 px (height x width)"),
        ({"file_name": "other.tif"}, "does not list the image"),
    ],
)
def test_a_wrong_id_file_stops_before_anything_is_written(
    tmp_path: Path, images: Path, model: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    rows = [{"file_name": f"x{n}.tif", "id": n, "height": SIZE[0], "width": SIZE[1]} for n in (1, 2, 10)]
    (tmp_path / "ids.json").write_text(json.dumps([rows[0] | change, *rows[1:]]))
    assert predict(images, "--out", tmp_path / "out", "--ids", tmp_path / "ids.json", model=model) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_image_is_listed_and_the_others_go_on(
    tmp_path: Path, images: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "x3.tif").write_text("no image")
    assert predict(images, "--out", tmp_path / "out", "--json", model=model) == 1
    captured = capsys.readouterr()
    assert "x3.tif: it is not a TIFF" in captured.err
    summary = json.loads(captured.out)
    assert list(summary["failed"]) == ["x3"]
    assert list(summary["images"]) == list(summary["predicted"]) == ["x1", "x2", "x10"]


def test_only_bad_images_are_a_mistake_and_nothing_is_written(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.tif"
    path.write_text("no image")
    assert predict(path, "--out", tmp_path / "out", "--quiet", model=model) == 2
    assert f"Cannot read {path}: it is not a TIFF" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.tif"], "no such file"),
        (["IMAGES", "--tile", "100"], "tile"),
        (["IMAGES", "--min-score", "3"], "min_score"),
        (["IMAGES", "--device", "cuda:99"], "no CUDA device 99"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    tmp_path: Path,
    images: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    given = [str(images) if argument == "IMAGES" else argument for argument in arguments]
    assert main(["predict", "--checkpoint", str(model), "--out", str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_pickle_as_model_is_refused(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    torch.save({"a": 1}, tmp_path / "model.pth")
    assert predict(images, "--out", tmp_path / "out", model=tmp_path / "model.pth") == 2
    assert "pickle" in capsys.readouterr().err.lower()
    assert not (tmp_path / "out").exists()


def _take_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_at_once_with_code_130_and_leaves_nothing(tmp_path: Path, model: Path) -> None:
    write_image(tmp_path / "a.tif", size=(400, 400))
    command = [sys.executable, "-m", "napari_cellseg.cli", "predict", str(tmp_path / "a.tif")]
    command += ["--out", str(tmp_path / "out"), "--checkpoint", str(model), "--device", "cpu", "--scale", "16"]
    # A runner in the background has its children ignore SIGINT; a terminal does not.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": _take_sigint}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        assert "model random on cpu" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error.strip().endswith("napari-cellseg: stopped.")
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_an_id_file_in_the_folder_is_used_and_said(tmp_path: Path, images: Path, model: Path, capsys: Any) -> None:
    write_image_ids(
        images / "test_image_name_to_ids.json", [ImageId(f"old/x{n}.tif", 40 + n, *SIZE) for n in (1, 2, 10, 11)]
    )
    assert predict(images, "--out", tmp_path / "a", model=model) == 0
    said = capsys.readouterr().err
    assert "3 of 4 images in the id file" in said
    assert "Matched by file name, in another folder: x1, x2, x10" in said
    assert "so without a row: old/x11" in said
    rows = json.loads((tmp_path / "a" / "test-results.json").read_text())
    assert {row["image_id"] for row in rows} <= {41, 42, 50}
    assert predict(images, "--out", tmp_path / "b", "--new-ids", model=model) == 0
    assert {image.id for image in read_image_ids(tmp_path / "b" / "test_image_name_to_ids.json")} == {1, 2, 3}
