"""The words of docs/style.md: one list, held over code, messages and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = re.compile(
    r"\b(mend(s|ed|ing)?|set right|at work|busy with|go(es)? on|going on|at once|beside|anew|held[ -]back"
    r"|somebody|nobody|by heart|not to be had|tak(e|es|ing|en) over|look(s|ed|ing)? (through|into)"
    r"|by (it|them)sel(f|ves)|silent about|the data are)\b",
    re.IGNORECASE,
)
FOLDERS = ("napari_cellseg", "training", "tests", "benchmarks", "docs", ".github")
ENDINGS = {".py", ".md", ".yaml", ".yml"}
LISTS = {"docs/style.md", "tests/test_style.py"}


def _texts() -> list[Path]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    return sorted([*files, *ROOT.glob("*.md"), ROOT / "Makefile"])


def _breaches(text: str) -> list[str]:
    """Return the banned words, those split by a line break included."""
    plain = re.sub(r"\s*\n[ \t]*(?:#|>|-)?[ \t]*", " ", text)
    return [match.group() for match in BANNED.finditer(plain)]


def test_no_text_uses_a_word_that_the_style_page_replaces():
    found = {}
    for path in _texts():
        name = path.relative_to(ROOT).as_posix()
        words = [] if name in LISTS else _breaches(path.read_text(encoding="utf-8"))
        if words:
            found[name] = words
    assert found == {}


@pytest.mark.parametrize("text", ["Mend the file.", "It goes\n    # on.", "the images held back", "At once."])
def test_the_check_finds_banned_words(text):
    assert _breaches(text)


def test_every_word_on_the_style_page_is_checked():
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", (ROOT / "docs/style.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = [word.strip() for row in rows[2:] for word in row.split(",")]
    assert [word for word in words if not BANNED.search(word)] == []
