"""The rules of the code layout that import-linter cannot state."""

from __future__ import annotations

import re
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


_STARTS = "napari_cellseg|training|gui|model|images|formats|review|workspace|export|engine_process"


def _named_in_the_map() -> set[str]:
    text = (PACKAGE.parent / "docs/architecture.md").read_text(encoding="utf-8")
    return set(re.findall(rf"`((?:{_STARTS})(?:\.\w+)+)`", text))


def _as_path(name: str) -> Path:
    full = name if name.startswith(("napari_cellseg.", "training")) else f"napari_cellseg.{name}"
    return PACKAGE.parent / full.replace(".", "/")


def test_every_module_that_the_map_names_exists():
    names = _named_in_the_map()
    paths = {name: _as_path(name) for name in names}
    assert [n for n, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").is_file())] == []
    assert len(names) > 40


def test_the_map_names_every_room():
    rooms = {path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE}
    named = {_as_path(name) for name in _named_in_the_map()}
    assert [room.name for room in rooms if room not in named] == []


def test_the_map_stays_short():
    lines = (PACKAGE.parent / "docs/architecture.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
