"""The ordered table of cell classes: name <-> class_id 1..K <-> colour."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from napari_cellseg.errors import ConfigError

__all__ = ["DEFAULT_COLOURS", "MAX_CLASSES", "ClassTable"]

DEFAULT_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#773311")
"""Colour-blind safe colours in the order of assignment: Okabe & Ito, "Color Universal Design" (2008), and a brown.

Their black is lost on a dark theme, and a grey is close to the pink with deuteranopia (distance 7 in CIELAB).
"""

MAX_CLASSES = 1000
"""Largest number of classes of a table."""

_HEX_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class ClassTable:
    """Names and colours of K classes; the class at position ``i`` has ``class_id == i + 1``; 0 is background.

    Parameters
    ----------
    names : tuple of str
        One or more non-empty, distinct names, in any script.
    colours : tuple of str
        One ``#rrggbb`` per class; `DEFAULT_COLOURS` in turn if left out.

    Raises
    ------
    ConfigError
        No class, more than `MAX_CLASSES`, an empty or repeated name, or a colour that is not ``#rrggbb``.
    """

    names: tuple[str, ...]
    colours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(str(name).strip() for name in self.names)
        if not names or not all(names):
            raise ConfigError("A class table needs at least one class, and every class needs a name.")
        if len(names) > MAX_CLASSES:
            raise ConfigError(f"There are {len(names)} classes; the limit is {MAX_CLASSES}.")
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise ConfigError(f"The class name {repeated[0]!r} is used twice; give each class its own name.")
        colours = tuple(str(colour).lower() for colour in self.colours)
        colours += tuple(DEFAULT_COLOURS[i % len(DEFAULT_COLOURS)] for i in range(len(colours), len(names)))
        for colour in colours:
            if not _HEX_COLOUR.fullmatch(colour):
                raise ConfigError(f"{colour!r} is not a colour; write it as #rrggbb, for example #e69f00.")
        if len(colours) > len(names):
            raise ConfigError(f"There are {len(colours)} colours for {len(names)} classes.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "colours", colours)

    def extended_by(self, other: ClassTable) -> ClassTable | None:
        """Return the longer of two tables if it begins with the names of the shorter one, else None.

        Images that were saved before a class was added have the shorter table.
        """
        short, long = sorted((self, other), key=len)
        return long if long.names[: len(short)] == short.names else None

    @classmethod
    def numbered(cls, count: int) -> ClassTable:
        """Return a table of ``count`` classes named ``class1`` ... ``classK``."""
        return cls(tuple(f"class{i}" for i in range(1, count + 1)))

    @classmethod
    def from_json(cls, data: object) -> ClassTable:
        """Parse the output of `to_json`, a list of names, or ``{"1": name, ...}`` numbered 1..K.

        Raises
        ------
        ConfigError
            The data has another form.
        """
        if isinstance(data, dict) and "names" in data:
            return cls(_strings(data["names"]), _strings(data.get("colours", ())))
        if isinstance(data, dict):
            wanted = [str(i) for i in range(1, len(data) + 1)]
            if sorted(map(str, data)) != sorted(wanted):
                found = ", ".join(sorted(map(str, data))[:10])
                raise ConfigError(f"Class numbers must run 1..{len(data)} without a gap, not {found[:200]}.")
            by_number = {str(key): value for key, value in data.items()}
            return cls(_strings([by_number[key] for key in wanted]))
        return cls(_strings(data))

    def to_json(self) -> dict[str, list[str]]:
        """Return ``{"names": [...], "colours": [...]}``."""
        return {"names": list(self.names), "colours": list(self.colours)}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def class_ids(self) -> range:
        """The class_ids 1..K."""
        return range(1, len(self.names) + 1)

    def __iter__(self) -> Iterator[tuple[int, str, str]]:
        """Iterate over (class_id, name, colour)."""
        return zip(self.class_ids, self.names, self.colours, strict=True)

    def name(self, class_id: int) -> str:
        """Return the name of a class_id 1..K; a `ConfigError` for any other."""
        return self.names[self._position(class_id)]

    def colour(self, class_id: int) -> str:
        """Return the ``#rrggbb`` of a class_id 1..K; a `ConfigError` for any other."""
        return self.colours[self._position(class_id)]

    def rgb(self, class_id: int) -> tuple[float, float, float]:
        """Return the colour of a class_id as red, green, blue in 0..1."""
        colour = self.colour(class_id)
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return red, green, blue

    def class_id(self, name: str) -> int:
        """Return the class_id of a name; a `ConfigError` for an unknown one."""
        if name not in self.names:
            raise ConfigError(f"There is no class {name!r}; the classes are {', '.join(self.names)}.")
        return self.names.index(name) + 1

    def _position(self, class_id: int) -> int:
        if not 1 <= class_id <= len(self.names):
            raise ConfigError(f"There is no class_id {class_id}; the classes are 1..{len(self.names)}.")
        return class_id - 1


def _strings(values: object) -> tuple[str, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(isinstance(v, str) for v in values):
        raise ConfigError(f"A class table needs a list of names, not {repr(values)[:60]}.")
    return tuple(values)
