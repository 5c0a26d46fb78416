"""napari-cellseg: multi-class cell instance segmentation in colour microscopy, in napari and headless.

::

    import napari_cellseg as cs

    model = cs.load_model()
    cells = model.predict("image.tif")
    cells.to_table().to_csv("cells.csv")

The examples of the docstrings use the images of ``cs.write_samples("samples")``.

Importing this package loads neither torch nor Qt, and little else: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellseg.api.cells import Cells, export_cells
    from napari_cellseg.api.predicting import Model, load_model, read_image
    from napari_cellseg.api.runs import evaluate, train, write_samples
    from napari_cellseg.classes import ClassTable
    from napari_cellseg.errors import CellSegError

    __version__: str

__all__ = [
    "CellSegError",
    "Cells",
    "ClassTable",
    "Model",
    "__version__",
    "evaluate",
    "export_cells",
    "load_model",
    "read_image",
    "train",
    "write_samples",
]

_HOMES = {
    "CellSegError": "errors",
    "Cells": "api.cells",
    "ClassTable": "classes",
    "Model": "api.predicting",
    "evaluate": "api.runs",
    "export_cells": "api.cells",
    "load_model": "api.predicting",
    "read_image": "api.predicting",
    "train": "api.runs",
    "write_samples": "api.runs",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("napari-cellseg")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0.0.0"
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
