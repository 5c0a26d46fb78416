"""The review protocol of two readers: who decided what and when, as CSV and as a page with pictures."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg import __version__
from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.export.exporter import read_image_of
from napari_cellseg.export.overlay import draw_overlay
from napari_cellseg.export.plan import ExportProgress
from napari_cellseg.measure import write_csv
from napari_cellseg.report.adjudication import adjudication_section, outcome_text
from napari_cellseg.report.agreement import (
    Agreement,
    ComparedCell,
    ImageAgreement,
    compare_readers,
    kappa,
    names_of,
    reader_of,
)
from napari_cellseg.report.page import number_text, page_of
from napari_cellseg.report.pictures import data_uri, fitted, jpeg
from napari_cellseg.report.times import time_text
from napari_cellseg.review import Cell, Status
from napari_cellseg.review.cells import union_box
from napari_cellseg.wording import counted
from napari_cellseg.workspace import Annotations, Project

__all__ = ["agreement_of", "agreement_page", "protocol_table", "write_agreement_page", "write_protocol"]

_PICTURES = 60
_PICTURE_PX = 128
_SIDES = ClassTable(("first", "second"), ("#56b4e9", "#e69f00"))


def agreement_of(
    first: Project, second: Project, present: Mapping[str, Annotations] | None = None
) -> Generator[ExportProgress, None, Agreement]:
    """Compare two projects image by image; images are the same if their ids are.

    Parameters
    ----------
    first, second : Project
    present : mapping of str to Annotations, optional
        The cells of images of the first project that are open and may have unsaved edits, by image_id.

    Raises
    ------
    AnnotationError
        No image was reviewed by both readers, or both projects are one folder.
    """
    if first.folder.resolve() == second.folder.resolve():
        raise AnnotationError(
            f"{first.folder} is compared with itself, which always agrees. Choose the copy of the folder that another "
            "reader reviewed."
        )
    ids = [file.image_id for file in first.images]
    others = {file.image_id for file in second.images}
    read: tuple[dict[str, Annotations], dict[str, Annotations]] = ({}, {})
    images: list[ImageAgreement] = []
    left_out = [(name, "only in the second project") for name in sorted(others.difference(ids))]
    for number, image_id in enumerate(ids, start=1):
        why = "" if image_id in others else "only in the first project"
        if not why:
            try:
                why = _compare(image_id, (first, second), read, images, present or {})
            except CellSegError as error:
                why = str(error)
        if why:
            left_out.append((image_id, why))
        yield ExportProgress(number, len(ids), image_id, len(images[-1].cells) if images and not why else 0)
    if not images:
        why = f" The first reason: {left_out[0][0]} is {left_out[0][1]}." if left_out else ""
        raise AnnotationError(f"No image of {first.folder} and {second.folder} was reviewed in both.{why}")
    names = [
        reader_of(found.values(), project.folder.name) for found, project in zip(read, (first, second), strict=True)
    ]
    if names[0] == names[1]:
        names = [f"{name} ({project.folder.name})" for name, project in zip(names, (first, second), strict=True)]
    return Agreement(
        readers=(names[0], names[1]),
        classes=max((found[image.image_id].classes for found in read for image in images), key=len),
        images=tuple(images),
        left_out=tuple(left_out),
    )


def _compare(
    image_id: str,
    projects: tuple[Project, Project],
    read: tuple[dict[str, Annotations], dict[str, Annotations]],
    images: list[ImageAgreement],
    present: Mapping[str, Annotations],
) -> str:
    """Compare one image; return why it is left out."""
    both = []
    for project, place in zip(projects, ("first", "second"), strict=True):
        found = present.get(image_id) if place == "first" else None
        found = project.read(image_id) if found is None else found
        if found is None or not any(cell.reviewed for cell in found.cells):
            return f"not reviewed in the {place} project"
        both.append(found)
    for found in both:
        if any(found.classes.extended_by(other.classes) is None for known in read for other in known.values()):
            return f"saved with other classes ({', '.join(found.classes.names)}) than the images before it"
    names = [names_of(found, project.folder.name) for found, project in zip(both, projects, strict=True)]
    images.append(compare_readers(image_id, both[0], both[1], (names[0], names[1])))
    for known, found in zip(read, both, strict=True):
        known[image_id] = found
    return ""


# ---- the protocol ----


def protocol_table(agreement: Agreement) -> dict[str, list[Any]]:
    """Return the columns of the protocol: one row per cell that a reader accepted, corrected or drew."""
    cells, classes = agreement.cells(), agreement.classes
    table: dict[str, list[Any]] = {
        "image": [cell.image_id for cell in cells],
        "verdict": [cell.verdict.value for cell in cells],
        "iou": [f"{cell.iou:.3f}" if cell.iou else "" for cell in cells],
    }
    for number, side in enumerate(("first", "second")):
        own: list[Cell | None] = [getattr(cell, side) for cell in cells]
        table |= {
            f"reader_{number + 1}": ["" if cell is None else cell.by for cell in own],
            f"cell_{number + 1}": ["" if cell is None else cell.cell_id for cell in own],
            f"class_{number + 1}": ["" if cell is None else classes.name(cell.class_id) for cell in own],
            f"status_{number + 1}": ["" if cell is None else cell.status.value for cell in own],
            f"decided_at_{number + 1}": ["" if cell is None else time_text(cell.at) for cell in own],
        }
    settled = [cell.settled for cell in cells]
    table["outcome"] = [_outcome(agreement, cell) for cell in cells]
    table["settled_by"] = ["" if one is None else one.by for one in settled]
    table["settled_at"] = ["" if one is None else time_text(one.at) for one in settled]
    places = [cell.first or cell.second for cell in cells]
    table["x"] = [round(cell.centre[1]) if cell is not None else "" for cell in places]
    table["y"] = [round(cell.centre[0]) if cell is not None else "" for cell in places]
    return table


def _outcome(agreement: Agreement, cell: ComparedCell) -> str:
    if cell.settled is None:
        return ""
    side = 0 if cell.first is not None and cell.first.settled is cell.settled else 1
    return outcome_text(cell.settled.outcome, side, agreement.readers)


def write_protocol(agreement: Agreement, path: Path) -> None:
    """Write the protocol as CSV.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, protocol_table(agreement))


