"""The dock *Open*: a folder of images, what is in it, and its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QMenu, QPushButton, QWidget

from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.opening.class_editor import ClassEditor
from napari_cellseg.gui.opening.dropped import CanvasDrop, dropped_path
from napari_cellseg.gui.opening.image_list import ImageList, status_text
from napari_cellseg.gui.opening.import_panel import ImportPanel
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.opening.reading_rows import ReadingRows
from napari_cellseg.gui.opening.save_watch import SaveLabel, SaveWatch
from napari_cellseg.gui.opening.welcome import Welcome
from napari_cellseg.gui.preferences import recall
from napari_cellseg.gui.slides.slide_box import SlideBox
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import Dock, PrimaryButton, explain, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.images.formats import FORMATS
from napari_cellseg.images.listing import Listing
from napari_cellseg.wording import counted

__all__ = ["OpenDock"]

_SUFFIXES = [suffix for known in FORMATS if not known.is_folder and not known.problem for suffix in known.suffixes]
_FILES = f"Images and annotations ({' '.join(f'*{suffix}' for suffix in (*_SUFFIXES, '.json'))});;All files (*)"
_ANNOTATIONS = "Annotations (*.json *.geojson *.xml *.zip *.roi *.npy *.mat *.tif *.tiff *.png);;All files (*)"
_DROPPED = (".json", ".geojson", ".xml", ".zip", ".roi", ".npy", ".mat")


class OpenDock(Dock):
    """Opens a folder, lists its images, and edits the class table."""

    def __init__(
        self, state: AppState, layers: ClassLayers, slides: SlideView, opener: Opener, saving: SaveWatch
    ) -> None:
        super().__init__(state)
        self.opener = opener
        self.folder_button = PrimaryButton("Open folder...")
        self.folder_button.setToolTip("A folder of <name>.tif or <name>/image.tif; it becomes a project")
        self.folder_button.clicked.connect(self._choose_folder)
        self.file_button = QPushButton("File...")
        self.file_button.setMinimumHeight(34)
        self.file_button.setToolTip("One TIFF, or a COCO data set or results with their images")
        self.file_button.clicked.connect(self._choose_file)
        self.import_button = QPushButton("Import annotations...")
        self.import_button.setToolTip(
            "COCO (CVAT, Label Studio, ...), labelme, QuPath, ImageJ, Cellpose and others; or drop them on this dock"
        )
        menu = QMenu(self.import_button)
        menu.addAction("File or zip...").triggered.connect(self._choose_annotations)
        menu.addAction("Folder...").triggered.connect(self._choose_annotation_folder)
        self.import_button.setMenu(menu)
        self.importing = ImportPanel(self.opener)
        self.importing.is_shown_changed.connect(lambda _: self._show())
        self.setAcceptDrops(True)
        CanvasDrop(state, self, self._take)
        self.welcome = Welcome(self.opener)
        self.saved = SaveLabel(saving)
        self.take_over = QPushButton("Replace the lock")
        self.take_over.setToolTip(
            "Edit the folder here. The other viewer can no longer save in it; its unsaved edits are kept and offered."
        )
        self.take_over.clicked.connect(self._take_over)
        self.images_title = QLabel()
        self.images = ImageList(self.state, self.opener)
        self.back = QPushButton("< Previous")
        self.back.clicked.connect(lambda: self.opener.step(-1))
        self.forward = QPushButton("Next >")
        self.forward.clicked.connect(lambda: self.opener.step(1))
        self.slide = SlideBox(state, slides)
        self.reading = ReadingRows(self.state, self.opener)
        self.skipped = small_label()
        self.classes = ClassEditor(self.state)
        self._row = JobRow(self.opener.job, "Opening", notify=False)
        self._fill()
        # The list counts cells; during a review that would be once a key press.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(400)
        self._soon.timeout.connect(self.opener.summaries.note_current)
        # Methods, no lambdas, for what outlives the dock: Qt forgets them when the dock is closed.
        layers.session_changed.connect(self._on_change)
        saving.refused.connect(self._show)
        self.state.images_changed.connect(self._show)
        self.state.workspace_changed.connect(self._show)
        self.state.current_changed.connect(self._show)
        self.state.loading_changed.connect(self._show)
        self.state.status_changed.connect(self._on_status)
        self._show()

    def _on_change(self, _: object) -> None:
        self._soon.start()

    def _on_status(self, _: str) -> None:
        self._show()

    def _fill(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.folder_button, 2)
        buttons.addWidget(self.file_button, 1)
        self.column.addLayout(buttons)
        self.column.addWidget(self.import_button)
        self.column.addWidget(self._row)
        self.column.addWidget(self.importing)
        self.column.addWidget(self.welcome)
        self.column.addWidget(self.saved)
        self.column.addWidget(self.take_over)
        self.column.addWidget(self.images_title)
        self.column.addWidget(self.images, 1)
        steps = QWidget()
        row = QHBoxLayout(steps)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.back)
        row.addWidget(self.forward)
        self._steps = steps
        self.column.addWidget(steps)
        self.column.addWidget(self.skipped)
        self.column.addWidget(self.slide)
        self.column.addWidget(self.reading)
        self._classes_title = QLabel("<b>Classes</b>")
        self.column.addWidget(self._classes_title)
        self.column.addWidget(self.classes)
        self.column.addStretch(0)

    def _show(self) -> None:
        state = self.state
        is_open = bool(state.images)
        is_importing = self.importing.isVisibleTo(self)
        for button in (self.folder_button, self.file_button, self.import_button):  # one primary button at a time
            button.setVisible(not is_importing)
        self.welcome.setVisible(not is_open and state.session is None and not is_importing)
        for widget in (self.images_title, self.images, self._steps):
            widget.setVisible(is_open)
        for widget in (self._classes_title, self.classes):
            widget.setVisible(is_open or state.session is not None)
        done = sum(status_text(summary) == "done" for summary in self.opener.summaries.of.values())
        self.images_title.setText(f"<b>Images</b> ({len(state.images)}){f', {done} done' if done else ''}")
        read_only = "" if state.workspace is None else state.workspace.read_only
        self.saved.setVisible(is_open)
        self.take_over.setVisible(bool(read_only))
        explain(self.classes, read_only or None)
        self._show_skipped()
        ids = [file.image_id for file in state.images]
        place = ids.index(state.image_id) if state.image_id in ids else None
        busy = "An image is being opened." if state.loading else None
        explain(self.back, busy or ("This is the first image." if place in (0, None) else None), "The image before")
        last = place is None or place == len(ids) - 1
        explain(self.forward, busy or ("This is the last image." if last else None), "The image after")

    def _show_skipped(self) -> None:
        """Say how many files look like images or masks and are not in the list; the tooltip names them all."""
        project = None if self.state.workspace is None else self.state.workspace.project
        skipped = () if project is None else project.skipped
        self.skipped.setVisible(bool(skipped))
        if project is not None and skipped:
            lines = Listing(project.folder, (), skipped).skipped_lines()
            self.skipped.setText(f"{counted(len(skipped), 'other file')} not read (names: tooltip)")
            self.skipped.setToolTip("\n".join(lines))

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a folder of images", recall("folder"))
        if folder:
            self.opener.open_path(Path(folder))

    def _choose_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Open an image or a COCO file", recall("folder"), _FILES)
        if file:
            self.opener.open_path(Path(file))

    def _choose_annotations(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Import annotations", recall("folder"), _ANNOTATIONS)
        if file:
            self.importing.start(Path(file))

    def _choose_annotation_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Import a folder of annotations", recall("folder"))
        if folder:
            self.importing.start(Path(folder))

    def dragEnterEvent(self, event: Any) -> None:  # noqa: D102
        if dropped_path(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: D102
        path = dropped_path(event)
        if path is not None:
            event.acceptProposedAction()
            self._take(path)

    def _take(self, path: Path) -> None:
        """Import what was dropped, or open it."""
        self.importing.start(path) if _is_annotations(path) else self.opener.open_path(path)

    def _take_over(self) -> None:
        if self.state.workspace is not None:
            self.opener.open_path(self.state.workspace.project.path, take_over=True, image_id=self.state.image_id)


def _is_annotations(path: Path) -> bool:
    """Whether a dropped path is to be imported, and not opened as it is."""
    if path.is_file():
        return path.suffix.lower() in _DROPPED
    if (path / ".cellseg").is_dir() or any(path.glob("*/image.tif")):
        return False
    return any(file.suffix.lower() in _DROPPED for folder in (path, *_folders(path)) for file in folder.iterdir())


def _folders(path: Path) -> list[Path]:
    return [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
