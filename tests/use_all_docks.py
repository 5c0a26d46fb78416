"""Run by test_package in an environment with the installed wheel: opens every dock of the manifest in a real viewer."""

from __future__ import annotations

import sys

import napari
import npe2


def main() -> None:
    """Open the docks, and print their number."""
    viewer = napari.Viewer(show=False)
    manifest = npe2.PluginManager.instance().get_manifest("napari-cellseg")
    names = [widget.display_name for widget in manifest.contributions.widgets]
    for name in names:
        viewer.window.add_plugin_dock_widget("napari-cellseg", name)
    viewer.open_sample("napari-cellseg", "tissue")
    sys.stdout.write(f"{len(names)} {len(viewer.layers)}\n")
    viewer.close()


if __name__ == "__main__":
    main()
