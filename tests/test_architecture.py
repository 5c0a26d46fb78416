"""The rules of the code layout that import-linter cannot state."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import napari_cellseg

PACKAGE = Path(napari_cellseg.__file__).parent
HEAVY = ("torch", "torchvision", "timm", "lightning_fabric")
LIGHT = (
    "napari_cellseg.napari_hooks",
    "napari_cellseg.active_learning",
    "napari_cellseg.engine_process.client",
    "napari_cellseg.importers",
    "napari_cellseg.model.checkpoint",
    "napari_cellseg.model.config",
    "napari_cellseg.model.library",
    "training.chunks",
    "training.config",
    "training.report",
    "training.split",
    "training.suggest",
)


def _modules(folder: Path) -> list[str]:
    return sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in folder.rglob("*.py")
    )


def _loaded_after(modules: Iterable[str], unwanted: Iterable[str] = HEAVY, then: str = "") -> list[str]:
    code = (
        "import importlib, sys\n"
        f"for name in {list(modules)!r}: importlib.import_module(name)\n{then}\n"
        f"print(*(name for name in {list(unwanted)!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


def test_importing_every_gui_module_loads_no_torch():
    assert _loaded_after(_modules(PACKAGE / "gui")) == []


def test_settings_headers_reports_and_the_client_of_the_engine_load_neither_torch_nor_qt():
    # scipy.io: its compiled reader of .mat files is not safe; the package has one of its own.
    unwanted = (*HEAVY, "safetensors", "qtpy", "PyQt5", "PyQt6", "napari", "scipy.io", "scipy.io.matlab")
    use = "import napari_cellseg as cs; cs.read_image, cs.Cells, cs.train, cs.load_model, cs.export_cells\n"
    use += "from napari_cellseg.model.library import ModelLibrary; ModelLibrary().entries()"
    assert _loaded_after(LIGHT, unwanted, use) == []


def test_the_check_of_imports_can_fail():
    assert _loaded_after(["napari_cellseg.classes"], ["napari_cellseg.errors"]) == ["napari_cellseg.errors"]


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
