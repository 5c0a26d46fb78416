"""``napari-cellseg doctor``: checks everything that the program needs. Imports no Qt."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_cellseg import __version__
from napari_cellseg.errors import CellSegError

__all__ = ["add_parser", "run"]

_PACKAGES = (
    "torch", "torchvision", "timm", "lightning-fabric", "safetensors", "numpy", "scipy", "scikit-image", "tifffile",
    "imagecodecs", "pycocotools", "faster-coco-eval", "pydantic", "napari", "qtpy",
)  # fmt: skip
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_CODECS = ("LZW", "DEFLATE", "ZSTD", "JPEG8", "JPEG2K", "WEBP", "LZMA", "PACKBITS")


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "doctor", help="show versions, devices, codecs and the bundled models, and what is missing"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check and print; return 1 if something is missing."""
    facts: dict[str, str] = {}
    problems: list[str] = []
    for look in (_system, _packages, _window, _devices, _codecs, _models, _unpacked):
        found, missing = look()
        facts |= found
        problems += missing
    if options.json:
        print(json.dumps({"facts": facts, "problems": problems}, indent=1, ensure_ascii=False))
        return 1 if problems else 0
    width = max(map(len, facts))
    for name, text in facts.items():
        print(f"{name:<{width}}  {text}")
    for problem in problems:
        print(f"PROBLEM  {problem}")
    print("Something is missing, see above." if problems else "All well.")
    return 1 if problems else 0


Found = tuple[dict[str, str], list[str]]


def _system() -> Found:
    import psutil

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = shutil.disk_usage(Path.home()).free / 2**30
    return {
        "napari-cellseg": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, {cores} cores",
        "disk": f"{free:.0f} GiB free in {Path.home()}",
    }, []


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _packages() -> Found:
    found = {name: _installed(name) for name in _PACKAGES}
    missing = [f"The package {name} is not installed; run: pip install {name}" for name, v in found.items() if not v]
    return {name: text or "missing" for name, text in found.items()}, missing


def _window() -> Found:
    """Find a Qt binding without importing it."""
    bindings = [f"{name} {_installed(name) or ''}".strip() for name in _BINDINGS if importlib.util.find_spec(name)]
    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    screen = "yes" if has_screen else "none found (DISPLAY is not set): the command works, the viewer needs one"
    facts = {"Qt binding": ", ".join(bindings) or "none", "screen": screen}
    missing = "No Qt binding is installed, which the viewer needs; run: pip install pyqt6"
    return facts, [] if bindings else [missing]


def _devices() -> Found:
    try:
        import torch

        from napari_cellseg.model.device import choose_device, choose_precision, torchvision_problem
    except (ImportError, OSError) as error:  # OSError: a library that torch loads is missing
        return {"device": "unknown"}, [f"PyTorch does not load: {error}"]
    device = choose_device()
    facts = {"device": f"{device.name} ({device.reason}), precision {choose_precision(device)}"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        facts[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    problem = torchvision_problem()
    return facts, [problem] if problem else []


def _codecs() -> Found:
    try:
        import imagecodecs
    except ImportError as error:
        return {"codecs": "unknown"}, [f"imagecodecs does not load: {error}"]
    there = [name for name in _CODECS if getattr(imagecodecs, name).available]
    missing = [
        f"imagecodecs lacks {name}; TIFFs packed with it cannot be read" for name in _CODECS if name not in there
    ]
    return {"codecs": ", ".join(there)}, missing


def _unpacked() -> Found:
    from napari_cellseg.importers.unpacked_cache import MOST_BYTES, MOST_DAYS, cache_folder, unpacked_folders

    total = sum(folder.size_bytes for folder in unpacked_folders())
    bounds = f"removed after {MOST_DAYS} days without use, the oldest above {MOST_BYTES / 2**30:.0f} GiB"
    return {"unpacked zips": f"{total / 2**30:.2f} GiB in {cache_folder()} ({bounds})"}, []


def _models() -> Found:
    from napari_cellseg.model.bundled import FOR_ANY_STAIN, USUAL, bundled
    from napari_cellseg.model.checkpoint import read_header

    found, problems = {}, []
    for name in (USUAL, FOR_ANY_STAIN):
        try:
            path = bundled(name)
            header = read_header(path, verify=True)
        except CellSegError as error:
            found[f"bundled model {name}"] = "none"
            problems.append(str(error))
            continue
        known = [metric for metric in ("ap50", "pq") if metric in header.metrics]
        metrics = ", ".join(f"{metric} {header.metrics[metric]:.3f}" for metric in known)
        size = path.stat().st_size / 1e6
        facts = f"{header.name or path.stem}, {size:.1f} MB, {', '.join(header.classes.names)}"
        found[f"bundled model {name}"] = f"{facts} ({metrics})" if metrics else facts
    return found, problems
