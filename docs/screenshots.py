"""Takes the pictures of the documentation from the running program: ``make screenshots``.

Everything shown is made here from the sample images, so that any checkout can take them again::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py [--only review table] [--theme light] [--out DIR]

Without ``--only``, all are taken, in five minutes on two cores: the bundled model predicts the samples, and a small
model is trained for three epochs. Settings of the user are neither read nor changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path(__file__).with_name("images")
WAIT_S = 900.0
SETTLE_S = 0.6


def main() -> int:
    """Take the pictures that are asked for."""
    names = [name for _, of_scene in SCENES for name in of_scene]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=OUT, help="default: docs/images")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--size", default="1280x800", help="of the window, default: 1280x800")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.gettempdir()) / "cellseg-pictures"  # its name is in the pictures
    home.mkdir()
    try:
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            os.environ[name] = str(home)
        width, height = map(int, options.size.split("x"))
        shots = Shots(options.out, options.theme, (width, height), home)
        for scene, of_scene in SCENES:
            if set(of_scene) & set(options.only):
                scene(shots, {name: name in options.only for name in of_scene})
        shots.close()
    finally:
        shutil.rmtree(home)
    return 0


class Shots:
    """A viewer with the plugin, driven through its own buttons."""

    def __init__(self, out: Path, theme: str, size: tuple[int, int], folder: Path) -> None:
        import napari
        from napari.settings import get_settings
        from qtpy.QtCore import QSettings

        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
        get_settings().appearance.theme = theme
        get_settings().application.confirm_close_window = False
        from napari_cellseg.gui.plugin import plugin_of
        from napari_cellseg.gui.preferences import change_preference

        change_preference("hints", False)
        self.out, self.size, self.folder = out, size, folder
        self.viewer = napari.Viewer(title="napari")
        self.window = self.viewer.window._qt_window
        self.plugin: Any = plugin_of(self.viewer)
        self.dock("Open")
        self.resize()

    def resize(self) -> None:
        """Give the window the size of a picture."""
        self.window.showNormal()
        self.window.resize(*self.size)
        self.settle()

    def settle(self, seconds: float = SETTLE_S) -> None:
        """Let the window work, until what is done later is done."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def wait(self, until: Callable[[], object], what: str) -> None:
        """Wait for a state of the program."""
        end = time.monotonic() + WAIT_S
        while not until():
            self.settle(0.05)
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not happen within {WAIT_S:.0f} s")
        self.settle()

    def dock(self, name: str) -> Any:
        """Bring a dock to the front."""
        from napari_cellseg.gui.widgets.workflow import show_dock

        dock = show_dock(self.viewer, name)
        self.settle()
        return dock

    def hide(self, dock: Any) -> None:
        """Close a dock below the canvas."""
        from napari_cellseg.gui.widgets.workflow import dock_of

        found = dock_of(dock)
        if found is not None:
            found.close()
        self.settle()

    def take(self, name: str, widget: Any = None) -> None:
        """Write a picture of the window, or of a dialog."""
        from napari._qt.dialogs.qt_notification import NapariQtNotification

        for notice in self.window.findChildren(NapariQtNotification):
            notice.close()
        self.settle()
        path = self.out / f"{name}.png"
        if not (widget or self.window).grab().save(str(path)):
            raise OSError(f"cannot write {path}")
        sys.stdout.write(f"{path}\n")

    def key(self, key: Any) -> None:
        """Press a key on the canvas."""
        from qtpy.QtTest import QTest

        QTest.keyClick(self._canvas, key)
        self.settle(0.3)

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Drag the mouse over places of the image, (y, x); one place is a click."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        canvas, left, no_key = self._canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        places = [self._on_screen(*point) for point in points]
        QTest.mousePress(canvas, left, no_key, places[0])
        for place in places[1:]:  # QTest.mouseMove sends no pressed button
            at = QPointF(canvas.mapToGlobal(place))
            kind, none = QEvent.Type.MouseMove, Qt.MouseButton.NoButton
            QApplication.sendEvent(canvas, QMouseEvent(kind, QPointF(place), at, none, left, no_key))
            self.settle(0.05)
        QTest.mouseRelease(canvas, left, no_key, places[-1])
        self.settle()

    def look_at(self, y: float, x: float, zoom: float | None = None) -> None:
        """Move the view to a place of the image."""
        from napari_cellseg.gui.canvas.camera import camera_of

        camera = camera_of(self.viewer)
        camera.center, camera.zoom = (y, x), camera.zoom if zoom is None else zoom
        self.settle(0.3)

    @property
    def _canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def _on_screen(self, y: float, x: float) -> Any:
        from qtpy.QtCore import QPoint

        from napari_cellseg.gui.canvas.camera import camera_of

        camera, size = camera_of(self.viewer), self._canvas.size()
        middle_y, middle_x = camera.center[-2:]
        left = size.width() / 2 + (x - middle_x) * camera.zoom
        return QPoint(round(left), round(size.height() / 2 + (y - middle_y) * camera.zoom))

    def open(self, folder: Path) -> None:
        """Open a folder and wait for its first image."""
        self.plugin.opener.open_path(folder)
        state = self.plugin.state
        self.wait(
            lambda: (
                state.workspace is not None and state.workspace.project.path == folder and state.session is not None
            ),
            f"opening {folder}",
        )

    def show_image(self, image_id: str) -> None:
        """Show an image of the folder."""
        state = self.plugin.state
        self.plugin.opener.show(image_id)
        self.wait(lambda: state.image_id == image_id and not state.loading, f"opening {image_id}")

    def segment(self) -> None:
        """Press *Segment*."""
        dock = self.dock("Segment")
        self.wait(dock.button.isEnabled, "a model")
        dock.button.click()
        self.wait(lambda: not dock.segmentation.job.is_busy, "the prediction")
        self.wait(lambda: self.plugin.review.queue.is_ready, "the queue")

    def close(self) -> None:
        """Close the viewer."""
        self.plugin.state.set_current(None, None, None)
        self.plugin.close()
        self.viewer.close()


