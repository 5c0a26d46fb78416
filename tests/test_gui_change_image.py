from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from napari_cellseg.images.samples import generate_tissue


@pytest.mark.gui
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_the_viewer_survives_going_from_image_to_image_and_knows_their_sizes(tmp_path, rounds):
    # In a process of its own: what went wrong was a segmentation fault in the renderer.
    for i, size in enumerate([(512, 512), (411, 512), (120, 160), (300, 300)]):
        rgb, _ = generate_tissue(size, 20, i)
        tifffile.imwrite(tmp_path / f"tissue_{i}.tif", rgb, photometric="rgb")

    program = Path(__file__).with_name("change_image.py")
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", program, tmp_path, str(rounds)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert result.returncode == 0, result.stderr[-3000:]
    shown = [line for line in result.stdout.splitlines() if line.startswith("tissue_")]  # napari prints there too
    extents = ["tissue_0 5 [511. 511.]", "tissue_1 5 [410. 511.]", "tissue_2 5 [119. 159.]", "tissue_3 5 [299. 299.]"]
    assert shown == extents * rounds
    # Each image fills 95 % of the canvas, whatever was on the canvas before.
    cameras = [line for line in result.stdout.splitlines() if line.startswith("camera ")]
    assert cameras == [f"camera {middle} 0.95" for middle in ("256 256", "205 256", "60 80", "150 150")] * rounds
