"""The schemas of a project's JSON files; no content is used before it passes its schema.

The program writes these files, but a damaged disk, an editor, a sync tool or another user may change them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from napari_cellseg.classes import MAX_CLASSES, ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.formats.json_gate import short
from napari_cellseg.review import Status
from napari_cellseg.review.settlement import DisputeKind, Outcome

__all__ = [
    "CELL_ROW",
    "NO_FLAG",
    "NO_MORE",
    "CellRow",
    "ChangeRecord",
    "FlagRecord",
    "HeaderLine",
    "JournalStart",
    "LockFile",
    "LogLine",
    "MoreRecord",
    "SettledRecord",
    "sound",
    "text_of",
]

MAX_SIDE = 2**20
MAX_TEXT = 10_000
MAX_CORNERS = 100_000

_Model = TypeVar("_Model", bound=BaseModel)


def _table(data: object) -> ClassTable:
    try:
        return ClassTable.from_json(data)
    except ConfigError as error:
        raise ValueError(str(error)) from error


Number = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Stamp = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
CellId = Annotated[int, Field(strict=True, ge=1, le=2**53)]
ClassId = Annotated[int, Field(strict=True, ge=1, le=MAX_CLASSES)]
ClassKey = Annotated[int, Field(ge=1, le=MAX_CLASSES)]  # "1": keys of JSON are text
Score = Annotated[float, Field(strict=True, ge=0, le=1)]
Moment = Annotated[float, Field(strict=True, ge=0, le=2**35)]  # seconds since 1970, to the year 3058
Text = Annotated[str, Field(strict=True, max_length=MAX_TEXT)]
Side = Annotated[int, Field(strict=True, ge=1, le=MAX_SIDE)]
Place = Annotated[int, Field(strict=True, ge=0, le=MAX_SIDE)]
Size = tuple[Side, Side]
Corner = Annotated[float, Field(ge=-1, le=MAX_SIDE)]
Classes = Annotated[ClassTable, BeforeValidator(_table)]

CellRow = tuple[
    CellId, ClassId, Score, Status, Number, Text, Moment, tuple[Place, Place, Place, Place] | None,
    Annotated[str, Field(strict=True)] | None,
]  # fmt: skip
"""cell_id, class_id, score, status, label_value, by, at, box, bits; see `cell_lines`."""

CELL_ROW: TypeAdapter[CellRow] = TypeAdapter(CellRow)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, arbitrary_types_allowed=True)


class FlagRecord(_File):
    """The note and the flag of a cell or an image, and the region of interest of an image."""

    note: Text = ""
    unsure: Annotated[bool, Field(strict=True)] = False
    region: Annotated[list[tuple[Corner, Corner]], Field(max_length=MAX_CORNERS)] = Field(default_factory=list)


NO_FLAG = FlagRecord()


class SettledRecord(_File):
    """How a dispute about a cell was settled; ``before`` is a row of the cell, without a mask if that is the same."""

    reader: Text
    kind: DisputeKind
    outcome: Outcome
    by: Text = ""
    at: Moment
    other_class: Annotated[int, Field(strict=True, ge=0, le=MAX_CLASSES)] = 0
    before: list[Any] | None = None


class MoreRecord(_File):
    """What stands after the values of a cell: its note, its flag, and its settlement."""

    note: Text = ""
    unsure: Annotated[bool, Field(strict=True)] = False
    settled: SettledRecord | None = None


NO_MORE = MoreRecord()


class HeaderLine(_File):
    """First line of the annotations of an image; None stands for a missing or invalid field."""

    image_size: Size | None = None
    classes: Classes | None = None
    min_scores: dict[ClassKey, Score] | None = None
    next_id: CellId | None = None
    revision: Text | None = None
    labels: dict[Text, tuple[Stamp, Stamp]] | None = None
    saved_at: Moment | None = None
    cells: Number | None = None
    shown: dict[ClassKey, Number] | None = None
    reviewed: Number | None = None
    reviewable: Number | None = None
    given: Number | None = None
    about: FlagRecord | None = None


class JournalStart(_File):
    """First record of a journal."""

    version: Annotated[int, Field(strict=True, ge=1)]
    base: Text
    user: Text = ""
    image_size: Size
    classes: Classes
    cells: list[list[Any]] | None
    about: FlagRecord = NO_FLAG


class ChangeRecord(_File):
    """One change in a journal."""

    at: Moment
    text: Text
    edits: Annotated[int, Field(strict=True, ge=1, le=2**53)] = 1
    gone: list[CellId]
    put: list[list[Any]]
    about: FlagRecord | None = None


class LogLine(_File):
    """The last prediction of an image."""

    image_id: Text
    key: Text
    model: Text
    stamp: tuple[Stamp, Stamp]
    cells: Number = 0
    at: Moment = 0.0
    problem: Text = ""
    is_saved: bool = True


class LockFile(_File):
    """The owner of an open folder."""

    user: Text
    host: Text
    pid: Annotated[int, Field(strict=True, ge=1, lt=2**31)]
    since: Moment
    process_started: Moment
    token: Text


class ProjectFile(_File):
    """``project.json``."""

    format: Literal["napari-cellseg project"]
    version: Annotated[int, Field(strict=True, ge=1)]
    classes: Classes | None = None
    every_plane: bool = False


def sound(model: type[_Model], data: object) -> tuple[_Model, tuple[str, ...]]:
    """Return the valid fields of ``data``, and the problems; for a schema whose fields are all optional.

    Raises
    ------
    AnnotationError
        The data is not an object.
    """
    if not isinstance(data, dict):
        raise AnnotationError(f"expected an object, not {short(data)}")
    try:
        return model.model_validate(data), ()
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors(include_url=False)}
        return model.model_validate({key: data[key] for key in data.keys() - wrong}), (text_of(error),)


def text_of(error: ValidationError) -> str:
    """Describe the problems in one line: the first three fields, their values and the rule."""
    problems = error.errors(include_url=False)
    parts = []
    for problem in problems[:3]:
        where = ".".join(map(str, problem["loc"])) or "it"
        parts.append(f"{where} = {short(problem['input'])}: {problem['msg']}")
    return "; ".join(parts) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
