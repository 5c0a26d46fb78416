"""A whole review with real keys and a real mouse: how many actions a cell takes, and how often the window stalls.

A scripted reviewer decides 500 cells of an image of 700, splits 10 and merges 10 of them, adds 20 that are missing with
C, draws 10, and walks through four images of other sizes. A timer of 5 ms in the window's thread stands for the
person: its delay is what they would feel. The exit code is 1 when a step did not do what it should. The plain way has
no queue: there, a cell that is accepted takes a look and at least a click and a key, and a new cell a class, a brush
and a stroke.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/scripted_review.py [--cells 700] [--decide 500]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_API", "pyqt5")

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QEvent, QPoint, QPointF, QSettings, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from window_latency import Lateness

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions

SIZES = ((300, 300), (120, 160), (512, 411), (640, 640))
PACE_S = 0.05
"""From one action to the next, s; the screen is drawn in it."""


class Reviewer:
    """A person with a keyboard and a mouse, who counts what they do."""

    def __init__(self, folder: Path, pace_s: float) -> None:
        self.pace_s = pace_s
        self.actions: Counter[str] = Counter()
        self.delays: dict[str, list[float]] = {}
        self.viewer = napari.Viewer()
        self.plugin = plugin_of(self.viewer)
        self.state, self.review = self.plugin.state, self.plugin.review
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        show_dock(self.viewer, "Review")
        self.viewer.window.resize(1400, 900)
        self.plugin.opener.open_path(folder)
        self.wait(lambda: self.state.session is not None and not self.state.loading)
        self.plugin.layers.finish()
        self.review.queue.begin()
        self.wait(lambda: self.review.queue.is_ready)
        self.canvas.setFocus()
        self.late = Lateness()
        self.phase = ""
        self.decided = 0

    @property
    def session(self) -> Any:  # noqa: D102
        return self.review.session

    # ---- keys and mouse ----

    def key(self, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        """Press a key as the window system gives it: to what has the keyboard."""
        self.actions[self.phase] += 1
        QTest.keyClick(QApplication.focusWidget() or self.canvas, key, modifier)
        self.wait(lambda: False, self.pace_s)

    def drag(self, points: list[tuple[float, float]], modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        """Press, move along (y, x) of the image, and release; one point is a click."""
        self.actions[self.phase] += 1
        places = [self._on_screen(*point) for point in points]
        left = Qt.MouseButton.LeftButton
        QTest.mousePress(self.canvas, left, modifier, places[0])
        for place in places[1:]:  # QTest.mouseMove sends no pressed button, which is no drag
            at = QPointF(self.canvas.mapToGlobal(place))
            kind, none = QEvent.Type.MouseMove, Qt.MouseButton.NoButton
            QApplication.sendEvent(self.canvas, QMouseEvent(kind, QPointF(place), at, none, left, modifier))
            QApplication.processEvents()
        QTest.mouseRelease(self.canvas, left, modifier, places[-1])
        self.wait(lambda: False, max(self.pace_s, 0.45 if len(points) == 1 else 0))  # two clicks soon are a double one

    def _on_screen(self, y: float, x: float) -> QPoint:
        camera, size = camera_of(self.viewer), self.canvas.size()
        middle_y, middle_x = camera.center[-2:]
        left = size.width() / 2 + (x - middle_x) * camera.zoom
        top = size.height() / 2 + (y - middle_y) * camera.zoom
        return QPoint(round(left), round(top))

    def wait(self, condition: Callable[[], object], seconds: float = 60) -> bool:
        """Let the window work until something is so; return whether it is."""
        end = time.perf_counter() + seconds
        while not condition():
            if time.perf_counter() > end:
                return False
            QApplication.processEvents()
            time.sleep(0.001)
        return True

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the actions and the delays of a part of the review."""
        self.phase = name
        self.late.start()
        yield
        self.late.timer.stop()
        self.delays.setdefault(name, []).extend(self.late.values)

    # ---- what a reviewer does ----

    def decide(self, count: int) -> int:
        """Decide cells of the queue with one key each: most are right, some are none, some have another class."""
        before = self.session.progress.reviewed
        for i in range(count):
            (cell_id,) = self.state.selection
            if i % 20 == 7:
                self.key(Qt.Key.Key_R)
            elif i % 20 == 13:
                other = 1 + self.session.cells[cell_id].class_id % len(self.state.classes)
                self.key(Qt.Key.Key_0 + other)
            else:
                self.key(Qt.Key.Key_A)
        self.decided += self.session.progress.reviewed - before
        return self.decided

    def split(self, count: int) -> int:
        """Cut the cell at hand across by a line, and accept its parts."""
        done = 0
        for _ in range(count):
            (cell_id,) = self.state.selection
            x0, y0, x1, y1 = self.session.cells[cell_id].box
            self.key(Qt.Key.Key_K)
            if x1 - x0 >= y1 - y0:
                middle = (x0 + x1 - 1) / 2
                self.drag([(y0 - 4, middle), ((y0 + y1) / 2, middle), (y1 + 3, middle)])
            else:
                middle = (y0 + y1 - 1) / 2
                self.drag([(middle, x0 - 4), (middle, (x0 + x1) / 2), (middle, x1 + 3)])
            done += self.session.undo_text == f"split #{cell_id}"
            self.key(Qt.Key.Key_A)
        return done

    def merge(self, count: int) -> int:
        """Add the nearest cell to the selection by a click, merge both over the gap, and accept."""
        done = 0
        while done < count and self.state.selection:
            (cell_id,) = self.state.selection
            other = self._near(cell_id)
            self.phase = "decide" if other is None else "merge"
            self.decided += other is None
            if other is not None:
                self.drag([self._inside(other)], Qt.KeyboardModifier.ShiftModifier)
                self.key(Qt.Key.Key_Q, Qt.KeyboardModifier.ShiftModifier)
                if not (self.session.undo_text or "").startswith("merge"):
                    return done
                done += 1
            self.key(Qt.Key.Key_A)
        return done

    def add_missed(self, places: list[tuple[float, float]]) -> tuple[int, list[float]]:
        """Click cells that are missing; return how many came, and the times to see them, s."""
        before, times = len(self.session.cells), []
        self.key(Qt.Key.Key_Home)  # the whole image
        self.key(Qt.Key.Key_C)
        for y, x in places:
            begin = time.perf_counter()
            self.drag([(y, x)])
            if self.wait(lambda: self.review.new_cell.is_shown, 20):
                times.append(time.perf_counter() - begin)
                self.key(Qt.Key.Key_A)
        self.key(Qt.Key.Key_Escape)
        return len(self.session.cells) - before, times

    def draw(self, places: list[tuple[float, float]]) -> int:
        """Draw cells with one stroke each."""
        before = len(self.session.cells)
        for y, x in places:
            self.key(Qt.Key.Key_Home)  # after a decision, the view is at the next cell
            self.key(Qt.Key.Key_M)
            self.drag([(y, x - 3), (y, x), (y, x + 3)])
            self.key(Qt.Key.Key_A)
        return len(self.session.cells) - before

    def _near(self, cell_id: int) -> int | None:
        """Return a cell in view that awaits a decision, with a gap of at most 4 px; None if there is none."""
        cells = self.session.cells
        x0, y0, x1, y1 = cells[cell_id].box
        for other, cell in cells.items():
            left, top, right, bottom = cell.box
            is_near = max(left - x1, x0 - right, top - y1, y0 - bottom) <= 4
            if other != cell_id and is_near and cell.status is Status.PROPOSED and self._is_in_view(*_middle(cell)):
                return other
        return None

    def _is_in_view(self, y: float, x: float) -> bool:
        place, size = self._on_screen(y, x), self.canvas.size()
        return 20 < place.x() < size.width() - 20 and 20 < place.y() < size.height() - 20

    def _inside(self, cell_id: int) -> tuple[float, float]:
        """Return the pixel of a cell nearest to its middle, (y, x)."""
        cell = self.session.cells[cell_id]
        pixels = np.argwhere(cell.mask)
        middle = pixels.mean(axis=0)
        y, x = pixels[np.abs(pixels - middle).sum(axis=1).argmin()]
        return float(y + cell.box[1]), float(x + cell.box[0])


