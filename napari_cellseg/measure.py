"""Measurements of each cell, computed on its crop, and CSV files that are safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull
from skimage.measure import perimeter

from napari_cellseg.atomic import export_write
from napari_cellseg.instances import InstanceMasks

__all__ = ["CSV_STYLES", "CsvStyle", "colour_sums", "csv_lines", "measure", "write_csv"]

Column = npt.NDArray[Any]


@dataclass(frozen=True)
class CsvStyle:
    """The decimal sign and the separator of a CSV file; spreadsheets expect those of their language."""

    decimal: str = "."
    separator: str = ","
    label: str = "1.5 and comma"


CSV_STYLES: dict[str, CsvStyle] = {
    "comma": CsvStyle(),
    "semicolon": CsvStyle(",", ";", "1,5 and semicolon"),
    "tab": CsvStyle(".", "\t", "1.5 and tab"),
    "tab-comma": CsvStyle(",", "\t", "1,5 and tab"),
}
"""The choices of `export --csv-style` and of the Export dock."""


def measure(
    instances: InstanceMasks,
    rgb: npt.NDArray[np.uint8] | None = None,
    pixel_size_um: float | None = None,
    *,
    sums: npt.NDArray[np.int64] | None = None,
) -> dict[str, Column]:
    """Measure every cell.

    Parameters
    ----------
    instances : InstanceMasks
        N cells.
    rgb : (H, W, 3) uint8, optional
        Image for the mean colours; without it, these columns are left out.
    pixel_size_um : float, optional
        Adds the columns in um.
    sums : (N, 3) int64, optional
        What `colour_sums` gave for each cell, in place of ``rgb``.

    Returns
    -------
    dict of (N,) arrays
        ``centroid_x_px``, ``centroid_y_px`` (the centre of the first pixel is 0.5), ``area_px``, ``perimeter_px``
        (Benkrid & Crookes, "Design and FPGA implementation of a perimeter estimator", 2000),
        ``major_axis_px``, ``minor_axis_px`` and ``eccentricity`` (of the ellipse with the same second moments),
        ``solidity`` (area over that of the convex hull of the pixels' corners), ``touches_border``;
        with ``rgb`` ``mean_red``, ``mean_green``, ``mean_blue`` and ``mean_grey`` (Rec. 601), 0..255;
        with ``pixel_size_um`` ``area_um2``, ``perimeter_um``, ``major_axis_um``, ``minor_axis_um``.
    """
    count = len(instances)
    x, y, area, variances = _moments(instances)
    major, minor = _axes_of(variances)
    columns: dict[str, Column] = {
        "centroid_x_px": x,
        "centroid_y_px": y,
        "area_px": area,
        "perimeter_px": np.fromiter((perimeter(np.pad(mask, 1)) for mask in instances.masks), float, count),
        "major_axis_px": major,
        "minor_axis_px": minor,
        "eccentricity": np.sqrt(1 - np.divide(minor, major, out=np.ones(count), where=major > 0) ** 2),
        "solidity": area / np.fromiter((_hull_area(mask) for mask in instances.masks), float, count),
        "touches_border": _touches_border(instances),
    }
    if rgb is not None:
        sums = colour_sums(instances, rgb)
    if sums is not None:
        columns |= _mean_colours(sums, area)
    if pixel_size_um is not None:
        columns["area_um2"] = area * pixel_size_um**2
        for name in ("perimeter", "major_axis", "minor_axis"):
            columns[f"{name}_um"] = columns[f"{name}_px"] * pixel_size_um
    return columns


def _moments(instances: InstanceMasks) -> tuple[Column, Column, Column, Column]:
    """Return centroid x, y, area and the second central moments (N, 3) xx, yy, xy, each per pixel."""
    sums = np.zeros((len(instances), 6))
    for i, mask in enumerate(instances.masks):
        rows, columns = mask.sum(1, dtype=np.int64), mask.sum(0, dtype=np.int64)
        ys, xs = np.arange(len(rows)), np.arange(len(columns))
        sums[i] = rows.sum(), columns @ xs, rows @ ys, columns @ xs**2, rows @ ys**2, ys @ (mask @ xs)
    area = sums[:, 0].astype(np.int64)
    mean_x, mean_y, xx, yy, xy = (sums[:, 1:] / np.maximum(area, 1)[:, None]).T
    variances = np.stack([xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y], 1)
    return mean_x + instances.boxes[:, 0] + 0.5, mean_y + instances.boxes[:, 1] + 0.5, area, variances


def _axes_of(variances: Column) -> tuple[Column, Column]:
    """Return the full lengths of the two axes of the ellipse that has these second moments."""
    xx, yy, xy = variances.T
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return 4 * np.sqrt(np.maximum(middle + spread, 0)), 4 * np.sqrt(np.maximum(middle - spread, 0))


def _hull_area(mask: npt.NDArray[np.bool_]) -> float:
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return 1.0
    left = mask[rows].argmax(1)
    right = mask.shape[1] - mask[rows, ::-1].argmax(1)
    # Only the ends of a row can be corners of the hull.
    corners = np.concatenate([np.stack([ends, rows + side], 1) for ends in (left, right) for side in (0, 1)])
    return float(ConvexHull(corners).volume)  # scipy calls the area of a 2-D hull its volume


def _touches_border(instances: InstanceMasks) -> npt.NDArray[np.bool_]:
    height, width = instances.image_size
    x0, y0, x1, y1 = instances.boxes.T
    return np.asarray((x0 == 0) | (y0 == 0) | (x1 == width) | (y1 == height))


def colour_sums(instances: InstanceMasks, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the sums of red, green and blue over the pixels of each cell, (N, 3) int64; ``rgb`` is (H, W, 3)."""
    sums = np.zeros((len(instances), 3), np.int64)
    for i, ((x0, y0, x1, y1), mask) in enumerate(zip(instances.boxes.tolist(), instances.masks, strict=True)):
        sums[i] = rgb[y0:y1, x0:x1][mask].sum(0, dtype=np.int64)
    return sums


def _mean_colours(sums: npt.NDArray[np.int64], area: Column) -> dict[str, Column]:
    means = sums / np.maximum(area, 1)[:, None]
    return {
        "mean_red": means[:, 0],
        "mean_green": means[:, 1],
        "mean_blue": means[:, 2],
        "mean_grey": means @ np.array([0.299, 0.587, 0.114]),
    }


def write_csv(
    path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any] | Column], style: CsvStyle = CSV_STYLES["comma"]
) -> None:
    """Write columns of one length as a CSV file in UTF-8.

    Text that a spreadsheet would run as a formula (it starts with = + - @, a tab or a line end) gets a leading
    apostrophe; numbers are written in the shortest form with up to six digits.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    with export_write(path) as file:
        file.write(csv_lines([list(columns)], style).encode("utf-8-sig"))  # the mark makes Excel read UTF-8
        file.write(csv_lines(zip(*columns.values(), strict=True), style).encode())


def csv_lines(rows: Iterable[Iterable[Any]], style: CsvStyle) -> str:
    """Return rows as the lines of a CSV file; see `write_csv`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n", delimiter=style.separator)
    writer.writerows([_safe(value, style.decimal) for value in row] for row in rows)
    return text.getvalue()


def _safe(value: object, decimal: str) -> object:
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}".replace(".", decimal)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return "'" + value
    return value
