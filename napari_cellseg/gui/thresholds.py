"""The initial minimum scores of a model: those of the last session, of the preferences, or its own best ones."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.gui.preferences import preferences, recall, remember
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.settings import Fraction

__all__ = ["first_min_scores", "keep_min_scores"]

_WITHOUT_ANY = 0.5
_SCORES = TypeAdapter(dict[int, Fraction])


def first_min_scores(header: CheckpointHeader) -> dict[int, float]:
    """Return the minimum score of each class_id of a model."""
    try:
        text = recall(_name(header), "{}").encode("utf-8", "replace")
        kept = _SCORES.validate_python(parse_json(text, "the stored minimum scores"))
    except (AnnotationError, ValidationError):  # edited by hand
        kept = {}
    if set(kept) == set(header.classes.class_ids):
        return kept
    chosen = preferences().min_score
    if chosen > 0:
        return dict.fromkeys(header.classes.class_ids, chosen)
    best = header.thresholds or (_WITHOUT_ANY,) * len(header.classes)
    return dict(zip(header.classes.class_ids, best, strict=True))


def keep_min_scores(header: CheckpointHeader, min_scores: Mapping[int, float]) -> None:
    """Remember the user's choice for a model, for the next session."""
    if set(min_scores) == set(header.classes.class_ids):
        remember(_name(header), json.dumps({str(class_id): score for class_id, score in min_scores.items()}))


def _name(header: CheckpointHeader) -> str:
    return f"min_scores/{header.sha256[:16] or header.name}"