def _middle(cell: Any) -> tuple[float, float]:
    x0, y0, x1, y1 = cell.box
    return (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2


def write_project(folder: Path, cells: int, missed: int) -> list[tuple[float, float]]:
    """Write five images with proposals; return the middles of cells left out of the first, (y, x)."""
    places: list[tuple[float, float]] = []
    side = round((cells * 1800) ** 0.5)
    for i, size in enumerate(((side, side), *SIZES)):
        rgb, truth = generate_tissue(size, max(1, size[0] * size[1] // 1800), i)
        tifffile.imwrite(folder / f"tissue_{i}.tif", rgb, photometric="rgb")
        order = np.random.default_rng(i).permutation(len(truth))
        left_out = order[: missed if i == 0 else 0]
        places += [((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2) for x0, y0, x1, y1 in truth.boxes[left_out].tolist()]
        with Sessions.of_folder(folder) as workspace:
            workspace.set_classes(TISSUE_CLASSES)
            workspace.open_session(f"tissue_{i}", size).load_proposals(truth.select(np.sort(order[len(left_out) :])))
            workspace.save(f"tissue_{i}")
    return places


def free_places(person: Reviewer, count: int) -> list[tuple[float, float]]:
    """Return places without a cell near, (y, x)."""
    height, width = person.session.image_size
    taken = np.zeros((height, width), bool)
    for cell in person.session.cells.values():
        x0, y0, x1, y1 = cell.box
        taken[max(0, y0 - 6) : y1 + 6, max(0, x0 - 8) : x1 + 8] = True
    rng, found = np.random.default_rng(5), []
    while len(found) < count:
        y, x = int(rng.integers(20, height - 20)), int(rng.integers(20, width - 20))
        if not taken[y, x]:
            found.append((float(y), float(x)))
            taken[y - 12 : y + 12, x - 16 : x + 16] = True
    return found


def review(person: Reviewer, places: list[tuple[float, float]], decide: int) -> dict[str, tuple[int, int]]:
    """Do all of it; return for each part what was done and what should have been."""
    done: dict[str, tuple[int, int]] = {}
    with person.part("split"):
        person.key(Qt.Key.Key_N)
        done["split"] = person.split(10), 10
    with person.part("merge"):  # which accepts cells without a near one on the way
        done["merge"] = person.merge(10), 10
    with person.part("decide"):
        done["decide"] = person.decide(decide - person.decided), decide
    with person.part("draw"):
        done["draw"] = person.draw(free_places(person, 10)), 10
    with person.part("add"):
        added, times = person.add_missed(places)
        done["add"] = added, len(places)
    print(f"a missed cell is seen after {np.median(times):.2f} s (median), {max(times):.2f} s at most")
    with person.part("images"):
        seen = 1
        for number in range(1, 1 + len(SIZES)):
            person.key(Qt.Key.Key_PageDown)
            seen += person.wait(
                lambda wanted=f"tissue_{number}": person.state.image_id == wanted and not person.state.loading
            )
            person.key(Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
        done["images"] = seen, 1 + len(SIZES)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=700)
    parser.add_argument("--decide", type=int, default=500)
    parser.add_argument("--pace", type=float, default=PACE_S, help="from one action to the next, s")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        os.environ["XDG_STATE_HOME"] = str(Path(name) / "state")
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(Path(name) / "settings"))
        places = write_project(folder, options.cells, 20)
        person = Reviewer(folder, options.pace)
        print(f"{len(person.session.cells)} cells, load of this machine {os.getloadavg()[0]:.1f}")
        done = review(person, places, options.decide)
        assert person.review.tools.tool is Tool.POINT
        person.plugin.opener.close()
        person.viewer.close()
    every = [value for values in person.delays.values() for value in values]
    figures = {}
    for part, (count, wanted) in done.items():
        delays = np.array(person.delays[part])
        p99 = float(np.percentile(delays, 99))
        figures[part] = {
            "done": count,
            "wanted": wanted,
            "actions": person.actions[part],
            "p99_ms": p99,
            "max_ms": float(delays.max()),
        }
        each = person.actions[part] / max(count, 1)
        print(
            f"{part:8} {count:4} of {wanted:4}   {person.actions[part]:4} actions, {each:4.2f} each   "
            f"late p99 {p99:6.1f}   max {delays.max():7.1f} ms   over 100 ms: {(delays > 100).sum()} of {len(delays)}"
        )
    print(f"all: late p50 {np.percentile(every, 50):.1f}, p99 {np.percentile(every, 99):.1f}, max {max(every):.1f} ms")
    if options.json is not None:
        options.json.write_text(json.dumps(figures))
    return int(any(count < wanted for count, wanted in done.values()))


if __name__ == "__main__":
    sys.exit(main())
