"""`ModelPicker`: the choice of a model for prediction or training: bundled, own, or any other file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog

from napari_cellseg.errors import CellSegError, CheckpointError
from napari_cellseg.gui.preferences import recall, remember
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import tame
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.model.checkpoint import CheckpointHeader, read_header
from napari_cellseg.model.library import ModelLibrary

__all__ = ["ModelPicker"]

_OTHER = "Other file..."


class ModelPicker(ElidedComboBox):
    """A list of model files; the last entry opens a file dialog.

    Parameters
    ----------
    memory : str
        Key under which the choice is remembered for the next session.
    """

    chosen = Signal(object)
    """Carries the `Path` of the model; emitted for a new choice, and when a proposed model is confirmed."""

    def __init__(self, memory: str = "model") -> None:
        super().__init__()
        tame(self)
        self._memory = memory
        self._path: Path | None = None
        self.activated.connect(self._on_activated)
        self.refresh()

    @property
    def path(self) -> Path | None:
        """Return the chosen model file; None if there is none."""
        return self._path

    @property
    def is_remembered(self) -> bool:
        """Return whether the user chose this model, now or in an earlier session."""
        return self._path is not None and str(self._path) == recall(self._memory)

    @property
    def header(self) -> CheckpointHeader | None:
        """Return the header of the chosen file."""
        try:
            return None if self._path is None else read_header(self._path)
        except CheckpointError:
            return None

    def refresh(self) -> None:
        """List the models again; the choice stays if it still exists."""
        last = recall(self._memory)
        wanted = self._path or (Path(last) if last else None)
        self.clear()
        for entry in ModelLibrary().entries():
            if entry.header is not None:
                self._add(entry.path, entry.header, f"{entry.name} ({entry.origin})")
        if wanted is not None and self._row(wanted) < 0:
            with suppress(CheckpointError):
                self._add(wanted, read_header(wanted), wanted.stem)
        self.addItem(_OTHER, None)
        row = self._row(wanted) if wanted is not None else -1
        self.setCurrentIndex(max(row, 0))
        self._path = self.currentData()

    def choose(self, path: Path, *, proposed: bool = False) -> None:
        """Choose a model file; a proposed one is not remembered for the next session.

        Raises
        ------
        CheckpointError
            The file is not a model of this program.
        """
        header = read_header(path)
        if self._row(path) < 0:
            self._add(path, header, path.stem, self.count() - 1)
        self.setCurrentIndex(self._row(path))
        if proposed:
            self._path = path
        elif path != self._path or not self.is_remembered:
            self._path = path
            remember(self._memory, str(path))
            self.chosen.emit(path)

    def _row(self, path: Path) -> int:
        rows = [row for row in range(self.count()) if self.itemData(row) == path]
        return rows[0] if rows else -1

    def _add(self, path: Path, header: CheckpointHeader, name: str, row: int | None = None) -> None:
        row = self.count() if row is None else row
        self.insertItem(row, name, path)
        metrics = "".join(f"\n{name}: {value:.3f}" for name, value in list(header.metrics.items())[:6])
        about = f"{header.config.name}: {', '.join(header.classes.names)}"
        self.setItemData(row, f"{path}\n{about}{metrics}", Qt.ItemDataRole.ToolTipRole)

    def _on_activated(self, row: int) -> None:
        path = self.itemData(row)
        if path is None:
            name, _ = QFileDialog.getOpenFileName(self, "Choose a model", recall("folder"), "Models (*.safetensors)")
            path = Path(name) if name else self._path
        if path is None:
            return
        try:
            self.choose(path)
        except CellSegError as error:
            show_error(error, self.window())
            self.setCurrentIndex(max(0, self._row(self._path)) if self._path is not None else 0)
