"""The *Export* dock: reviewed cells as files for other programs."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QWidget,
)

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.export import (
    EXPORTER_NAMES,
    EXPORTERS,
    CellsProgress,
    ExportItem,
    ExportPlan,
    ExportProgress,
    ExportSummary,
    Which,
    export_folder,
    items_of,
)
from napari_cellseg.export.slides import export_slide, not_for_slides
from napari_cellseg.formats.ids import IDS_NAME, find_ids, match_ids
from napari_cellseg.gui.exporting.agreement import AgreementRow
from napari_cellseg.gui.exporting.report import ReportRow
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.preferences import recall, remember
from napari_cellseg.gui.slides.slide_review import SlideReview
from napari_cellseg.gui.slides.words import NO_CELLS
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ERROR, WARNING, Dock, PrimaryButton, explain, form_layout, small_label
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import tame
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error, show_warning
from napari_cellseg.measure import CSV_STYLES
from napari_cellseg.wording import listed

__all__ = ["ExportDock"]

_NUMBERED = "ids: 1, 2, ..."
_FILTER = "JSON (*.json)"
_INDENT = 24


class ExportDock(Dock):
    """Choose formats, images and a folder, then Export."""

    def __init__(self, state: AppState, slide: SlideReview) -> None:
        super().__init__(state)
        self._slide = slide
        self.job = Job(self.state, "exporting", on_close="Exporting stops; the export is incomplete.")
        self.job.end_with(self, show_error)
        self._summary: ExportSummary | None = None
        self._ids: Path | None = None
        self._add_formats()
        self._add_images()
        self.export_button = PrimaryButton("Export")
        self.export_button.clicked.connect(lambda: self.export())
        self.reason = small_label()
        """Why nothing can be exported; a tooltip of a disabled button is easily missed."""
        self.row = JobRow(self.job)
        self.open_button = QPushButton("Open the folder")
        self.open_button.clicked.connect(self._open_folder)
        self.problems = small_label()
        self.problems.setStyleSheet(f"color: {ERROR};")
        self.report = ReportRow(self.state, self._items, lambda: Path(self.folder.text()))
        self.agreement = AgreementRow(self.state, lambda: Path(self.folder.text()))
        for widget in (self.export_button, self.reason, self.row, self.problems, self.open_button):
            self.column.addWidget(widget)
        self.column.addWidget(self.report)
        self.column.addWidget(self.agreement)
        self.column.addStretch(1)
        self.job.reported.connect(self._on_event)
        self.job.finished.connect(self._on_finished)
        self.job.changed.connect(self._show)
        self.report.job.changed.connect(self._show)
        self.agreement.job.changed.connect(self._show)
        self.state.workspace_changed.connect(self._on_workspace)
        self.state.current_changed.connect(self._show)
        slide.changed.connect(self._show)
        self._on_workspace()

    def _add_formats(self) -> None:
        self.format_boxes: dict[str, QCheckBox] = {}
        remembered = set(recall("export_formats", "").split(","))
        chosen = remembered.intersection(EXPORTER_NAMES) or {"results"}
        self.ids_button = QPushButton(_NUMBERED)
        self.ids_button.clicked.connect(self._choose_ids)
        self.ids_preview = small_label()
        self.polygons = QCheckBox("polygons")
        self.polygons.setToolTip("Outlines instead of RLE masks. Holes are filled.")
        self._csv = ElidedComboBox()
        self._csv.setAccessibleName("Decimal and column separators")
        tame(self._csv)
        self._csv.setMinimumContentsLength(6)
        self._csv.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for name, style in CSV_STYLES.items():
            self._csv.addItem(style.label, name)
        self._csv.setCurrentIndex(max(0, self._csv.findData(recall("csv_style", "comma"))))
        options: dict[str, QWidget] = {
            "results": self.ids_button,
            "coco": self.polygons,
            "measurements": self._csv,
        }
        for exporter in EXPORTERS:
            box = QCheckBox(exporter.label)
            missing = exporter.missing()
            explain(box, missing, exporter.tip)
            box.setChecked(exporter.name in chosen and not missing)
            box.toggled.connect(self._show)
            self.format_boxes[exporter.name] = box
            self.column.addWidget(box)
            if exporter.name in options:  # below, and only while the format is ticked: a dock is 300 px wide
                row = QHBoxLayout()
                row.addSpacing(_INDENT)
                row.addWidget(options[exporter.name])
                row.addStretch(1)
                self.column.addLayout(row)
                options[exporter.name].setVisible(box.isChecked())
                box.toggled.connect(options[exporter.name].setVisible)
            if exporter.name == "results":
                self.column.addWidget(self.ids_preview)

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
        self._which[Which.REVIEWED].setToolTip("Only images whose cells are all reviewed")
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder of the export")
        self.folder.setPlaceholderText("Choose a folder")
        self.folder.textChanged.connect(self.folder.setToolTip)  # a path is longer than a dock is wide
        self.folder.textChanged.connect(self._show)
        browse = QPushButton("...")
        browse.setFixedWidth(32)
        browse.setToolTip("Choose the folder")
        browse.setAccessibleName("Choose the folder")
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
    def formats(self) -> frozenset[str]:
        """Return the names of the ticked formats."""
        return frozenset(name for name, box in self.format_boxes.items() if box.isChecked())

    @property
    def which(self) -> Which:
        """Which images."""
        return next(which for which, choice in self._which.items() if choice.isChecked())

    def choose(self, formats: frozenset[str], which: Which, folder: Path) -> None:
        """Set all choices."""
        for name, box in self.format_boxes.items():
            box.setChecked(name in formats)
        self._which[which].setChecked(True)
        self.folder.setText(str(folder))

    def set_ids(self, path: Path | None) -> None:
        """Use the image ids of a file, or 1, 2, ... in the order of the names; a preview says which images match."""
        self._ids = path
        name = _NUMBERED if path is None else f"ids: {path.name}"
        self.ids_button.setText(self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, 110))
        lines: list[str] = []
        if path is not None and self.state.workspace is not None:
            try:
                lines = match_ids(path, [file.image_id for file in self.state.workspace.project.images]).preview()
            except AnnotationError as error:
                lines = [str(error), ""]
        self.ids_preview.setText("\n".join(lines).strip())
        self.ids_preview.setStyleSheet(f"color: {WARNING};" if len(lines) > 1 else "")

    # ---- exporting ----

    def export(self) -> None:
        """Write the files, in a worker."""
        workspace = self.state.workspace
        if workspace is None:
            return
        style = self._csv.currentData()
        plan = ExportPlan(
            folder=Path(self.folder.text()),
            formats=self.formats,
            ids_file=self._ids,
            polygons=self.polygons.isChecked(),
            csv=CSV_STYLES[style],
        )
        remember("export_formats", ",".join(sorted(plan.formats)))
        remember("csv_style", style)
        classes = self.state.classes
        self._summary = None
        self.problems.hide()
        if self._is_slide and (slide := self._slide.to_export()) is not None:
            self.job.start(lambda: export_slide(slide, classes, plan))
            return
        try:
            items = self._items()
        except CellSegError as error:
            show_error(error, self.window())
            return
        self.job.start(lambda: export_folder(items, classes, plan))

    @property
    def _is_slide(self) -> bool:
        """Whether only the slide on the canvas is to be exported: alone, or all images of a folder with no other."""
        workspace = self.state.workspace
        if self.state.slide is None or workspace is None:
            return False
        is_all = self.which is Which.ALL and len(workspace.project.images) == 1
        return self.which is Which.ONE or is_all

    def _items(self) -> tuple[ExportItem, ...]:
        workspace = self.state.workspace
        return () if workspace is None else items_of(workspace, self.which, self.state.image_id)

    def _on_event(self, event: ExportProgress | CellsProgress) -> None:
        if isinstance(event, CellsProgress):
            total = event.cells_in_all
            self.row.set_progress(total * (event.number - 1) + event.cells, total * event.formats, str(event))
        else:
            self.row.set_progress(event.image, event.images, f"image {event.image} of {event.images}")

    def _on_finished(self, summary: ExportSummary) -> None:
        self._summary = summary
        self.row.set_message(f"{summary} -> {summary.folder}")
        problems = (*summary.problems, *summary.damaged, *summary.unfinished)
        shown = [f"{image_id}: {text}" for image_id, text in problems[:5]]
        more = len(problems) - len(shown)
        if summary.hint:
            shown.insert(0, summary.hint)
            show_warning(summary.hint)
        self.problems.setText("\n".join([*shown, *([f"... and {more} more"] if more > 0 else [])]))
        self.problems.setVisible(bool(shown))
        self._show()

    # ---- states ----

    def _on_workspace(self) -> None:
        workspace = self.state.workspace
        if workspace is not None:
            folder = workspace.project.folder
            self.folder.setText(str(folder.parent / f"{folder.name}-export"))
        self._summary = None
        self.problems.hide()
        self.report.forget()
        self.agreement.forget()
        self.set_ids(None if workspace is None else find_ids(workspace.project.folder))
        self._show()

    def _show(self) -> None:
        if not hasattr(self, "export_button"):  # still being built
            return
        why_not = self._why_not()
        explain(self.export_button, why_not, "Write the files. Files of an earlier export are replaced.")
        self.reason.setText(why_not or "")
        self.reason.setVisible(why_not is not None and not self.job.is_busy)
        no_image = None if self.state.image_id is not None else "No image is open."
        explain(self._which[Which.ONE], no_image, "Only the image on the canvas")
        is_results = "results" in self.formats
        not_asked = None if is_results else "Tick test-results.json first."
        tip = f"{self._ids or 'The images get the ids 1, 2, ... in the order of their names'}. Click to choose a file."
        explain(self.ids_button, not_asked, tip)
        self.ids_preview.setVisible(is_results and bool(self.ids_preview.text()))
        explain(
            self._csv,
            None if "measurements" in self.formats else "Tick measurements CSV first.",
            "Decimal sign and separator for your spreadsheet",
        )
        explain(
            self.polygons,
            None if "coco" in self.formats else "Tick COCO data set first.",
            "Outlines instead of RLE masks. Holes are filled.",
        )
        self.open_button.setVisible(self._summary is not None)
        self.report.show_reason(self._no_place())
        self.agreement.show_reason(self._no_place())

    def _why_not(self) -> str | None:
        if self.state.workspace is not None and not self.formats:
            return "Tick what to export first."
        if self._is_slide and (others := not_for_slides(self.formats)):
            labels = [exporter.label for exporter in EXPORTERS if exporter.name in others]
            return f"Not for slides, whose cells stay on disk: {listed(labels)}. Untick to export the rest."
        if self._is_slide and self._slide.to_export() is None:
            return NO_CELLS
        return self._no_place() or ("An export is running." if self.job.is_busy else None)

    def _no_place(self) -> str | None:
        if self.state.workspace is None:
            return "Open a folder of images first."
        return None if self.folder.text().strip() else "Choose a folder first."

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if path:
            self.folder.setText(path)

    def _choose_ids(self) -> None:
        start = str(self._ids or (self.state.workspace.project.folder if self.state.workspace is not None else ""))
        title = f"Image ids ({IDS_NAME}); Cancel numbers the images"
        path, _ = QFileDialog.getOpenFileName(self, title, start, _FILTER)
        self.set_ids(Path(path) if path else None)
        self._show()

    def _open_folder(self) -> None:
        if self._summary is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._summary.folder)))