def write_agreement_page(agreement: Agreement, first: Project, path: Path) -> None:
    """Write the page; the images are those of the first project.

    Raises
    ------
    ExportError
        The page cannot be written.
    ImageReadError, AnnotationError
        An image cannot be read.
    """
    shown = agreement.cells(only_disagreements=True)[:_PICTURES]
    pictures: dict[int, bytes] = {}
    for image_id in dict.fromkeys(cell.image_id for cell in shown):
        annotations = first.read(image_id)
        assert annotations is not None, "it was compared"
        rgb = read_image_of(first.file(image_id), annotations).rgb()
        pictures |= {id(cell): _picture(rgb, cell) for cell in shown if cell.image_id == image_id}
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with export_write(path) as file:
        file.write(agreement_page(agreement, shown, pictures).encode())


def agreement_page(agreement: Agreement, shown: Sequence[ComparedCell], pictures: Mapping[int, bytes]) -> str:
    """Return the page as HTML text; ``pictures`` are JPEG by the ``id`` of the shown cells."""
    title = f"Agreement of {agreement.readers[0]} and {agreement.readers[1]}"
    parts = [
        _head(agreement, title),
        _classes(agreement),
        adjudication_section(agreement),
        _images(agreement),
        _disagreements(agreement, shown, pictures),
    ]
    return page_of(title, parts)


def _head(agreement: Agreement, title: str) -> str:
    tally = agreement.tally()
    words = ", ".join(f"{count:,} {verdict.value}" for verdict, count in tally.most_common())
    notes = "".join(
        f'<p class="note">{escape(image_id)} is left out: {escape(why)}.</p>' for image_id, why in agreement.left_out
    )
    return (
        f"<h1>{escape(title)}</h1>"
        f'<p class="muted">{datetime.now():%Y-%m-%d %H:%M}, napari-cellseg {__version__}. The first reader is '
        f"{escape(agreement.readers[0])}, the second {escape(agreement.readers[1])}.</p>"
        f"<p><strong>{counted(len(agreement.images), 'image')}, {counted(tally.total(), 'cell')}</strong>: {words}.</p>"
        '<p class="muted">Cells match when their masks have an IoU above 0.5; below 0.7 the masks differ. Cells that '
        f"one reader has not decided about count neither in kappa nor in PQ.</p>{notes}"
    )


