"""The only gate for YAML: plain values within limits of size, depth and digits, and no aliases.

With aliases, ten lines of YAML can expand to a billion values; no settings file needs them.
"""

from __future__ import annotations

import os
from typing import Any

import yaml

from napari_cellseg.errors import CellSegError, ConfigError
from napari_cellseg.formats.file_gate import read_bytes

__all__ = ["MAX_BYTES", "MAX_DEPTH", "parse_yaml", "read_yaml"]

MAX_BYTES = 2**18
"""Longest text; a settings file has a few kB."""
MAX_DEPTH = 32
MAX_DIGITS = 100
"""Longest number; Python takes minutes to print a whole number of millions of digits."""


class _RefusedError(yaml.YAMLError):
    """A problem, as text to follow the name of the file."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases or repeated keys, and with bounded depth."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError("an alias (*name) is not supported; write the value itself")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError(f"it is nested more than {MAX_DEPTH} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found = super().construct_mapping(node, deep=deep)
        if isinstance(node, yaml.MappingNode) and len(found) != len(node.value):
            raise _RefusedError("a key is repeated in one mapping; remove one of them")
        return found

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and len(value) > MAX_DIGITS:
            raise _RefusedError(f"the number {value[:12]}... has {len(value)} digits; the limit is {MAX_DIGITS}")
        return value


def read_yaml(path: str | os.PathLike[str], *, error: type[CellSegError] = ConfigError) -> Any:
    """Read a YAML file in UTF-8.

    Raises
    ------
    CellSegError
        Of the given type; the message names the file, the problem and its place.
    """
    data = read_bytes(path, most_bytes=MAX_BYTES, error=error, may_be_empty=True)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not YAML: it is not UTF-8 text.") from reason
    return parse_yaml(text, path, error=error)


def parse_yaml(text: str, source: str | os.PathLike[str], *, error: type[CellSegError] = ConfigError) -> Any:
    """Parse text, as `read_yaml` does for a file; ``source`` starts the message of an error."""
    if len(text) > MAX_BYTES:
        raise error(f"{source} has {len(text)} characters; the limit for settings is {MAX_BYTES}.")
    try:
        return yaml.load(text, _Loader)
    except _RefusedError as reason:
        raise error(f"{source} cannot be read: {reason}.") from reason
    except RecursionError as reason:
        raise error(f"{source} cannot be read: it is nested more than {MAX_DEPTH} deep.") from reason
    # ValueError and the like: a date or number that PyYAML recognises but cannot build ("2024-99-99", "0o9").
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as reason:
        raise error(f"{source} is not valid YAML: {' '.join(str(reason).split())}.") from reason
