"""Read many files in this process and say what came of each: ``fuzz_child.py GATE SEED FIRST LAST FOLDER``.

GATE is the name of a gate, "share" for a few cases of each, or "breakers".

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
from fuzz_gate import Gate
from fuzz_gates import GATES, share_cases

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


def run_cases(cases: list[tuple[Gate, int]], seed: int, folder: Path) -> None:
    """Run cases of one gate or of several, numbered as they come in the list."""
    sound, values = {}, {}
    for gate in {gate.name: gate for gate, _ in cases}.values():
        sound[gate.name] = gate.make(folder / "sound" / gate.name)
        path = folder / "work" / gate.name / gate.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(sound[gate.name]):
            path.write_bytes(data)
            value = gate.read(path)  # what is not damaged is read; and its imports are done before memory is measured
            values[gate.name, number] = None if gate.refuses else repr(value)
    limit_memory()
    say({"ready": True})
    for gate, case in cases:
        rng = random.Random(f"{gate.name} {seed} {case}")
        kind = case % len(sound[gate.name])
        data = gate.mutate(sound[gate.name][kind], rng)
        path = folder / "work" / gate.name / gate.file_name
        shutil.rmtree(folder / "work" / gate.name, ignore_errors=True)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        say({"begin": case, "gate": gate.name})
        answer = measured(gate.read, path, values[gate.name, kind])
        if answer["result"] not in ("value", "error"):
            (folder / f"{gate.name}-{case}").write_bytes(data)
        say({"case": case, "gate": gate.name, **answer})


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
    elif kind == "share":
        first, last = int(sys.argv[3]), int(sys.argv[4])
        run_cases(share_cases()[first:last], int(sys.argv[2]), folder)
    else:
        gate = next(gate for gate in GATES if gate.name == kind)
        run_cases([(gate, case) for case in range(int(sys.argv[3]), int(sys.argv[4]))], int(sys.argv[2]), folder)


if __name__ == "__main__":
    main()
