"""Ten thousand damaged files: out of each gate comes a value or a clear error, within 10 s and 1 GB, and no crash."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_breakers import BREAKERS
from fuzz_gates import GATES
from fuzz_parent import Tally, run_cases

SHARE = 50
"""The default suite runs every fiftieth case."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured with Linux's means")


def fuzz(name: str, first: int, last: int, folder: Path) -> Tally:
    tally = Tally()
    run_cases([name, "1", "{first}", "{last}"], name, first, last, folder, tally)
    assert sum(tally.counts.values()) == last - first
    return tally


def test_the_gates_have_ten_thousand_cases_together() -> None:
    assert sum(gate.cases for gate in GATES) >= 10_000


def test_every_file_that_once_broke_a_reader_is_read_or_refused(tmp_path: Path) -> None:
    names = list(BREAKERS)
    tally = Tally()
    run_cases(["breakers", ",".join(names), "{first}", "{last}"], "breakers", 0, len(names), tmp_path, tally)
    assert not tally.bad, "\n".join(tally.bad)
    assert {name: tally.outcomes[i] for i, name in enumerate(names)} == {
        name: breaker.expected for name, breaker in BREAKERS.items()
    }


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_all_damaged_files(gate, tmp_path: Path, record_property) -> None:
    tally = fuzz(gate.name, 0, gate.cases, tmp_path)
    record_property("fuzz", f"{gate.name}: {dict(tally.counts)}, {tally.seconds:.1f} s, {tally.mib} MiB")
    assert not tally.bad, "\n".join(tally.bad)
    if gate.refuses:
        assert tally.counts["error"], "no case was refused: the mutators do not bite"
    else:
        assert not tally.counts["error"], "a file that may be absent was refused instead of ignored"
        assert tally.changed, "every case gave what the sound file gives: the mutators do not bite"


@pytest.mark.parametrize(
    "gate", [gate for gate in GATES if gate.cases // SHARE >= 4 and gate.name != "model"], ids=lambda gate: gate.name
)
def test_a_share_of_the_damaged_files(gate, tmp_path: Path) -> None:
    tally = fuzz(gate.name, 0, gate.cases // SHARE, tmp_path)
    assert not tally.bad, "\n".join(tally.bad)
