"""`Welcome`: what *Open* shows before there is an image."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import tifffile
from qtpy.QtCore import QStandardPaths
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import recall
from napari_cellseg.gui.widgets.dock import small_label
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.images.formats import FORMATS
from napari_cellseg.images.samples import generate_tissue, ihc

__all__ = ["Welcome", "write_samples"]

_TEXT = """\
<p><b>Segment cells in colour microscopy</b></p>
<p>1. Open a folder of images: FORMATS.<br>
2. <i>Segment</i> segments the cells, one layer per class.<br>
3. <i>Review</i> corrects them quickly.<br>
4. <i>Train</i> trains the model on the corrections.<br>
5. <i>Export</i> writes the results.</p>"""


class Welcome(QWidget):
    """The workflow in five lines, a sample to try it on, and the last folder."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self._opener = opener
        self.sample = QPushButton("Open the sample")
        self.sample.setToolTip("Two bundled images: stained tissue, and generated nuclei of four classes")
        self.sample.clicked.connect(self._open_sample)
        self.last = QPushButton("Reopen last folder")
        self._folder, self._image = recall("folder"), recall("image")
        self.last.setToolTip(f"{self._folder}: {self._image or 'its first image'}, where you left it")
        self.last.setVisible(bool(self._folder) and Path(self._folder).exists())
        self.last.clicked.connect(self._go_on)
        buttons = QHBoxLayout()
        buttons.addWidget(self.sample)
        buttons.addWidget(self.last)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        names = [known.name for known in FORMATS if not known.problem]
        layout.addWidget(small_label(_TEXT.replace("FORMATS", f"{', '.join(names[:-1])} or {names[-1]}")))
        layout.addLayout(buttons)

    def _go_on(self) -> None:
        """Open the folder, image and tab of the last session."""
        tab = recall("tab")  # before another one is shown
        self._opener.open_path(Path(self._folder), image_id=self._image)
        if tab:
            show_dock(self._opener.state.viewer, tab)

    def _open_sample(self) -> None:
        location = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)
        folder = Path(location) / "napari-cellseg" / "samples"
        self._opener.open_made_folder(lambda: write_samples(folder), folder)


def write_samples(folder: Path) -> Generator[None, None, None]:
    """Write the sample images that do not exist yet."""
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("colon_ihc", ihc), ("drawn_tissue", lambda: generate_tissue()[0])):
        path = folder / f"{name}.tif"
        if not path.exists():
            with export_write(path) as file:
                tifffile.imwrite(file, make(), photometric="rgb", compression="zlib")
        yield None
