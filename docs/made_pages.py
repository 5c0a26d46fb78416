"""The pages that are made from the program: commands, settings, and files of the repository's top folder.

`conf.py` writes them before each build; they are not in the repository, so none can be out of date.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from napari_cellseg.commands.parser import make_parser
from napari_cellseg.export.exporters import EXPORTERS
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.presets import PRESETS
from training.config import TrainConfig

__all__ = ["MADE", "commands_page", "settings_page", "write_all"]

MADE = {
    "reference/commands.md": lambda _: commands_page(),
    "reference/settings.md": lambda _: settings_page(),
    "contributing.md": lambda root: _moved(root / "CONTRIBUTING.md", ""),
    "changelog.md": lambda root: _moved(root / "CHANGELOG.md", ""),
    "explanation/model-card.md": lambda root: _moved(root / "napari_cellseg/model/weights/MODEL_CARD.md", "../"),
    "explanation/nuclei-card.md": lambda root: _moved(root / "napari_cellseg/model/weights/NUCLEI_CARD.md", "../"),
}
"""Page and the function that makes it from the repository's top folder."""


def write_all(docs: Path) -> None:
    """Write all pages into the folder ``docs``; one that is up to date is left alone, so that Sphinx is fast."""
    for name, make in MADE.items():
        text, page = make(docs.parent), docs / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Return the help of every command."""
    parser = make_parser()
    lines = ["# Commands", "", "`napari-cellseg COMMAND --help` prints the same text.", ""]
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    for name, command in commands.choices.items():
        text = re.sub(r"\x1b\[[0-9;]*m", "", command.format_help())
        summary = helps[name] or ""
        lines += [f"## {name}", "", f"{summary[:1].upper()}{summary[1:]}.", "", "```text", text.rstrip(), "```", ""]
    lines += ["## Formats of `--to`", "", "| name | files |", "| --- | --- |"]
    lines += [f"| `{exporter.name}` | {exporter.tip} |" for exporter in EXPORTERS]
    lines += [
        "",
        "## Exit codes",
        "",
        "0: success; 1: finished with problems, which are listed; 2: wrong input or arguments, with a message that",
        "says how to fix them; 130: stopped by Ctrl-C.",
    ]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Return the tables of the settings of training, model and prediction."""
    lines = [
        "# Settings",
        "",
        "Settings of a training run are set in *Train > Advanced*, by `--set NAME=VALUE`, in a YAML file (`--config`),",
        "or as arguments of `napari_cellseg.train` with two underscores for each dot.",
        "",
        "## Presets",
        "",
        "| name | backbone | for |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{name}` | `{_backbone(name)}` | {preset.tip} |" for name, preset in PRESETS.items()]
    for title, settings, prefix in (
        ("Training", TrainConfig, ""),
        ("Model", ModelConfig, "model."),
        ("Prediction", PredictOptions, ""),
    ):
        lines += ["", f"## {title}", "", "| name | default | what it does |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {default} | {text} |" for name, default, text in _rows(settings, prefix)]
    return "\n".join(lines) + "\n"


def _backbone(preset: str) -> str:
    from napari_cellseg.classes import ClassTable

    return ModelConfig.preset(preset, ClassTable.numbered(1)).backbone.name


def _rows(settings: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, info in settings.model_fields.items():
        kind = next((k for k in (info.annotation, *get_args(info.annotation)) if _is_settings(k)), None)
        if kind is ModelConfig:
            yield f"{prefix}{name}", "", "The network; see below."
        elif kind is not None:
            yield from _rows(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _default(info), _escaped(info.description or "")


def _is_settings(kind: Any) -> bool:
    from napari_cellseg.images.options import ReadOptions

    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not ReadOptions


def _default(info: Any) -> str:
    if info.is_required():
        return "from the data"
    value = info.get_default(call_default_factory=True)
    return "" if value is None else f"`{_escaped(str(value))}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_NOT_ON_SITE = {"docs/style.md"}


def _moved(source: Path, up: str) -> str:
    """Return a Markdown file of the repository with its links as they are from a page of the site.

    A link to a file that is not on the site becomes plain text.

    Parameters
    ----------
    source : Path
    up : str
        From the folder of the page to that of the site, for example "../".
    """
    root = next(folder for folder in source.parents if (folder / "pyproject.toml").is_file())

    def moved(link: re.Match[str]) -> str:
        target = (source.parent / link[2]).resolve().relative_to(root).as_posix()
        is_page = target.startswith("docs/") and target not in _NOT_ON_SITE
        page = target.removeprefix("docs/") if is_page else _PAGES.get(target)
        return f"[{link[1]}]({up}{page}{link[3] or ''})" if page else link[1]

    return _LINK.sub(moved, source.read_text(encoding="utf-8"))
