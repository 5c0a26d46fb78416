"""Environments that have what this one has, but not this project; and the distributions of this project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def environment_without_us(folder: Path) -> Path:
    """Make a virtual environment that sees all packages of this one, but not this project."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    links = folder / "packages"
    links.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "cellseg" not in entry.name and not entry.name.startswith("__editable__") and entry.suffix != ".pth":
            (links / entry.name).symlink_to(entry)
    (Path(own) / "packages.pth").write_text(f"{links}\n")
    return python


def install_wheel(folder: Path, python: Path) -> None:
    """Build the wheel from a copy of the sources, and unpack it as pip does."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("napari_cellseg", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, capture_output=True, env=plain())
