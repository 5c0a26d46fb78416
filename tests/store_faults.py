"""The cells of a slide on a full or read-only disk, and killed. SQLite writes past Python: the system makes the faults.

    python tests/store_faults.py FULL DEADLY KILLS [SIDE]

tries that many sizes of a full disk, sizes at which a write kills the process, and kills at random moments, and prints
one JSON object: what is wrong, and how the tries ended. Each try runs a real prediction in a forked child, checks what
it left, and resumes it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from command_cases import write_model
from faults import SCRATCH, no_more_than
from test_slide import write_slide

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.events import ImageFailed, Message, SlideTileDone
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import ModelCache, predict
from napari_cellseg.model.inference.predict_item import PredictItem, SlideTask

Arm = Callable[[Path], None]


class Case:
    """A slide, a model, and the cells of a run without a fault."""

    def __init__(self, side: int) -> None:
        model = write_model(SCRATCH / "model.safetensors")
        self.options = PredictOptions(checkpoint=model, device="cpu", tile=128, overlap=32)
        self.slide = write_slide(
            SCRATCH / "slide.tif", generate_tissue((side, side + 40), side // 5, seed=1)[0], photometric="rgb"
        )
        self.cache = ModelCache()
        self.largest = 0
        store = SCRATCH / "whole" / "a.sqlite"
        start = time.monotonic()
        for _ in self.events(store):
            sizes = [path.stat().st_size for path in store.parent.glob("a.sqlite*")]
            self.largest = max([self.largest, *sizes])
        self.seconds = time.monotonic() - start
        self.cells = contents(store)

    def events(self, store: Path) -> Iterator[Any]:
        item = PredictItem("a", self.slide, reading=ReadOptions(level=0), slide=SlideTask(store, skips_glass=False))
        yield from predict([item], self.options, cache=self.cache)


def contents(path: Path) -> dict[str, Any]:
    """Return all that a reader finds in a finished store."""
    with CellStore.open(path, read_only=True) as store:
        found = list(store.best_first(batch=50))
        return {
            "complete": store.is_complete,
            "tiles": store.tiles(),
            "waiting": len(store.pieces()),
            "cells": [
                [
                    each.cells.boxes.tolist(),
                    each.cells.scores.tolist(),
                    each.cells.class_ids.tolist(),
                    each.tiles.tolist(),
                ]
                for each in found
            ],
            "masks": [mask.tobytes() for each in found for mask in each.cells.masks],
            "colours": [each.colours.tolist() for each in found],
        }


def attempt(case: Case, arm: Arm, *, kill_after: float | None = None, begun: int = 0) -> tuple[str, list[str]]:
    """Predict under a fault, after a run that stopped at ``begun`` tiles; return how it ended, and what is wrong."""
    folder = SCRATCH / f"try{random.getrandbits(40):x}"
    folder.mkdir()
    store = folder / "out" / "a.sqlite"
    store.parent.mkdir()
    run = case.events(store)
    while begun:
        begun -= isinstance(next(run), SlideTileDone)
    run.close()
    told, to_parent = os.pipe()  # which a full disk does not limit
    child = os.fork()
    if child == 0:
        _in_child(case, arm, store, to_parent)
    os.close(to_parent)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    for path in (store.parent, *store.parent.iterdir()):
        path.chmod(0o755)
    with os.fdopen(told) as file:
        lines = file.read().splitlines()
    reported = sum(line == "tile" for line in lines)
    ending = "killed" if os.WIFSIGNALED(status) else lines[-1]
    problems = [] if ending in ("killed", "done") else list(_wrong_words(ending, store))
    if not ending.startswith(("killed", "done")):
        ending = "error"
    problems += _kept(store, reported)
    problems += _resumed(case, store)
    shutil.rmtree(folder)
    return ending, problems


def _in_child(case: Case, arm: Arm, store: Path, to_parent: int) -> None:
    ending = "nothing"
    try:
        arm(store.parent)
        try:
            for event in case.events(store):
                if isinstance(event, SlideTileDone):
                    os.write(to_parent, b"tile\n")
                ending = event.message if isinstance(event, ImageFailed) else "done"
        except BaseException as error:  # noqa: BLE001 (what is wrong)
            ending = f"bug {type(error).__name__}: {error}"
        os.write(to_parent, ending.replace("\n", " ").encode())
    finally:
        os._exit(0)


def _wrong_words(text: str, store: Path) -> Iterator[str]:
    if not text.startswith("Cannot write ") or str(store) not in text:
        yield f"the error does not say what cannot be written: {text}"


def _kept(store: Path, reported: int) -> Iterator[str]:
    """Tell whether tiles are lost that were reported as finished."""
    try:
        with CellStore.open(store) as left:
            if len(left.tiles()) < reported:
                yield f"{reported} tiles were reported, and {len(left.tiles())} are there"
    except AnnotationError as error:
        if reported:
            yield f"{reported} tiles were reported: {error}"


def _resumed(case: Case, store: Path) -> Iterator[str]:
    """Tell what the next run makes of what is left."""
    events = list(case.events(store))
    yield from (f"the next run failed: {event.message}" for event in events if isinstance(event, ImageFailed))
    if any(isinstance(event, Message) and event.level == "warning" for event in events):
        yield "the next run warns"
    try:
        if contents(store) != case.cells:
            yield "the next run ends in other cells"
    except CellSegError as error:
        yield f"what the next run left cannot be read: {error}"
    others = sorted(path.name for path in store.parent.iterdir() if path != store)
    if others:
        yield f"files are left: {', '.join(others)}"


def read_only(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere


def sizes(case: Case, count: int) -> list[int]:
    """Return sizes of the largest file, from the first byte on to almost all of it."""
    return [1 + round(i * (case.largest - 4096) / max(1, count - 1)) for i in range(count)]


def tries(case: Case, full: int, deadly: int, kills: int) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Yield a text on each fault, and what came of it."""
    yield "read-only folder", attempt(case, read_only)
    yield "read-only files of a run that was begun", attempt(case, read_only, begun=3)
    for size in sizes(case, full):
        yield f"full disk at {size} bytes", attempt(case, no_more_than(size, deadly=False))
    for size in sizes(case, deadly):
        yield f"killed in a write at {size} bytes", attempt(case, no_more_than(size, deadly=True))
    for number in range(kills):
        after = random.Random(number).uniform(0, 1.1 * case.seconds)
        yield f"killed after {after:.4f} s", attempt(case, lambda _: None, kill_after=after)


def run(full: int, deadly: int, kills: int, side: int = 300) -> dict[str, Any]:
    """Do all tries on a slide of about ``side`` px squared."""
    case = Case(side)
    wrong: list[str] = []
    endings: Counter[str] = Counter()
    for text, (ending, problems) in tries(case, full, deadly, kills):
        wrong += [f"{text}: {problem}" for problem in problems]
        endings[ending] += 1
    return {"wrong": wrong, "endings": endings}


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.environ["XDG_STATE_HOME"] = str(SCRATCH / "state")
    SCRATCH.chmod(0o755)
    try:
        json.dump(run(*map(int, sys.argv[1:])), sys.stdout)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
