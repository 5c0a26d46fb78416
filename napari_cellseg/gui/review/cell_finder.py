"""`CellFinder`: asks the model of *Segment* for the cell at a place, in the engine process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_cellseg.engine_process.pausing import TICK_S
from napari_cellseg.engine_process.tasks import Prompt
from napari_cellseg.errors import CellSegError
from napari_cellseg.events import Message
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import Image
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import CheckpointHeader, read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.prompts import CellAnswer, CellPrompt, region_around
from napari_cellseg.model.inference.stain import answer_by_stain
from napari_cellseg.model.inference.tiles import network_scale
from napari_cellseg.review import Box, ReviewSession
from napari_cellseg.review.cells import overlap

__all__ = ["CellFinder", "FoundCell"]

_ROOM = 0.25
"""Share of a region that must lie on each side of a click for the region to be used again."""


_LOADING_S = 60.0
"""How long a question waits for the model to be loaded; later, the engine says what is wrong."""


@dataclass(frozen=True)
class FoundCell:
    """The answer, None if nothing was found; and why the model could not be asked, empty if it could."""

    answer: CellAnswer | None
    problem: str = ""


class CellFinder(QObject):
    """One question at a time; a new one replaces the one before.

    Parameters
    ----------
    state : AppState
    engine : Engine
        Where the model runs; its process stays warm, and keeps what the model saw around the last click.
    settings : callable
        Returns the options of the prediction, and the pixel size that was chosen instead of the image's own.
    """

    found = Signal(object)
    """A `FoundCell`."""

    def __init__(
        self, state: AppState, engine: Engine, settings: Callable[[], tuple[PredictOptions, float | None]]
    ) -> None:
        super().__init__(state)
        self._state, self._engine, self._settings = state, engine, settings
        self._header: tuple[Path, float, CheckpointHeader] | None = None
        self._region: Box | None = None
        self._images = 0
        self._is_loaded = threading.Event()  # or the attempt failed; the question says why
        self._is_loaded.set()
        self.job = Job(state, "finding a cell")
        self.job.finished.connect(self.found)
        self.job.failed.connect(lambda error: self.found.emit(FoundCell(None, str(error))))
        self._warm_up = Job(state, "loading the model")
        state.current_changed.connect(self._on_image)
        state.model_changed.connect(self._forget_region)

    def warm_up(self) -> None:
        """Start the engine and load the model, so that the first answer comes soon."""
        if not self._warm_up.is_busy and not self.job.is_busy:
            engine, options = self._engine, self._settings()[0]
            self._is_loaded = threading.Event()
            self._warm_up.start(partial(_load, engine, options, self._is_loaded))

    def ask(self, *, point: tuple[float, float] | None, drawn: tuple[float, ...] | None, proposals: list[Box]) -> None:
        """Ask for the cell at a point (y, x), or in a drawn box (x0, y0, x1, y1), px of the image.

        Raises
        ------
        CheckpointError
            The model cannot be read.
        """
        image, session = self._state.image, self._state.session
        if image is None or session is None:
            return
        options, chosen_um = self._settings()
        pixel_size_um = chosen_um or image.pixel_size_um
        config = self._header_of(options.checkpoint or bundled()).config
        scale, _ = network_scale(config.working_scale, config.pixel_size_um, pixel_size_um, options.scale)
        box = drawn if drawn is not None else (point[1], point[0]) * 2 if point is not None else (0, 0, 0, 0)
        region = self._region = self._region_for(box, scale, session.image_size)
        if image.options == ReadOptions():
            image = image.with_options(config.reading)
        prompt = CellPrompt(
            image_key=f"{self._images}",
            image_size=session.image_size,
            region=region,
            pixels=np.zeros((0, 0, 3), np.uint8),  # cut in the thread of the job
            taken=_taken(session, region),
            point=point,
            drawn=None if drawn is None else (drawn[0], drawn[1], drawn[2], drawn[3]),
            proposals=proposals,
            pixel_size_um=pixel_size_um,
        )
        self.job.start(partial(_find, self._engine, image, prompt, options, self._is_loaded))

    def stop(self) -> None:
        """Forget the question."""
        self.job.stop()

    def _header_of(self, path: Path) -> CheckpointHeader:
        changed = path.stat().st_mtime if path.exists() else 0.0
        if self._header is None or self._header[:2] != (path, changed):
            self._header = path, changed, read_header(path)
            self._region = None
        return self._header[2]

    def _region_for(self, box: tuple[float, ...], scale: float, image_size: tuple[int, int]) -> Box:
        """Return the region to look at: the last one if the box lies well inside, since its features are kept."""
        wanted = region_around(box, scale, image_size)
        last = self._region
        if (
            last is not None
            and wanted[2] - wanted[0] == last[2] - last[0]
            and wanted[3] - wanted[1] == last[3] - last[1]
        ):
            room_x, room_y = _ROOM * (last[2] - last[0]), _ROOM * (last[3] - last[1])
            if (
                last[0] + room_x <= box[0]
                and box[2] <= last[2] - room_x
                and last[1] + room_y <= box[1]
                and box[3] <= last[3] - room_y
            ):
                return last
        return wanted

    def _on_image(self) -> None:
        self._images += 1
        self._region = None
        self.stop()

    def _forget_region(self) -> None:
        self._region = None


def _taken(session: ReviewSession, region: Box) -> np.ndarray:
    """Return the pixels of the cells that are shown in a region."""
    taken = np.zeros((region[3] - region[1], region[2] - region[0]), bool)
    for class_id in session.classes.class_ids:
        for cell in session.near(class_id, region):
            if overlap(cell.box, region) is not None:
                taken |= cell.crop(region)
    return taken


def _find(
    engine: Engine, image: Image, prompt: CellPrompt, options: PredictOptions, is_loaded: threading.Event
) -> Generator[Message | None, None, FoundCell]:
    """Ask the model, else the stain; in the thread of the job, where the pixels may be converted."""
    x0, y0, x1, y1 = prompt.region
    for _ in range(round(_LOADING_S / TICK_S)):
        if is_loaded.wait(TICK_S):
            break
        yield None
    whole = replace(prompt, pixels=np.ascontiguousarray(image.rgb()[y0:y1, x0:x1]))
    problem = ""
    try:
        answer = yield from engine.run(Prompt(whole, options))
    except CellSegError as error:
        answer, problem = None, str(error)
    return FoundCell(answer if answer is not None else answer_by_stain(whole), problem)


def _load(
    engine: Engine, options: PredictOptions, is_loaded: threading.Event
) -> Generator[Message | None, None, CellAnswer | None]:
    try:
        return (yield from engine.run(Prompt(None, options)))
    finally:
        is_loaded.set()
