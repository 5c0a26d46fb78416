"""The user's models: bundled models, models of training runs, and imported files. Free of torch: reads only headers.

::

    MODELS/runs/<name>.safetensors       copied from a run folder
           imported/<name>.safetensors   copied from anywhere

A model's name is its file name, so renaming never changes the contents; the provenance stays in the header.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import platformdirs

from napari_cellseg.atomic import atomic_write
from napari_cellseg.errors import CheckpointError, ConfigError, ExportError
from napari_cellseg.images.listing import natural_key
from napari_cellseg.model.bundled import WEIGHTS, bundled
from napari_cellseg.model.checkpoint import CheckpointHeader, read_header

__all__ = ["ModelEntry", "ModelLibrary", "Origin", "bundled", "default_folder"]

Origin = Literal["bundled", "run", "imported"]

_SUFFIX = ".safetensors"
_FORBIDDEN = set('<>:"/\\|?*')
_DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model of the list.

    Attributes
    ----------
    name : str
        The file's name without suffix.
    path : Path
        Its checkpoint.
    origin : "bundled" | "run" | "imported"
        Origin of the model.
    size_bytes : int
        Size of the file.
    header : CheckpointHeader or None
        None if the file cannot be read.
    problem : str
        Why it cannot be read; empty for an intact file.
    """

    name: str
    path: Path
    origin: Origin
    size_bytes: int
    header: CheckpointHeader | None
    problem: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Its classes, in order."""
        return self.header.classes.names if self.header else ()

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on validation images; flat names as in metrics.csv."""
        return dict(self.header.metrics) if self.header else {}

    @property
    def data(self) -> str:
        """The training data of the model."""
        return str(self.header.provenance.get("data", "")) if self.header else ""

    @property
    def created(self) -> str:
        """When, ISO 8601."""
        return self.header.created if self.header else ""


def default_folder() -> Path:
    """Return ``$CELLSEG_MODELS``, or the folder for models in the system's folder for program data."""
    chosen = os.environ.get("CELLSEG_MODELS")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("napari-cellseg", False) / "models"


