"""Command-line options made from settings classes, so that names, types, choices and help are defined once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellseg.model.flags import Flag

__all__ = ["LazyParser", "add_flags", "given", "when_used"]

_METAVARS = {int: "N", float: "X", str: "NAME", Path: "FILE"}


class LazyParser(argparse.ArgumentParser):
    """The parser of one command, which adds its options on use because the settings classes are slow to load."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._later: list[Callable[[argparse.ArgumentParser], None]] = []
        super().__init__(*arguments, **options)

    def later(self, add: Callable[[argparse.ArgumentParser], None]) -> None:
        """Call ``add`` with this parser before its first use."""
        self._later.append(add)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse with all options."""
        self._fill()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """Return the help of all options."""
        self._fill()
        return super().format_help()

    def format_usage(self) -> str:
        """Return the usage of all options."""
        self._fill()
        return super().format_usage()

    def _fill(self) -> None:
        waiting, self._later = self._later, []
        for add in waiting:
            add(self)


def when_used(parser: argparse.ArgumentParser, add: Callable[[argparse.ArgumentParser], None]) -> None:
    """Let ``add`` add options to a `LazyParser` on use, and to any other parser immediately."""
    if isinstance(parser, LazyParser):
        parser.later(add)
    else:
        add(parser)


def add_flags(parser: Any, flags: Iterable[Flag]) -> None:
    """Add one option per flag to a parser or a group; the value of an absent option is None."""
    for flag in flags:
        if flag.kind is bool:
            action = "store_false" if flag.off else "store_true"
            text = "do not " + _help(flag).replace("; when off, ", "; ") if flag.off else _help(flag)
            parser.add_argument(flag.name, dest=flag.setting, action=action, default=None, help=text)
        else:
            parser.add_argument(
                flag.name,
                dest=flag.setting,
                type=flag.kind,
                choices=flag.choices or None,
                metavar=None if flag.choices else _METAVARS[flag.kind],
                help=_help(flag),
            )


def _help(flag: Flag) -> str:
    text = flag.help.replace("%", "%%")
    is_name = any(letter.isupper() for letter in text.partition(" ")[0][1:])  # IoU, EMA
    return text if is_name else text[:1].lower() + text[1:]


def given(options: argparse.Namespace, flags: Iterable[Flag]) -> dict[str, Any]:
    """Return the settings that the user gave, by name."""
    values = {flag.setting: getattr(options, flag.setting, None) for flag in flags}
    return {name: value for name, value in values.items() if value is not None}
