"""What the docks say about slides."""

from __future__ import annotations

from collections.abc import Sequence

from napari_cellseg.wording import counted, listed

__all__ = [
    "FAR",
    "LISTED_IN_REGION",
    "LISTED_IN_VIEW",
    "MOST_LISTED",
    "NOTHING_LEFT",
    "NO_CELLS",

    "ONLY_IN_MEMORY",
    "ON_SLIDES",
    "REGION_TIP",
    "TABLE_MORE", "TOO_MANY_LISTED",
    "left_out_text",
    "segment_words",
    "slide_done_text",
]  # fmt: skip

ONLY_IN_MEMORY = "This works for images in memory. A slide is shown by regions."
"""Why an action is not available on a slide."""
FAR = "Too many cells are in view. Zoom in first."
NO_CELLS = "This slide has no cells yet. Segment it, or show cells from a run in Open."
NOTHING_LEFT = "No cell in view awaits a decision. Move the view on."
ON_SLIDES = (
    "Next goes through the undecided cells in view, lowest score first. Accept, Reject, All in view, classes, Undo and "
    "Redo work on slides; the tools that change shapes do not. G draws a region: Segment then predicts only its tiles."
)
REGION_TIP = "Draw the region that Segment predicts: drag a box, or hold Ctrl and draw around it; a click removes it"
MOST_LISTED = 10_000
"""Most cells in a list: their masks are in memory, and it is as many as are outlined."""
LISTED_IN_VIEW = "The cells in view. Move the view to list others, or draw a region with G."
LISTED_IN_REGION = "The cells of the region. G and a click remove it: then the cells in view are listed."
TABLE_MORE = "Export with measurements writes all cells of the slide, with all columns."
TOO_MANY_LISTED = (
    f"More than {MOST_LISTED:,} cells are in view, or in the region. Zoom in, or draw a smaller region with G."
)


def segment_words(*, on_slide: bool, has_region: bool) -> tuple[str, str]:
    """Return the text of the button of *Segment* and what it does."""
    if not on_slide:
        return "Segment image", "Segment this image. Cells that you accepted or edited stay."
    continues = "the part in view first. A run that was stopped continues."
    if has_region:
        return "Segment region", f"Segment only the tiles of the region, {continues} Remove the region for the rest."
    return "Segment slide", f"Segment this slide tile by tile, {continues}"


def left_out_text(slides: Sequence[str]) -> str:
    """Say which images of a folder *Batch* leaves out, and what predicts them."""
    is_one = len(slides) == 1
    what = f"{listed(slides, 2)} {'is a slide and is' if is_one else 'are slides and are'} left out here"
    how = "open it and use Segment" if is_one else "open each and use Segment"
    return f"{what}: {how}, or use the command napari-cellseg predict."


def slide_done_text(cells: int, time: str, waiting: int) -> str:
    """Return the result of a run; ``waiting`` tiles are not of its region."""
    text = f"{cells:,} cells of the slide, in {time}."
    if not waiting:
        return text
    return (
        f"{text} The region is finished; {counted(waiting, 'tile')} of the rest {'is' if waiting == 1 else 'are'} not "
        "predicted. To continue there, remove the region (G, then a click) and segment again."
    )
