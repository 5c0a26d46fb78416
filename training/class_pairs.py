"""Pairs the classes of a model with those of annotated data, for a comparison, and says how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from napari_cellseg.class_match import is_placeholder
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted

__all__ = ["ClassPairs", "pair_classes", "parse_class_map"]

REMEDY = "Pair the classes with --class-map MODEL=TRUTH,..., or compare cells alone with --class-blind."


@dataclass(frozen=True)
class ClassPairs:
    """The classes of a comparison.

    Attributes
    ----------
    classes : ClassTable
        The classes that are reported.
    of_model : mapping of int to int
        The class_id in ``classes`` of each class_id of the model; cells of other classes are left out.
    text : str
        How the classes were paired; empty if model and data have the same classes in the same order.
    """

    classes: ClassTable
    of_model: Mapping[int, int]
    text: str = ""

    def cells(self, found: InstanceMasks) -> InstanceMasks:
        """Return the cells of paired classes, with the class_ids of `classes`."""
        table = np.zeros(1 + max([*self.of_model, int(found.class_ids.max(initial=0))]), np.int32)
        table[list(self.of_model)] = list(self.of_model.values())
        kept = found.select(table[found.class_ids] > 0)
        return replace(kept, class_ids=table[kept.class_ids])

    def limits(self, of_model: Mapping[int, float]) -> dict[int, float]:
        """Return the minimum score of each class: that of the model's class, or the mean of several."""
        scores: dict[int, list[float]] = defaultdict(list)
        for own, class_id in self.of_model.items():
            if own in of_model:
                scores[class_id].append(of_model[own])
        return {class_id: fmean(some) for class_id, some in scores.items()}


def parse_class_map(text: str) -> dict[str, str]:
    """Parse "MODEL=TRUTH,MODEL=TRUTH"; an empty TRUTH leaves the class of the model out.

    Raises
    ------
    ConfigError
        A part has no "=", or a class of the model comes twice.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        own, is_pair, other = (word.strip() for word in part.partition("="))
        if not is_pair or not own:
            raise ConfigError(
                f'--class-map: "{part}" is no pair. Write MODEL=TRUTH,... for example epithelial=nucleus.'
            )
        if own in pairs:
            raise ConfigError(f"--class-map gives {own!r} twice.")
        pairs[own] = other
    return pairs


def pair_classes(
    model: ClassTable,
    data: ClassTable,
    *,
    has_names: bool,
    chosen: Mapping[str, str] | None = None,
    remedy: str = REMEDY,
) -> ClassPairs:
    """Pair by ``chosen``, else by name, else by number where one side has no names or no name contradicts it.

    Parameters
    ----------
    model, data : ClassTable
    has_names : bool
        Whether the classes of the data were named; otherwise there may be more classes than those with cells.
    chosen : mapping of str to str, optional
        Name or number of a class of the model to name or number of a class of the data, or to "" to leave it out.
        A class that is not in it is paired by its name.
    remedy : str
        What to do if the classes cannot be paired.

    Raises
    ------
    ConfigError
        The classes cannot be paired; the message says what to do.
    """
    if chosen:
        return _chosen(model, data, chosen)
    if not has_names and len(data) <= len(model):
        same = {class_id: class_id for class_id in model.class_ids}
        return ClassPairs(model, same, "" if is_placeholder(model) else _by_number(model, data))
    if sorted(model.names) == sorted(data.names):
        by_name = {class_id: data.class_id(name) for class_id, name, _ in model}
        text = "" if model.names == data.names else "Classes are paired by name; their order differs."
        return ClassPairs(data, by_name, text)
    moved = any(name in data.names and data.class_id(name) != class_id for class_id, name, _ in model)
    if len(model) != len(data) or moved:
        raise ConfigError(
            f"The model knows {counted(len(model), 'class', 'classes')} ({', '.join(model.names)}), "
            f"the data has {len(data)} ({', '.join(data.names)}). {remedy}"
        )
    same = {class_id: class_id for class_id in model.class_ids}
    return ClassPairs(data, same, "" if is_placeholder(model) else _by_number(model, data))


def _by_number(model: ClassTable, data: ClassTable) -> str:
    pairs = [f"{own} = {other}" for own, other in zip(model.names, data.names, strict=False) if own != other]
    return f"Classes are paired by number, since the names differ: {', '.join(pairs)} (model = data)."


def _chosen(model: ClassTable, data: ClassTable, chosen: Mapping[str, str]) -> ClassPairs:
    wanted = {_class_id(own, model, "model"): other for own, other in chosen.items()}
    of_model, lines = {}, []
    for class_id, name, _ in model:
        other = wanted.get(class_id, name if name in data.names else None)
        if other is None:
            raise ConfigError(
                f"--class-map says nothing about {name!r} of the model, and the data has no class of this name "
                f'({", ".join(data.names)}). Add {name}=TRUTH, or "{name}=" to leave its cells out.'
            )
        if other:
            of_model[class_id] = _class_id(other, data, "data")
            lines.append(f"{name} = {data.name(of_model[class_id])}")
        else:
            lines.append(f"{name} is left out")
    if not of_model:
        raise ConfigError("--class-map leaves out all classes of the model.")
    return ClassPairs(data, of_model, f"Classes are paired as chosen: {', '.join(lines)} (model = data).")


def _class_id(word: str, classes: ClassTable, side: str) -> int:
    if word in classes.names:
        return classes.class_id(word)
    if word.isascii() and word.isdigit() and 1 <= int(word) <= len(classes):
        return int(word)
    raise ConfigError(f"--class-map: the {side} has no class {word!r}; it has {', '.join(classes.names)}.")
