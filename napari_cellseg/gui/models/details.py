"""The header of a model file as a page to read and copy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from napari_cellseg.gui.models.table import date_text, size_text
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.library import ModelEntry
from training.metric_table import metrics_for

__all__ = ["details_html", "details_json"]

_LABELS = {
    "data": "Data",
    "data_sha256": "Data (SHA-256)",
    "train_images": "Training images",
    "train_cells": "Training cells",
    "validation_images": "Validation images",
    "measured_on": "Measured on",
    "start_from": "Started from",
    "preset": "Preset",
    "epoch": "Epoch",
    "steps": "Steps",
    "seed": "Seed",
    "command": "Command",
    "licence": "Licence",
    "date": "Trained",
}


def details_html(entry: ModelEntry) -> str:
    """Return everything known about a model as HTML; names and values come from the file and are escaped."""
    if entry.header is None:
        return f"<p><b>{escape(entry.name)}</b></p><p>{escape(entry.problem)}</p>"
    header = entry.header
    title = f"<p><b>{escape(header.name or entry.name)}</b><br>{escape(str(entry.path))}</p>"
    return title + _classes(header) + _rows(_facts(entry, header))


def details_json(entry: ModelEntry) -> str:
    """Return the header of a model as JSON text, settings and all metrics too."""
    return (
        "" if entry.header is None else json.dumps(entry.header.model_dump(mode="json"), indent=1, ensure_ascii=False)
    )


def _classes(header: CheckpointHeader) -> str:
    metrics = header.metrics
    limits = header.thresholds or (None,) * len(header.classes)
    head = "".join(f'<th align="{"left" if i == 0 else "right"}">{name}</th>' for i, name in enumerate(_CLASS_COLUMNS))
    rows = []
    for (_, name, colour), limit in zip(header.classes, limits, strict=True):
        count = metrics.get(f"cells/{name}")
        numbers = (metrics.get(f"ap50/{name}"), metrics.get(f"pq/{name}"), limit)
        texts = ("-" if count is None else f"{count:,.0f}", *map(_number, numbers))
        cells = "".join(f'<td align="right">{text}</td>' for text in texts)
        rows.append(f'<tr><td><span style="color: {colour}">&#9632;</span> {escape(name)}</td>{cells}</tr>')
    return f'<table cellpadding="2" width="100%"><tr>{head}</tr>{"".join(rows)}</table>'


_CLASS_COLUMNS = ("Class", "Cells", "AP50", "PQ", "Score from")


def _facts(entry: ModelEntry, header: CheckpointHeader) -> Iterable[tuple[str, str]]:
    config = header.config
    scale = f"{config.working_scale:g} network px per pixel"
    yield "Network", f"{config.name}: {config.backbone.name}, {scale}"
    if config.pixel_size_um is not None:
        yield "Pixel size", f"{config.pixel_size_um:g} µm"
    values = ((metric.label, header.metrics.get(metric.name)) for metric in metrics_for("model"))
    yield "Metrics", ", ".join(f"{label} {value:.3f}" for label, value in values if value is not None) or "not measured"
    yield from _provenance(header.provenance)
    yield "File", f"{size_text(entry.size_bytes)}, {date_text(header.created)}"
    yield "SHA-256", header.sha256


def _provenance(provenance: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name in (*_LABELS, *(name for name in provenance if name not in _LABELS)):
        if name in provenance:
            value = provenance[name]
            if isinstance(value, Mapping):
                value = ", ".join(f"{key} {each}" for key, each in value.items())
            elif isinstance(value, int) and not isinstance(value, bool) and name != "seed":
                value = f"{value:,}"
            yield (
                _LABELS.get(name, name.replace("_", " ").capitalize()),
                date_text(value) if name == "date" else str(value),
            )


def _rows(facts: Iterable[tuple[str, str]]) -> str:
    rows = (
        f'<tr><td style="white-space: nowrap"><b>{escape(name)}</b></td><td>{_breakable(value)}</td></tr>'
        for name, value in facts
    )
    return f'<table cellpadding="2">{"".join(rows)}</table>'


def _breakable(text: str) -> str:
    """Allow line breaks in long words, such as checksums and paths."""
    return " ".join(
        "\u200b".join(escape(word[i : i + 16]) for i in range(0, len(word), 16)) if len(word) > 32 else escape(word)
        for word in text.split(" ")
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
