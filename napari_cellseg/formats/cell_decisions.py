"""`CellDecisions`: what a reviewer decided about the cells of a store, in a file next to it; the store never changes.

Each decision is on disk before it is shown, with its user and time, and can be undone after the next start too.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
import numpy.typing as npt

from napari_cellseg.atomic import write_errors
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.cell_reader import BoxCells, CellReader, CellRow, StoredCell
from napari_cellseg.formats.decisions_file import decisions_file, set_decisions_aside

__all__ = ["CellDecisions", "Decided", "Decision", "apply_decisions", "fingerprint_of", "read_decisions", "shown_class"]

_APPLICATION_ID = 0x6E636364  # "nccd"
_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cell (
    id INTEGER PRIMARY KEY, decided INTEGER NOT NULL, class_id INTEGER NOT NULL, predicted INTEGER NOT NULL,
    score REAL NOT NULL, x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL, y1 INTEGER NOT NULL,
    user TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE step (
    number INTEGER NOT NULL, id INTEGER NOT NULL, decided_before INTEGER, class_before INTEGER,
    decided INTEGER NOT NULL, class_id INTEGER NOT NULL, user TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (number, id)
) WITHOUT ROWID;
"""


class Decided(Enum):
    """A decision about a cell."""

    ACCEPTED = 1
    REJECTED = 2
    EDITED = 3
    """Accepted with another class."""


@dataclass(frozen=True)
class Decision:
    """The present decision about a cell; ``class_id`` is the one it has now."""

    decided: Decided
    class_id: int
    by: str = field(default="", compare=False)
    """The user."""


Decisions = Mapping[int, Decision]
AnyCell = CellRow | StoredCell


