"""An image layer that napari or another plugin opened, as an `Image` of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_cellseg.gui.state import AppState
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import Image

__all__ = ["LayerImage", "image_of_layer", "is_plane_of", "shows_other_plane"]

_PLANE = ", plane "


class LayerImage(NamedTuple):
    """The picture of a layer; the id has the plane of a stack in it."""

    image: Image
    image_id: str


def image_of_layer(layer: Any, viewer: Any = None) -> LayerImage | str:
    """Return the pixels of a napari image layer, of a stack those of the plane on show; else why not, in words.

    Brightness is decided as for a file, not by the contrast limits that napari happens to show the layer with: the same
    picture gives the same cells whichever way it came. Without a viewer no plane of a stack is on show.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    leading = layer.ndim - 2
    image_id, options = layer.name, ReadOptions()
    if leading:
        if viewer is None:
            return f"it is a stack of {layer.ndim} dimensions"
        if not _is_shown_by_plane(viewer):
            return "it is a stack that is not shown plane by plane; show it in 2D, with its last two axes"
        place = _place(layer, viewer, data.shape[:leading])
        data, image_id = data[place], f"{layer.name}{_plane_text(place)}"
        options = ReadOptions(plane=0)  # chosen by the view: a plane of the model's training images has no meaning here
    axes = "YXS" if layer.rgb else "YX"
    image = Image(
        pixels=np.asarray(data),
        axes=axes,
        pixel_size_um=_pixel_size_um(layer),
        path=Path(layer.name),
        options=options,
    )
    return LayerImage(image, image_id)


def is_plane_of(layer: Any, image_id: str) -> bool:
    """Return whether an image id is that of a plane of a stack."""
    return bool(layer.ndim > 2) and image_id.startswith(f"{layer.name}{_PLANE}")


def shows_other_plane(layer: Any, state: AppState) -> bool:
    """Return whether a stack shows a plane that is not the current image any more."""
    if state.workspace is not None or layer.ndim == 2:
        return False
    if not _is_shown_by_plane(state.viewer):
        return True
    data = layer.data[0] if layer.multiscale else layer.data
    place = _place(layer, state.viewer, data.shape[: layer.ndim - 2])
    # Without the name, which the user may have changed since.
    return state.image_id is None or not state.image_id.endswith(_plane_text(place))


def _is_shown_by_plane(viewer: Any) -> bool:
    return viewer.dims.ndisplay == 2 and tuple(viewer.dims.displayed) == (viewer.dims.ndim - 2, viewer.dims.ndim - 1)


def _plane_text(place: tuple[int, ...]) -> str:
    return _PLANE + ", ".join(map(str, place))


def _place(layer: Any, viewer: Any, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of the plane on show along each leading axis; a layer is aligned with the viewer's last axes."""
    point = np.asarray(layer.world_to_data(viewer.dims.point[-layer.ndim :]))[: len(sides)]
    return tuple(int(np.clip(round(float(at)), 0, side - 1)) for at, side in zip(point, sides, strict=True))


def _pixel_size_um(layer: Any) -> float | None:
    is_um = all(str(unit) in ("micrometer", "micron", "um") for unit in layer.units[-2:])
    return float(layer.scale[-1]) if is_um else None
