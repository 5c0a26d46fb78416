"""``test-results-model.json``: the classes and minimum scores of the model that wrote the results next to it.

Results have ids of classes and every detection, so that without this file a report could neither name the classes nor
count the cells that `predict` counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.formats.coco_images import write_json
from napari_cellseg.formats.json_gate import read_json

__all__ = ["ResultsModel", "model_of_results", "write_results_model"]

NAME = "test-results-model.json"
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class ResultsModel:
    """The classes of a model, and the minimum score of each class_id; empty if all its cells count."""

    classes: ClassTable
    limits: Mapping[int, float]


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    classes: list[str] = Field(min_length=1)
    min_scores: list[float]
    results_sha256: str


def write_results_model(results: Path, classes: ClassTable, limits: Mapping[int, float]) -> Path:
    """Write the file next to a results file, and return its path.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    scores = [float(limits.get(class_id, 0.0)) for class_id in classes.class_ids]
    path = results.with_name(NAME)
    content = {"classes": list(classes.names), "min_scores": scores, "results_sha256": _sha256(results)}
    write_json(path, content, indent=1)
    return path


def model_of_results(results: Path) -> ResultsModel | None:
    """Read the file next to a results file or its zip; None if there is none, or if it is about other results.

    Raises
    ------
    AnnotationError
        The file is damaged.
    """
    path = results.with_name(NAME)
    if not path.is_file():
        return None
    try:
        found = _File.model_validate(read_json(path, most_bytes=_MOST_BYTES))
        classes = ClassTable(tuple(found.classes))
    except (ValidationError, ConfigError) as error:
        raise AnnotationError(
            f"{path} is damaged: it does not give the classes and their minimum scores. Remove it, and give "
            "--classes and --min-score."
        ) from error
    json_file = results.with_suffix(".json")
    is_of_these = json_file.is_file() and _sha256(json_file) == found.results_sha256
    if not is_of_these or len(found.min_scores) != len(classes):
        return None
    return ResultsModel(classes, dict(zip(classes.class_ids, found.min_scores, strict=True)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
