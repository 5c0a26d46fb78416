"""Colours that mean something stay apart with any colour vision, by simulation.

Full loss of one kind of cone after Machado, Oliveira & Fernandes, "A Physiologically-based Model for Simulation of
Color Vision Deficiency" (IEEE TVCG 2009), on linear sRGB; distances are CIE 1976, in CIELAB.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from skimage.color import rgb2lab

from napari_cellseg.gui.canvas.colours import STATUS_COLOURS, ColourMode, palette, to_rgb
from napari_cellseg.gui.palettes import PALETTES

LEAST = 12.0
"""Between any two colours that are shown together; 2.3 is just noticeable when they touch."""
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
SHOWN_TOGETHER = {
    **{f"classes in {name}": [to_rgb(colour) for colour in colours] for name, colours in PALETTES.items()},
    "statuses": [to_rgb(colour) for colour in STATUS_COLOURS.values()],
    "neighbouring cells": [tuple(row[:3]) for row in palette(ColourMode.CELL, "#000000")[1:13]],
}


def seen(colours: Iterable[Iterable[float]], vision: str) -> npt.NDArray[np.float64]:
    """Return the CIELAB coordinates (N, 3) of sRGB colours of 0..1, as someone with this vision sees them."""
    rgb = np.array([tuple(colour) for colour in colours], float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ VISION[vision].T, 0, 1)
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(back)


def too_close(colours: list[tuple[float, ...]], vision: str) -> list[str]:
    lab = seen(colours, vision)
    apart = {(i, j): float(np.linalg.norm(lab[i] - lab[j])) for i, j in combinations(range(len(lab)), 2)}
    return [f"{i + 1} and {j + 1}: {distance:.1f}" for (i, j), distance in apart.items() if distance < LEAST]


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", SHOWN_TOGETHER)
def test_colours_that_are_shown_together_are_told_apart(name: str, vision: str) -> None:
    assert too_close(SHOWN_TOGETHER[name], vision) == []


def test_white_and_grey_look_the_same_with_any_vision() -> None:
    greys = [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5)]
    for vision in VISION:
        assert np.allclose(seen(greys, vision), seen(greys, "normal"), atol=0.5)


@pytest.mark.parametrize(
    ("vision", "first", "second"), [("deuteranopia", "#a86532", "#6b8e23"), ("tritanopia", "#00a0a0", "#009f6b")]
)
def test_colours_that_are_mixed_up_are_found(vision: str, first: str, second: str) -> None:
    pair = [to_rgb(first), to_rgb(second)]
    assert too_close(pair, "normal") == []
    assert len(too_close(pair, vision)) == 1
