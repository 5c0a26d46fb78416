"""napari's command palette: each of our commands that it offers can be run from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
import napari
from app_model.types import MenuItem
from napari._app_model import get_app_model

viewer = napari.Viewer(show=False)
app = get_app_model()
entries = [item for item in app.menus.get_menu(app.menus.COMMAND_PALETTE_ID) if isinstance(item, MenuItem)]
ours = [item.command for item in entries if item.command.id.startswith("napari-cellseg.")]
offered = [command.id for command in ours if command.enablement is None or command.enablement.eval({})]
for name in offered:
    app.commands.execute_command(name).result()
sys.stdout.write(" ".join(name.partition(".")[2] for name in offered))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.gui
@pytest.mark.slow  # 15 s: a viewer of its own, and every dock
def test_every_command_that_the_palette_offers_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    docks = {"open", "segment", "review", "train", "export", "batch", "models", "gallery", "table"}
    others = {"segment_image", "measure_labels", "export_labels", "ihc", "tissue"}
    assert set(done.stdout.split()) == docks | others
