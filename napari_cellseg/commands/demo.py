"""``napari-cellseg demo``: segments two sample images, to files and in the viewer."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellseg.commands.found import FoundImage, FoundSlide

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser("demo", help="segment two sample images and show the result")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR", help="default: demo-output")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="model file (default: the bundled model for H&E)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--stay", action="store_true", help="leave the viewer open")
    parser.add_argument("--no-viewer", action="store_true", help="files only")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the model on the samples, write the files, then show the result in the viewer."""
    from napari_cellseg.commands.found import reaching_of, write_found
    from napari_cellseg.commands.predict import list_inputs, predict_files
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.errors import ImageReadError
    from napari_cellseg.model.bundled import bundled
    from napari_cellseg.model.checkpoint import read_header
    from napari_cellseg.model.config import PredictOptions

    header = read_header(options.checkpoint or bundled())
    settings = PredictOptions.parse({"checkpoint": options.checkpoint, "device": options.device})
    limits = dict(enumerate(header.thresholds or (), start=1))
    images = options.out / "images"
    write_samples(images)
    files = list_inputs([images])
    with Bar("image") as bar:
        found, failed = predict_files(files, settings, None, bar, limits)
    if failed:
        raise ImageReadError(f"{failed[0][0]}: {failed[0][1]}")
    formats = frozenset({"measurements", "overlays", "class-images"})
    write_found(options.out, found, header.classes, limits, formats)
    table = _table(found, header.classes.names, limits)
    _write_text(options.out / "table.txt", table)
    print(f"{reaching_of(found, limits)}:")
    print(table)
    print(f"Files: {options.out.resolve()}", flush=True)
    if options.no_viewer:
        return 0
    if options.stay:
        print(
            "The viewer opens. Press N for the first cell of the queue; close the window to end the demo.", flush=True
        )
    return _show(options, images)


def write_samples(folder: Path) -> None:
    """Write scikit-image's IHC photograph and a synthetic tissue image as TIFFs.

    Raises
    ------
    ExportError
        The files cannot be written.
    """
    import tifffile

    from napari_cellseg.atomic import export_write, set_aside, write_errors
    from napari_cellseg.images.samples import generate_tissue, ihc

    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # Kept as .bak: otherwise the viewer would ask about unsaved edits of an earlier demo, and wait.
        set_aside(folder / ".cellseg")
    for name, rgb in (("ihc", ihc()), ("tissue", generate_tissue((768, 768), 330)[0])):
        with export_write(folder / f"{name}.tif") as file:
            tifffile.imwrite(file, rgb, photometric="rgb", compression="zlib", metadata=None)


def _table(found: Sequence[FoundImage | FoundSlide], names: Sequence[str], limits: dict[int, float]) -> str:
    """Return the number of cells of each image and class, at or above the model's own score thresholds."""
    width = max(len("image"), *(len(image.file.image_id) for image in found))
    columns = [max(5, len(name)) for name in names]
    header = [f"{name:>{size}}" for name, size in zip(names, columns, strict=True)]
    lines = ["  ".join([f"{'image':<{width}}", *header, "cells"])]
    for image in found:
        counts = image.counts(limits)
        cells = [f"{counts[i]:>{size}}" for i, size in enumerate(columns, start=1)]
        lines.append("  ".join([f"{image.file.image_id:<{width}}", *cells, f"{counts.total():>5}"]))
    return "\n".join(lines)


def _write_text(path: Path, text: str) -> None:
    from napari_cellseg.atomic import export_write

    with export_write(path) as file:
        file.write(f"{text}\n".encode())


def _show(options: argparse.Namespace, images: Path) -> int:
    """Show the demo in the viewer, in a separate process: this one has loaded torch and never loads Qt."""
    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_screen:
        print("No screen was found (DISPLAY is not set), so the viewer is not shown; xvfb-run gives a virtual one.")
        return 0
    command = [sys.executable, "-m", "napari_cellseg.gui.demo", str(images)]
    command += ["--screenshot", str(options.out / "screenshot.png")]
    command += ["--checkpoint", str(options.checkpoint)] if options.checkpoint else []
    command += ["--stay"] if options.stay else []
    viewer = subprocess.Popen(command)
    try:
        code = viewer.wait()
    except BaseException:
        viewer.terminate()
        viewer.wait()
        raise
    if code:
        print(f"The viewer ended with code {code}; the files of the demo are complete nevertheless.", file=sys.stderr)
    return 1 if code else 0