# ---- scenes: each opens what it needs ----


def samples(shots: Shots) -> Path:
    """Write the sample images once: stained tissue, and drawn nuclei of four classes."""
    import tifffile

    from napari_cellseg.images.samples import generate_tissue, ihc

    folder = shots.folder / "samples"
    if not folder.exists():
        folder.mkdir()
        tifffile.imwrite(folder / "colon_ihc.tif", ihc(), photometric="rgb")
        for number in (1, 2):
            rgb, _ = generate_tissue((640, 640), 230, number)
            tifffile.imwrite(folder / f"tissue_{number:02d}.tif", rgb, photometric="rgb")
    return folder


def review_scene(shots: Shots, wanted: dict[str, bool]) -> None:
    """Open the samples, segment one, review it, and show its cells."""
    shots.open(samples(shots))
    if wanted["open"]:
        shots.dock("Open")
        shots.take("open")
    shots.show_image("tissue_01")
    shots.segment()
    if wanted["demo"]:
        shots.dock("Segment")
        shots.viewer.reset_view()
        shots.take("demo")
    shots.dock("Review")
    do = shots.plugin.review
    for step in (do.next, do.accept, do.accept, do.reject, do.accept):
        step()
        shots.settle(0.2)
    if wanted["review"]:
        shots.take("review")
    if wanted["correct"] or wanted["missed"]:
        correct_and_add(shots, wanted)
    for name in ("Gallery", "Table"):
        if wanted[name.lower()]:
            dock = shots.dock(name)
            shots.settle(3.0)  # the cells are measured
            shots.take(name.lower())
            shots.hide(dock)
    if wanted["models"]:
        dock = shots.dock("Models")
        dock.details.verticalScrollBar().setValue(40)  # below the path, which is this machine's
        shots.take("models")
        shots.hide(dock)


