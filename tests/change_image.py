"""Opens a folder in a viewer and goes from image to image, in rounds, and prints what is shown.

python change_image.py FOLDER ROUNDS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.images.samples import TISSUE_CLASSES


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    viewer = napari.Viewer()
    plugin = plugin_of(viewer)
    state, layers, opener = plugin.state, plugin.layers, plugin.opener
    opener.open_path(Path(sys.argv[1]))
    wait(lambda: state.session is not None)
    state.set_classes(TISSUE_CLASSES)
    opener.show(state.images[-1].image_id)  # napari's controls grow once, in a user's first session
    wait(lambda: state.file == state.images[-1] and len(list(layers)) == len(TISSUE_CLASSES))
    for _ in range(int(sys.argv[2])):
        for file in state.images:
            opener.show(file.image_id)
            wait(lambda file=file: state.file == file and len(list(layers)) == len(TISSUE_CLASSES))
            wait(lambda: False, 0.2)  # let the canvas draw
            camera = camera_of(viewer)
            share = camera.zoom * max(
                side / canvas for side, canvas in zip(state.image.size, viewer.canvas.size, strict=True)
            )
            shown = sum(layer.visible for layer in viewer.layers if layer.name != "region of interest")
            sys.stdout.write(f"{state.image_id} {shown} {viewer.layers.extent.world[1]}\n")
            sys.stdout.write(f"camera {camera.center[-2]:.0f} {camera.center[-1]:.0f} {share:.2f}\n")
            sys.stdout.flush()
            height, width = state.session.image_size
            region = ((0.0, 0.0), (0.0, width / 2), (height / 2, width / 2), (height / 2, 0.0))
            state.session.describe(replace(state.session.about, region=region))  # its outline is a layer
            wait(lambda: False, 0.2)
    viewer.close()


if __name__ == "__main__":
    main()
