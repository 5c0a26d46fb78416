"""The rules of the layout that import-linter cannot state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import napari_cellseg

PACKAGE = Path(napari_cellseg.__file__).parent
HEAVY = ("torch", "torchvision", "timm", "lightning_fabric")


def _modules(folder: Path) -> list[str]:
    return sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in folder.rglob("*.py")
    )


def _loaded_after(modules: list[str]) -> list[str]:
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


def test_importing_every_gui_module_loads_no_torch():
    assert _loaded_after(_modules(PACKAGE / "gui")) == []


def test_the_check_for_torch_can_fail():
    assert "torch" in _loaded_after(["napari_cellseg.model.network.build"])


def test_gui_imports_nothing_of_the_commands():
    importers = [
        str(path.relative_to(PACKAGE))
        for path in (PACKAGE / "gui").rglob("*.py")
        if "napari_cellseg.commands" in path.read_text(encoding="utf-8")
    ]
    assert importers == []
