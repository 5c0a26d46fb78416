"""The *Export* dock: what was reviewed, as files for other programs."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QWidget,
)

from napari_cellseg.errors import CellSegError
from napari_cellseg.export import (
    ExportFormat,
    ExportPlan,
    ExportProgress,
    ExportSummary,
    Which,
    export_folder,
    items_of,
)
from napari_cellseg.formats.ids import IDS_NAME
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.preferences import recall, remember
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ERROR, Dock, PrimaryButton, explain, form_layout, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error

__all__ = ["ExportDock"]

_TIPS = {
    ExportFormat.RESULTS: "COCO results with RLE masks, checked after writing, and a zip that holds just this file",
    ExportFormat.CLASS_IMAGES: "<name>/image.tif and class1.tif ... classK.tif, as Train reads them",
    ExportFormat.COCO: "One JSON with images, classes and cells",
    ExportFormat.GEOJSON: "One file an image, for QuPath",
    ExportFormat.ROIS: "One zip an image, for ImageJ and Fiji",
    ExportFormat.MEASUREMENTS: "One table of all cells, for spreadsheets",
    ExportFormat.OVERLAY: "The images with the outlines of the cells, as PNG",
}


class ExportDock(Dock):
    """Choose formats, images and a folder, then Export."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.job = Job(self.state, "exporting")
        self._summary: ExportSummary | None = None
        self._ids: Path | None = None
        self._add_formats()
        self._add_images()
        self.export_button = PrimaryButton("Export")
        self.export_button.clicked.connect(lambda: self.export())
        self.row = JobRow(self.job)
        self._open = QPushButton("Open the folder")
        self._open.clicked.connect(self._open_folder)
        self._problems = small_label()
        self._problems.setStyleSheet(f"color: {ERROR};")
        for widget in (self.export_button, self.row, self._problems, self._open):
            self.column.addWidget(widget)
        self.column.addStretch(1)
        self.job.reported.connect(self._on_event)
        self.job.finished.connect(self._on_finished)
        self.job.changed.connect(self._show)
        self.state.workspace_changed.connect(self._on_workspace)
        self.state.current_changed.connect(self._show)
        self._on_workspace()

    def _add_formats(self) -> None:
        self._formats: dict[ExportFormat, QCheckBox] = {}
        chosen = recall("export_formats", ExportFormat.RESULTS.name).split(",")
        self._ids_button = QPushButton("ids: 1, 2, ...")
        self._ids_button.clicked.connect(self._choose_ids)
        self._polygons = QCheckBox("polygons")
        self._polygons.setToolTip("Outlines instead of RLE masks; holes get filled")
        beside: dict[ExportFormat, QWidget] = {
            ExportFormat.RESULTS: self._ids_button,
            ExportFormat.COCO: self._polygons,
        }
        for kind in ExportFormat:
            box = QCheckBox(kind.value)
            box.setToolTip(_TIPS[kind])
            box.setChecked(kind.name in chosen)
            box.toggled.connect(self._show)
            self._formats[kind] = box
            row = QHBoxLayout()
            row.addWidget(box, 1)
            if kind in beside:
                row.addWidget(beside[kind])
            self.column.addLayout(row)

    def _add_images(self) -> None:
        self._which: dict[Which, QRadioButton] = {}
        group = QButtonGroup(self)
        images = QHBoxLayout()
        for which in Which:
            choice = QRadioButton(which.value)
            choice.toggled.connect(self._show)
            group.addButton(choice)
            images.addWidget(choice)
            self._which[which] = choice
        images.addStretch(1)
        self._which[Which.ALL].setChecked(True)
        self._which[Which.REVIEWED].setToolTip("Only images whose cells are all decided about")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("Choose a folder")
        self.folder.textChanged.connect(self._show)
        browse = QPushButton("...")
        browse.setFixedWidth(32)
        browse.setToolTip("Choose the folder")
        browse.clicked.connect(self._choose_folder)
        place = QHBoxLayout()
        place.addWidget(self.folder, 1)
        place.addWidget(browse)
        form = form_layout()
        form.addRow(QLabel("Images"), images)
        form.addRow(QLabel("Folder"), place)
        self.column.addLayout(form)

    # ---- what is chosen ----

    @property
    def formats(self) -> frozenset[ExportFormat]:
        """The formats ticked."""
        return frozenset(kind for kind, box in self._formats.items() if box.isChecked())

    @property
    def which(self) -> Which:
        """Which images."""
        return next(which for which, choice in self._which.items() if choice.isChecked())

    def choose(self, formats: frozenset[ExportFormat], which: Which, folder: Path) -> None:
        """Set all choices."""
        for kind, box in self._formats.items():
            box.setChecked(kind in formats)
        self._which[which].setChecked(True)
        self.folder.setText(str(folder))

    def set_ids(self, path: Path | None) -> None:
        """Use the image ids of a file, or 1, 2, ... in the order of the names."""
        self._ids = path
        name = "ids: 1, 2, ..." if path is None else f"ids: {path.name}"
        self._ids_button.setText(self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, 110))
        self._ids_button.setToolTip(IDS_NAME if path is None else str(path))

    # ---- exporting ----

    def export(self) -> None:
        """Write the files, in a worker."""
        workspace = self.state.workspace
        if workspace is None:
            return
        plan = ExportPlan(Path(self.folder.text()), self.formats, self._ids, self._polygons.isChecked())
        remember("export_formats", ",".join(kind.name for kind in plan.formats))
        try:
            items = items_of(workspace, self.which, self.state.image_id)
        except CellSegError as error:
            show_error(error, self.window())
            return
        classes = self.state.classes
        self._summary = None
        self._problems.hide()
        self.job.start(lambda: export_folder(items, classes, plan))

    def _on_event(self, event: ExportProgress) -> None:
        self.row.set_progress(event.image, event.images, f"image {event.image} of {event.images}")

    def _on_finished(self, summary: ExportSummary) -> None:
        self._summary = summary
        self.row.set_message(f"{summary} -> {summary.folder}")
        shown = [f"{image_id}: {text}" for image_id, text in summary.problems[:5]]
        more = len(summary.problems) - len(shown)
        self._problems.setText("\n".join([*shown, *([f"... and {more} more"] if more > 0 else [])]))
        self._problems.setVisible(bool(shown))
        self._show()

    # ---- states ----

    def _on_workspace(self) -> None:
        workspace = self.state.workspace
        if workspace is not None:
            self.folder.setText(str(workspace.folder.parent / f"{workspace.folder.name}-export"))
        self._summary = None
        self._problems.hide()
        self.set_ids(None)
        self._show()

    def _show(self) -> None:
        if not hasattr(self, "export_button"):  # still being built
            return
        explain(self.export_button, self._why_not(), "Write the files; those of an earlier export are replaced")
        no_image = None if self.state.image_id is not None else "No image is open."
        explain(self._which[Which.ONE], no_image, "Only the image on the canvas")
        not_asked = None if ExportFormat.RESULTS in self.formats else "Tick test-results.json first."
        explain(self._ids_button, not_asked, str(self._ids or f"Take the image ids from {IDS_NAME}"))
        explain(
            self._polygons,
            None if ExportFormat.COCO in self.formats else "Tick COCO data set first.",
            "Outlines instead of RLE masks; holes get filled",
        )
        self._open.setVisible(self._summary is not None)

    def _why_not(self) -> str | None:
        if self.state.workspace is None:
            return "Open a folder of images first."
        if not self.formats:
            return "Tick what to export first."
        if not self.folder.text().strip():
            return "Choose a folder first."
        return "An export is running." if self.job.is_busy else None

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if path:
            self.folder.setText(path)

    def _choose_ids(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Image ids", "", "JSON (*.json)")
        self.set_ids(Path(path) if path else None)
        self._show()

    def _open_folder(self) -> None:
        if self._summary is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._summary.folder)))
