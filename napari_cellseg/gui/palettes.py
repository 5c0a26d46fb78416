"""Colours for classes to begin with: three palettes that people with any colour vision can tell apart."""

from __future__ import annotations

from collections.abc import Mapping

from napari_cellseg.classes import DEFAULT_COLOURS, ClassTable
from napari_cellseg.gui.preferences import preferences

__all__ = ["PALETTES", "with_preferred_colours"]

PALETTES: Mapping[str, tuple[str, ...]] = {
    "Okabe-Ito": DEFAULT_COLOURS,
    "Tol bright": ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"),
    "Tol muted": ("#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499"),
}
"""Okabe & Ito, "Color Universal Design" (2008); Tol, "Colour Schemes", SRON technical note (2021)."""


def with_preferred_colours(classes: ClassTable) -> ClassTable:
    """Return a table in the colours of the preferences, if it has the default ones; else as it is."""
    colours = PALETTES.get(preferences().palette, DEFAULT_COLOURS)
    if colours is DEFAULT_COLOURS or classes != ClassTable(classes.names):
        return classes
    return ClassTable(classes.names, tuple(colours[i % len(colours)] for i in range(len(classes))))
