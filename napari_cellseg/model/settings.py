"""What all settings have in common: unknown names are errors, and errors name each setting in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellseg.errors import ConfigError
from napari_cellseg.formats.json_gate import short

__all__ = ["Fraction", "Settings", "changed_values", "config_error"]

Fraction = Annotated[float, Field(ge=0, le=1)]
_MOST_PROBLEMS = 20


class Settings(BaseModel):
    """The base of settings: frozen, without unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def config_error(error: ValidationError, what: str = "The settings") -> ConfigError:
    """Convert pydantic's report to one message that names each invalid setting, its value and the rule."""
    lines = []
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"])) or what.lower()
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: there is no such setting")
        elif not problem["loc"]:  # a rule for several settings, whose message names them
            lines.append(problem["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{where} = {short(problem['input'])}: {problem['msg'].removeprefix('Value error, ')}")
    more = f"; and {len(lines) - _MOST_PROBLEMS} more" if len(lines) > _MOST_PROBLEMS else ""
    return ConfigError(f"{what} cannot be used. " + "; ".join(lines[:_MOST_PROBLEMS]) + more)


def changed_values(settings: BaseModel, changes: Mapping[str, Any], unknown: str) -> dict[str, Any]:
    """Return the values of settings with some changed, not yet checked.

    Parameters
    ----------
    settings : BaseModel
    changes : mapping of name to value
        ``rpn__nms`` is ``nms`` in the group ``rpn``.
    unknown : str
        Start of the `ConfigError` for an unknown group, for example "The model has no setting".
    """
    data = settings.model_dump()
    for name, value in changes.items():
        *groups, last = name.split("__")
        place: Any = data
        for group in groups:
            place = place.get(group)
            if not isinstance(place, dict):
                raise ConfigError(f"{unknown} {name.replace('__', '.')!r}.")
        place[last] = value.model_dump() if isinstance(value, BaseModel) else value
    return data
