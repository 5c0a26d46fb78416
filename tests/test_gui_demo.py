"""The demo in a real viewer, in a process of its own as `napari-cellseg demo` starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imagecodecs
import pytest
import tifffile
from command_cases import write_model

from napari_cellseg.images.samples import generate_tissue

pytestmark = pytest.mark.gui


def test_the_demo_segments_its_images_and_takes_a_screenshot(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    rgb, _ = generate_tissue((96, 128), 10, 0)
    tifffile.imwrite(images / "tissue.tif", rgb, photometric="rgb")
    model = write_model(tmp_path / "m.safetensors")
    screenshot = tmp_path / "screenshot.png"

    command = [sys.executable, "-m", "napari_cellseg.gui.demo", str(images)]
    command += ["--screenshot", str(screenshot), "--checkpoint", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    pixels = imagecodecs.png_decode(screenshot.read_bytes())
    assert pixels.shape[0] > 600
    assert pixels.std() > 10  # something is drawn
