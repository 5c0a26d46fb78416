"""A harness that makes every writer fail, or be killed, at each file operation; ``all_writers`` has them.

    python tests/faulty_writers.py WAY,WAY...[:WRITER,WRITER...] ... [store:FULL,DEADLY,KILLS,SIDE]

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
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import torch
from all_writers import FOLDERS, OWN_FOLDER, WRITERS, library_export
from faults import FAULT, SCRATCH, at_operation, no_more_than, no_sync, read_only, refuse

from napari_cellseg.errors import CellSegError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


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
        runs = [argument.partition(":")[::2] for argument in sys.argv[1:]]
        found = [store_run(names) if ways == "store" else one_run(ways, names) for ways, names in runs]
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    json.dump(found, sys.stdout)


def store_run(numbers: str) -> dict[str, object]:
    """Try the store of a slide; see ``store_faults``."""
    from store_faults import run

    return run(*map(int, numbers.split(",")))


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
