"""Writers whose files differ from run to run, judged by what a reader finds after a fault.

    python tests/interrupted_writers.py WAYS [WRITER ...]

prints one JSON object: what is wrong, by writer. What is read must be the old or the new content, each part of it
complete, and the same writer must get through when the fault is over. The faults are those of ``faults``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from faults import FAULT, SCRATCH, at_operation, no_more_than, no_sync, read_only, refuse
from model_cases import tiny_config

from napari_cellseg.atomic import write_errors
from napari_cellseg.errors import CellSegError, TrainingError
from napari_cellseg.events import StepDone
from napari_cellseg.gui.opening.welcome import write_samples
from napari_cellseg.importers.unpacking import unpacked
from napari_cellseg.model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from napari_cellseg.model.network.build import build_model
from napari_cellseg.workspace.predictions import LogEntry, PredictionLog
from training.event_log import drop_repeated
from training.run_folder import RunFolder

Content = dict[str, Any]


@dataclass(frozen=True)
class Writer:
    """How to make the old content, how to write the new one, and what a reader finds, part by part."""

    start: Callable[[Path], object]
    write: Callable[[Path], object]
    read: Callable[[Path], Content]


# ---- the log of a training run ----


def step(number: int) -> StepDone:
    return StepDone(
        epoch=1, chunk=1, chunks=1, step=number, steps=9, losses={"total": 0.5}, learning_rate=0.001, images_per_s=1.0,
        seconds_left=1.0, ram_mib=1.0, vram_mib=0.0,
    )  # fmt: skip


def log_steps(folder: Path, *numbers: int) -> None:
    for number in numbers:
        RunFolder(folder).log(step(number))


def cut_off(path: Path) -> None:
    """Leave the half of a line at the end, as a kill does."""
    with path.open("ab") as file:
        file.write(b'{"event": "StepDone", "epo')


def read_steps(folder: Path) -> Content:
    """Return all whole lines; only the last may be cut off, and the next one begins a line of its own."""
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    whole = [json.loads(line)["step"] for line in lines if line.endswith(b"}")]
    return {"steps": tuple(sorted(set(whole)))}


# ---- the log of predictions, as after a crash ----


def entry(name: str) -> LogEntry:
    return LogEntry(image_id=name, key=name * 40, model="m", stamp=(1, 2), cells=3, at=4.0)


def predicted_before(folder: Path) -> None:
    PredictionLog(folder).add(entry("a"))
    cut_off(PredictionLog(folder).path)


# ---- zips of annotations in the user's cache ----


def zipped() -> Path:
    path = SCRATCH / "tasks.zip"
    if not path.exists():
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("annotations/a.json", "annotations/b.json", "images/a.png"):
                archive.writestr(name, name * 500)
    return path


def unpack(folder: Path) -> Path:
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return unpacked(zipped())


def begin_to_unpack(folder: Path) -> None:
    """Leave what an attempt that was killed leaves."""
    done = unpack(folder)
    done.rename(done.with_name(f"{done.name}.part"))
    next(done.with_name(f"{done.name}.part").rglob("*.png")).write_bytes(b"half")


def read_unpacked(folder: Path) -> Content:
    cache = folder / "napari-cellseg" / "unpacked"
    places = [path for path in cache.iterdir() if not path.suffix]
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    return {"files": {str(file.relative_to(cache)): digest(file.read_bytes()) for file in files}}


# ---- images and models ----


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_images(folder: Path) -> Content:
    return {path.name: digest(np.asarray(tifffile.imread(path)).tobytes()) for path in folder.glob("samples/*.tif")}


def save(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model, path = build_model(tiny_config()), folder / "best.safetensors"
    with write_errors(path, TrainingError):
        save_checkpoint(path, model, CheckpointMetadata(name=f"model {seed}"))


def read_model(folder: Path) -> Content:
    model, header = load_checkpoint(folder / "best.safetensors")
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return {"model": (header.name, digest(weights))}


WRITERS: dict[str, Writer] = {
    "event log": Writer(
        start=lambda folder: (log_steps(folder, 1, 2, 3), cut_off(folder / "events.jsonl")),
        write=lambda folder: log_steps(folder, 4),
        read=read_steps,
    ),
    "event log of a resumed run": Writer(
        start=lambda folder: log_steps(folder, 1, 2, 3, 4, 5, 6),
        write=lambda folder: drop_repeated(folder / "events.jsonl", 1, 3),
        read=read_steps,
    ),
    "prediction log": Writer(
        start=predicted_before,
        write=lambda folder: PredictionLog(folder).add(entry("b")),
        read=lambda folder: dict(PredictionLog(folder).entries()),
    ),
    "unpacked zip": Writer(start=begin_to_unpack, write=unpack, read=read_unpacked),
    "welcome samples": Writer(
        start=lambda folder: (folder / "samples").mkdir(),
        write=lambda folder: list(write_samples(folder / "samples")),
        read=read_images,
    ),
    "checkpoint": Writer(
        start=lambda folder: save(folder, 1), write=lambda folder: save(folder, 2), read=read_model
    ),
}  # fmt: skip


# ---- one try ----


def attempt(writer: Writer, arm: Callable[[Path], None]) -> tuple[str, bool, list[str]]:
    """Write under a fault; return how that ended, whether it met the fault, and what is wrong."""
    folder = Path(tempfile.mkdtemp(dir=SCRATCH))
    folder.chmod(0o755)
    out, told = folder / "out", folder / "told"
    out.mkdir()
    writer.start(out)
    old = writer.read(out)
    child = os.fork()
    if child == 0:
        _in_child(writer, arm, out, told)
    _, status = os.waitpid(child, 0)
    ending, text, met = "killed", "", True
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        ending, text, met = pickle.loads(told.read_bytes())
    for each in (out, *(path for path in out.rglob("*") if path.is_dir())):
        each.chmod(0o755)
    problems = [text] if ending == "bug" else []
    if ending == "error" and str(out) not in text:
        problems.append(f"the error does not say where: {text}")
    problems += judge(writer, out, old, is_done=ending == "done")
    shutil.rmtree(folder)
    return ending, met, problems


def _in_child(writer: Writer, arm: Callable[[Path], None], out: Path, told: Path) -> None:
    try:
        with told.open("wb") as file:
            arm(out)
            try:
                writer.write(out)
                ending = ("done", "")
            except CellSegError as error:
                ending = ("error", str(error))
            except BaseException as error:  # noqa: BLE001 (what is wrong with the writer)
                ending = ("bug", f"{type(error).__name__}: {error}")
            file.write(pickle.dumps((*ending, FAULT.met)))
            file.flush()
            os._exit(0)
    finally:
        os._exit(9)


def judge(writer: Writer, out: Path, old: Content, *, is_done: bool) -> Iterator[str]:
    """Tell what breaks the rules: each part is old or new, and the next attempt gets through."""
    new = written(writer)
    found = _read(writer, out)
    for part in sorted({*old, *new, *found}):
        if found.get(part) not in ([new.get(part)] if is_done else [old.get(part), new.get(part)]):
            yield f"{part} is neither old nor new: {found.get(part)!r:.200}"
    writer.write(out)
    again = _read(writer, out)
    if again != new:
        yield f"the next attempt left {again!r:.200}"


def _read(writer: Writer, out: Path) -> Content:
    try:
        return writer.read(out)
    except Exception as error:  # noqa: BLE001 (what is wrong with the writer)
        return {"reading": f"{type(error).__name__}: {error}"}


_NEW: dict[int, Content] = {}
_SIZES: dict[int, list[int]] = {}


def written(writer: Writer) -> Content:
    """Return the new content, and note at which sizes a full disk may cut the largest file."""
    if id(writer) not in _NEW:
        folder = Path(tempfile.mkdtemp(dir=SCRATCH))
        writer.start(folder)
        before = _largest(folder)
        writer.write(folder)
        after = _largest(folder)
        _NEW[id(writer)] = writer.read(folder)
        sizes = {1, after // 2, before + 1, (before + after) // 2, after - 1}
        _SIZES[id(writer)] = sorted(size for size in sizes if 0 < size < after)
    return _NEW[id(writer)]


def _largest(folder: Path) -> int:
    return max((path.stat().st_size for path in folder.rglob("*") if path.is_file()), default=0)


def faults(writer: Writer, way: str) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield the faults of a way; those at an operation until the writer gets through."""
    written(writer)
    if way == "full":
        yield from ((f"full disk at operation {n}", at_operation(n, refuse(errno.ENOSPC))) for n in range(200))
    elif way == "killed":
        yield from ((f"killed at operation {n}", at_operation(n, lambda: os._exit(1))) for n in range(200))
    elif way == "sync":
        yield from ((f"full disk at sync {n}", no_sync(n)) for n in range(200))
    elif way in ("bytes", "killed in a write"):
        deadly = way != "bytes"
        yield from ((f"{way}: {size}", no_more_than(size, deadly=deadly)) for size in _SIZES[id(writer)])
    elif way == "read-only":
        yield "read-only folder", read_only
    elif way == "none":
        yield "no fault", lambda _: None


def wrong(writer: Writer, ways: list[str]) -> tuple[list[str], int]:
    """Return all that is wrong with a writer, and the number of tries that failed as they should."""
    found, failed = [], 0
    for way in ways:
        for text, arm in faults(writer, way):
            ending, met, problems = attempt(writer, arm)
            found += [f"{text}: {problem}" for problem in problems]
            failed += ending in ("error", "killed")
            if not met and way in ("full", "killed", "sync"):
                break
    return found, failed


def main() -> None:
    """Try the writers named on the command line, or all."""
    os.environ["XDG_STATE_HOME"] = str(SCRATCH / "state")
    SCRATCH.chmod(0o755)
    torch.set_num_threads(1)
    try:
        found = {name: wrong(WRITERS[name], sys.argv[1].split(",")) for name in sys.argv[2:] or WRITERS}
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    json.dump({name: {"wrong": problems, "failed": failed} for name, (problems, failed) in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()
