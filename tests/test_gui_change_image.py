from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from napari_cellseg.images.samples import generate_tissue


@pytest.mark.gui
@pytest.mark.timeout(300)
def test_the_viewer_survives_going_from_image_to_image_and_knows_their_sizes(tmp_path):
    # In a process of its own: what went wrong was a segmentation fault in the renderer.
    for i in range(2):
        rgb, _ = generate_tissue((512 - 100 * i, 512), 20, i)
        tifffile.imwrite(tmp_path / f"tissue_{i}.tif", rgb, photometric="rgb")

    program = Path(__file__).with_name("change_image.py")
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", program, tmp_path],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert result.returncode == 0, result.stderr[-3000:]
    shown = [line for line in result.stdout.splitlines() if line.startswith("tissue_")]  # napari prints there too
    assert shown == ["tissue_0 5 [511. 511.]", "tissue_1 5 [411. 511.]"] * 3
