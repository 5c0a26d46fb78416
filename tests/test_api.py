"""The public names: what importing them costs, their examples, and that they do what the command does."""

from __future__ import annotations

import ast
import doctest
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import napari_cellseg as cs
from napari_cellseg.api import cells, predicting, runs
from napari_cellseg.cli import main
from napari_cellseg.errors import CheckpointError, ConfigError, ImageReadError

PUBLIC = {
    "CellSegError", "Cells", "ClassTable", "Model", "__version__", "evaluate", "export_cells", "load_model",
    "read_image", "train", "write_samples",
}  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cs.write_samples(tmp_path_factory.mktemp("samples") / "samples", size=160)


@pytest.fixture
def here(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a new folder that has a copy of the samples."""
    shutil.copytree(samples, tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model() -> cs.Model:
    return cs.load_model(device="cpu", precision="fp32")


def test_the_public_names_are_these():
    assert set(cs.__all__) == PUBLIC
    assert all(getattr(cs, name) is not None for name in cs.__all__)
    assert set(dir(cs)) >= PUBLIC
    with pytest.raises(AttributeError, match="predict_everything"):
        _ = cs.predict_everything


def test_type_checkers_see_every_public_name():
    tree = ast.parse(Path(cs.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared | {"__version__"} == PUBLIC


def _loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_import_loads_nothing_heavy():
    heavy = {"torch", "torchvision", "timm", "qtpy", "PyQt5", "PyQt6", "napari", "numpy", "pandas", "pydantic", "scipy"}
    assert not heavy & _loaded_after("import napari_cellseg")


@pytest.mark.parametrize("module", [cells, predicting, runs], ids=lambda module: module.__name__)
@pytest.mark.usefixtures("here")
def test_every_example_runs(module, monkeypatch):
    monkeypatch.setattr(predicting, "load_model", functools.cache(predicting.load_model))  # loaded once, not 9 times
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted >= 4


def test_every_public_function_has_an_example():
    for name in PUBLIC - {"__version__", "CellSegError", "ClassTable"}:
        assert ">>>" in getattr(cs, name).__doc__, name
    methods = [getattr(cs.Cells, name) for name in ("counts", "to_table", "to_label_image", "to_overlay")]
    assert all(">>>" in method.__doc__ for method in [*methods, cs.Model.predict])


def test_export_writes_what_the_command_writes(here, model):
    image = here / "samples/test/tissue_03.tif"
    more = ["--precision", "fp32", "--device", "cpu", "--new-ids", "--quiet", "--to", "measurements", "class-images"]
    assert main(["predict", str(image), "--out", "command", *more]) == 0
    cs.export_cells(model.predict(image), "ours", ["results", "measurements", "class-images"])
    for name in ("test-results.json", "measurements.csv"):
        assert (here / "ours" / name).read_bytes() == (here / "command" / name).read_bytes()
    assert {p.name for p in (here / "ours").rglob("*.tif")} == {p.name for p in (here / "command").rglob("*.tif")}


def test_evaluate_gives_what_the_command_gives(here, model):
    scores = cs.evaluate(model, here / "samples/train")
    line = ["evaluate", "--data", "samples/train", "--precision", "fp32", "--device", "cpu", "--json", "scores.json"]
    assert main(line) == 0
    assert json.loads((here / "scores.json").read_text()) == scores.to_json()


def test_pixels_file_and_image_give_the_same_cells(samples, model):
    path = samples / "test/tissue_03.tif"
    image = cs.read_image(path)
    tables = [model.predict(given).to_table() for given in (path, str(path), image)]
    of_pixels = model.predict(image.rgb(), image_id="tissue_03").to_table()
    for table in [*tables[1:], of_pixels]:
        assert table.equals(tables[0])


def test_the_label_image_has_the_cells_of_the_table(samples, model):
    found = model.predict(samples / "test/tissue_03.tif")
    table = found.to_table()
    label_image = found.to_label_image()
    assert label_image.dtype == np.int32
    assert set(np.unique(label_image)) - {0} <= set(table["cell_id"])
    of_class = table.loc[table["class"] == "epithelial", "cell_id"]
    assert set(np.unique(found.to_label_image("epithelial"))) - {0} <= set(of_class)
    with pytest.raises(ConfigError, match="no class 'tumour'"):
        found.to_label_image("tumour")


def test_pixels_without_a_file_are_exported_with_their_measurements(tmp_path, samples, model):
    rgb = cs.read_image(samples / "test/tissue_03.tif").rgb()
    found = [model.predict(rgb, image_id=name) for name in ("a", "b")]
    files = cs.export_cells(found, tmp_path, ["measurements", "overlays"])
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "overlays/a.png", "overlays/b.png", "measurements.csv",
    ]  # fmt: skip
    assert (tmp_path / "measurements.csv").read_text("utf-8-sig").count("\n") == 1 + len(found[0]) + len(found[1])


def test_mistakes_are_named(tmp_path, samples, model):
    path = samples / "test/tissue_03.tif"
    with pytest.raises(CheckpointError, match="no model 'best'"):
        cs.load_model("best")
    with pytest.raises(ImageReadError, match=r"missing\.tif"):
        model.predict(tmp_path / "missing.tif")
    with pytest.raises(ImageReadError, match=r"shape \(3, 4, 5, 6\)"):
        model.predict(np.zeros((3, 4, 5, 6)))
    with pytest.raises(ConfigError, match="there is no such setting"):
        model.predict(path, threshold=0.5)
    with pytest.raises(ConfigError, match="only the scale is used"):
        model.predict(path, pixel_size_um=0.5, scale=2)
    with pytest.raises(ConfigError, match="the first number must be below"):
        cs.read_image(path, limits=(9, 1))
    with pytest.raises(ConfigError, match="no run to resume"):
        cs.train(samples / "train", tmp_path / "none", resume=True)
    found = model.predict(path)
    with pytest.raises(ConfigError, match="no export format 'csv'"):
        cs.export_cells(found, tmp_path, "csv")
    with pytest.raises(ConfigError, match="different classes or minimum scores"):
        cs.export_cells([found, model.predict(path, min_score=0.5)], tmp_path)
    with pytest.raises(ConfigError, match="list is empty"):
        cs.export_cells([], tmp_path)


def test_a_run_can_be_stopped_and_resumed(here):
    class Enough(Exception):
        pass

    def stop_at_two(event):
        if getattr(event, "step", 0) == 2:
            raise Enough

    settings = {"max_steps": 3, "augment__crop": 64, "data__validation_fraction": 0, "stopping__monitor": "train_loss"}
    with pytest.raises(Enough):
        cs.train("samples/train", "run", progress=stop_at_two, **settings)
    assert cs.train("samples/train", "run", resume=True).checkpoint == Path("run/best.safetensors")
    assert cs.load_model(here / "run/best.safetensors").classes.names[0] == "other"
