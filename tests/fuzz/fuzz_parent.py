"""Runs the cases of a gate in a child, and begins another child after a crash or a hang."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CHILD = Path(__file__).with_name("fuzz_child.py")
START_S, CASE_S = 240, 90  # wall clock, on a loaded machine; the child itself counts CPU seconds


@dataclass
class Tally:
    """How many cases ended how; ``bad`` says of each bad one which and why.

    ``changed`` counts the values that are others than that of the sound file, of gates that refuse no file.
    """

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    seconds: float = 0.0
    mib: int = 0
    outcomes: dict[int, str] = field(default_factory=dict)
    changed: int = 0

    def add(self, name: str, answer: dict[str, object]) -> None:
        result = str(answer["result"])
        self.counts[result] += 1
        self.seconds = max(self.seconds, float(str(answer.get("seconds", 0))))
        self.mib = max(self.mib, int(str(answer.get("mib", 0))))
        self.outcomes[len(self.outcomes)] = result
        self.changed += bool(answer.get("is_changed"))
        if result not in ("value", "error"):
            where = f"{answer.get('gate') or name} case {answer['case']}"
            self.bad.append(f"{where}: {result}: {answer.get('text', '')}")


def run_cases(words: list[str], name: str, first: int, last: int, folder: Path, tally: Tally) -> None:
    """Run the cases ``first`` to ``last`` of what ``words`` name; ``{first}`` and ``{last}`` in them are filled in."""
    while first < last:
        folder.mkdir(parents=True, exist_ok=True)
        filled = [word.format(first=first, last=last) for word in words]
        with subprocess.Popen(
            [sys.executable, str(CHILD), *filled, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            lines: queue.Queue[str | None] = queue.Queue()
            reader = threading.Thread(target=_read, args=(child.stdout, lines))
            errors: list[str] = []
            drain = threading.Thread(
                target=lambda child=child, errors=errors: errors.append(child.stderr.read()[-2000:])
            )
            reader.start()
            drain.start()
            before = sum(tally.counts.values())
            is_ready, began, ended = _follow(lines, name, tally)
            if ended is None:
                child.kill()
            reader.join()
            drain.join()
        if not is_ready:
            raise AssertionError(f"the child of {name} did not begin: {errors[0]}")
        if began is not None:
            how = "hang" if ended is None else "crash"
            tally.add(name, {**began, "result": how, "text": f"return code {child.returncode} {errors[0][-200:]}"})
            first += sum(tally.counts.values()) - before
        else:
            assert child.returncode == 0, errors[0]
            return


def _follow(
    lines: queue.Queue[str | None], name: str, tally: Tally
) -> tuple[bool, dict[str, object] | None, bool | None]:
    """Return whether the child began, the case it was at when it ended (None: it was done), and None when it hung."""
    is_ready = False
    began: dict[str, object] | None = None
    while True:
        try:
            line = lines.get(timeout=CASE_S if is_ready else START_S)
        except queue.Empty:
            return is_ready, began, None
        if line is None:
            return is_ready, began, True
        answer = json.loads(line)
        if "begin" in answer:
            began = {"case": answer["begin"], "gate": answer.get("gate")}
        elif "case" in answer:
            tally.add(name, answer)
            began = None
        else:
            is_ready = True


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
