"""What the actions of a review do on a slide: decisions as on any image; shapes need the image in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from napari_cellseg.gui.review.action import ReviewAction
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.slides.slide_review import SlideReview
from napari_cellseg.gui.slides.words import REGION_TIP
from napari_cellseg.gui.widgets.class_key import CLASSES_WITH_KEY

__all__ = ["with_slides"]


@dataclass(frozen=True)
class _OnSlides:
    """What an action does on a slide, why it cannot, and what it would do now; no ``run``: the same as elsewhere."""

    needs: Callable[[SlideReview], str | None]
    run: Callable[[SlideReview], object] | None = None
    now: Callable[[SlideReview], str] | None = None


def _nothing(_: SlideReview) -> str | None:
    return None


def _class(class_id: int) -> _OnSlides:
    def why_not(slide: SlideReview) -> str | None:
        unknown = None if class_id <= len(slide.class_names) else f"There is no class {class_id}."
        return slide.why_no_cell() or unknown

    return _OnSlides(why_not, lambda slide: slide.give_class(class_id))


_ROWS: Mapping[str, _OnSlides] = {
    "accept": _OnSlides(SlideReview.why_no_cell, SlideReview.accept, lambda _: "Mark as correct"),
    "reject": _OnSlides(SlideReview.why_no_cell, SlideReview.reject, lambda _: "Mark as wrong and hide"),
    "accept_in_view": _OnSlides(SlideReview.why_not, SlideReview.accept_in_view),
    "next": _OnSlides(SlideReview.why_not, SlideReview.next),
    "previous": _OnSlides(SlideReview.why_not, lambda slide: slide.next(-1)),
    "undo": _OnSlides(SlideReview.why_no_undo, SlideReview.undo, lambda slide: f"Undo: {slide.undo_text}"),
    "redo": _OnSlides(SlideReview.why_no_redo, SlideReview.redo, lambda slide: f"Redo: {slide.redo_text}"),
    "segment": _OnSlides(SlideReview.why_no_segment),
    "region": _OnSlides(_nothing, now=lambda _: REGION_TIP),
    "hide": _OnSlides(_nothing),
    "blink": _OnSlides(_nothing),
    "outlines": _OnSlides(_nothing),
    **{f"class_{class_id}": _class(class_id) for class_id in range(1, CLASSES_WITH_KEY + 1)},
}


def with_slides(row: ReviewAction) -> ReviewAction:
    """Return an action that works on slides too, if it can."""
    on_slides = _ROWS.get(row.id)
    if on_slides is None:
        return row

    def needs(do: ReviewActions) -> str | None:
        return on_slides.needs(do.slide) if do.slide.is_open else row.needs(do)

    def run(do: ReviewActions) -> object:
        return on_slides.run(do.slide) if do.slide.is_open and on_slides.run is not None else row.run(do)

    def now(do: ReviewActions) -> str:
        if do.slide.is_open and on_slides.now is not None:
            return on_slides.now(do.slide)
        return row.tip if row.now is None else row.now(do)

    return replace(row, needs=needs, run=run, now=now)
