"""``measurements.parquet``: the measurements of all cells with the types of their columns."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import chain
from typing import Any

from napari_cellseg.atomic import export_write
from napari_cellseg.export.exporter import Exporter, ExportJob
from napari_cellseg.export.measurements import ABOUT, Table, measure_image, measured_batches
from napari_cellseg.export.stream import StreamedImage

__all__ = ["PARQUET"]

_GROUP_ROWS = 1024
"""Smaller groups of rows make the file larger and slower to read."""


def _missing() -> str | None:
    if find_spec("pyarrow") is not None:
        return None
    return 'Parquet needs the package pyarrow. Install it with: pip install "napari-cellseg[tables]"'


def _write(job: ExportJob, tables: list[Table]) -> None:
    with export_write(job.path("measurements.parquet")) as file:
        _frame(tables).to_parquet(file, engine="pyarrow", index=False)


def _frame(tables: Sequence[Table]) -> Any:
    """Return one data frame; a column that a table lacks (um without a pixel size) is NaN there."""
    import pandas as pd

    frames = [pd.DataFrame(table) for table in tables if table["image"]]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({name: [] for name in ABOUT})


def _stream(job: ExportJob, images: Sequence[StreamedImage]) -> Generator[None, None, None]:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    def rows_of(waiting: Sequence[Table]) -> Any:
        frames = [pd.DataFrame(table) for table in waiting]
        return pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)

    _, tables = measured_batches(job, images, float("nan"))
    with export_write(job.path("measurements.parquet")) as file, ExitStack() as opened:
        writer: Any = None
        waiting: list[Table] = []
        for table in chain(tables, [None]):
            waiting += [table] if table and table["image"] else []
            if waiting and (table is None or sum(len(each["image"]) for each in waiting) >= _GROUP_ROWS):
                rows = rows_of(waiting)
                if writer is None:
                    writer = opened.enter_context(ParquetWriter(file, rows.schema))
                writer.write_table(rows)
                waiting = []
            yield
        if writer is None:
            _frame([]).to_parquet(file, engine="pyarrow", index=False)


PARQUET = Exporter(
    name="parquet",
    label="measurements Parquet",
    tip="The table of all cells with its types, for pandas, polars, R and DuckDB",
    per="folder",
    write=measure_image,
    finish=_write,
    needs_pixels=True,
    stream=_stream,
    missing=_missing,
)
