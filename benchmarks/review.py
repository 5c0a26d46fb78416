"""Review of a large image: commands and redraw, ours and the plain way (keep label images, rewrite the changed one).

Run: python benchmarks/review.py [--cells 16000] [--size 4096] [--cpu]

With --cpu the CPU time of the thread is measured instead of the wall-clock time, for a machine with other load.

The plain way is that of napari Labels layers without a store: each class is one label image; a command searches the
pixels of the cell (`label_image == cell_id`), and undo copies the image.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import CellFilter, ReviewQueue, ReviewSession
from napari_cellseg.workspace import Sessions

CLASSES = ClassTable(("other", "inflammatory", "epithelial", "spindle-shaped"))


def cells_of(count: int, size: int) -> InstanceMasks:
    """Return ellipses of typical nucleus sizes at 0.25 um per px, at random places."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-16:17, -16:17]
    shapes = [(y / a) ** 2 + (x / b) ** 2 <= 1 for a, b in rng.uniform(6, 16, (64, 2))]
    masks = [shapes[i] for i in rng.integers(0, 64, count)]
    places = rng.integers(0, size - 33, (count, 2))
    return InstanceMasks.from_crops((size, size), places, masks, rng.integers(1, 5, count), rng.random(count))


def measured(
    name: str, work: Callable[[int], object], repeats: int, plain: Callable[[int], object] | None = None
) -> None:
    """Time single runs of both; print median and 95th percentile."""
    ours = times(work, repeats)
    line = f"{name:34s} {statistics.median(ours):9.2f} ms   p95 {percentile(ours):9.2f} ms"
    if plain is not None:
        theirs = times(plain, min(repeats, 20))
        ratio = statistics.median(theirs) / statistics.median(ours)
        line += f"   plain {statistics.median(theirs):9.2f} ms   ratio {ratio:7.1f}"
    print(line, flush=True)


def times(work: Callable[[int], object], repeats: int) -> list[float]:
    found = []
    for i in range(repeats):
        start = CLOCK()
        work(i)
        found.append((CLOCK() - start) * 1000)
    return found


def percentile(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def commands(cells: InstanceMasks) -> None:
    """Run single commands and redraw what they changed, as a viewer does."""
    size = cells.image_size
    session = ReviewSession(size, CLASSES)
    session.load_proposals(cells)
    layers = {class_id: session.view(class_id) for class_id in CLASSES.class_ids}

    def redraw(change) -> None:
        for class_id, (x0, y0, x1, y1) in change.boxes.items():
            layers[class_id][y0:y1, x0:x1] = session.view(class_id, (x0, y0, x1, y1))

    session.subscribe(redraw)
    ids = np.random.default_rng(1).permutation(sorted(session.cells)).tolist()
    images = {i: view.copy() for i, view in layers.items()}
    queue = ReviewQueue(session)
    print(f"\n{len(cells)} cells, {size[0]} x {size[1]} px, 4 classes")
    measured("load proposals, undoable", lambda _: session.load_proposals(cells), 3, lambda _: paste(cells))
    ids = np.random.default_rng(1).permutation(sorted(session.cells)).tolist()
    measured(
        "whole view of a class", lambda _: session.view(1), 5, lambda _: cells.select(cells.class_ids == 1).paste()
    )
    measured("first look of the queue, a step", steps(queue), 50)
    queue.items()
    measured("accept + next of the queue", lambda i: (session.accept([ids[i]]), queue.next(ids[i])), 200)
    measured("reject, redraw", lambda i: session.reject([ids[i + 300]]), 200, lambda i: erase(images, ids[i]))
    measured("undo, redraw", lambda _: session.undo(), 200, lambda _: np.copyto(images[1], layers[1]))
    measured("another class, redraw", lambda i: session.reclassify([ids[i + 600]], 1 + i % 4), 200)
    pairs = neighbours(session, ids[1000:2000], 100)
    measured("merge two, redraw", lambda i: session.merge(pairs[i]), len(pairs))
    measured("brush stroke, redraw", lambda i: brush(session, i), 100)
    measured("filter: score and area", lambda _: session.find(CellFilter(max_score=0.5, min_area=200)), 5)
    lasso = circle(size[0] / 4, size[0] / 2)
    measured("lasso of 300 corners", lambda _: session.find(CellFilter(polygon=lasso)), 5)
    ids = sorted(session.cells)
    measured("reject 1,000, redraw", lambda i: session.reject(ids[5000 + 1000 * i : 6000 + 1000 * i]), 3)
    measured("minimum score slider, redraw", lambda i: session.set_min_scores({1: 0.1 * i}), 9)
    print(f"undo stack: {session.history.size / 2**20:.1f} MiB")


def files(cells: InstanceMasks) -> None:
    """Save and open."""
    size = cells.image_size
    with tempfile.TemporaryDirectory() as folder:
        tifffile.imwrite(Path(folder) / "a.tif", np.zeros((16, 16, 3), np.uint8), photometric="rgb")
        with Sessions.of_folder(folder) as workspace:
            session = workspace.open_session("a", size, CLASSES)
            session.load_proposals(cells)
            measured("save", lambda _: workspace.save("a"), 3)
            path = next((workspace.project.state_folder / "annotations").iterdir())
            print(f"annotations: {path.stat().st_size / 2**20:.2f} MiB")
            for cell_id in sorted(session.cells)[:1000]:
                session.accept([cell_id])
            workspace.close_session("a")
            journal = next((workspace.project.state_folder / "journal").iterdir())
            print(f"journal: {journal.stat().st_size / 1000:.0f} bytes a decision")
            measured("open with 1,000 edits recovered", lambda _: reopen(workspace, size), 3)


def reopen(workspace: Sessions, size: tuple[int, int]) -> None:
    workspace.open_session("a", size, CLASSES, recover=True)
    workspace.close_session("a")


def steps(queue: ReviewQueue) -> Callable[[int], object]:
    generator = queue.assess()
    return lambda _: next(generator, None)


def paste(cells: InstanceMasks) -> None:
    for class_id in CLASSES.class_ids:
        cells.select(cells.class_ids == class_id).paste()


def erase(images: dict[int, np.ndarray], cell_id: int) -> None:
    image = images[1 + cell_id % 4]
    image[image == cell_id] = 0


def brush(session: ReviewSession, i: int) -> None:
    x = 40 + 30 * i
    box = (x, x, x + 60, x + 60)
    before = session.view(1, box)
    after = before.copy()
    after[10:40, 10:40] = session.next_id
    session.paint(1, box, before, after)


def neighbours(session: ReviewSession, ids: list[int], count: int) -> list[list[int]]:
    """Return pairs of cells whose boxes touch, each cell in one pair only."""
    pairs: list[list[int]] = []
    used: set[int] = set()
    for cell in (session.cells[i] for i in ids):
        near = [other.cell_id for other in session.near(cell.class_id, cell.box) if other.cell_id != cell.cell_id]
        if near and len(pairs) < count and not used & {cell.cell_id, near[0]}:
            pairs.append([cell.cell_id, near[0]])
            used.update(pairs[-1])
    return pairs


def circle(radius: float, middle: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    return middle + radius * np.stack([np.sin(angle), np.cos(angle)], 1)


if __name__ == "__main__":
    CLOCK = time.thread_time if "--cpu" in sys.argv else time.perf_counter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=16000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    drawn = cells_of(options.cells, options.size)
    commands(drawn)
    files(drawn)
