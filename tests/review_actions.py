"""Random actions of a user in a review; shared by the property test, the kill test and the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Author, CellFilter, ReviewSession, Status

SIZE = (160, 200)
CLASSES = ClassTable(("other", "inflammatory", "epithelial"))


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y * y + x * x <= radius * radius


def some_cells(count: int, seed: int, size: tuple[int, int] = SIZE, classes: int = 3) -> InstanceMasks:
    """Return discs at random places, so that some overlap and some touch the border."""
    rng = np.random.default_rng(seed)
    return InstanceMasks.from_crops(
        size,
        np.stack([rng.integers(-4, size[1] - 8, count), rng.integers(-4, size[0] - 8, count)], 1),
        [disc(int(radius)) for radius in rng.integers(3, 9, count)],
        rng.integers(1, classes + 1, count),
        rng.random(count, np.float32),
    )


def act(session: ReviewSession, rng: np.random.Generator) -> None:
    """Do one random thing; what cannot be done to the cells there are is left."""
    person = Person(session, rng)
    names = [name for name in vars(Person) if not name.startswith("_")]
    with suppress(AnnotationError):
        getattr(person, names[rng.integers(len(names))])()


class Person:
    """A user; each public method is one action."""

    def __init__(self, session: ReviewSession, rng: np.random.Generator) -> None:
        self._session = session
        self._rng = rng

    def _some(self, count: int) -> list[int]:
        ids = sorted(self._session.cells)
        return [ids[i] for i in self._rng.integers(0, len(ids), count)] if ids else []

    def _place(self, side: int) -> tuple[int, int, int, int]:
        x, y = (int(self._rng.integers(0, size - side)) for size in (SIZE[1], SIZE[0]))
        return x, y, x + side, y + side

    def accept(self) -> None:
        self._session.accept(self._some(3))

    def reject(self) -> None:
        self._session.reject(self._some(2))

    def reopen(self) -> None:
        self._session.set_status(self._some(1), Status.PROPOSED)

    def reclassify(self) -> None:
        self._session.reclassify(self._some(3), int(self._rng.integers(1, 4)))

    def delete(self) -> None:
        self._session.delete(self._some(1))

    def merge(self) -> None:
        self._session.merge(self._some(2))

    def split_by_line(self) -> None:
        for cell_id in self._some(1):
            middle = np.array(self._session.cells[cell_id].centre)
            angle = self._rng.random() * np.pi
            step = 30 * np.array([np.sin(angle), np.cos(angle)])
            self._session.split_by_line(cell_id, np.stack([middle - step, middle + step]))

    def split_by_seeds(self) -> None:
        for cell_id in self._some(1):
            x0, y0, x1, y1 = self._session.cells[cell_id].box
            seeds = np.stack([self._rng.uniform(y0, y1, 4), self._rng.uniform(x0, x1, 4)], 1)
            self._session.split_by_seeds(cell_id, seeds)

    def add(self) -> None:
        self._session.add(int(self._rng.integers(1, 4)), self._place(13), disc(6))

    def paint(self) -> None:
        self._stroke(lambda before: int(self._rng.choice([self._session.next_id, *np.unique(before)])))

    def erase(self) -> None:
        self._stroke(lambda _: 0)

    def _stroke(self, value: Callable[[np.ndarray], int]) -> None:
        box, class_id = self._place(30), int(self._rng.integers(1, 4))
        before = self._session.view(class_id, box)
        after = before.copy()
        after[5:16, 8:19][disc(5)] = value(before)
        after[14:17, 2 : int(self._rng.integers(4, 30))] = value(before)
        self._session.paint(class_id, box, before, after)

    def fill_holes(self) -> None:
        self._session.do(Author.fill_holes, self._some(3))

    def smooth(self) -> None:
        self._session.do(Author.smooth, self._some(3))

    def reject_by_lasso(self) -> None:
        y, x = self._rng.uniform(0, 100, 2)
        lasso = [(y, x), (y + 60, x), (y + 60, x + 60)]
        self._session.reject(self._session.find(CellFilter(max_score=0.5, polygon=lasso)))

    def hide(self) -> None:
        self._session.set_min_scores({1: float(self._rng.random()), 2: 0.3})

    def predict(self) -> None:
        if self._rng.random() < 0.2:
            self._session.load_proposals(some_cells(30, int(self._rng.integers(1000))))

    def undo(self) -> None:
        self._session.undo()

    def redo(self) -> None:
        self._session.redo()