def correct_and_add(shots: Shots, wanted: dict[str, bool]) -> None:
    """Paint on the cell at hand, then click one that the model missed."""
    from qtpy.QtCore import Qt

    do, session = shots.plugin.review, shots.plugin.state.session
    shots.key(Qt.Key.Key_N)
    (cell_id,) = shots.plugin.state.selection
    x0, y0, x1, y1 = session.cells[cell_id].box
    shots.key(Qt.Key.Key_B)
    shots.drag([(y0 + 3, x1 - 4), ((y0 + y1) / 2, x1 - 1), (y1 - 3, x1 - 4)])
    if wanted["correct"]:
        shots.take("correct")
    shots.key(Qt.Key.Key_A)
    shots.key(Qt.Key.Key_N)
    (cell_id,) = shots.plugin.state.selection
    x0, y0, x1, y1 = session.cells[cell_id].box
    shots.key(Qt.Key.Key_Delete)  # the model misses no cell of this drawing
    shots.look_at((y0 + y1) / 2, (x0 + x1) / 2)  # the view moved on to the next cell
    shots.key(Qt.Key.Key_C)
    shots.drag([((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)])
    shots.wait(lambda: do.new_cell.is_shown, "the new cell")
    if wanted["missed"]:
        shots.take("missed")
    shots.key(Qt.Key.Key_A)
    shots.key(Qt.Key.Key_Escape)


def batch_scene(shots: Shots, wanted: dict[str, bool]) -> None:
    """Predict the folder, and show what to review next."""
    if wanted["batch"]:
        shots.open(samples(shots))
        dock = shots.dock("Batch")
        shots.wait(dock.button.isEnabled, "the count of images")
        dock.button.click()
        shots.wait(lambda: not dock.batch.job.is_busy, "the batch")
        shots.take("batch")
        shots.hide(dock)


def export_scene(shots: Shots, wanted: dict[str, bool]) -> None:
    """Export the samples."""
    if wanted["export"]:
        shots.open(samples(shots))
        dock = shots.dock("Export")
        shots.wait(dock.export_button.isEnabled, "a format")
        dock.export_button.click()
        shots.wait(lambda: not dock.job.is_busy, "the export")
        shots.take("export")


def train_scene(shots: Shots, wanted: dict[str, bool]) -> None:
    """Train on drawn tissue for three epochs; compare the model with the bundled one."""
    from napari_cellseg.images.samples import write_training_folder

    folder = shots.folder / "tissue"
    write_training_folder(folder, 8, (256, 256))
    shots.open(folder / "train")
    dock = shots.dock("Train")
    shots.wait(lambda: dock.form.is_ready and dock.button.isEnabled(), "the check of the data")
    if wanted["train-idle"]:
        shots.take("train-idle")
    if not any(wanted[f"train-{name}"] for name in ("running", "finished", "compare")):
        return
    dock.form.forms[""].set_values({"epochs": 3})
    dock.button.click()
    run = dock.run
    shots.wait(lambda: run.history is not None and len(run.history.rows) >= 2, "the second epoch")
    if wanted["train-running"]:
        shots.settle(4.0)
        shots.take("train-running")
    shots.wait(lambda: not run.job.is_busy, "the end of the training")
    if wanted["train-finished"]:
        shots.take("train-finished")
    if wanted["train-compare"]:
        dock.monitor.compare_button.click()
        shots.wait(lambda: not run.compare_job.is_busy, "the comparison")
        shots.settle(3.0)
        shots.take("train-compare", dock.monitor.window_of_comparison)
        dock.monitor.window_of_comparison.close()


def preferences_scene(shots: Shots, wanted: dict[str, bool]) -> None:
    """Show the page of the plugin in napari's preferences."""
    if wanted["preferences"]:
        from napari._qt.dialogs.preferences_dialog import PreferencesDialog

        dialog = PreferencesDialog(parent=shots.window)
        dialog.resize(1065, 700)
        pages = [dialog._list.item(row).text() for row in range(dialog._list.count())]
        dialog._list.setCurrentRow(next(row for row, page in enumerate(pages) if "cellseg" in page.lower()))
        dialog.show()
        shots.settle()
        shots.take("preferences", dialog)
        dialog.reject()


def slide_scene(shots: Shots, wanted: dict[str, bool]) -> None:
    """Segment a slide of 71 Mpx from the middle of the view, and review its first cells while it runs."""
    if not wanted["slide"]:
        return
    from drawn_slide import write_slide

    folder = shots.folder / "slides"
    folder.mkdir()
    write_slide(folder / "slide_01.tif")
    plugin = shots.plugin
    plugin.opener.open_path(folder)
    shots.wait(lambda: plugin.state.slide is not None and plugin.slides.is_up_to_date, "opening the slide")
    shots.look_at(4000, 4000, zoom=0.55)
    dock = shots.dock("Segment")
    shots.wait(dock.button.isEnabled, "a model")
    dock.button.click()
    shots.wait(lambda: (plugin.slide_review.progress[1]) > 900, "the first tiles")
    shots.dock("Review")
    review = plugin.slide_review
    review.next()
    for step in (review.accept, review.reject, review.accept):
        step()
        shots.settle(0.2)
    shots.look_at(4000, 4000, zoom=0.55)
    shots.wait(lambda: plugin.slides.is_up_to_date, "the view")
    shots.take("slide")
    plugin.segmentation.job.stop()
    shots.wait(lambda: not plugin.segmentation.job.is_busy, "the stop")


Scene = Callable[[Shots, dict[str, bool]], None]
SCENES: tuple[tuple[Scene, tuple[str, ...]], ...] = (
    (review_scene, ("open", "demo", "review", "correct", "missed", "gallery", "table", "models")),
    (batch_scene, ("batch",)),
    (export_scene, ("export",)),
    (slide_scene, ("slide",)),
    (preferences_scene, ("preferences",)),
    (train_scene, ("train-idle", "train-running", "train-finished", "train-compare")),
)

if __name__ == "__main__":
    sys.exit(main())
