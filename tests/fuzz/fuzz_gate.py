"""`Gate`: one function that reads a file, as a row of the tables of gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz_mutators import Mutator

from napari_cellseg.classes import ClassTable

CLASSES = ClassTable(("a", "b", "c"))


@dataclass(frozen=True)
class Gate:
    """A reader and the ways to damage its file.

    Attributes
    ----------
    name : str
    make : callable
        Returns the content of sound files; it may write into the folder it is given.
    read : callable
        Reads the file at a path.
    mutate : Mutator
    cases : int
        Its share of the ten thousand.
    file_name : str
        With the folders that the file needs around it.
    refuses : bool
        Whether damage can end in an error. Where it is False, what is damaged counts as absent, and no file is refused.
    """

    name: str
    make: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    mutate: Mutator
    cases: int
    file_name: str
    refuses: bool = True


def written(folder: Path, name: str, write: Callable[[Path], object]) -> bytes:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return path.read_bytes()
