"""`Plugin`: all that one viewer has of this plugin. It is built here, in order, and closed in the reverse order.

Nothing else is kept per viewer, and no class looks for another one: whoever needs a thing is given it. The docks, which
napari makes from a viewer, are in `gui.docks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from napari_cellseg.gui.autosave import Autosave
from napari_cellseg.gui.batch.batch import Batch
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.plane_watch import PlaneWatch
from napari_cellseg.gui.closing import CloseGuard
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.opening.save_watch import SaveWatch
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.review.cell_finder import CellFinder
from napari_cellseg.gui.review.hints import Hints
from napari_cellseg.gui.review.keys import ReviewKeys
from napari_cellseg.gui.review.work_bar import WorkBar
from napari_cellseg.gui.segment.segmentation import Segmentation
from napari_cellseg.gui.slides.slide_review import SlideReview
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.train.run import TrainRun
from napari_cellseg.gui.train.trial import Trial
from napari_cellseg.gui.widgets.notify import show_info, show_warning

__all__ = ["Plugin", "build_plugin", "plugin_of"]

_PLUGINS: WeakKeyDictionary[Any, Plugin] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False, kw_only=True)
class Plugin:
    """What the docks of one viewer share, in the order in which it is built; use `plugin_of`.

    Attributes
    ----------
    state : AppState
        What is open and chosen.
    planes : PlaneWatch
        Whether the plane with the cells is on show.
    layers : ClassLayers
        The class layers on the canvas.
    slides : SlideView
        The slide on the canvas.
    slide_review : SlideReview
        Decisions about its cells.
    opener : Opener
        Opens folders and images, and saves them.
    saving : SaveWatch
        Whether edits are saved.
    autosave : Autosave
    review : ReviewActions
        What keys and buttons of a review do.
    keys : ReviewKeys
        The keys of a review on the canvas.
    segmentation : Segmentation
        Predicts the image on the canvas.
    work_bar : WorkBar
        The line above the canvas.
    hints : Hints
        The next step of a first session.
    batch : Batch
        Predicts a folder.
    training : TrainRun
        Checks data, trains, compares.
    trial : Trial
        Tries the model of *Train 5 min*.
    """

    state: AppState
    planes: PlaneWatch
    layers: ClassLayers
    slides: SlideView
    slide_review: SlideReview
    opener: Opener
    saving: SaveWatch
    autosave: Autosave
    review: ReviewActions
    keys: ReviewKeys
    segmentation: Segmentation
    work_bar: WorkBar
    hints: Hints
    batch: Batch
    training: TrainRun
    trial: Trial

    def close(self) -> None:
        """Stop all that runs, save, then free all in the reverse order of building; does nothing the second time."""
        if self.state.is_closed:
            return
        self.state.close()
        for part in (
            self.trial, self.training, self.batch, self.hints, self.work_bar, self.segmentation, self.keys, self.review,
            self.autosave, self.saving, self.opener, self.slide_review, self.slides, self.layers, self.planes,
        ):  # fmt: skip
            part.close()


def plugin_of(viewer: Any) -> Plugin:
    """Return the plugin of a viewer, built at the first call; only for what napari makes from a viewer."""
    viewer = _unwrapped(viewer)
    return _PLUGINS[viewer] if viewer in _PLUGINS else build_plugin(viewer)


def build_plugin(viewer: Any, make_engine: Callable[[AppState], Engine] = Engine) -> Plugin:
    """Build everything for a viewer that has nothing yet; tests give another ``make_engine``."""
    viewer = _unwrapped(viewer)
    assert viewer not in _PLUGINS, "a viewer has one plugin"
    state = AppState(viewer)
    planes = PlaneWatch(state)
    layers = ClassLayers(state)
    planes.told.connect(show_info)
    layers.told.connect(show_info)
    layers.ready.connect(planes.check)
    slides = SlideView(state)
    slides.told.connect(show_warning)
    opener = Opener(state)
    saving = SaveWatch(state)
    autosave = Autosave(state, opener)
    segmentation = Segmentation(state, layers, make_engine(state))
    segmentation.slide_grew.connect(slides.follow)
    finder = CellFinder(state, make_engine(state), lambda: segmentation.settings)
    slide_review = SlideReview(state, slides)
    slide_review.told.connect(show_warning)
    review = ReviewActions(state, layers, opener, finder, slide_review)
    review.showing.changed.connect(lambda: slides.cells.show_as(review.showing.is_hidden, review.showing.outlines_only))
    keys = ReviewKeys(state, layers, review)
    work_bar = WorkBar(state, review, saving, segmentation.job)
    hints = Hints(state, review, segmentation.job)
    batch = Batch(state, opener, make_engine(state))
    training = TrainRun(state, make_engine(state))
    trial = Trial(state, training, lambda: segmentation.settings)
    plugin = _PLUGINS[viewer] = Plugin(
        state=state,
        planes=planes,
        layers=layers,
        slides=slides,
        slide_review=slide_review,
        opener=opener,
        saving=saving,
        autosave=autosave,
        review=review,
        keys=keys,
        segmentation=segmentation,
        work_bar=work_bar,
        hints=hints,
        batch=batch,
        training=training,
        trial=trial,
    )
    saving.refused.connect(layers.show_refusal)
    saving.refused.connect(review.changed)
    CloseGuard(state, plugin.close)
    return plugin


def _unwrapped(viewer: Any) -> Any:
    """Return what is behind the proxy that napari gives to plugins, a new one each time."""
    return getattr(viewer, "__wrapped__", viewer)