class ModelLibrary:
    """The models in a folder, and the bundled models.

    Parameters
    ----------
    folder : Path, optional
        `default_folder` if left out; created with the first model.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)

    def entries(self) -> tuple[ModelEntry, ...]:
        """List all models: bundled, runs, imported, each by name. A damaged file is listed with its problem."""
        return tuple(_entry(path, origin) for origin in ("bundled", "run", "imported") for path in self._files(origin))

    def find(self, name_or_path: str) -> Path:
        """Return a model by file or by its name in the list.

        Raises
        ------
        CheckpointError
            The model does not exist.
        """
        path = Path(name_or_path).expanduser()
        if path.suffix == _SUFFIX or path.is_file():
            return path
        names = {file.stem: file for origin in ("imported", "run", "bundled") for file in self._files(origin)}
        if name_or_path not in names:
            raise CheckpointError(
                f"There is no model {name_or_path!r}: no such file, and the models here are"
                f" {', '.join(sorted(names, key=natural_key)) or 'none'}."
            )
        return names[name_or_path]

    def import_file(self, path: Path, name: str | None = None) -> ModelEntry:
        """Copy a model file into the library after verifying its checksum.

        Raises
        ------
        CheckpointError
            The file is not a napari-cellseg model, it is damaged, or the library cannot be written.
        ConfigError
            The name is not a valid file name.
        """
        return self._take(Path(path), "imported", Path(path).stem if name is None else name)

    def add_run(self, run_folder: Path, name: str | None = None) -> ModelEntry:
        """Copy the best model of a training run into the library.

        Raises
        ------
        CheckpointError, ConfigError
            As `import_file`; also if the run has no ``best.safetensors``.
        """
        best = Path(run_folder) / "best.safetensors"
        if not best.is_file():
            raise CheckpointError(f"The run {run_folder} has no model yet: there is no best.safetensors in it.")
        return self._take(best, "run", Path(run_folder).resolve().name if name is None else name)

    def export_file(self, entry: ModelEntry, target: Path, *, overwrite: bool = False) -> Path:
        """Copy a model to a file, or into a folder under its name; return the file.

        Raises
        ------
        ExportError
            The file already exists or cannot be written.
        CheckpointError
            The model is damaged.
        """
        target = Path(target)
        target = target / f"{entry.name}{_SUFFIX}" if target.is_dir() else target
        if target.exists() and not overwrite:
            raise ExportError(f"{target} already exists; choose another name, or overwrite it.")
        read_header(entry.path, verify=True)
        try:
            _copy(entry.path, target)
        except OSError as error:
            raise ExportError(f"{target} cannot be written: {error.strerror or error}.") from error
        return target

    def rename(self, entry: ModelEntry, name: str) -> ModelEntry:
        """Rename a model.

        Raises
        ------
        ConfigError
            The model is bundled, or the name is taken or not a valid file name.
        CheckpointError
            The file system refuses.
        """
        self._check_own(entry, "renamed")
        target = entry.path.with_name(_checked_name(name) + _SUFFIX)
        # On a file system without case, renaming "a" to "A" has the file itself as target.
        if target.exists() and not target.samefile(entry.path):
            raise ConfigError(f"A model {name!r} already exists; choose another name.")
        try:
            entry.path.rename(target)
        except OSError as error:
            raise CheckpointError(f"{entry.path} cannot be renamed: {error.strerror or error}.") from error
        return _entry(target, entry.origin)

    def delete(self, entry: ModelEntry) -> None:
        """Delete a model's file permanently.

        Raises
        ------
        ConfigError
            The model is bundled.
        CheckpointError
            The file system refuses.
        """
        self._check_own(entry, "deleted")
        try:
            entry.path.unlink()
        except OSError as error:
            raise CheckpointError(f"{entry.path} cannot be deleted: {error.strerror or error}.") from error

    def _files(self, origin: Origin) -> Iterator[Path]:
        folder = self._place(origin)
        try:
            found = [path for path in folder.glob(f"*{_SUFFIX}") if not path.name.startswith(".")]
        except OSError:  # a folder without read permission counts as empty
            found = []
        yield from sorted(found, key=lambda path: natural_key(path.stem))

    def _place(self, origin: Origin) -> Path:
        places: dict[Origin, Path] = {
            "bundled": WEIGHTS,
            "run": self.folder / "runs",
            "imported": self.folder / "imported",
        }
        return places[origin]

    def _check_own(self, entry: ModelEntry, verb: str) -> None:
        if entry.origin == "bundled" or entry.path.parent != self._place(entry.origin):
            raise ConfigError(f"{entry.name!r} comes with the program and cannot be {verb}; export a copy instead.")

    def _take(self, source: Path, origin: Origin, name: str) -> ModelEntry:
        read_header(source, verify=True)
        folder = self._place(origin)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            target = _free(folder, _checked_name(name))
            _copy(source, target)
        except OSError as error:
            raise CheckpointError(f"No model can be stored in {folder}: {error.strerror or error}.") from error
        return _entry(target, origin)


def _entry(path: Path, origin: Origin) -> ModelEntry:
    try:
        size = path.stat().st_size
        return ModelEntry(name=path.stem, path=path, origin=origin, size_bytes=size, header=read_header(path))
    except CheckpointError as error:
        return ModelEntry(name=path.stem, path=path, origin=origin, size_bytes=size, header=None, problem=str(error))
    except OSError as error:  # a broken link, or removed meanwhile
        return ModelEntry(
            name=path.stem,
            path=path,
            origin=origin,
            size_bytes=0,
            header=None,
            problem=f"{path} cannot be read: {error.strerror or error}.",
        )


def _checked_name(name: str) -> str:
    """Return the name if it is a valid file name on every system, else raise a `ConfigError`."""
    tidy = unicodedata.normalize("NFC", name).strip()
    wrong = (
        not tidy
        or len(tidy) > _LONGEST_NAME
        or tidy[0] == "."
        or tidy[-1] == "."
        or tidy.partition(".")[0].casefold() in _DEVICE_NAMES
        or any(letter in _FORBIDDEN or not letter.isprintable() for letter in tidy)
    )
    if wrong:
        raise ConfigError(
            f"{name!r} cannot be a model's name: it becomes a file's name. Use 1 to {_LONGEST_NAME} letters, digits,"
            " spaces, - or _, and no dot at its ends."
        )
    return tidy


def _free(folder: Path, name: str) -> Path:
    """Return a free path: the name, else the name with the date, else also with a number."""
    if not (folder / f"{name}{_SUFFIX}").exists():
        return folder / f"{name}{_SUFFIX}"
    dated = f"{name} {datetime.now(UTC):%Y-%m-%d}"
    numbered = (dated if i == 1 else f"{dated} ({i})" for i in range(1, 10_000))
    return next(path for path in (folder / f"{n}{_SUFFIX}" for n in numbered) if not path.exists())


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, atomic_write(target) as new:
        shutil.copyfileobj(old, new, 1 << 20)
