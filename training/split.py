"""The split into training set and validation set, drawn with a seed and saved in the run folder."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import ConfigError, TrainingError
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.model.settings import config_error
from training.dataset import Sample
from training.report import DataReport, ImageFacts

__all__ = ["Split", "draw_split", "read_groups"]

_TRIES = 50
_MOST_BYTES = 64 * 2**20


class _SplitFile(BaseModel):
    """``split.json``."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    seed: int = Field(0, ge=0, lt=2**32)
    fraction: float = Field(0.0, ge=0, le=1)


@dataclass(frozen=True)
class Split:
    """The image_ids of both sides of the split, and how they were drawn."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    seed: int
    fraction: float

    def apply(self, report: DataReport) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """Return the samples of the training set and of the validation set.

        Raises
        ------
        TrainingError
            An image of the split is missing, or an image, or one equal to it, is on both sides.
        """
        by_id = {image.image_id: image for image in report.images}
        gone = [image_id for image_id in (*self.train, *self.validation) if image_id not in by_id]
        if gone:
            raise TrainingError(
                f"{len(gone)} images of the split are not in {report.path}: {_few(gone)}. Restore them, or start a "
                "new run."
            )
        sides = [[by_id[image_id] for image_id in side] for side in (self.train, self.validation)]
        digests = {image.digest: image.image_id for image in sides[0]}
        for image in sides[1]:
            if image.digest in digests:
                raise TrainingError(
                    f"{digests[image.digest]} is in the training set and {image.image_id}, an equal image, in the "
                    "validation set: the metrics would be too good. Remove one of them, or start a new run."
                )
        train, validation = (tuple(image.sample for image in side) for side in sides)
        return train, validation

    def save(self, path: Path) -> None:
        """Write JSON, atomically."""
        with export_write(path, error=TrainingError) as file:
            file.write((json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read a file of `save`; raise a `TrainingError` for any other content."""
        data = read_json(path, most_bytes=_MOST_BYTES, error=TrainingError)
        try:
            return cls(**_SplitFile.model_validate(data).model_dump())
        except ValidationError as error:
            raise TrainingError(
                f"The split {path} cannot be used: {config_error(error, 'Its content')} Restore an older copy, or "
                "start a new run."
            ) from error


def draw_split(report: DataReport, *, seed: int, fraction: float, groups: Mapping[str, str] | None = None) -> Split:
    """Draw the validation set.

    Images of one group, and equal images, stay on one side. Several splits are drawn, and the first is used in which
    every class that occurs in two or more groups has cells on both sides.

    Parameters
    ----------
    report : DataReport
    seed : int
    fraction : float
        Share of the validation images, 0..1; at least one image when above 0.
    groups : mapping, optional
        Group of each image_id, for example its patient; an image without a group is its own group.

    Raises
    ------
    TrainingError
        There is only one image or group, so there is none for validation.
    """
    if fraction == 0:
        return Split(tuple(image.image_id for image in report.images), (), seed, fraction)
    parts = _parts(report, groups or {})
    if len(parts) < 2:
        what = "group of images" if len(report.images) > 1 else "image"
        raise TrainingError(
            f"There is only one {what} in {report.path}, so there is none for validation. Add more, or set "
            "data.validation_fraction to 0 and stopping.monitor to train_loss."
        )
    rng = np.random.default_rng(seed)
    wanted = max(1, round(fraction * len(report.images)))
    draws = (_draw([parts[i] for i in rng.permutation(len(parts))], wanted) for _ in range(_TRIES))
    held = max(draws, key=lambda held: _classes_on_both_sides(parts, held))
    train = tuple(image.image_id for image in report.images if image.image_id not in held)
    validation = tuple(image.image_id for image in report.images if image.image_id in held)
    return Split(train, validation, seed, fraction)


def _parts(report: DataReport, groups: Mapping[str, str]) -> list[list[ImageFacts]]:
    """Return the groups of images that must stay on one side."""
    known = {image.image_id for image in report.images}
    if groups and not known & groups.keys():
        raise ConfigError(
            "The group file names none of the images; its column image_id must contain their folder names."
        )
    # Union of two relations, equal group and equal image: each image points to the first one of its part.
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for image in report.images:
        own = f"image {image.image_id}"
        first[root(own)] = root(f"picture {image.digest}")
        if image.image_id in groups:
            first[root(own)] = root(f"group {groups[image.image_id]}")
    parts = defaultdict(list)
    for image in report.images:
        parts[root(f"image {image.image_id}")].append(image)
    return list(parts.values())


def _draw(parts: list[list[ImageFacts]], wanted: int) -> frozenset[str]:
    held: list[str] = []
    for part in parts:
        if len(held) + len(part) <= wanted:
            held += [image.image_id for image in part]
    if not held:  # every group is larger than the validation set should be
        held = [image.image_id for image in min(parts, key=len)]
    return frozenset(held)


def _classes_on_both_sides(parts: list[list[ImageFacts]], held: frozenset[str]) -> int:
    images = [image for part in parts for image in part]
    sides = [[image for image in images if (image.image_id in held) is side] for side in (True, False)]
    present = [np.any([image.cells > 0 for image in side], axis=0) for side in sides]
    return int(np.count_nonzero(present[0] & present[1]))


def read_groups(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns image_id and group.

    Raises
    ------
    ConfigError
        The file cannot be read, lacks a column, or names an image twice.
    """
    content = read_bytes(path, most_bytes=_MOST_BYTES, error=ConfigError)
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The group file {path} cannot be read: {error}") from None
    if not rows or not {"image_id", "group"} <= rows[0].keys():
        raise ConfigError(f"The group file {path} needs the columns image_id and group, and one line per image.")
    groups: dict[str, str] = {}
    for row in rows:
        if not row["image_id"] or not row["group"]:
            raise ConfigError(f"The group file {path} has a line without image_id or group: {list(row.values())}.")
        if groups.setdefault(row["image_id"], row["group"]) != row["group"]:
            raise ConfigError(f"The group file {path} puts {row['image_id']} in two groups.")
    return groups


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
