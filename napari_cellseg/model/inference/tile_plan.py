"""`TilePlan`: the tiles of an image and the scores that count, from the settings of a model; needs no weights."""

from __future__ import annotations

import math
from dataclasses import replace

from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.tiles import Tile, network_scale, plan_tiles

__all__ = ["TilePlan"]

_CUT_MARGIN = 4
"""A mask that ends within this many network px of an inner edge of its tile counts as cut."""
_AVERAGED_PX = 1024**2
"""Images of at most this area, network px, are predicted in several views if the options leave it open.

On 20 quarters of CoNSeP tiles AP50 0.451 -> 0.483 and PQ 0.524 -> 0.542, for four times the time: seconds. The limit is
an area and not a time, so that every machine finds the same cells."""
_LOWERED = 0.4
"""Without the user's floor, a cell whose score suppression lowered is kept down to this fraction of the model's floor.

Average precision counts it: on two CoNSeP splits AP50 0.434 -> 0.443 and 0.413 -> 0.418, for 23 % more cells."""


class TilePlan:
    """How images are cut into tiles.

    Parameters
    ----------
    config : ModelConfig
    options : PredictOptions
        Tiles, scale, floor score, ...

    Attributes
    ----------
    min_score, floor, nms : float
        Minimum score of a detection, of a cell after suppression, and the IoU above which cells suppress each other.
    """

    def __init__(self, config: ModelConfig, options: PredictOptions) -> None:
        self.config = config
        self.options = options
        found = config.detection
        self.min_score = found.min_score if options.min_score is None else options.min_score
        self.floor = _LOWERED * found.min_score if options.min_score is None else options.min_score
        self.nms = found.nms if options.nms is None else options.nms

    def scale(self, pixel_size_um: float | None) -> tuple[float, str]:
        """Return the scale of an image, network px per image px, and the reason."""
        return network_scale(self.config.working_scale, self.config.pixel_size_um, pixel_size_um, self.options.scale)

    def plan(self, size: tuple[int, int], pixel_size_um: float | None) -> tuple[list[Tile], list[range], int]:
        """Return the tiles of an image, those that are predicted together, and the margin of a cut, image px.

        Tiles of a batch influence each other in the last bits, so that every order of the groups gives the same cells.
        """
        scale, _ = self.scale(pixel_size_um)
        tiles = plan_tiles(size, self.options.tile, self.options.overlap, scale)
        wish = self.options.test_time_augmentation
        if wish == "on" or (wish == "auto" and size[0] * size[1] * scale**2 <= _AVERAGED_PX):
            tiles = [replace(tile, averages=True) for tile in tiles]
        starts = range(0, len(tiles), self.options.batch)
        groups = [range(start, min(start + self.options.batch, len(tiles))) for start in starts]
        return tiles, groups, max(2, math.ceil(_CUT_MARGIN / scale))
