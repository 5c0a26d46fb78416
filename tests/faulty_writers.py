"""Every writer of the project, and a harness that makes each fail, or be killed, at each file operation.

    python tests/faulty_writers.py WAY,WAY...[:WRITER,WRITER...] ...

prints a list of JSON objects, one per argument: what is wrong, by writer. Each try runs in a forked child, so that it
can be killed.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from matplotlib.figure import Figure
from model_cases import tiny_config
from review_actions import some_cells

from napari_cellseg.atomic import export_write, file_set, replace_folder, write_errors
from napari_cellseg.batch import write_submission
from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.demo import write_samples
from napari_cellseg.commands.samples import write_samples as write_annotated_samples
from napari_cellseg.errors import CellSegError
from napari_cellseg.export import EXPORTER_NAMES, ExportItem, ExportPlan, export_folder
from napari_cellseg.formats.coco import write_image_ids
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.listing import ImageFile
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.importers.result import Imported, ImportedImage, LeftOut
from napari_cellseg.importers.write import write_training_folder as write_import
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.checkpoint import save_checkpoint
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.model.network.build import build_model
from napari_cellseg.review import ReviewSession, Status, cells_from
from napari_cellseg.workspace.annotations import Annotations, summarise, write_annotations
from napari_cellseg.workspace.kept_edits import keep_edits
from napari_cellseg.workspace.project_file import write_classes
from training.config import TrainConfig
from training.evaluate import evaluate
from training.examples import write_examples
from training.experiment import Result, Variant
from training.experiment import _write as _write_experiment
from training.past_runs import _write_note
from training.plots import save_figure
from training.resume import write_state
from training.run_folder import RunFolder
from training.sources import write_annotated
from training.split import Split
from training.validation import Example

SIZE = (64, 64)
CLASSES = ClassTable(("a", "b", "c", "d"))
Write = Callable[[Path, int], object]
SCRATCH = Path(tempfile.mkdtemp(prefix="cellseg-faults-"))


def cells_of(version: int) -> InstanceMasks:
    """Return cells of classes 1, 2, 3 (version 1), or of 1 and 4 and more of them."""
    found = some_cells(8 + 4 * version, version, SIZE)
    kinds = (1, 2, 3) if version == 1 else (1, 4)
    return replace(found, class_ids=np.resize(np.array(kinds, np.int32), len(found)))


def annotations_of(version: int) -> Annotations:
    cells = tuple(cells_from(cells_of(version), Status.ACCEPTED, "ana", 0.0))
    return Annotations(
        image_size=SIZE, classes=CLASSES, cells=cells, min_scores={}, next_id=len(cells) + 1, revision=f"r{version}"
    )


def items_of(version: int) -> list[ExportItem]:
    path = SCRATCH / f"image{version}" / "a.tif"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(version).integers(0, 255, (*SIZE, 3), np.uint8)
        tifffile.imwrite(path, pixels, photometric="rgb")
    return [ExportItem(ImageFile("a", path), lambda: annotations_of(version))]


def export(name: str) -> Write:
    return lambda folder, version: list(
        export_folder(items_of(version), CLASSES, ExportPlan(folder=folder, formats=frozenset({name})))
    )


def labels(folder: Path, version: int) -> object:
    return write_class_images(folder, cells_of(version), keep="always")


def annotations(folder: Path, version: int) -> None:
    now = annotations_of(version)
    write_annotations(folder / "a.jsonl", now, summarise(now.cells, {}, saved_at=1.0))


def image_ids(folder: Path, version: int) -> None:
    write_image_ids(folder / "ids.json", [ImageId(f"{i}.tif", i, *SIZE) for i in range(5 * version)])


def several(folder: Path, version: int) -> None:
    def blob(letter: bytes) -> bytes:
        return letter * (3000 * version)

    with export_write(folder / "one.bin") as file:
        file.write(blob(b"1"))
    with write_errors(folder), file_set() as files:
        for name in ("a.bin", "b.bin"):
            with files.open(folder / name) as file:
                file.write(blob(name.encode()))
        if version == 2 and (folder / "gone.bin").exists():
            files.remove(folder / "gone.bin")
    if version == 1:
        with export_write(folder / "gone.bin") as file:
            file.write(b"gone")


def whole_folder(folder: Path, version: int) -> None:
    new = folder / f".out.{version:08x}.tmp"
    with write_errors(folder):
        new.mkdir()
        for name in ("a.bin", "b.bin")[:version]:
            with export_write(new / name, keep="never") as file:
                file.write(name.encode() * 1000 * version)
        replace_folder(new, folder / "out")


def model_file(version: int) -> Path:
    path = SCRATCH / f"model{version}.safetensors"
    if not path.exists():
        torch.manual_seed(version)
        save_checkpoint(path, build_model(tiny_config()))
    return path


def library(folder: Path, version: int) -> None:
    ModelLibrary(folder).import_file(model_file(version), f"model {version}")


def library_export(folder: Path, version: int) -> None:
    models = ModelLibrary(SCRATCH / "library")
    kept = SCRATCH / "library" / "imported" / f"m{version}.safetensors"
    if not kept.exists():  # before any fault: main() calls this first
        models.import_file(model_file(version), kept.stem)
    (entry,) = [entry for entry in models.entries() if entry.path == kept]
    models.export_file(entry, folder / "model.safetensors", overwrite=True)


def state(folder: Path, version: int) -> None:
    write_state(folder / "last.pt", {"weights": torch.full((20_000,), float(version)), "epoch": version})


def run_folder(folder: Path, version: int) -> None:
    run = RunFolder(folder)
    run.write(run.config, "epochs: 1\n" * version)
    run.write_metrics([{"epoch": epoch, "loss": 0.5} for epoch in range(1, 40 * version)])
    TrainConfig.preset("lite", CLASSES).with_changes(epochs=version).save(folder / "settings.yaml")
    Split(("a",) * version, ("b",), 0, 0.5).save(run.split)


def training_data(folder: Path, version: int) -> None:
    list(write_annotated(folder / "training", items_of(version), CLASSES))


def figure(folder: Path, version: int) -> None:
    drawn = Figure(figsize=(1, 1))
    drawn.subplots().plot([0, version], [version, 0])
    save_figure(drawn, folder / "losses.png")


def imported(folder: Path, version: int) -> None:
    """Write what an importer found: an image, its classes, and a row that was left out."""
    pixels = np.full((*SIZE, 3), version, np.uint8)
    images = tuple(ImportedImage(name, None, cells_of(version), lambda: pixels) for name in ("a", "b")[:version])
    left_out = (LeftOut("a.json", 3, "a", "its polygon has 2 points"),) * version
    found = Imported(
        source=folder, format_name="x", images=images, classes=CLASSES, left_out=left_out, notes=(), rows=0
    )
    list(write_import(found, folder))


def kept_edits(folder: Path, version: int) -> None:
    session = ReviewSession(SIZE, CLASSES, annotations_of(version).cells, user="ana")
    keep_edits(folder / "a.jsonl", annotations_of(3 - version), session, version)


def examples(folder: Path, version: int) -> None:
    found = evaluate({"a": cells_of(version)}, {"a": cells_of(version)}, CLASSES)
    example = Example("a", np.full((*SIZE, 3), version, np.uint8), cells_of(version), cells_of(version))
    write_examples(folder, 1, [example], found, CLASSES)


def experiment(folder: Path, version: int) -> None:
    rows = tuple({"epoch": float(epoch), "train_loss": 1.0 / epoch} for epoch in range(1, 3 + version))
    variant = Variant(f"lr={version}", {"lr": float(version)})
    result = Result(variant=variant, epochs=3, best_epoch=2, metrics={"ap50": 0.5}, seconds=9.0, rows=rows)
    _write_experiment(folder, [result] * version)


WRITERS: dict[str, Write] = {
    **{f"export {name}": export(name) for name in EXPORTER_NAMES},
    "imported annotations": imported,
    "kept edits": kept_edits,
    "examples": examples,
    "experiment": experiment,
    "run note": lambda folder, version: _write_note(folder, {"data": "x" * 40 * version}),
    "annotated samples": lambda folder, version: write_annotated_samples(folder, version, SIZE),
    "submission": lambda folder, version: list(write_submission(items_of(version), CLASSES, folder, None)),
    "class images": labels,
    "annotations": annotations,
    "classes": lambda folder, version: write_classes(folder, ClassTable(("a", "b", "c")[: version + 1])),
    "image ids": image_ids,
    "file set": several,
    "folder": whole_folder,
    "model library": library,
    "model export": library_export,
    "training state": state,
    "run folder": run_folder,
    "figure": figure,
    "training data": training_data,
    "training folder": lambda folder, version: write_training_folder(folder, 1, (48, 48), seed=version),
    "demo samples": lambda folder, version: write_samples(folder) if version else None,
}
FOLDERS = {"folder", "training data", "export ome-zarr"}
"""What replaces a whole folder: killed between two renames, the old one is there as ``.bak``."""
OWN_FOLDER = {"annotations", "classes"}
"""Files below ``.cellseg``, which no one else writes."""


# ---- faults ----

_OPERATIONS = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.truncate", "shutil.rmtree"}
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


class Fault:
    """Does something at the n-th file operation in a folder."""

    def __init__(self) -> None:
        self.folder = ""
        self.left = -1
        self.met = False
        self.act: Callable[[], None] = lambda: None
        sys.addaudithook(self._look)

    def arm(self, folder: Path, number: int, act: Callable[[], None]) -> None:
        self.folder, self.left, self.act = str(folder), number, act

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left < 0 or not (event in _OPERATIONS or event == "open"):
            return
        if event == "open" and (not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if str(arguments[0]).startswith(self.folder):
            self.left -= 1
            if self.left < 0:
                self.met = True
                self.act()


FAULT = Fault()


def refuse(number: int) -> Callable[[], None]:
    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def at_operation(number: int, act: Callable[[], None]) -> Callable[[Path], None]:
    return lambda folder: FAULT.arm(folder, number, act)


def no_more_than(size: int, *, deadly: bool) -> Callable[[Path], None]:
    def arm(_: Path) -> None:
        if deadly:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    return arm


def no_sync(number: int) -> Callable[[Path], None]:
    def arm(_: Path) -> None:
        left, sync = [number], os.fsync

        def fail(descriptor: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                FAULT.met = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(descriptor)

        os.fsync = fail

    return arm


def read_only(folder: Path) -> None:
    for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        each.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere


# ---- one try ----


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the content of each file, without temporary ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(map(_TEMPORARY.fullmatch, path.relative_to(folder).parts))
    }


def attempt(name: str, arm: Callable[[Path], None], *, foreign: bool) -> tuple[str, bool, list[str]]:
    """Let a writer replace old files under a fault; return how it ended, whether it met the fault, what is wrong."""
    folder = Path(tempfile.mkdtemp(dir=SCRATCH))
    folder.chmod(0o755)
    out, told = folder / "out", folder / "told"
    out.mkdir()
    child = os.fork()
    if child == 0:
        _in_child(name, arm, out, told, foreign=foreign)
    _, status = os.waitpid(child, 0)
    old, ending, text, met = {}, "killed", "", True
    with told.open("rb") as file:
        old = pickle.load(file)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            ending, text, met = pickle.load(file)
    problems = [f"{text}"] if ending == "bug" else []
    if ending == "error" and not any(part in text for part in (str(out), out.name)):
        problems.append(f"the error does not say where: {text}")
    problems += judge(name, old, snapshot(out), new_files(name), ending, foreign=foreign)
    for each in (out, *(path for path in out.rglob("*") if path.is_dir())):
        each.chmod(0o755)
    shutil.rmtree(folder)
    return ending, met, problems


def _in_child(name: str, arm: Callable[[Path], None], out: Path, told: Path, *, foreign: bool) -> None:
    write = WRITERS[name]
    with told.open("wb") as file:
        try:
            write(out, 1)
            if foreign:
                for path in (path for path in out.rglob("*") if path.is_file()):
                    path.write_bytes(b"of the user: " + path.name.encode())
            pickle.dump(snapshot(out), file)
            file.flush()
            arm(out)
            try:
                write(out, 2)
                told_text = ("done", "")
            except CellSegError as error:
                told_text = ("error", str(error))
            except BaseException as error:  # noqa: BLE001 (what is wrong with the writer)
                told_text = ("bug", f"{type(error).__name__}: {error}")
            met = FAULT.met
            FAULT.left = -1
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
            )
            pickle.dump((*told_text, met), file)
            file.flush()
            os._exit(0)
        finally:
            os._exit(9)


_NEW: dict[str, tuple[dict[str, bytes], dict[str, bytes]]] = {}


def new_files(name: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the files of version 2 in an empty folder, from two tries: some hold the time.

    Written by children: zarr starts a thread, which a process forked later would lack.
    """
    if name not in _NEW:
        found = []
        for _ in range(2):
            folder = Path(tempfile.mkdtemp(dir=SCRATCH))
            child = os.fork()
            if child == 0:
                try:
                    WRITERS[name](folder, 2)
                    os._exit(0)
                finally:
                    traceback.print_exc()
                    os._exit(9)
            assert os.waitpid(child, 0)[1] == 0, f"{name} cannot write"
            found.append(snapshot(folder))
        _NEW[name] = (found[0], found[1])
    return _NEW[name]


