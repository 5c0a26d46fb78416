"""Before and after a training, on one image: the cells of the former and of the new model, side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.class_match import match_classes, with_class_ids
from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import EngineError
from napari_cellseg.events import ImageDone, ImageFailed, PredictEvent, PredictSummary, Progress, TileDone
from napari_cellseg.gui.canvas.side_picture import GAP_PX
from napari_cellseg.images.read import Image
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.wording import counted
from training.comparison import Comparison
from training.history import FEW_CELLS
from training.metrics import overlaps, same_cells

__all__ = ["GAINED", "LOST", "BeforeAfter", "TrialStep", "before_after", "compared", "figures_text"]

GAINED, LOST, SAME = (0, 158, 115), (213, 94, 0), (255, 255, 255)
"""As in *Compare*; cells of both models are outlined in white."""
_RIM_PX = 2


@dataclass(frozen=True)
class TrialStep(Progress):
    """One of the models has predicted a part of the image; ``text`` says which."""

    text: str


@dataclass(frozen=True, eq=False, kw_only=True)
class BeforeAfter:
    """The answers of two models for one image.

    Attributes
    ----------
    picture : (H, 2 * W + GAP_PX, 3) uint8
        The image with the cells of the former model, and with those of the new model.
    answer : InstanceMasks
        The cells of the new model of all scores.
    before, after : int
        Cells at or above the minimum scores of each model.
    gained, lost : int
        Cells that only the new, and only the former model has (same class, IoU above 0.5).
    """

    picture: npt.NDArray[np.uint8]
    answer: InstanceMasks
    before: int
    after: int
    gained: int
    lost: int

    @property
    def text(self) -> str:
        """The counts, in words."""
        return (
            f"On this image: {counted(self.before, 'cell')} before (left), {self.after:,} after (right); "
            f"{self.gained:,} gained (green), {self.lost:,} lost (orange)."
        )


def before_after(
    run: Callable[[Predict], Generator[PredictEvent | None, None, PredictSummary]],
    image_id: str,
    image: Image,
    pixel_size_um: float | None,
    models: tuple[PredictOptions, PredictOptions],
    classes: ClassTable,
    min_scores: tuple[Mapping[int, float], Mapping[int, float]],
) -> Generator[TrialStep | None, None, BeforeAfter]:
    """Predict an image with the former and with the new model, and compare the answers; runs in a job's thread.

    Parameters
    ----------
    run : callable
        Runs a task of the engine.
    image_id, image, pixel_size_um
        The image.
    models : (PredictOptions, PredictOptions)
        The former and the new model.
    classes : ClassTable
        Of the project.
    min_scores : (mapping, mapping) of class_id to float
        Of each model, with the class_ids of the project.

    Raises
    ------
    CellSegError
        A model does not fit the project, or the prediction failed.
    """
    answers = []
    for options, name in zip(models, ("former model", "new model"), strict=True):
        header = read_header(options.checkpoint or bundled())
        seen = image.with_options(image.options.over(header.config.reading))
        found = yield from _answer(run(Predict([PredictItem(image_id, seen.rgb(), pixel_size_um)], options)), name)
        answers.append(with_class_ids(found, match_classes(header.classes, classes)))
    yield None
    return compared(image.rgb(), answers[0], answers[1], min_scores)


def _answer(
    events: Generator[PredictEvent | None, None, PredictSummary], name: str
) -> Generator[TrialStep | None, None, InstanceMasks]:
    found: InstanceMasks | None = None
    try:
        for event in events:
            if isinstance(event, ImageFailed):
                raise EngineError(f"{event.image_id} could not be segmented with the {name}: {event.message}")
            if isinstance(event, ImageDone):
                found = event.instances
            yield TrialStep(f"{name}, tile {event.tile}/{event.tiles}") if isinstance(event, TileDone) else None
    finally:
        events.close()
    assert found is not None, "an image ends with its cells or a failure"
    return found


def compared(
    rgb: npt.NDArray[np.uint8],
    old: InstanceMasks,
    new: InstanceMasks,
    min_scores: tuple[Mapping[int, float], Mapping[int, float]],
) -> BeforeAfter:
    """Match the answers of two models, and draw them side by side on copies of an image, (H, W, 3)."""
    former, latter = (_shown(cells, limits) for cells, limits in zip((old, new), min_scores, strict=True))
    by_old, by_new = same_cells(overlaps(former, latter))
    is_lost, is_gained = np.ones(len(former), bool), np.ones(len(latter), bool)
    is_lost[by_old], is_gained[by_new] = False, False
    sides = []
    for cells, is_other, colour in ((former, is_lost, LOST), (latter, is_gained, GAINED)):
        side = rgb.copy()
        _outline(side, cells.select(~is_other), SAME, 1)
        _outline(side, cells.select(is_other), colour, _RIM_PX)
        sides.append(side)
    gap = np.zeros((rgb.shape[0], GAP_PX, 3), np.uint8)
    return BeforeAfter(
        picture=np.concatenate([sides[0], gap, sides[1]], 1),
        answer=replace(new, label_values=None),
        before=len(former),
        after=len(latter),
        gained=int(is_gained.sum()),
        lost=int(is_lost.sum()),
    )


def figures_text(comparison: Comparison) -> str:
    """Say how the models differ on the validation images, and what that rests on."""
    cells = sum(scores.cells for scores in comparison.classes)
    images = counted(len(comparison.images), "validation image")
    few = f" {counted(cells, 'cell')} are too few to rely on." if cells < FEW_CELLS else ""
    changes = [
        f"{name} {getattr(comparison.old, key):.2f} before, {getattr(comparison.new, key):.2f} after"
        for name, key in (("AP50", "ap50"), ("PQ", "pq"))
    ]
    return (
        f"On {images} with {counted(cells, 'cell')}: {'; '.join(changes)}; "
        f"{comparison.gained:,} gained, {comparison.lost:,} lost.{few}"
    ).replace("nan", "unknown")


def _shown(cells: InstanceMasks, min_scores: Mapping[int, float]) -> InstanceMasks:
    pairs = zip(cells.scores.tolist(), cells.class_ids.tolist(), strict=True)
    return cells.select([score >= min_scores.get(class_id, 0.0) for score, class_id in pairs])


def _outline(picture: npt.NDArray[np.uint8], cells: InstanceMasks, colour: tuple[int, int, int], width: int) -> None:
    for (x0, y0, x1, y1), mask in zip(cells.boxes.tolist(), cells.masks, strict=True):
        inner = ndimage.binary_erosion(np.pad(mask, 1), iterations=width)[1:-1, 1:-1]
        picture[y0:y1, x0:x1][mask & ~inner] = colour
