"""Predicts one image: tiles it, runs the model and joins the cells of the tiles."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from napari_cellseg.events import CellsSoFar, TileDone
from napari_cellseg.images.slide import Slide
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.memory import return_free_memory
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, autocast, choose_precision
from napari_cellseg.model.inference.paste import paste_crops
from napari_cellseg.model.inference.pieces import in_one_piece
from napari_cellseg.model.inference.seams import merge_tiles, suppress
from napari_cellseg.model.inference.tile_plan import TilePlan
from napari_cellseg.model.inference.tiles import Tile, from_the_middle
from napari_cellseg.model.inference.views import VIEWS, View, fuse
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN, Core, Detections

__all__ = ["TILES_TO_TRIM", "Predictor", "read_crops", "to_network"]

TILES_TO_TRIM = 16
"""Tiles after which free memory returns to the system: at 10,000 px the peak is 1.3 GB instead of 2.4 GB."""
_CORE_MARGIN = 32
"""Network px around the core of a tile in which it still finds cells."""
_FLAT = 6
"""A tile with a smaller range of grey levels is empty; most of many whole-slide images is empty slide."""

_Seen = list[Detections | None]
"""The detections of each tile of a batch, in one view."""


class Predictor(TilePlan):
    """A model ready to predict images.

    Parameters
    ----------
    model : CellMaskRCNN
        In evaluation mode, on the device.
    header : CheckpointHeader or None
        Header of its file; None for a model in training.
    device : Device or torch.device
        The device of the model.
    options : PredictOptions
        Tiles, scale, floor score, precision, ...

    Raises
    ------
    ConfigError
        The device does not support the requested precision.
    """

    def __init__(
        self,
        model: CellMaskRCNN,
        header: CheckpointHeader | None,
        device: Device | torch.device,
        options: PredictOptions,
    ) -> None:
        super().__init__(model.config, options)
        self.model = model
        self.header = header
        self.device = device if isinstance(device, Device) else Device(str(device), "as given")
        self.precision = choose_precision(self.device, options.precision, options.runtime)

    def image(
        self,
        rgb: npt.NDArray[np.uint8] | Slide,
        pixel_size_um: float | None = None,
        *,
        place: tuple[int, int] = (1, 1),
        centre: tuple[float, float] | None = None,
    ) -> Generator[TileDone, None, InstanceMasks]:
        """Predict the cells of an image; stops at the next tile when closed.

        Parameters
        ----------
        rgb : (H, W, 3) uint8
            Any size from 1 px up; a `Slide` is read tile by tile.
        pixel_size_um : float, optional
            Pixel size of the image.
        place : (int, int)
            Number of this image and of all images, 1-based, for the events.
        centre : (float, float), optional
            y and x, px: the tiles nearest to it come first, and events report the cells so far. The result is the
            same, byte by byte.

        Yields
        ------
        TileDone
            After each tile, or each view of it if several are averaged; with ``centre``, often a `CellsSoFar`.

        Returns
        -------
        InstanceMasks
            Every cell down to the floor score, best first.
        """
        size = (int(rgb.shape[0]), int(rgb.shape[1]))
        tiles, groups, margin = self.plan(size, pixel_size_um)
        parts: dict[int, tuple[Tile, InstanceMasks]] = {}  # by place in the plan
        image, images = place
        views = _views_of(tiles[0])
        for group in groups if centre is None else from_the_middle(groups, tiles, centre):
            chosen = [tiles[i] for i in group]
            seen: list[_Seen] = []
            for found in self._views(read_crops(rgb, chosen), chosen):
                seen.append(found)
                if len(seen) < len(views):
                    step = len(views) * len(parts) + len(seen) * len(group)
                    yield TileDone(image=image, images=images, tile=step, tiles=len(views) * len(tiles), cells=0)
            for i, cells in zip(group, self._joined(seen, chosen, size), strict=True):
                parts[i] = tiles[i], cells
                step = len(views) * len(parts)
                done = TileDone(image=image, images=images, tile=step, tiles=len(views) * len(tiles), cells=len(cells))
                if centre is not None and _is_due(len(parts), len(tiles)):
                    so_far = merge_tiles([parts[i] for i in sorted(parts)], iou=self.nms, margin=margin)
                    done = CellsSoFar.of(done, so_far, [tile.box for i, tile in enumerate(tiles) if i not in parts])
                yield done
                if len(parts) % TILES_TO_TRIM == 0:
                    return_free_memory()
        return merge_tiles([parts[i] for i in sorted(parts)], iou=self.nms, margin=margin)

    def cells_of(
        self, crops: Sequence[npt.NDArray[np.uint8]], tiles: Sequence[Tile], size: tuple[int, int]
    ) -> list[InstanceMasks]:
        """Predict the cells of tiles in one batch, before joining; no cells in a tile of one colour.

        Parameters
        ----------
        crops : sequence of (h, w, 3) uint8
            The pixels of each tile.
        tiles : sequence of Tile
        size : (int, int)
            Height and width of the image, px.
        """
        return self._joined(list(self._views(crops, tiles)), tiles, size)

    def _views(self, crops: Sequence[npt.NDArray[np.uint8]], tiles: Sequence[Tile]) -> Iterator[_Seen]:
        """Yield the detections of the tiles of one image in each of their views; None for a tile of one colour."""
        shown = [i for i, crop in enumerate(crops) if np.ptp(crop.reshape(-1, 3), 0).max() >= _FLAT]
        images = [to_network(crops[i], tiles[i].size) for i in shown]
        views = _views_of(tiles[0])
        # The cores lie elsewhere in other views.
        cores = [_core(tiles[i]) for i in shown] if len(views) == 1 else None
        for view in views:
            seen: _Seen = [None] * len(tiles)
            if images:
                with _gates(self.model, self.min_score, self.nms), autocast(self.device, self.precision):
                    found = self.model.detect([view.of(image) for image in images], cores)
                for i, image, of_tile in zip(shown, images, found, strict=True):
                    seen[i] = view.undo(of_tile, _size(image))
            yield seen

    def _joined(self, seen: Sequence[_Seen], tiles: Sequence[Tile], size: tuple[int, int]) -> list[InstanceMasks]:
        """Return the cells of each tile from its views."""
        cells = []
        for tile, views in zip(tiles, zip(*seen, strict=True), strict=True):
            found = [view for view in views if view is not None]
            if found:
                cells.append(self._paste(fuse(found, self.nms) if len(found) > 1 else found[0], tile, size))
            else:
                cells.append(InstanceMasks.empty(size))
        return cells

    def _paste(self, found: Detections, tile: Tile, image_size: tuple[int, int]) -> InstanceMasks:
        """Place a tile's detections in the image; masks are resized to its resolution, not the network's."""
        keep = found.scores >= self.min_score
        x_scale, y_scale = tile.scale
        left, top = tile.box[:2]
        boxes = found.boxes[keep].float().cpu().numpy() / np.array([x_scale, y_scale] * 2, np.float32)
        boxes += np.array([left, top] * 2, np.float32)
        cells = paste_crops(
            found.mask_probs[keep].float().cpu().numpy(),
            boxes,
            image_size,
            found.class_ids[keep].cpu().numpy(),
            found.scores[keep].float().cpu().numpy(),
        )
        cells = suppress(in_one_piece(cells), self.nms, across_classes=self.config.detection.class_agnostic_nms)
        return cells.select(cells.scores >= np.float32(self.floor))


def _views_of(tile: Tile) -> Sequence[View]:
    return VIEWS if tile.averages else VIEWS[:1]


def _is_due(done: int, tiles: int) -> bool:
    """Return whether to report the cells so far: after each of the first 16 tiles, then ever less often.

    Joining takes time for all cells so far: reports after each tile would make it grow with the square of the tiles.
    """
    return done < tiles and done % (1 + done // 16) == 0


@contextmanager
def _gates(model: CellMaskRCNN, min_score: float, nms: float) -> Iterator[None]:
    """Change thresholds temporarily: the model may be shared with training, or kept for the next prediction."""
    heads = model.roi_heads
    before = heads.score_thresh, heads.nms_thresh
    heads.score_thresh, heads.nms_thresh = min_score, nms
    try:
        yield
    finally:
        heads.score_thresh, heads.nms_thresh = before


def read_crops(rgb: npt.NDArray[np.uint8] | Slide, tiles: Sequence[Tile]) -> list[npt.NDArray[np.uint8]]:
    """Return the pixels of tiles."""
    return [rgb[y0:y1, x0:x1] for x0, y0, x1, y1 in (tile.box for tile in tiles)]


def to_network(crop: npt.NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Resize (h, w, 3) to a (3, *size) uint8 tensor."""
    # torch requires a writable array; a read-only memory map is copied.
    image = torch.from_numpy(np.require(crop, requirements=("C", "W"))).permute(2, 0, 1)
    if _size(image) == size:
        return image
    resized: Tensor = functional.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)
    return resized[0]


def _core(tile: Tile) -> Core:
    """Return the tile's core with a margin, in network px: the merge would drop what lies outside, so it costs nothing.

    The margin leaves it the cells that it cannot decide about here: those near the middle of an overlap.
    """
    box, (x, y) = tile.core or tile.box, tile.scale
    left, top = tile.box[:2]
    edges = (box[0] - left) * x, (box[1] - top) * y, (box[2] - left) * x, (box[3] - top) * y
    return edges[0] - _CORE_MARGIN, edges[1] - _CORE_MARGIN, edges[2] + _CORE_MARGIN, edges[3] + _CORE_MARGIN


def _size(image: Tensor) -> tuple[int, int]:
    return int(image.shape[-2]), int(image.shape[-1])