def judge(
    name: str,
    old: dict[str, bytes],
    now: dict[str, bytes],
    new: tuple[dict[str, bytes], dict[str, bytes]],
    ending: str,
    *,
    foreign: bool,
) -> Iterator[str]:
    """Tell what breaks the rules: each file is old or new, none is lost, the user's are kept."""
    backups = {path for path in now if ".bak" in path and path not in old}
    kept = {now[path] for path in now}

    def is_new(path: str) -> bool:
        if path not in new[0]:
            return False
        exact = new[0][path] == new[1][path]
        return now[path] == new[0][path] if exact else len(now[path]) == len(new[0][path])

    for path in now.keys() - backups:
        if now[path] != old.get(path) and not is_new(path):
            yield f"{path} is neither old nor new ({len(now[path])} bytes)"
    for path in old.keys() - now.keys():
        if name in FOLDERS and ending == "killed" and old[path] in kept:
            continue
        together = [each for each in new[0] if Path(each).parent == Path(path).parent]
        if ending != "done" and any(not (each in now and is_new(each)) for each in together):
            yield f"{path} is gone although not all new files of its folder are there"
        if path in new[0]:
            yield f"{path} is gone"
    for path in backups:
        if now[path] not in old.values():
            yield f"{path} is no old file"
    if foreign and name not in OWN_FOLDER:
        yield from (f"{path} of the user is lost" for path, content in old.items() if content not in kept)
    if ending == "done":
        yield from (f"{path} was not written" for path in new[0] if path not in now or not is_new(path))