def _classes(agreement: Agreement) -> str:
    heads = ("class", "cells, first", "cells, second", "matched", "kappa", "PQ")
    rows = ["".join(f"<th>{head}</th>" for head in heads)]
    for class_id, name, _ in agreement.classes:
        counts = agreement.counts(class_id)
        values = (
            escape(name), f"{counts.matched + counts.missed:,}", f"{counts.matched + counts.false:,}",
            f"{counts.matched:,}", number_text(agreement.class_kappa(class_id)), number_text(counts.pq),
        )  # fmt: skip
        rows.append("".join(f"<td>{value}</td>" for value in values))
    every = number_text(kappa(agreement.table))
    rows.append(f"<td>all</td><td></td><td></td><td>{int(agreement.table.sum()):,}</td><td>{every}</td><td></td>")
    table = "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
    return (
        f"<h2>Classes</h2>{table}"
        '<p class="muted">Kappa is Cohen\'s kappa of the classes over the matched cells; a class is compared with all '
        "others. PQ is the panoptic quality of one reader against the other. In a class, only cells of the same class "
        "match; in the last line, cells of any class.</p>"
    )


def _images(agreement: Agreement) -> str:
    rows = ["<th>image</th><th>cells</th><th>disputed</th><th>settled</th><th>open</th>"]
    for image in agreement.images:
        counts = (len(image.cells), len(image.settled) + image.open, len(image.settled), image.open)
        figures = "".join(f"<td>{count:,}</td>" for count in counts)
        rows.append(f"<td>{escape(image.image_id)}</td>{figures}")
    return "<h2>Images</h2><table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _disagreements(agreement: Agreement, shown: Sequence[ComparedCell], pictures: Mapping[int, bytes]) -> str:
    total = len(agreement.cells(only_disagreements=True))
    if not total:
        return "<h2>Disagreements</h2><p>None.</p>"
    most = f"the first {len(shown):,} of {total:,}" if total > len(shown) else f"{total:,}"
    keys = " &nbsp; ".join(
        f'<span class="key" style="background:{colour}"></span>{escape(name)}'
        for colour, name in zip(_SIDES.colours, agreement.readers, strict=True)
    )
    figures = "".join(_figure(agreement, cell, pictures[id(cell)]) for cell in shown)
    return f'<h2>Disagreements</h2><p class="muted">{most}. {keys}</p><div class="cells">{figures}</div>'


def _figure(agreement: Agreement, cell: ComparedCell, picture: bytes) -> str:
    lines = [f"<strong>{escape(cell.verdict.value)}</strong>", escape(cell.image_id)]
    for own in (cell.first, cell.second):
        if own is not None:
            name = agreement.classes.name(own.class_id)
            lines.append(escape(f"#{own.cell_id} {name}, {own.status.value}, {own.by}, {time_text(own.at)}"))
    if cell.settled is not None:
        how = f"settled: {_outcome(agreement, cell)}, {cell.settled.by}, {time_text(cell.settled.at)}"
        lines.append(f"<em>{escape(how)}</em>")
    alt = escape(f"{cell.image_id}, {cell.verdict.value}", quote=True)
    return f'<figure><img src="{data_uri(picture)}" alt="{alt}"><figcaption>{"<br>".join(lines)}</figcaption></figure>'


def _picture(rgb: npt.NDArray[np.uint8], cell: ComparedCell) -> bytes:
    """Draw the outlines of both readers on a piece of the image around a cell; a rejected or undecided one has none."""
    kept = [(own, n) for n, own in enumerate((cell.first, cell.second), 1) if own is not None and _is_kept(own)]
    x0, y0, x1, y1 = union_box(own.box for own, _ in kept)
    margin = max(8, (max(x1 - x0, y1 - y0)) // 2)
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    crop = rgb[top : y1 + margin, left : x1 + margin]
    moved = [
        replace(own, class_id=n, box=(own.box[0] - left, own.box[1] - top, own.box[2] - left, own.box[3] - top))
        for own, n in kept
    ]
    return jpeg(fitted(draw_overlay(crop, moved, _SIDES), _PICTURE_PX))


def _is_kept(cell: Cell) -> bool:
    return cell.status in (Status.ACCEPTED, Status.EDITED)
