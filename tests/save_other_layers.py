"""Save and open layers as any napari user does; print the result. Run with and without the plugin installed."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from napari.plugins import _initialize_plugins


def outcome(folder: Path, act: Callable[[Path], object]) -> dict[str, object]:
    """Act in a folder that already holds files, and return the error, the warnings and every file afterwards."""
    folder.mkdir()
    (folder / "seg").mkdir()
    for name in ("seg/class1.tif", "seg/class2.tif", "seg/class3.tif", "test-results.json", "test-results.zip"):
        (folder / name).write_bytes(b"of the user")
    error = ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            act(folder)
        except Exception as raised:  # noqa: BLE001 (the error is what is compared)
            error = f"{type(raised).__name__}: {raised}".replace(str(folder), "FOLDER")
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    texts = sorted({str(warning.message).replace(str(folder), "FOLDER") for warning in warned})
    return {"error": error, "files": files, "warnings": [text for text in texts if "FOLDER" in text]}


def save_all(layers: list[object], name: str) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        viewer = ViewerModel()
        for layer in layers:
            viewer.add_layer(layer)
        return viewer.layers.save(str(folder / name))

    return act


def opened(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        path = make(folder)
        viewer = ViewerModel()
        viewer.open(str(path))
        raise RuntimeError(
            f"opened {[(type(layer).__name__, layer.name, layer.data.shape) for layer in viewer.layers]}"
        )

    return act


def flat() -> Labels:
    return Labels(np.arange(80, dtype=np.int32).reshape(8, 10) // 9, name="seg")


def deep() -> Labels:
    return Labels(np.arange(240, dtype=np.int32).reshape(3, 8, 10) // 9, name="deep")


def tiff(folder: Path, pixels: np.ndarray) -> Path:
    tifffile.imwrite(folder / "a.tif", pixels)
    return folder / "a.tif"


def directory(folder: Path) -> Path:
    (folder / "stack").mkdir()
    for number in range(3):
        tifffile.imwrite(folder / "stack" / f"{number}.tif", np.full((8, 10), number, np.uint8))
    return folder / "stack"


def other_json(folder: Path) -> Path:
    (folder / "other.json").write_text('{"images": [], "annotations": [], "categories": []}')
    return folder / "other.json"


image = np.arange(80, dtype=np.uint8).reshape(8, 10)
CASES: dict[str, Callable[[Path], object]] = {
    "labels .tif": lambda folder: flat().save(str(folder / "seg.tif")),
    "labels .tiff": lambda folder: flat().save(str(folder / "seg.tiff")),
    "labels .json": lambda folder: flat().save(str(folder / "other.json")),
    "labels .png": lambda folder: flat().save(str(folder / "seg.png")),
    "labels without suffix": lambda folder: flat().save(str(folder / "plain")),
    "labels into a folder": lambda folder: flat().save(str(folder / "seg")),
    "3-D labels .tif": lambda folder: deep().save(str(folder / "deep.tif")),
    "3-D labels .json": lambda folder: deep().save(str(folder / "deep.json")),
    "image .tif": lambda folder: Image(image).save(str(folder / "image.tif")),
    "image .json": lambda folder: Image(image).save(str(folder / "image.json")),
    "points .json": lambda folder: Points(np.zeros((2, 2))).save(str(folder / "points.json")),
    "all: one labels .tif": save_all([flat()], "all.tif"),
    "all: two labels .tif": save_all([flat(), deep()], "all.tif"),
    "all: two labels .json": save_all([flat(), flat()], "all.json"),
    "all: image and labels": save_all([Image(image), flat()], "folder"),
    "all: image and labels .tif": save_all([Image(image), flat()], "both.tif"),
    "open .tif": opened(lambda folder: tiff(folder, image)),
    "open a 3-D .tif": opened(lambda folder: tiff(folder, np.zeros((3, 8, 10), np.uint16))),
    "open a folder": opened(directory),
    "open .json": opened(other_json),
}

if __name__ == "__main__":
    _initialize_plugins()  # as the window does
    root = Path(sys.argv[1])
    found = {name: outcome(root / str(number), act) for number, (name, act) in enumerate(CASES.items())}
    sys.stdout.write(json.dumps(found, indent=1))
