"""The documentation: every command and every Python block runs, every link and picture exists, made pages are whole."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from typing import Any

import numpy as np
import pytest
from docs_pages import MADE, ROOT, Block, blocks_of, inline_commands, pages

from napari_cellseg.cli import main
from napari_cellseg.commands.parser import make_parser
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.review import Status, cells_from
from napari_cellseg.workspace.annotations import Annotations, summarise, write_annotations

BLOCKS = {page: list(blocks_of(page)) for page in pages()}
NOT_RUN = 16
"""Blocks that carry a reason why they are not run; a new one must change this number, and its reason is read then."""
RUN = ("bash", "python")

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _pages_with_code() -> list[Any]:
    """Return the pages of which a block is run."""
    return [page for page, blocks in BLOCKS.items() if any(b.language in RUN and not b.not_run for b in blocks)]


@pytest.mark.slow  # a minute in all; `make docs` runs it, and so does CI
@pytest.mark.parametrize("page", _pages_with_code(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS[page]:
        if block.language not in RUN or block.not_run:
            continue
        if block.language == "python":
            exec(compile(block.code, f"{block.page}:{block.line}", "exec"), names)
            continue
        for command in block.commands:
            words = shlex.split(command)
            assert words[0] == "napari-cellseg", f"{block.page}:{block.line}: {command}"
            assert main(words[1:]) == 0, f"{block.page}:{block.line}: {command}"


def test_the_reader_on_the_page_of_file_formats_reads_a_saved_image(tmp_path, monkeypatch):
    _, cells = generate_tissue((96, 96), 6)
    found = Annotations(
        image_size=(96, 96), classes=TISSUE_CLASSES, cells=tuple(cells_from(cells, Status.ACCEPTED, "me", 0.0))
    )
    path = tmp_path / ".cellseg/annotations/a.jsonl"
    path.parent.mkdir(parents=True)
    write_annotations(path, found, summarise(found.cells, {}))
    monkeypatch.chdir(tmp_path)
    (block,) = (b for b in blocks_of(ROOT / "docs/file-formats.md") if b.language == "python")
    names: dict[str, Any] = {}
    exec(block.code, names)
    assert np.array_equal(names["mask"], found.cells[-1].mask)
    assert names["class_id"] == found.cells[-1].class_id


@pytest.mark.slow  # 20 s; `make docs` runs it too
def test_the_notebook_runs_and_its_cells_are_stored_without_output(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs/notebooks/whole_loop.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    last = [cell.outputs[-1]["data"]["text/plain"] for cell in code if cell.outputs and "data" in cell.outputs[-1]]
    assert last[-1] == "True"  # the report is there
    assert "[]" in last  # the results file has no problem
    assert (tmp_path / "runs/first/best.safetensors").is_file()


def test_the_blocks_that_are_not_run_are_counted_and_say_why():
    skipped = [block for blocks in BLOCKS.values() for block in blocks if block.not_run]
    assert all(len(block.not_run) > 10 for block in skipped)
    assert len(skipped) == NOT_RUN, "\n".join(f"{b.page}:{b.line}: {b.not_run}" for b in skipped)


def test_no_command_hides_in_a_block_of_another_kind():
    for block in (b for blocks in BLOCKS.values() for b in blocks if b.language not in RUN):
        assert not re.search(r"^(napari-cellseg|pip|python|make|torchrun) ", block.code, re.M), (
            f"{block.page}:{block.line}: make it a bash block"
        )


def _problem(command: str) -> str:
    """Return what is wrong with a command in running text, of which arguments may be left out."""
    (commands,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    words = shlex.split(command.rstrip(".…"))[1:]
    if words and words[0].startswith("-"):
        return "" if words[0] in ("--version", "--debug") else words[0]
    if not words or (words[0] not in commands.choices and words[0] != "COMMAND"):
        return f"no command {words[:1]}"
    if words[0] == "COMMAND":
        return ""
    parser = commands.choices[words[0]]
    parser.format_help()  # fills in the options
    known = {option for action in parser._actions for option in action.option_strings}
    unknown = [word for word in words[1:] if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {unknown}" if unknown else ""


def test_every_command_in_running_text_exists():
    found = [(page.name, command) for page in BLOCKS for command in inline_commands(page)]
    assert len(found) >= 10
    assert {command: _problem(command) for _, command in found if _problem(command)} == {}
    assert _problem("napari-cellseg predict --no-such")
    assert _problem("napari-cellseg nothing")


def test_every_link_and_picture_inside_the_repository_exists():
    missing = []
    for page in [*BLOCKS, ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md"]:
        for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)):
            path = page.parent / target.partition("#")[0]
            is_outside = re.match(r"\w+:", target) or target.startswith("#")
            if not (is_outside or path.exists() or path.name in MADE):
                missing.append(f"{page.name}: {target}")
    assert missing == []


def test_the_made_pages_name_every_command_format_and_setting(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import made_pages

    commands, settings = made_pages.commands_page(), made_pages.settings_page()
    (choices,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert all(f"\n## {name}\n" in commands for name in choices)
    for name in ("`optimizer.learning_rate`", "`model.rpn.nms`", "`test_time_augmentation`", "`lite`"):
        assert name in settings
    card = made_pages.MADE["explanation/model-card.md"](ROOT)
    assert "](../experiments.md)" in card
    assert "](docs/" not in made_pages.MADE["contributing.md"](ROOT)
    sys.modules.pop("made_pages")


def test_the_check_of_blocks_reads_marks_and_joins_lines():
    page = ROOT / "docs/install.md"
    assert any(block.not_run.startswith("installs") for block in blocks_of(page))
    block = Block("a.md", 1, "bash", "napari-cellseg predict A \\\n  --out B   # all\n# alone\n", adds="--quiet")
    assert block.commands == ["napari-cellseg predict A    --out B --quiet"]
