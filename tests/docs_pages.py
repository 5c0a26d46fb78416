"""The code blocks and commands of the documentation, and what their comments say about running them.

A block is run as it is, unless a comment stands right above it::

    <!-- not run: the reason -->
    <!-- test adds: --max-steps 2 -->      (words that the last command of the block gets, to take seconds)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md"), ROOT / "README.md"])
MADE = {"commands.md", "settings.md", "contributing.md", "changelog.md", "model-card.md", "nuclei-card.md"}

_BLOCK = re.compile(r"(?:^ *<!-- (?P<mark>[^>]+?) -->\n)?^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.M | re.S)
_INLINE = re.compile(r"`(napari-cellseg [^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    code: str
    not_run: str = ""
    adds: str = ""

    @property
    def commands(self) -> list[str]:
        """The commands of a bash block, with continued lines joined and comments removed."""
        joined = self.code.replace("\\\n", " ")
        lines = (re.sub(r"\s+#\s.*$", "", line).strip() for line in joined.splitlines())
        commands = [line for line in lines if line and not line.startswith("#")]
        return [*commands[:-1], f"{commands[-1]} {self.adds}".strip()] if commands else []


def pages() -> list[Path]:
    """Return the pages that users read, without those that are made from other files."""
    return [page for page in PAGES if page.name not in MADE and page.name not in ("style.md", "architecture.md")]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        mark = match["mark"] or ""
        yield Block(
            page.relative_to(ROOT).as_posix(),
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            dedent(match["code"]),
            mark.removeprefix("not run: ") if mark.startswith("not run: ") else "",
            mark.removeprefix("test adds: ") if mark.startswith("test adds: ") else "",
        )


def inline_commands(page: Path) -> list[str]:
    """Return the commands in running text and tables."""
    return _INLINE.findall(page.read_text(encoding="utf-8"))
