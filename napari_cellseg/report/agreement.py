"""Agreement of two readers: the same images reviewed in two projects, cell by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.review import Cell, Status, instances_of
from napari_cellseg.review.cells import KEPT
from napari_cellseg.review.disputes import SAME_MASK
from napari_cellseg.review.settlement import Settlement, is_settled
from napari_cellseg.workspace import Annotations
from training.metrics import Overlaps, PanopticCounts, overlaps, panoptic_counts

__all__ = [
    "SAME_MASK",
    "Agreement",
    "ComparedCell",
    "ImageAgreement",
    "SettledCell",
    "Verdict",
    "compare_readers",
    "kappa",
    "names_of",
    "reader_of",
]

Ints = npt.NDArray[np.int64]


class Verdict(Enum):
    """What two readers say about one cell; the value is the text of the protocol."""

    AGREE = "agree"
    CLASS = "other class"
    MASK = "other mask"
    ONLY_FIRST = "missing in the second"
    ONLY_SECOND = "missing in the first"
    UNDECIDED_FIRST = "undecided in the first"
    UNDECIDED_SECOND = "undecided in the second"

    @property
    def is_disagreement(self) -> bool:
        """Return whether both readers decided, and differ."""
        return self in (Verdict.CLASS, Verdict.MASK, Verdict.ONLY_FIRST, Verdict.ONLY_SECOND)


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedCell:
    """A cell of one reader or of both.

    A reader who lacks the cell may have rejected it, or not decided about it; then that cell stands here. ``iou`` is
    that of two kept masks, else 0.
    """

    image_id: str
    verdict: Verdict
    first: Cell | None
    second: Cell | None
    iou: float = 0.0
    settled: Settlement | None = None
    """How the readers' disagreement about the cell was settled."""

    @property
    def is_open(self) -> bool:
        """Return whether the readers differ, and that is not settled."""
        return self.verdict.is_disagreement and self.settled is None


