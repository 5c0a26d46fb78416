"""What the docks say about slides."""

from __future__ import annotations

__all__ = ["FAR", "NOTHING_LEFT", "NO_CELLS", "ONLY_IN_MEMORY", "ON_SLIDES", "SEGMENT_SLIDE"]

ONLY_IN_MEMORY = "This works for images in memory. A slide is shown by regions."
"""Why an action is not available on a slide."""
FAR = "Too many cells are in view. Zoom in first."
NO_CELLS = "This slide has no cells yet. Segment it, or show cells from a run in Open."
NOTHING_LEFT = "No cell in view awaits a decision. Move the view on."
ON_SLIDES = (
    "Next goes through the undecided cells in view, lowest score first. Accept, Reject, All in view, classes, Undo and "
    "Redo work on slides; the tools that change shapes do not."
)
SEGMENT_SLIDE = "Segment this slide tile by tile, the part in view first. A run that was stopped continues."
