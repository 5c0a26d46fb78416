"""The options ``--to`` and ``--csv-style`` of all commands that write files, made from the table of exporters."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cellseg.formats.ids import IdMatch
    from napari_cellseg.measure import CsvStyle

__all__ = ["add_formats", "add_ids", "csv_style", "match_id_file", "show_id_match"]


class _Choices:
    """Names that are loaded only when argparse needs them, so that the command starts fast."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __contains__(self, name: object) -> bool:
        return name in tuple(self._names())


def add_formats(parser: argparse.ArgumentParser, *, required: bool, what: str) -> None:
    """Add ``--to FORMAT ...`` with one choice per exporter, and the style of CSV files."""
    parser.add_argument(
        "--to",
        nargs="+",
        action="extend",
        default=[],
        required=required,
        choices=_Choices(_format_names),
        metavar="FORMAT",
        help=f"{what}: %(choices)s",
    )
    parser.add_argument(
        "--csv-style",
        default="comma",
        choices=_Choices(_style_names),
        metavar="STYLE",
        help="separator of CSV files: %(choices)s (default: comma); semicolon files have decimal commas",
    )


def add_ids(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--ids FILE`` and ``--new-ids``."""
    parser.add_argument("--ids", type=Path, metavar="FILE", help=what)
    parser.add_argument(
        "--new-ids", action="store_true", help="number the images 1, 2, ..., even where the folder has an id file"
    )


def match_id_file(options: argparse.Namespace, folder: Path, image_ids: Sequence[str]) -> IdMatch | None:
    """Match the images with the given id file, or else with one in ``folder`` or next to it.

    Raises
    ------
    AnnotationError
        The file is invalid.
    """
    from napari_cellseg.formats.ids import find_ids, match_ids

    path = None if options.new_ids else options.ids or find_ids(folder)
    return None if path is None else match_ids(path, image_ids)


def show_id_match(options: argparse.Namespace, ids: IdMatch | None) -> None:
    """Print which id file was found, and what does not match."""
    if ids is not None and (options.ids is None or len(ids.preview()) > 1):
        print("\n  ".join([f"Ids of {ids.path}:", *ids.preview()]), file=sys.stderr)


def csv_style(options: argparse.Namespace) -> CsvStyle:
    """Return the style from the options of `add_formats`."""
    from napari_cellseg.measure import CSV_STYLES

    return CSV_STYLES[options.csv_style]


def _format_names() -> Iterable[str]:
    from napari_cellseg.export.exporters import EXPORTER_NAMES

    return EXPORTER_NAMES


def _style_names() -> Iterable[str]:
    from napari_cellseg.measure import CSV_STYLES

    return CSV_STYLES
