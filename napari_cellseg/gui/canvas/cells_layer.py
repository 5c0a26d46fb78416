"""`CellsLayer`: a napari Labels layer as the view of one class; the cells themselves are in the review session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap
from napari.utils.notifications import show_info
from scipy import ndimage

from napari_cellseg.gui.canvas.colours import ColourMode, Looks, painted, palette
from napari_cellseg.gui.canvas.covered_tiles import CoveredTiles
from napari_cellseg.gui.canvas.layer_pictures import ClassPicture
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.review import Box

__all__ = ["CellsLayer"]


class CellsLayer(Labels):
    """The cells shown of one class; values are cell_ids.

    It differs from its base class in three things. Each cell has a fill, a crisp contour and, when selected, a white
    outline in one texture of one byte a pixel, of which only the touched box is computed again. Its own undo history is
    empty: undo and redo go to the session. And every stroke of brush, fill, polygon or eraser is reported once, with
    the box it touched.

    Parameters
    ----------
    picture : ClassPicture
        cell_ids, and how they are shown.
    class_id : int
        1..K.
    looks : Looks
        How each cell is filled; shared by all class layers.
    colour : str
        ``#rrggbb`` of the class.
    on_stroke : callable(layer, box)
        Called after a stroke; ``data`` then holds what was painted.
    on_undo, on_redo : callable()
        What Ctrl+Z and Ctrl+Shift+Z do.
    contour : int
        Width of the contours, px; 0 for none.
    **options
        As for `napari.layers.Labels`.
    """

    # napari keeps this many strokes for its own undo, which knows nothing of the other classes or of the session.
    _history_limit = 0
    _updated_slice: tuple[slice, slice] | None

    def __init__(
        self,
        picture: ClassPicture,
        *,
        class_id: int,
        looks: Looks,
        colour: str,
        on_stroke: Callable[[CellsLayer, Box], None],
        on_undo: Callable[[], None],
        on_redo: Callable[[], None],
        contour: int = 1,
        **options: Any,
    ) -> None:
        self.class_id = class_id
        self._looks = looks
        self.class_colour = colour
        self._outlines_only = False
        self._opacity_before: float | None = None
        self._colours = self._palette(looks.mode)
        self.tiles = CoveredTiles()
        self._shown: npt.NDArray[np.uint8] | None = picture.shown
        self._shown_key = _key_of(picture.labels)
        self._undo, self._redo = on_undo, on_redo
        self._ready = False
        super().__init__(picture.labels, colormap=CyclicLabelColormap(colors=self._colours), opacity=1.0, **options)
        self._contour = contour
        self._ready = True
        self.events.contour.connect(self._forget_shown)
        self.events.paint.connect(lambda event: on_stroke(self, _touched_box(event.value)))

    # ---- for its owner, ClassLayers ----

    def rewrite(self, box: Box, labels: npt.NDArray[np.int32]) -> None:
        """Put other cell_ids in a box, (y1 - y0, x1 - x0), and show them."""
        x0, y0, x1, y1 = box
        self.data[y0:y1, x0:x1] = labels
        self.redraw(box)

    def redraw(self, box: Box) -> None:
        """Show a box again, with the rim where contours of its cells may lie."""
        height, width = self.data.shape
        rim = max(self.contour, 2)
        rows = slice(max(box[1] - rim, 0), min(box[3] + rim, height))
        columns = slice(max(box[0] - rim, 0), min(box[2] + rim, width))
        if self._shown is None:  # nothing was shown yet; the first time shows all
            return
        window = painted(self.data, self._looks.fills, self.contour, (rows, columns))
        self._shown[rows, columns] = window
        self.tiles.look(window, rows.start, columns.start)
        if self.visible and self._slice.image.view is self._shown:
            self.events.labels_update(data=window, offset=[rows.start, columns.start])

    def take(self, picture: ClassPicture, mode: ColourMode, colour: str) -> None:
        """Show the cells of another image; the layer must be hidden, so that nothing is drawn yet."""
        self.class_colour = colour
        self._colours = self._palette(mode)
        self._shown, self._shown_key = picture.shown, _key_of(picture.labels)
        self.tiles.forget()
        self.data = picture.labels
        self.colormap = CyclicLabelColormap(colors=self._colours)

    def redraw_all(self) -> None:
        """Show everything again."""
        self._forget_shown()
        self.refresh(extent=False)

    def set_colours(self, mode: ColourMode, colour: str) -> None:
        """Use other colours; the fills of `Looks` must fit ``mode`` already."""
        self.class_colour = colour
        self._colours = self._palette(mode)
        self._forget_shown()
        self.colormap = CyclicLabelColormap(colors=self._colours)  # shows all again

    @property
    def outlines_only(self) -> bool:
        """Whether cells have a contour and no fill."""
        return self._outlines_only

    @outlines_only.setter
    def outlines_only(self, only: bool) -> None:
        if only != self._outlines_only:
            self._outlines_only = only
            self._colours = self._palette(self._looks.mode)
            self.colormap = CyclicLabelColormap(colors=self._colours)

    def set_hidden(self, hidden: bool) -> None:
        """Make the layer transparent for a moment; hiding it would make napari draw all of it again."""
        if hidden and self._opacity_before is None:
            self._opacity_before = float(self.opacity)
            self._set_opacity(0.0)
        elif not hidden and self._opacity_before is not None:
            self._set_opacity(self._opacity_before)
            self._opacity_before = None

    def _set_opacity(self, opacity: float) -> None:
        self.opacity = opacity

    def _palette(self, mode: ColourMode) -> npt.NDArray[np.float32]:
        return palette(mode, self.class_colour, 0.0 if self._outlines_only else preferences().fill_opacity)

    @property
    def shown(self) -> npt.NDArray[np.uint8] | None:
        """The palette byte of each pixel, (H, W); None until it is drawn."""
        return self._shown

    # ---- what napari calls ----

    @property
    def _type_string(self) -> str:
        return "labels"  # else napari would look for writers of, and menus for, "cellslayer"

    @property
    def draws(self) -> bool:
        """Whether a brush, eraser, fill or polygon is in the hand."""
        return str(self.mode) not in ("pan_zoom", "transform")

    @property
    def is_in_stroke(self) -> bool:
        """Whether a stroke has begun and not ended; its pixels hold ids that the session must not give away."""
        return bool(self._block_history)

    def undo(self) -> None:
        """Take the last command of the session back; not in the middle of a stroke."""
        if not self._block_history:
            self._undo()

    def redo(self) -> None:
        """Do the command undone last again."""
        if not self._block_history:
            self._redo()

    # A stroke of the mouse is one history item; a single call of these would report its change before it is made.

    def paint(self, *args: Any, **options: Any) -> None:
        """Paint with the brush, as `napari.layers.Labels.paint`."""
        with self._whole_stroke():
            super().paint(*args, **options)

    def fill(self, coord: Sequence[float], *args: Any, **options: Any) -> None:
        """Fill, as `napari.layers.Labels.fill`; background that reaches the border of the image is refused."""
        if self._is_open_background(coord):
            show_info("Not filled: this area has no closed outline.")
            return
        with self._whole_stroke():
            super().fill(coord, *args, **options)

    def _is_open_background(self, coord: Sequence[float]) -> bool:
        """Return whether a fill at (y, x) px would make one cell of all the background."""
        place = tuple(np.round(np.asarray(coord, float)[-2:]).astype(int).tolist())
        inside = all(0 <= at < side for at, side in zip(place, self.data.shape, strict=True))
        if not inside or self.data[place] != 0:
            return False
        if not self.contiguous:
            return True
        regions, _ = ndimage.label(np.asarray(self.data) == 0)  # 4-connected, so that a diagonal outline is closed
        edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
        return bool((edge == regions[place]).any())

    def paint_polygon(self, *args: Any, **options: Any) -> None:
        """Paint a polygon, as `napari.layers.Labels.paint_polygon`."""
        with self._whole_stroke():
            super().paint_polygon(*args, **options)

    def data_setitem(self, *args: Any, **options: Any) -> None:
        """Set pixels, as `napari.layers.Labels.data_setitem`."""
        with self._whole_stroke():
            super().data_setitem(*args, **options)

    def _whole_stroke(self) -> AbstractContextManager[None]:
        stroke: AbstractContextManager[None] = nullcontext() if self._block_history else self.block_history()
        return stroke

    def new_colormap(self, seed: int | None = None) -> None:
        """Keep the colours: the button that shuffles them makes no sense when they mean something."""

    def get_color(self, label: int | None) -> npt.NDArray[np.float32] | None:
        """Return the RGBA that a cell_id is filled with; None for background."""
        if label is None or label == 0:
            return None
        fills = self._looks.fills
        return np.append(self._colours[fills[min(label, len(fills) - 1)], :3], np.float32(1))

    def _raw_to_displayed(
        self, raw: npt.NDArray[Any], data_slice: tuple[slice, slice] | None = None
    ) -> npt.NDArray[np.uint8]:
        if not self._ready:  # the base class draws while it is built; napari draws again right after
            return np.zeros(raw.shape, np.uint8)
        if raw.ndim != 2 or self.show_selected_label:  # a 3D view, or napari's "show selected": seldom, so no cache
            fills = np.take(self._looks.fills, raw, mode="clip")
            shown: npt.NDArray[np.uint8] = np.where(raw == self.selected_label, fills, 0) if raw.ndim == 2 else fills
            return shown if data_slice is None else shown[data_slice]
        if data_slice is not None:
            return painted(raw, self._looks.fills, self.contour, data_slice)
        # napari asks for the whole picture on every change of visibility, order or focus: 40 ms at 4096 px.
        key = _key_of(raw)
        if self._shown is None or self._shown_key != key:
            self._shown, self._shown_key = painted(raw, self._looks.fills, self.contour), key
            self.tiles.forget()
        return self._shown

    def _partial_labels_refresh(self) -> None:
        if self._updated_slice is not None:
            rows, columns = self._updated_slice
            self._updated_slice = None
            self.redraw((columns.start, rows.start, columns.stop, rows.stop))

    def _abort_stroke(self) -> None:
        self._forget_shown()
        super()._abort_stroke()

    def _update_thumbnail(self) -> None:
        view = self._slice.image.view
        if view.ndim != 2 or not view.size:
            return
        steps = [-(-size // wanted) for size, wanted in zip(view.shape, self._thumbnail_shape, strict=False)]
        small = self._colours[np.minimum(view[:: steps[0], :: steps[1]], len(self._colours) - 1)]
        small[..., 3] = np.sqrt(small[..., 3]) * self.opacity  # at 32 px a 40 % fill can hardly be seen
        self.thumbnail = small

    def _forget_shown(self, event: object = None) -> None:  # noqa: ARG002
        self._shown = None


def _key_of(labels: npt.NDArray[Any]) -> object:
    """Say which memory an array shows: napari hands over views, never the array itself."""
    return labels.__array_interface__["data"], labels.shape, labels.strides


def _touched_box(atoms: Sequence[Any]) -> Box:
    """Return the box around all changes of a stroke, from napari's history of it."""
    boxes = []
    for atom in atoms:
        key = getattr(atom, "slice_key", None)
        if key is not None:
            rows, columns = key[-2:]
            boxes.append((columns.start, rows.start, columns.stop, rows.stop))
        else:  # a change by `data_setitem`: (indices, old values, new values)
            y, x = atom[0][-2:]
            boxes.append((int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1))
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)
