"""Cells of odd shapes, and what is read from exported polygons, for the tests of exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely
import shapely.geometry
from review_actions import disc

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell, Status, cells_from

SIZE = (90, 120)
CLASSES = ClassTable(("epithelial", "=spindle/shaped", "細胞"))


def odd_cells() -> list[Cell]:
    """Return a disc, a ring with an islet, two parts, corners that touch, one pixel, and one that fills the border."""
    ring = disc(8) & ~np.pad(disc(5), 3)
    ring[8, 8] = True
    parts = np.zeros((6, 12), bool)
    parts[:3, :4] = parts[4:, 8:] = True
    frame = np.ones((9, 9), bool)
    frame[1:-1, 1:-1] = False
    masks = [disc(6), ring, parts, np.eye(5, dtype=bool), np.ones((1, 1), bool), frame, np.eye(6, dtype=bool) == 0]
    places = [(0, 0), (20, 10), (50, 10), (70, 20), (119, 89), (80, 60), (30, 50)]
    instances = InstanceMasks.from_crops(
        SIZE, places, masks, [1, 2, 3, 1, 2, 3, 1], np.linspace(0.1, 1, 7), [5, 7, 2, 9, 1, 4, 6]
    )
    return cells_from(instances, Status.ACCEPTED, "ana", 0.0)


def shapes_of(path: Path) -> list[shapely.Geometry]:
    return [shapely.geometry.shape(feature["geometry"]) for feature in json.loads(path.read_text())["features"]]
