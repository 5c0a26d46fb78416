"""The initial minimum scores of a model: those of the last session, of the preferences, or its own best ones.

Those of the cells of a slide are of the model that predicted them, whatever model is chosen: see `CellsModel`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.gui.preferences import preferences, recall, remember
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.model.settings import Fraction

__all__ = ["CellsModel", "ScoredModel", "first_min_scores", "keep_min_scores", "model_of"]

_WITHOUT_ANY = 0.5
_SCORES = TypeAdapter(dict[int, Fraction])


class ScoredModel(Protocol):
    """What is known of a model, from its checkpoint or from cells that it predicted."""

    @property
    def name(self) -> str:
        """Its name; may be empty."""

    @property
    def sha256(self) -> str:
        """The checksum of its checkpoint; may be empty."""

    @property
    def classes(self) -> ClassTable:
        """Its classes."""

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """Its best minimum score of each class."""


def first_min_scores(model: ScoredModel) -> dict[int, float]:
    """Return the minimum score of each class_id of a model."""
    try:
        text = recall(_name(model), "{}").encode("utf-8", "replace")
        kept = _SCORES.validate_python(parse_json(text, "the stored minimum scores"))
    except (AnnotationError, ValidationError):  # edited by hand
        kept = {}
    if set(kept) == set(model.classes.class_ids):
        return kept
    chosen = preferences().min_score
    if chosen > 0:
        return dict.fromkeys(model.classes.class_ids, chosen)
    best = model.thresholds or (_WITHOUT_ANY,) * len(model.classes)
    return dict(zip(model.classes.class_ids, best, strict=True))


def keep_min_scores(model: ScoredModel, min_scores: Mapping[int, float]) -> None:
    """Remember the user's choice for a model, for the next session."""
    if set(min_scores) == set(model.classes.class_ids):
        remember(_name(model), json.dumps({str(class_id): score for class_id, score in min_scores.items()}))


def _name(model: ScoredModel) -> str:
    return f"min_scores/{model.sha256[:16] or model.name}"


class _Recorded(BaseModel):
    """The model in the facts of a file of cells."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    min_scores: tuple[Fraction, ...] | None = None


@dataclass(frozen=True, eq=False)
class CellsModel:
    """A model as a file of cells states it.

    Attributes
    ----------
    name : str
        Empty if it is not known.
    sha256 : str
        Of its checkpoint; empty if the file does not state it.
    classes : ClassTable
    thresholds : tuple of float or None
        Its best minimum score of each class.
    match : mapping of int to int
        The class_id here of each class_id of the model.
    """

    name: str
    sha256: str
    classes: ClassTable
    thresholds: tuple[float, ...] | None
    match: Mapping[int, int]

    def first_min_scores(self) -> dict[int, float]:
        """Return the initial minimum scores by class_id here; none for cells of an unknown model: all are shown."""
        if not self.sha256:
            return {}
        return {self.match[there]: score for there, score in first_min_scores(self).items()}

    def keep_min_scores(self, min_scores: Mapping[int, float]) -> None:
        """Remember the user's choice, by class_id here."""
        if self.sha256:
            keep_min_scores(self, {there: min_scores.get(here, 0.0) for there, here in self.match.items()})


def model_of(reader: CellReader, classes: ClassTable, match: Mapping[int, int]) -> CellsModel:
    """Return the model that predicted the cells of a file with these classes."""
    made_from = reader.facts.get("made_from")
    sha256 = made_from.get("model") if isinstance(made_from, dict) else None
    sha256 = sha256 if isinstance(sha256, str) else ""
    try:
        found = _Recorded.model_validate(reader.facts.get("model"))
        name, thresholds = found.name, found.min_scores
    except ValidationError:  # a file of an earlier version does not state it
        entries = ModelLibrary().entries() if sha256 else ()
        known = next((each for each in entries if each.header is not None and each.header.sha256 == sha256), None)
        name = "" if known is None else known.name
        thresholds = None if known is None or known.header is None else known.header.thresholds
    if thresholds is not None and len(thresholds) != len(classes):
        thresholds = None
    return CellsModel(name, sha256, classes, thresholds, match)
