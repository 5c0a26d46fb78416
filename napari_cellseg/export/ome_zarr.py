"""OME-Zarr (NGFF 0.4): the image as a pyramid, and under ``labels`` the cells and their classes."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.atomic import replace_folder, write_errors
from napari_cellseg.export.cell_details import cell_details
from napari_cellseg.export.cell_labels import flat_labels
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob

__all__ = ["OME_ZARR"]

_VERSION = "0.4"
_CHUNK = 1024
Pixels = npt.NDArray[Any]


def _missing() -> str | None:
    if find_spec("zarr") is not None:
        return None
    return 'OME-Zarr needs the package zarr. Install it with: pip install "napari-cellseg[formats]"'


def _write(job: ExportJob, image: ExportImage) -> None:
    target = job.path("ome-zarr", f"{image.name}.ome.zarr")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with write_errors(target):
        try:
            _write_groups(temporary, job, image)
            replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # it is gone after the rename


def _write_groups(path: Path, job: ExportJob, image: ExportImage) -> None:
    import zarr

    pixel_size = image.image.pixel_size_um
    root = zarr.open_group(path, mode="w", zarr_format=2)
    rgb = np.moveaxis(image.image.rgb(), -1, 0)
    _write_pyramid(root, image.name, rgb, pixel_size, _halved_image)
    root.attrs["omero"] = {"channels": [_channel(name, colour) for name, colour in _CHANNELS]}
    cells, kept = flat_labels(image.instances)
    job.covered += int(np.count_nonzero(kept < image.instances.areas))
    class_of = np.concatenate([[0], image.instances.class_ids])
    labels = root.create_group("labels")
    labels.attrs["labels"] = ["cells", "classes"]
    for name, values, about in (
        ("cells", cells, _about_cells(job, image)),
        ("classes", class_of[cells].astype(np.uint16), _about_classes(job)),
    ):
        group = labels.create_group(name)
        _write_pyramid(group, name, values, pixel_size, _halved_labels)
        group.attrs["image-label"] = {"version": _VERSION, "source": {"image": "../../"}, **about}


_CHANNELS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


def _channel(name: str, colour: str) -> dict[str, Any]:
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    return {"label": name, "color": colour, "active": True, "window": window}


def _write_pyramid(
    group: Any, name: str, level: Pixels, pixel_size_um: float | None, halved: Callable[[Pixels], Pixels]
) -> None:
    """Write levels 0, 1, ..., each half the size of the previous one, until one chunk holds the image."""
    datasets: list[dict[str, Any]] = []
    factor = 1
    while True:
        path = str(len(datasets))
        chunks = (*(1,) * (level.ndim - 2), min(_CHUNK, level.shape[-2]), min(_CHUNK, level.shape[-1]))
        array = group.create_array(
            path,
            shape=level.shape,
            chunks=chunks,
            dtype=level.dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        array[:] = level
        side = factor * (pixel_size_um or 1.0)
        scale = [1.0] * (level.ndim - 2) + [side, side]
        datasets.append({"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        if max(level.shape[-2:]) <= _CHUNK:
            break
        level, factor = halved(level), factor * 2
    unit = {"unit": "micrometer"} if pixel_size_um else {}
    axes = [{"name": "c", "type": "channel"}] if level.ndim == 3 else []
    axes += [{"name": axis, "type": "space", **unit} for axis in "yx"]
    group.attrs["multiscales"] = [{"version": _VERSION, "name": name, "axes": axes, "datasets": datasets}]


def _halved_image(level: Pixels) -> Pixels:
    """Return the means of 2 x 2 px; an odd last row or column is repeated."""
    padded = np.pad(level, ((0, 0), (0, level.shape[1] % 2), (0, level.shape[2] % 2)), mode="edge").astype(np.uint16)
    total = padded[:, ::2, ::2] + padded[:, 1::2, ::2] + padded[:, ::2, 1::2] + padded[:, 1::2, 1::2]
    return ((total + 2) // 4).astype(level.dtype)


def _halved_labels(level: Pixels) -> Pixels:
    return level[::2, ::2]


def _about_cells(job: ExportJob, image: ExportImage) -> dict[str, Any]:
    colours = [_rgba(job.classes.colours[cell.class_id - 1]) for cell in image.cells]
    properties = [
        {
            "label-value": number,
            "class": job.classes.names[cell.class_id - 1],
            "class_id": cell.class_id,
            "score": float(str(np.float32(cell.score))),
            **cell_details(cell),
            "cell_id": cell.cell_id,
        }
        for number, cell in enumerate(image.cells, start=1)
    ]
    values = [{"label-value": number, "rgba": colour} for number, colour in enumerate(colours, start=1)]
    return {"colors": values, "properties": properties}


def _about_classes(job: ExportJob) -> dict[str, Any]:
    return {
        "colors": [{"label-value": class_id, "rgba": _rgba(colour)} for class_id, _, colour in job.classes],
        "properties": [{"label-value": class_id, "class": name} for class_id, name, _ in job.classes],
    }


def _rgba(colour: str) -> list[int]:
    return [*(int(colour[i : i + 2], 16) for i in (1, 3, 5)), 255]


OME_ZARR = Exporter(
    name="ome-zarr",
    label="OME-Zarr with labels",
    tip="One .ome.zarr per image: the image as a pyramid, the cells and their classes as labels (NGFF 0.4)",
    per="image",
    write=_write,
    needs_pixels=True,
    missing=_missing,
)
