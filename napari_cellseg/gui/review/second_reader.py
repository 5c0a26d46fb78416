"""`SecondReader`: the cells of another reader of the current image, read from that reader's folder in a worker."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.preferences import recall_second_reader
from napari_cellseg.gui.state import AppState
from napari_cellseg.report.agreement import names_of, reader_of
from napari_cellseg.review import Status
from napari_cellseg.review.disputes import OtherReader
from napari_cellseg.workspace import Annotations, Project, look_at

__all__ = ["SecondReader"]


class SecondReader(QObject):
    """Reads on request; forgets with the image.

    Attributes
    ----------
    reader : OtherReader or None
        What the reader of `AppState.second_reader` says about the current image; None until that is read.
    problem : str
        Why there is nothing to compare with; empty while that is not known.
    """

    changed = Signal()
    """``reader`` or ``problem`` is another, or another folder was chosen."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._state = state
        self._project: Project | None = None
        self.reader: OtherReader | None = None
        self.problem = ""
        self._job = Job(state, "reading the cells of the other reader")
        self._job.finished.connect(self._on_read)
        self._job.failed.connect(self._on_failed)
        state.workspace_changed.connect(self._recall)
        state.current_changed.connect(self._forget)
        state.second_reader_changed.connect(self._on_chosen)

    def read(self) -> None:
        """Read the cells of the other reader, unless they are being read or are known."""
        state, session = self._state, self._state.session
        folder, workspace, image_id = state.second_reader, state.workspace, state.image_id
        if self._job.is_busy or self.reader is not None or session is None:
            return
        if folder is None or workspace is None or image_id is None:
            self.problem = "Compare with a reader in Export first."
            return
        mine = workspace.read(image_id)
        if mine is None or not any(cell.reviewed for cell in mine.cells):
            self.problem = f"You have reviewed no cell of {image_id} yet, so there is nothing to compare."
            return
        self.problem = ""
        project = self._project or folder
        own = workspace.project.folder
        self._job.start(partial(_read, project, own, image_id, mine))

    def stop(self) -> None:
        """Stop reading."""
        self._job.stop()

    def _on_read(self, result: tuple[Project, OtherReader]) -> None:
        self._project, self.reader = result
        self.changed.emit()

    def _on_failed(self, error: CellSegError) -> None:
        self.problem = str(error)
        self.changed.emit()

    def _on_chosen(self) -> None:
        self._project = None
        self._forget()
        self.changed.emit()

    def _forget(self) -> None:
        self._job.stop()
        self.reader, self.problem = None, ""

    def _recall(self) -> None:
        workspace = self._state.workspace
        self._state.set_second_reader(None if workspace is None else recall_second_reader(workspace.project.folder))


def _read(
    place: Path | Project, own: Path, image_id: str, mine: Annotations
) -> Generator[None, None, tuple[Project, OtherReader]]:
    yield None
    project = look_at(place) if isinstance(place, Path) else place
    if project.folder.resolve() == own.resolve():
        raise AnnotationError(f"{own} is compared with itself. Choose the folder of another reader in Export.")
    yield None
    if all(file.image_id != image_id for file in project.images):
        raise AnnotationError(f"{project.folder} has no image {image_id}.")
    found = project.read(image_id)
    if found is None or not any(cell.reviewed for cell in found.cells):
        raise AnnotationError(f"No one has reviewed {image_id} in {project.folder}.")
    if found.image_size != mine.image_size:
        raise AnnotationError(f"{image_id} has {found.image_size} px in {project.folder}, and {mine.image_size} here.")
    others = max((cell.class_id for cell in found.cells), default=1)
    if found.classes.extended_by(mine.classes) is None or others > len(mine.classes):
        raise AnnotationError(
            f"{project.folder} has the classes {', '.join(found.classes.names)}, this folder has "
            f"{', '.join(mine.classes.names)}. Give both the same classes."
        )
    folder = project.folder.name
    name, own_name = reader_of([found], folder), reader_of([mine], own.name)
    rejected = [cell for cell in found.cells if cell.status is Status.REJECTED]
    reader = OtherReader(
        name=f"{name} ({folder})" if name == own_name else name,
        names=names_of(found, folder),
        own_names=names_of(mine, own.name),
        cells=(*found.shown(), *rejected),
    )
    return project, reader
