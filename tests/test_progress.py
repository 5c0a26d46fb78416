"""The progress of a command where there is no terminal: lines in a log, not too many."""

from __future__ import annotations

import pytest

from napari_cellseg.commands import progress
from napari_cellseg.commands.progress import Bar


def test_without_a_terminal_progress_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Bar("step") as bar:
        for step in range(1, 101):
            now += 1
            bar.at(step, 100, f"epoch {step // 10}")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"step {step} of 100: epoch {step // 10}" for step in (30, 60, 90)]


def test_a_line_of_its_own_counts_as_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Bar("step") as bar:
        now += 29
        bar.line("epoch 1 done")
        now += 29
        bar.at(1, 2)
    assert capsys.readouterr().out.splitlines() == ["epoch 1 done"]


def test_a_quiet_command_prints_no_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Bar("step", quiet=True) as bar:
        now += 60
        bar.at(1, 2)
    assert capsys.readouterr().out == ""
