"""Maps the classes of a model to those of a project."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.instances import InstanceMasks

__all__ = ["is_placeholder", "lacking_classes", "match_classes", "with_class_ids"]


def is_placeholder(classes: ClassTable) -> bool:
    """Return whether the classes have only default names: "class1", "class2", ..."""
    return classes.names == ClassTable.numbered(len(classes)).names


def match_classes(model: ClassTable, project: ClassTable) -> dict[int, int]:
    """Return the project's class_id for each class_id of a model: by name, or by number if one side has no names.

    Raises
    ------
    ConfigError
        The project lacks a class of the model.
    """
    if _by_number(model, project):
        return {class_id: class_id for class_id in model.class_ids}
    lacking = lacking_classes(model, project)
    if lacking:
        raise ConfigError(
            f"The model predicts {', '.join(model.names)}; the project has no class {lacking[0]!r}. Use the model's "
            'classes ("From model" in Open), or rename one there.'
        )
    return {class_id: project.class_id(name) for class_id, name, _ in model}


def lacking_classes(model: ClassTable, project: ClassTable) -> list[str]:
    """Return the names of the classes of a model that a project must have before it can use the model."""
    if _by_number(model, project):
        return []
    return [name for name in model.names if name not in project.names]


def _by_number(model: ClassTable, project: ClassTable) -> bool:
    return (is_placeholder(model) or is_placeholder(project)) and len(model) <= len(project)


def with_class_ids(cells: InstanceMasks, match: dict[int, int]) -> InstanceMasks:
    """Return the cells with the project's class_ids."""
    table = np.zeros(max(match) + 1, np.int32)
    for old, new in match.items():
        table[old] = new
    return replace(cells, class_ids=table[cells.class_ids])