@dataclass(frozen=True, eq=False, kw_only=True)
class SettledCell:
    """A cell about which a disagreement was settled, in the project of the first (0) or of the second reader (1).

    ``against`` is the other reader's cell now; None if that reader has none there.
    """

    image_id: str
    side: int
    cell: Cell
    against: Cell | None
    settled: Settlement


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageAgreement:
    """One image.

    Attributes
    ----------
    image_id : str
    cells : tuple of ComparedCell
        All cells that at least one reader accepted, corrected or drew.
    table : (K, K) int64
        Matched cells by their class_ids, first reader x second reader.
    counts : tuple of PanopticCounts
        Of each class.
    settled : tuple of SettledCell
        All cells of both readers whose disagreement was settled, those that both reject now too.
    before : ImageAgreement or None
        The agreement before anything was settled; None if nothing was.
    """

    image_id: str
    cells: tuple[ComparedCell, ...]
    table: Ints
    counts: tuple[PanopticCounts, ...]
    settled: tuple[SettledCell, ...] = ()
    before: ImageAgreement | None = None

    @property
    def open(self) -> int:
        """The number of cells on which the readers differ without a settlement."""
        return sum(cell.is_open for cell in self.cells)


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """All images of two readers.

    Attributes
    ----------
    readers : (str, str)
        Names of the readers.
    classes : ClassTable
    images : tuple of ImageAgreement
        Images about which both readers decided something.
    left_out : tuple of (str, str)
        The other images, and why they are not compared.
    """

    readers: tuple[str, str]
    classes: ClassTable
    images: tuple[ImageAgreement, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def table(self) -> Ints:
        """Matched cells of all images by class, (K, K)."""
        total = np.zeros((len(self.classes),) * 2, np.int64)
        for image in self.images:  # one that was saved before a class was added has fewer
            k = len(image.table)
            total[:k, :k] += image.table
        return total

    @property
    def settled(self) -> tuple[SettledCell, ...]:
        """The settled cells of all images."""
        return tuple(cell for image in self.images for cell in image.settled)

    @property
    def open(self) -> int:
        """The number of cells on which the readers differ without a settlement."""
        return sum(image.open for image in self.images)

    @property
    def before(self) -> Agreement:
        """The agreement before anything was settled."""
        return replace(self, images=tuple(image.before or image for image in self.images))

    def counts(self, class_id: int) -> PanopticCounts:
        """Return the matched and unmatched cells of a class; PQ is the same whichever reader comes first."""
        counts = (image.counts[class_id - 1] for image in self.images if class_id <= len(image.counts))
        return sum(counts, PanopticCounts())

    def class_kappa(self, class_id: int) -> float:
        """Return Cohen's kappa of one class against all others, over the matched cells; NaN if it is not defined."""
        table, k = self.table, class_id - 1
        both = int(table[k, k])
        first, second = int(table[k].sum()) - both, int(table[:, k].sum()) - both
        return kappa(np.array([[both, first], [second, int(table.sum()) - both - first - second]]))

    def cells(self, *, only_disagreements: bool = False) -> list[ComparedCell]:
        """Return the cells of all images."""
        cells = [cell for image in self.images for cell in image.cells]
        return [cell for cell in cells if cell.verdict.is_disagreement] if only_disagreements else cells

    def tally(self) -> Counter[Verdict]:
        """Count the cells of each verdict."""
        return Counter(cell.verdict for cell in self.cells())


def kappa(table: Ints) -> float:
    """Return Cohen's kappa (Cohen, 1960) of a square table of counts; NaN if chance alone explains everything.

    Parameters
    ----------
    table : (K, K) int64
        First reader x second reader.
    """
    total = table.sum()
    if not total:
        return float("nan")
    observed = np.trace(table) / total
    chance = float((table.sum(0) / total) @ (table.sum(1) / total))
    return float("nan") if chance == 1 else float((observed - chance) / (1 - chance))


def reader_of(annotations: Iterable[Annotations], default: str) -> str:
    """Return the name that most decisions before any settlement carry; ``default`` without any decision."""
    cells = (cell if cell.settled is None else cell.settled.before for found in annotations for cell in found.cells)
    names = Counter(cell.by for cell in cells if cell is not None and cell.reviewed and cell.by)
    return names.most_common(1)[0][0] if names else default


def names_of(annotations: Annotations, folder: str) -> frozenset[str]:
    """Return the names that a settlement with a reader may have: of each author, of the folder, and of both."""
    authors = {cell.by for cell in annotations.cells if cell.reviewed and cell.by}
    return frozenset({folder, *authors, *(f"{name} ({folder})" for name in authors)})


def compare_readers(
    image_id: str, first: Annotations, second: Annotations, names: tuple[Collection[str], Collection[str]] = ((), ())
) -> ImageAgreement:
    """Compare the decisions of two readers about one image.

    Cells match when their masks have an IoU above 0.5, whatever their class. A cell whose counterpart the other reader
    has not decided about is no disagreement, and counts neither in kappa nor in PQ.

    Parameters
    ----------
    image_id : str
    first, second : Annotations
    names : (collection of str, collection of str)
        The names that each reader goes by in the settlements of the other one; see `names_of`.

    Raises
    ------
    AnnotationError
        The images have different sizes, or the projects different classes; one may have more of them.
    """
    if first.image_size != second.image_size:
        raise AnnotationError(
            f"the image has {first.image_size} px in one project and {second.image_size} in the other"
        )
    classes = first.classes.extended_by(second.classes)
    if classes is None:
        raise AnnotationError(
            f"the classes are {', '.join(first.classes.names)} in one project and {', '.join(second.classes.names)} in "
            "the other; give both projects the same classes"
        )
    size = first.image_size
    mine, theirs = _kept(first), _kept(second)
    table = overlaps(instances_of(mine, size), instances_of(theirs, size))
    cells = _matched(image_id, mine, theirs, table)
    pairs = table.matches()
    matched_mine, matched_theirs = set(table.i[pairs].tolist()), set(table.j[pairs].tolist())
    lone_mine = [cell for i, cell in enumerate(mine) if i not in matched_mine]
    lone_theirs = [cell for j, cell in enumerate(theirs) if j not in matched_theirs]
    for cell, other in zip(lone_mine, _counterparts(lone_mine, second), strict=True):
        waits = other is not None and not other.reviewed
        verdict = Verdict.UNDECIDED_SECOND if waits else Verdict.ONLY_FIRST
        cells.append(ComparedCell(image_id=image_id, verdict=verdict, first=cell, second=other))
    for cell, other in zip(lone_theirs, _counterparts(lone_theirs, first), strict=True):
        waits = other is not None and not other.reviewed
        verdict = Verdict.UNDECIDED_FIRST if waits else Verdict.ONLY_SECOND
        cells.append(ComparedCell(image_id=image_id, verdict=verdict, first=other, second=cell))
    settled = _settled_cells(image_id, cells, (first, second), names)
    image = _summed(image_id, _with_settlements(cells, settled), len(classes), size)
    if not settled:
        return image
    before = [_unsettled(side, [one for one in settled if one.side == n]) for n, side in enumerate((first, second))]
    return replace(image, settled=_latest(settled), before=compare_readers(image_id, before[0], before[1]))


def _settled_cells(
    image_id: str,
    cells: Sequence[ComparedCell],
    both: tuple[Annotations, Annotations],
    names: tuple[Collection[str], Collection[str]],
) -> list[SettledCell]:
    """Return the settlements that stand: a later decision of the other reader opens the disagreement again."""
    found = []
    for side, of_reader in enumerate(both):
        pairs = ((cell.first, cell.second) if side == 0 else (cell.second, cell.first) for cell in cells)
        against = {id(own): other for own, other in pairs if own is not None}
        for cell in of_reader.cells:
            other = against.get(id(cell))
            if cell.settled is not None and is_settled(cell, other, names[1 - side]):
                found.append(SettledCell(image_id=image_id, side=side, cell=cell, against=other, settled=cell.settled))
    return found


def _latest(settled: Sequence[SettledCell]) -> tuple[SettledCell, ...]:
    """Return one settlement of each disagreement: the later one if each reader has settled it."""
    of = {id(one.cell): (one.settled.at, -one.side) for one in settled}
    return tuple(one for one in settled if of[id(one.cell)] >= of.get(id(one.against), of[id(one.cell)]))


def _with_settlements(cells: Sequence[ComparedCell], settled: Sequence[SettledCell]) -> list[ComparedCell]:
    """Return the cells with the later one of the settlements that their two sides may have."""
    of = {id(one.cell): one.settled for one in settled}
    done = []
    for cell in cells:
        found = [of[id(own)] for own in (cell.first, cell.second) if id(own) in of]
        done.append(replace(cell, settled=max(found, key=lambda one: one.at)) if found else cell)
    return done


def _unsettled(annotations: Annotations, settled: Sequence[SettledCell]) -> Annotations:
    """Return the cells as they were before they were settled."""
    before = {one.cell.cell_id: one.settled.before for one in settled}
    cells = (before.get(cell.cell_id, cell) for cell in annotations.cells)
    known = annotations.classes.class_ids
    return replace(annotations, cells=tuple(c for c in cells if c is not None and c.class_id in known))


def _kept(annotations: Annotations) -> list[Cell]:
    return [cell for cell in annotations.shown() if cell.status in KEPT]


def _counterparts(cells: Sequence[Cell], other: Annotations) -> list[Cell | None]:
    """Return what the other reader has in place of each cell: an undecided or a rejected cell, or nothing."""
    shown = {cell.cell_id for cell in other.shown()}
    others = [
        cell for cell in other.cells if cell.status is Status.REJECTED or (cell.cell_id in shown and not cell.reviewed)
    ]
    table = overlaps(instances_of(cells, other.image_size), instances_of(others, other.image_size))
    pairs = np.flatnonzero(table.matches()).tolist()
    met = {int(table.i[p]): others[int(table.j[p])] for p in pairs}
    return [met.get(i) for i in range(len(cells))]


def _matched(image_id: str, mine: Sequence[Cell], theirs: Sequence[Cell], table: Overlaps) -> list[ComparedCell]:
    pairs, iou = np.flatnonzero(table.matches()), table.iou
    cells = []
    for p in pairs.tolist():
        first, second = mine[int(table.i[p])], theirs[int(table.j[p])]
        same_class = first.class_id == second.class_id
        verdict = Verdict.CLASS if not same_class else Verdict.AGREE if iou[p] >= SAME_MASK else Verdict.MASK
        cells.append(ComparedCell(image_id=image_id, verdict=verdict, first=first, second=second, iou=float(iou[p])))
    return cells


def _summed(image_id: str, cells: Sequence[ComparedCell], classes: int, size: tuple[int, int]) -> ImageAgreement:
    both = [c for c in cells if c.verdict in (Verdict.AGREE, Verdict.CLASS, Verdict.MASK)]
    matched = {id(c) for c in both}
    mine = [c.first for c in cells if id(c) in matched or c.verdict is Verdict.ONLY_FIRST]
    theirs = [c.second for c in cells if id(c) in matched or c.verdict is Verdict.ONLY_SECOND]
    table = np.zeros((classes, classes), np.int64)
    for cell in both:
        if cell.first is not None and cell.second is not None:
            table[cell.first.class_id - 1, cell.second.class_id - 1] += 1
    sides = ([cell for cell in side if cell is not None] for side in (mine, theirs))
    compared = overlaps(*(instances_of(side, size) for side in sides))
    counts = tuple(panoptic_counts(compared, class_id) for class_id in range(1, classes + 1))
    return ImageAgreement(image_id=image_id, cells=tuple(cells), table=table, counts=counts)
