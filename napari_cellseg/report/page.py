"""The HTML page of the report: no script, no file next to it, no address on the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.report.facts import ImageFacts, Outlier, counted_cells
from napari_cellseg.report.pictures import data_uri
from napari_cellseg.report.plots import confusion_plot, counts_plot, scores_plot, sizes_plot
from napari_cellseg.wording import counted

if TYPE_CHECKING:
    from training.evaluate import Evaluation

__all__ = ["ReportContent", "html_page", "number_text", "page_of"]

_CSS = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 1080px; margin: 2em auto;
  padding: 0 1.2em; }
h1 { font-size: 1.7em; margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 2px solid #dfe4ea; }
.muted { color: #5b6675; } .key { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .35em; border: 1px solid #0003; }
table { border-collapse: collapse; } th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #e6eaef; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { background: #f4f6f8; }
.row { display: flex; flex-wrap: wrap; gap: 1.5em; align-items: flex-start; } .row > svg, figure svg { max-width: 100%;
  height: auto; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1.2em; }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; } figcaption { font-size: .9em; }
.cells { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 1em; }
.cells img { width: 96px; height: 96px; object-fit: contain; background: #000; image-rendering: auto; }
.note { background: #fff6e0; border-left: 4px solid #e69f00; padding: .5em .9em; }
pre { overflow-x: auto; background: #f4f6f8; padding: .8em; font-size: .85em; }
@media print { body { max-width: none; margin: 0; } figure { break-inside: avoid; } }
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportContent:
    """Everything on the page.

    Attributes
    ----------
    title : str
    source : str
        Where the cells come from.
    made : str
        When, and by which version.
    classes : ClassTable
    images : sequence of ImageFacts
    outliers : sequence of Outlier
        The most unusual cells, with their thumbnails.
    unusual : int
        Number of unusual cells.
    evaluation : Evaluation, optional
        The agreement with the ground truth.
    not_counted : str
        A sentence about cells outside of regions of interest; empty if no image has one.
    problems : sequence of (str, str)
        Image and text of what could not be read.
    without : int
        Images that have no annotations and are left out.
    """

    title: str
    source: str
    made: str
    classes: ClassTable
    images: Sequence[ImageFacts]
    outliers: Sequence[Outlier] = ()
    unusual: int = 0
    not_counted: str = ""
    evaluation: Evaluation | None = None
    problems: Sequence[tuple[str, str]] = ()
    without: int = 0


def html_page(content: ReportContent) -> str:
    """Return the page as HTML text."""
    parts = [
        _head(content),
        _notes(content),
        _table(content),
        _plots(content),
        _agreement(content),
        _outliers(content),
        _pictures(content),
    ]
    return page_of(content.title, parts)


def page_of(title: str, parts: Sequence[str]) -> str:
    """Return a whole page of parts in HTML; empty ones are left out."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _head(content: ReportContent) -> str:
    cells = sum(len(image.cells) for image in content.images)
    share = f", {_reviewed(content.images)}" if cells else ""
    limits = dict(content.images[0].min_scores) if content.images else {}
    shown = [f"{content.classes.name(i)} {limits[i]:.2f}" for i in content.classes.class_ids if limits.get(i)]
    lines = [
        f"<h1>{escape(content.title)}</h1>",
        f'<p class="muted">{escape(content.source)}. {escape(content.made)}.</p>',
        f"<p><strong>{counted(len(content.images), 'image')}, {counted_cells(content.images)}</strong>{share}.</p>",
        f"<p>{_key(content.classes)}</p>",
    ]
    if shown:
        lines.append(f'<p class="muted">Minimum scores of the first image: {escape(", ".join(shown))}.</p>')
    return "\n".join(lines)


def _reviewed(images: Sequence[ImageFacts]) -> str:
    cells, given = sum(len(image.cells) for image in images), sum(image.given for image in images)
    share = f"{100 * sum(image.reviewed for image in images) / cells:.0f} % reviewed"
    return f"{share}, {100 * given / cells:.0f} % given labels" if given else share


def _key(classes: ClassTable) -> str:
    return " &nbsp; ".join(f"{_swatch(classes, i)}{escape(name)}" for i, name, _ in classes)


def _swatch(classes: ClassTable, class_id: int) -> str:
    return f'<span class="key" style="background:{classes.colour(class_id)}"></span>'