def faults(name: str, way: str) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield the faults of a way; those at an operation until the writer gets through."""
    largest = max(map(len, new_files(name)[0].values()))
    sizes = sorted({1, largest // 2, largest - 1})
    if way == "full":
        yield from ((f"full disk at operation {n}", at_operation(n, refuse(errno.ENOSPC))) for n in range(200))
    elif way == "killed":
        yield from ((f"killed at operation {n}", at_operation(n, lambda: os._exit(1))) for n in range(200))
    elif way == "sync":
        yield from ((f"full disk at sync {n}", no_sync(n)) for n in range(200))
    elif way == "bytes":
        yield from ((f"full disk after {size} bytes", no_more_than(size, deadly=False)) for size in sizes)
    elif way == "killed in a write":
        yield from ((f"killed after {size} bytes", no_more_than(size, deadly=True)) for size in sizes)
    elif way == "read-only":
        yield "read-only folder", read_only
    elif way == "none":
        yield "no fault", lambda _: None


def wrong(name: str, ways: list[str], kinds: tuple[bool, ...]) -> tuple[list[str], int]:
    """Return all that is wrong with a writer, and the number of tries that failed as they should."""
    found, failed = [], 0
    for foreign in kinds:
        for way in ways:
            for text, arm in faults(name, way):
                ending, met, problems = attempt(name, arm, foreign=foreign)
                found += [f"{text}, {'foreign' if foreign else 'own'}: {problem}" for problem in problems]
                failed += ending in ("error", "killed")
                if not met and way in ("full", "killed", "sync"):
                    break
    return found, failed


def main() -> None:
    """Do the runs named on the command line."""
    time.time = lambda: 1_600_000_000.0  # zips hold the time
    os.environ["XDG_STATE_HOME"] = str(SCRATCH / "state")
    SCRATCH.chmod(0o755)
    torch.set_num_threads(1)
    import_module("zarr")  # once, not in each child; its thread starts at the first write
    try:
        for version in (1, 2):
            library_export(SCRATCH, version)
        found = [one_run(*argument.partition(":")[::2]) for argument in sys.argv[1:]]
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    json.dump(found, sys.stdout)


def one_run(ways: str, names: str) -> dict[str, dict[str, object]]:
    """Try the writers with these names, or all, in these ways; with "quick", only over files of the user."""
    chosen = ways.split(",")
    kinds = (True,) if "quick" in chosen else (True, False)
    result: dict[str, dict[str, object]] = {}
    for name in names.split(",") if names else WRITERS:
        problems, failed = wrong(name, [way for way in chosen if way != "quick"], kinds)
        result[name] = {"wrong": problems, "failed": failed}
    return result


if __name__ == "__main__":
    main()
