"""Settings classes (pydantic) as command-line flags: one table for the parser and for writers of command lines.

A field is ``--its-name``, or the ``flag`` of its ``json_schema_extra``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["Flag", "flags_of", "given_flags"]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One setting on the command line.

    Attributes
    ----------
    name : str
        Name with dashes.
    setting : str
        Name of the field; with two underscores for a nested one, as in `with_changes`.
    kind : type
        Type of its value: bool, int, float, str or Path.
    choices : tuple
        Allowed values; empty: any value of its type.
    off : bool
        A bool that is on by default: the flag switches it off.
    help : str
    """

    name: str
    setting: str
    kind: type
    choices: tuple[Any, ...]
    off: bool
    help: str


def flags_of(settings: type[BaseModel], *, named_only: bool = False, _prefix: str = "") -> Iterator[Flag]:
    """Yield the flags of settings and, for those that name a flag, of the groups within.

    Parameters
    ----------
    settings : type of BaseModel
    named_only : bool
        Only fields whose ``json_schema_extra`` has a ``flag``.
    """
    for name, info in settings.model_fields.items():
        kind, choices = _kind(info)
        flag = _extra(info).get("flag")
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from flags_of(kind, named_only=True, _prefix=f"{_prefix}{name}__")
        elif flag or not named_only:
            yield Flag(
                name=flag or f"--{name.replace('_', '-')}",
                setting=_prefix + name,
                kind=kind,
                choices=choices,
                off=kind is bool and info.default is True,
                help=(info.description or "").rstrip("."),
            )


def given_flags(settings: BaseModel) -> list[str]:
    """Return the flags of these settings, without defaults."""
    default = type(settings)()
    words = []
    for flag in flags_of(type(settings)):
        value = getattr(settings, flag.setting)
        if value != getattr(default, flag.setting):
            # With "=", because a value may start with "-".
            words.append(flag.name if flag.kind is bool else f"{flag.name}={value}")
    return words


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _kind(info: FieldInfo) -> tuple[Any, tuple[Any, ...]]:
    """Return the type of a field without "or None" and limits, and its choices."""
    kind: Any = info.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if hasattr(kind, "__metadata__"):  # Annotated
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return type(choices[0]), choices
    return kind, ()
