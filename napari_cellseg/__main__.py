"""``python -m napari_cellseg`` is the command ``napari-cellseg``."""

from napari_cellseg.cli import entry

if __name__ == "__main__":
    entry()
