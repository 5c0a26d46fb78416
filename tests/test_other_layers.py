"""With the wheel installed, napari saves and opens foreign layers and files as without it."""

from __future__ import annotations

import json
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import npe2
import pytest
from package_environment import environment_without_us, install_wheel, plain

import napari_cellseg

ROOT = Path(__file__).resolve().parents[1]
GENERIC = ("a.tif", "a.tiff", "a.TIF", "a.json", "class1.tif", "image.tif", "a.png", "a.csv", "a.geojson", "a.zip", "a")


def test_the_manifest_claims_no_file_that_others_may_mean() -> None:
    manifest = npe2.PluginManifest.from_file(Path(napari_cellseg.__file__).with_name("napari.yaml"))
    contributions = manifest.contributions
    assert not contributions.writers, "Export writes; napari's Save belongs to all layers"
    for reader in contributions.readers:
        assert not reader.accepts_directories
        assert not [name for name in GENERIC for pattern in reader.filename_patterns if fnmatch(f"/x/{name}", pattern)]


def run(python: Path, script: str, folder: Path) -> dict[str, dict[str, object]]:
    (folder / "files").mkdir(parents=True)
    environment = plain() | {"QT_QPA_PLATFORM": "offscreen", "NAPARI_CONFIG": str(folder / "settings.yaml")}
    done = subprocess.run(
        [python, script, folder / "files"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])


@pytest.mark.slow
def test_napari_saves_and_opens_the_same_with_the_wheel_installed(tmp_path: Path) -> None:
    python = environment_without_us(tmp_path / "venv")
    before = run(python, str(ROOT / "tests" / "save_other_layers.py"), tmp_path / "without")
    install_wheel(tmp_path, python)
    check = (
        "import importlib.metadata as m, napari_cellseg; print(m.version('napari-cellseg'), napari_cellseg.__file__)"
    )
    shown = subprocess.run([python, "-c", check], cwd=tmp_path, env=plain(), capture_output=True, text=True, check=True)
    assert str(tmp_path / "venv") in shown.stdout
    names = "import npe2; p = npe2.PluginManager.instance(); p.discover(); print(p.get_manifest('napari-cellseg').name)"
    known = subprocess.run([python, "-c", names], cwd=tmp_path, env=plain(), capture_output=True, text=True, check=True)
    assert known.stdout.strip() == "napari-cellseg"

    after = run(python, str(ROOT / "tests" / "save_other_layers.py"), tmp_path / "with")

    assert {name: after[name] for name in before if after[name] != before[name]} == {}
    assert any(found["files"].get("seg.tif") for found in after.values())
