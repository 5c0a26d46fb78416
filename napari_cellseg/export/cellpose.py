"""Cellpose's files: each image and its ``<image>_cp_masks`` in one folder, as Cellpose's GUI and training read them."""

from __future__ import annotations

from napari_cellseg.export.cell_labels import write_label_image
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob

__all__ = ["CELLPOSE"]

_FOLDER = "cellpose"


def _write(job: ExportJob, image: ExportImage) -> None:
    job.write_image(image, _FOLDER, image.folder_name)
    # As Cellpose saves them: PNG if 16 bits suffice.
    suffix = ".png" if len(image.cells) < 2**16 else ".tif"
    write_label_image(job, image, _FOLDER, f"{image.folder_name}_cp_masks{suffix}")


CELLPOSE = Exporter(
    name="cellpose",
    label="Cellpose masks",
    tip="<image>.tif with <image>_cp_masks.png in one folder, for Cellpose's GUI and training; without classes",
    per="image",
    write=_write,
)