def fingerprint_of(reader: CellReader) -> str:
    """Return what tells one prediction from another: its settings and its first cell, which never changes."""
    first = reader.cell(1)
    about = [] if first is None else [first.class_id, first.score, *first.box]
    values = [list(reader.image_size), reader.facts.get("made_from"), about]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class CellDecisions:
    """The decisions about the cells of one prediction; use `open`.

    Attributes
    ----------
    path : Path
    user : str
        The name in new decisions.
    of : mapping of int to Decision
        By the id of the cell; replaced at each change, so that another thread may keep it.
    set_aside : Path or None
        Where decisions about an earlier prediction in the same file are kept.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, user: str, clock: Callable[[], float]) -> None:
        self.path, self.user = path, user
        self._database, self._clock = database, clock
        self.set_aside: Path | None = None
        self._of: dict[int, Decision] = {}

    @classmethod
    def open(cls, reader: CellReader, user: str, clock: Callable[[], float] = time.time) -> CellDecisions:
        """Open the decisions about the cells of a store, or begin; those about another prediction are set aside.

        Raises
        ------
        ExportError
            The file cannot be written, or is open in another viewer.
        AnnotationError
            The file is damaged.
        """
        path, fingerprint = decisions_file(reader.path), fingerprint_of(reader)
        kept = None
        if path.exists() and not _is_of(path, fingerprint):
            with write_errors(path):
                kept = set_decisions_aside(path, reader.path, lambda other: _is_of(path, fingerprint_of(other)))
        is_new = not path.exists()
        with _writing(path):
            database = sqlite3.connect(path, timeout=1.0)
            try:
                # A commit is on the disk; no other viewer writes, which would not know of this one's decisions.
                for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                    database.execute(f"PRAGMA {setting}")
                if is_new:
                    database.executescript(
                        f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION}; {_SCHEMA}"
                    )
                    with database:
                        facts = {"fingerprint": fingerprint, "store": reader.path.name, "position": 0}
                        rows = [(name, json.dumps(value)) for name, value in facts.items()]
                        database.executemany("INSERT INTO facts VALUES (?, ?)", rows)
                with database:  # takes the lock
                    name = json.dumps(reader.path.name)  # another one after the store was set aside
                    database.execute("UPDATE facts SET value = ? WHERE name = 'store'", (name,))
            except BaseException:
                database.close()
                raise
        found = cls(path, database, user, clock)
        found.set_aside = kept
        try:
            with _reading(path):
                known = database.execute("SELECT id, decided, class_id, user FROM cell")
                found._of = {cell_id: Decision(Decided(kind), class_id, by) for cell_id, kind, class_id, by in known}
        except BaseException:
            database.close()
            raise
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which is then one file without a log."""
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA journal_mode = DELETE")
        with suppress(sqlite3.Error):
            self._database.close()

    @property
    def of(self) -> Decisions:
        """The present decisions by the id of the cell."""
        return MappingProxyType(self._of)

    def counts(self) -> dict[Decided, int]:
        """Return how many cells were decided in each way."""
        found = dict.fromkeys(Decided, 0)
        for decision in self._of.values():
            found[decision.decided] += 1
        return found

    # ---- deciding ----

    def accept(self, cells: Sequence[AnyCell]) -> None:
        """Accept cells, with the class they have now; one step.

        Raises
        ------
        ExportError
            The decision cannot be written; nothing changed then.
        """
        self._do(cells, lambda now, cell: _with_class(cell, cell.class_id if now is None else now.class_id))

    def reject(self, cells: Sequence[AnyCell]) -> None:
        """Reject cells; one step. Errors as `accept`."""
        self._do(cells, lambda now, cell: Decision(Decided.REJECTED, cell.class_id if now is None else now.class_id))

    def give_class(self, cells: Sequence[AnyCell], class_id: int) -> None:
        """Accept cells with a class; one step. Errors as `accept`."""
        self._do(cells, lambda _, cell: _with_class(cell, class_id))

    def _do(self, cells: Sequence[AnyCell], decide: Callable[[Decision | None, AnyCell], Decision]) -> None:
        after = {cell.id: decide(self._of.get(cell.id), cell) for cell in cells}
        changed = [cell for cell in cells if self._of.get(cell.id) != after[cell.id]]
        if not changed:
            return
        number, now, user = self._position() + 1, self._clock(), self.user
        with _writing(self.path), self._database as database:
            database.execute("DELETE FROM step WHERE number >= ?", (number,))
            database.executemany(
                "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (number, cell.id, *_values(self._of.get(cell.id)), *_values(after[cell.id]), user, now)
                    for cell in changed
                ),
            )
            self._put([(cell, after[cell.id]) for cell in changed], now)
            self._move(number)
        self._replace({cell.id: after[cell.id] for cell in changed})

    def undo(self) -> tuple[int, ...]:
        """Take the last step back; return the ids of its cells. Errors as `accept`."""
        number = self._position()
        return self._go(number, number - 1, "decided_before, class_before") if number else ()

    def redo(self) -> tuple[int, ...]:
        """Do the step undone last again; return the ids of its cells. Errors as `accept`."""
        number = self._position() + 1
        return self._go(number, number, "decided, class_id")

    def _go(self, number: int, position: int, columns: str) -> tuple[int, ...]:
        with _reading(self.path):
            rows = self._database.execute(f"SELECT id, {columns} FROM step WHERE number = ?", (number,)).fetchall()
            new = {
                i: None if decided is None else Decision(Decided(decided), class_id) for i, decided, class_id in rows
            }
        if not rows:
            return ()
        now, cells = self._clock(), self._rows([i for i, decision in new.items() if decision is not None])
        with _writing(self.path), self._database as database:
            database.executemany("DELETE FROM cell WHERE id = ?", ((i,) for i, each in new.items() if each is None))
            self._put([(cell, decision) for cell in cells if (decision := new[cell.id]) is not None], now)
            self._move(position)
        self._replace(new)
        return tuple(new)

    def _put(self, decisions: Sequence[tuple[AnyCell, Decision]], now: float) -> None:
        self._database.executemany(
            "INSERT INTO cell VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "decided = excluded.decided, class_id = excluded.class_id, user = excluded.user, at = excluded.at",
            (
                (cell.id, *_values(decision), cell.class_id, cell.score, *cell.box, self.user, now)
                for cell, decision in decisions
            ),
        )

    def _rows(self, cell_ids: Sequence[int]) -> list[CellRow]:
        if not cell_ids:
            return []
        with CellReader(self.path.with_name(json.loads(self._fact("store")))) as reader:
            return reader.rows(cell_ids)

    @property
    def undo_text(self) -> str:
        """The last step in words; empty if there is none."""
        return self._text(self._position())

    @property
    def redo_text(self) -> str:
        """The step undone last in words; empty if there is none."""
        return self._text(self._position() + 1)

    def _text(self, number: int) -> str:
        with _reading(self.path):
            rows = self._database.execute(
                "SELECT decided, count(*), min(id) FROM step WHERE number = ? GROUP BY decided", (number,)
            ).fetchall()
        words = {Decided.ACCEPTED: "accept", Decided.REJECTED: "reject", Decided.EDITED: "set the class of"}
        return ", ".join(
            f"{words[Decided(decided)]} {f'cell {first}' if count == 1 else f'{count:,} cells'}"
            for decided, count, first in rows
        )

    def _position(self) -> int:
        with _reading(self.path):
            return int(json.loads(self._fact("position")))

    def _fact(self, name: str) -> str:
        return str(self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def _move(self, position: int) -> None:
        self._database.execute("UPDATE facts SET value = ? WHERE name = 'position'", (json.dumps(position),))

    def _replace(self, changed: Mapping[int, Decision | None]) -> None:
        of = dict(self._of)
        for cell_id, decision in changed.items():
            if decision is None:
                of.pop(cell_id, None)
            else:
                of[cell_id] = replace(decision, by=self.user)
        self._of = of

    def grid_changes(
        self, side: int, limits: Mapping[int, float], shape: tuple[int, int, int]
    ) -> npt.NDArray[np.int32]:
        """Return what the decisions add to the counts of a `CellCounts` with these squares and limits, (K, h, w)."""
        added = np.zeros(shape, np.int32)
        with _reading(self.path):
            rows = self._database.execute(
                "SELECT decided, class_id, predicted, score, (y0 + y1) / ?1, (x0 + x1) / ?1 FROM cell", (2 * side,)
            )
            for decided, class_id, predicted, score, y, x in rows:
                if score >= limits.get(predicted, 0.0):
                    added[predicted - 1, y, x] -= 1
                if decided != Decided.REJECTED.value and class_id <= shape[0]:
                    added[class_id - 1, y, x] += 1
        return added


def apply_decisions(cells: BoxCells, decisions: Decisions, limits: Mapping[int, float]) -> BoxCells:
    """Return the cells that are shown and exported, with their present classes.

    Rejected cells are left out, as are those that no one decided about and that are below the minimum score of their
    class.
    """
    keep, class_ids = np.zeros(len(cells), bool), cells.class_ids.copy()
    for i, (cell_id, class_id, score) in enumerate(
        zip(cells.ids.tolist(), cells.class_ids.tolist(), cells.scores.tolist(), strict=True)
    ):
        decision = decisions.get(cell_id)
        if decision is None:
            keep[i] = score >= limits.get(class_id, 0.0)
        else:
            keep[i], class_ids[i] = decision.decided is not Decided.REJECTED, decision.class_id
    return BoxCells(cells.ids, class_ids, cells.scores, cells.boxes, cells.masks).select(keep)


def read_decisions(reader: CellReader) -> Decisions:
    """Return the decisions about the cells of a store, by the id of the cell; the file is not changed.

    Raises
    ------
    CellSegError
        The file is damaged, of another prediction, or open in a viewer.
    """
    path = decisions_file(reader.path)
    if not path.exists():
        return {}
    if not _is_of(path, fingerprint_of(reader)):
        raise AnnotationError(f"{path} has decisions about another prediction than that of {reader.path.name}.")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", timeout=1.0, uri=True)) as database:
            rows = database.execute("SELECT id, decided, class_id, user FROM cell").fetchall()
    except sqlite3.OperationalError as error:
        raise _locked(path, error) from error
    with _reading(path):
        return {cell_id: Decision(Decided(kind), class_id, by) for cell_id, kind, class_id, by in rows}


def shown_class(cell: AnyCell, decision: Decision | None, limits: Mapping[int, float]) -> int | None:
    """Return the class that a cell is shown with; None for one that is not shown, as in `apply_decisions`."""
    if decision is None:
        return cell.class_id if cell.score >= limits.get(cell.class_id, 0.0) else None
    return None if decision.decided is Decided.REJECTED else decision.class_id


def _with_class(cell: AnyCell, class_id: int) -> Decision:
    return Decision(Decided.ACCEPTED if class_id == cell.class_id else Decided.EDITED, class_id)


def _values(decision: Decision | None) -> tuple[int | None, int | None]:
    return (None, None) if decision is None else (decision.decided.value, decision.class_id)


def _is_of(path: Path, fingerprint: str) -> bool:
    """Return whether a file has decisions about a prediction."""
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", timeout=1.0, uri=True)
        try:
            kind = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            row = database.execute("SELECT value FROM facts WHERE name = 'fingerprint'").fetchone()
        finally:
            database.close()
    except sqlite3.OperationalError as error:
        raise _locked(path, error) from error
    except sqlite3.Error as error:
        raise AnnotationError(f"Cannot read {path}: it is damaged ({error}). Move it away to begin again.") from error
    return kind == [_APPLICATION_ID, _VERSION] and row is not None and json.loads(row[0]) == fingerprint


def _locked(path: Path, error: sqlite3.OperationalError) -> ExportError:
    if "locked" in str(error):
        return ExportError(f"{path} is open in a viewer. Close the slide there, then try again.")
    return ExportError(f"Cannot write {path}: {error}. Nothing can be decided here.")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, KeyError, ValueError, TypeError, IndexError) as error:
        raise AnnotationError(f"Cannot read {path}: it is damaged ({error}). Move it away to begin again.") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _locked(path, error) from error
    except sqlite3.Error as error:
        raise ExportError(f"Cannot write {path}: {error}. The last decision was not saved.") from error