def _notes(content: ReportContent) -> str:
    lines = [f"{image_id}: {text}" for image_id, text in content.problems]
    lines += [f"{image.image_id}: {image.problem}" for image in content.images if image.problem]
    if content.without:
        lines.append(f"{counted(content.without, 'image')} without annotations are left out.")
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def _table(content: ReportContent) -> str:
    heads = ["image", "size, px", *content.classes.names, "cells", "mean score", "median area, px", "reviewed"]
    rows = ["".join(f"<th>{escape(head)}</th>" for head in heads)]
    for image in content.images:
        scores = [cell.score for cell in image.cells]
        areas = [cell.area_px for cell in image.cells]
        values = [
            escape(image.image_id),
            f"{image.size[1]:,} × {image.size[0]:,}",
            *(f"{count:,}" for count in image.counts(content.classes)),
            f"<strong>{len(image.cells):,}</strong>",
            f"{np.mean(scores):.2f}" if scores else "-",
            f"{np.median(areas):,.0f}" if areas else "-",
            f"{100 * image.reviewed / len(image.cells):.0f} %" if image.cells else "-",
        ]
        rows.append("".join(f"<td>{value}</td>" for value in values))
    return "<h2>Images</h2><table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _plots(content: ReportContent) -> str:
    images, classes = content.images, content.classes
    if not any(image.cells for image in images):
        return ""
    parts = [f"<h2>Cells of each image</h2><figure>{counts_plot(images, classes)}</figure>"]
    pair = [sizes_plot(images, classes), scores_plot(images, classes)]
    parts.append(f'<h2>Sizes and scores</h2><div class="row">{"".join(pair)}</div>')
    parts.append('<p class="muted">Boxes: the middle half of the cells, with the median. Dots: far outside of it.</p>')
    return "".join(parts)


def _agreement(content: ReportContent) -> str:
    found = content.evaluation
    if found is None:
        return ""
    names = ("ap50", "pq", "f1")
    rows = ["<th>class</th><th>cells</th><th>predicted</th><th>AP50</th><th>PQ</th><th>F1</th>"]
    rows += [
        f"<td>{_swatch(content.classes, s.class_id)}{escape(s.name)}</td><td>{s.cells:,}</td><td>{s.found:,}</td>"
        + _cells(getattr(s, name) for name in names)
        for s in found.classes
    ]
    rows.append(
        "<td>mean</td><td></td><td></td>" + "".join(f"<td>{number_text(found.mean(name))}</td>" for name in names)
    )
    table = "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
    return (
        f"<h2>Agreement with the ground truth</h2><p>{counted(found.images, 'image')} compared: "
        f"{escape(str(found.errors))}.</p>"
        f'<div class="row"><div>{table}</div>{confusion_plot(found.confusion, content.classes)}</div>'
        '<p class="muted">AP50 ranks all detections; the rest counts the cells at or above the minimum scores. '
        f"{escape(content.not_counted)}</p>"
    )


def _cells(values: Iterable[float]) -> str:
    return "".join(f"<td>{number_text(value)}</td>" for value in values)


def number_text(value: float) -> str:
    """Return a number with three decimals, "-" for NaN."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def _outliers(content: ReportContent) -> str:
    outliers, total = content.outliers, content.unusual
    if not outliers:
        return ""
    shown = f"the {len(outliers)} most unusual of {total:,}" if total > len(outliers) else f"{total:,}"
    pictures = "".join(_outlier(outlier, content.classes) for outlier in outliers)
    return (
        f'<h2>Outliers</h2><p class="muted">Cells of unusual size or shape for their class: {shown}.</p>'
        f'<div class="cells">{pictures}</div>'
    )


def _outlier(outlier: Outlier, classes: ClassTable) -> str:
    cell = outlier.cell
    name = classes.name(cell.class_id)
    where = f"{outlier.image_id} #{cell.cell_id}"
    return (
        f'<figure><img src="{data_uri(outlier.thumbnail)}" alt="{escape(f"{where}, {name}", quote=True)}">'
        f"<figcaption>{_swatch(classes, cell.class_id)}{escape(where)}<br>{escape(outlier.text)}</figcaption></figure>"
    )


def _pictures(content: ReportContent) -> str:
    figures = "".join(
        f'<figure><img src="{data_uri(image.overlay)}" alt="{escape(image.image_id, quote=True)} with outlines">'
        f"<figcaption>{escape(image.image_id)}: {counted(len(image.cells), 'cell')}</figcaption></figure>"
        for image in content.images
    )
    return f'<h2>Pictures</h2><div class="images">{figures}</div>'
