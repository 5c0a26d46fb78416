"""Maps the classes of a model to those of a project."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted, listed

__all__ = ["adoption_text", "is_placeholder", "lacking_classes", "match_classes", "with_class_ids"]


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
            f"The project has {_named(project)}, the model predicts {_named(model)}. Nothing was segmented, since the "
            f"project lacks {listed(lacking)}. Add what it lacks, or rename classes in Open."
        )
    return {class_id: project.class_id(name) for class_id, name, _ in model}


def lacking_classes(model: ClassTable, project: ClassTable) -> list[str]:
    """Return the names of the classes of a model that a project must have before it can use the model."""
    if _by_number(model, project):
        return []
    return [name for name in model.names if name not in project.names]


def adoption_text(labels: int, model: ClassTable) -> str:
    """Return what happens to labels in files when a project without class names adopts those of a model.

    Parameters
    ----------
    labels : int
        The highest class_id of the labels.
    model : ClassTable
        The classes that are adopted.
    """
    pairs = [f"class{class_id} is now {model.name(class_id)}" for class_id in model.class_ids if class_id <= labels]
    return (
        f"The labels of the folder have {_named(ClassTable.numbered(labels))}, the model predicts {_named(model)}. The "
        f"folder has the model's class names now: {listed(pairs)}. Rename them in Open if they mean another thing."
    )


def _named(classes: ClassTable) -> str:
    return f"{counted(len(classes), 'class', 'classes')} ({listed(classes.names)})"


def _by_number(model: ClassTable, project: ClassTable) -> bool:
    return (is_placeholder(model) or is_placeholder(project)) and len(model) <= len(project)


def with_class_ids(cells: InstanceMasks, match: dict[int, int]) -> InstanceMasks:
    """Return the cells with the project's class_ids."""
    table = np.zeros(max(match) + 1, np.int32)
    for old, new in match.items():
        table[old] = new
    return replace(cells, class_ids=table[cells.class_ids])
