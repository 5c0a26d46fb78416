"""Read many files in this process and say what came of each: ``fuzz_child.py GATE SEED FIRST LAST FOLDER``.

It writes one line of JSON per case to stdout before the case starts and after it ends, so that the parent knows which
case was running when this process crashes or hangs. Memory above the initial amount is limited, and measured per case.
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[i]) for i in range(3)]

import fuzz_breakers
from fuzz_gates import GATES

from napari_cellseg.errors import CellSegError

MOST_SECONDS, MOST_MIB = 10, 1024
_HARD_LIMIT = 3 << 30


def memory_mib(name: str) -> float:
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(name + ":"))


def limit_memory() -> None:
    limit = int(memory_mib("VmSize") * 2**20) + _HARD_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def measured(read: Any, path: Path, sound: str | None = None) -> dict[str, Any]:
    """Read a file; returns what came out (a value is compared with the text of a sound one), and what it cost."""
    Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
    before, begin = memory_mib("VmRSS"), time.process_time()
    answer: dict[str, Any] = {"result": "value"}
    try:
        value = read(path)
        if sound is not None:
            answer["is_changed"] = repr(value) != sound
    except CellSegError as error:
        answer = {"result": "error", "text": str(error)[:300]}
        if not str(error).strip():
            answer = {"result": "exception", "text": "an error without a message"}
    except BaseException as error:  # noqa: BLE001 (which ones, is what is asked)
        frames = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
        answer = {"result": "exception", "text": f"{type(error).__name__}: {str(error)[:200]} at {' '.join(frames)}"}
    seconds, grown = time.process_time() - begin, memory_mib("VmHWM") - before
    if seconds > MOST_SECONDS:
        answer |= {"result": "slow", "text": f"{seconds:.1f} s of CPU"}
    if grown > MOST_MIB:
        answer |= {"result": "memory", "text": f"{grown:.0f} MiB"}
    return {**answer, "seconds": round(seconds, 3), "mib": round(grown)}


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def run_gate(name: str, seed: int, first: int, last: int, folder: Path) -> None:
    gate = next(gate for gate in GATES if gate.name == name)
    sound = gate.make(folder / "sound")
    work = folder / "work"
    path = work / gate.file_name
    values = []
    for data in sound:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        value = gate.read(path)  # what is not damaged is read; and its imports are done before memory is measured
        values.append(None if gate.refuses else repr(value))
    limit_memory()
    say({"ready": True})
    for case in range(first, last):
        rng = random.Random(f"{name} {seed} {case}")
        data = gate.mutate(sound[case % len(sound)], rng)
        shutil.rmtree(work, ignore_errors=True)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        say({"begin": case})
        answer = measured(gate.read, path, values[case % len(sound)])
        if answer["result"] not in ("value", "error"):
            (folder / f"{name}-{case}").write_bytes(data)
        say({"case": case, **answer})


def run_breakers(names: list[str], first: int, last: int, folder: Path) -> None:
    for gate in GATES:  # so that imports are done before memory is measured
        sound = folder / "sound" / gate.name / gate.file_name
        sound.parent.mkdir(parents=True, exist_ok=True)
        sound.write_bytes(gate.make(sound.parent / "made")[0])
        gate.read(sound)
    limit_memory()
    say({"ready": True})
    for case in range(first, last):
        name = names[case]
        breaker = fuzz_breakers.BREAKERS[name]
        path = folder / name / breaker.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        breaker.write(path)
        say({"begin": case})
        say({"case": case, **measured(breaker.read, path)})


def main() -> None:
    logging.disable(logging.NOTSET)
    logging.getLogger().addHandler(logging.NullHandler())
    logging.lastResort = None
    warnings.simplefilter("ignore")
    kind, folder = sys.argv[1], Path(sys.argv[-1])
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # zips are unpacked there
    if kind == "breakers":
        run_breakers(sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4]), folder)
    else:
        run_gate(kind, int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), folder)


if __name__ == "__main__":
    main()
