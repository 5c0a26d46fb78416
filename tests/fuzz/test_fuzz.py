"""Ten thousand damaged files: out of each gate comes a value or a clear error, within 10 s and 1 GB, and no crash."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_breakers import BREAKERS
from fuzz_gates import GATES, share_cases
from fuzz_parent import Tally, run_cases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured with Linux's means")


def fuzz(name: str, first: int, last: int, folder: Path) -> Tally:
    tally = Tally()
    run_cases([name, "1", "{first}", "{last}"], name, first, last, folder, tally)
    assert sum(tally.counts.values()) == last - first
    return tally


def test_the_gates_have_ten_thousand_cases_together() -> None:
    assert sum(gate.cases for gate in GATES) >= 10_000


def test_every_file_that_once_broke_a_reader_is_read_or_refused(tmp_path: Path) -> None:
    try_breakers([name for name, breaker in BREAKERS.items() if not breaker.is_slow], tmp_path)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_large_file_that_once_broke_a_reader_is_read_or_refused(tmp_path: Path) -> None:
    try_breakers([name for name, breaker in BREAKERS.items() if breaker.is_slow], tmp_path)


def try_breakers(names: list[str], folder: Path) -> None:
    tally = Tally()
    run_cases(["breakers", ",".join(names), "{first}", "{last}"], "breakers", 0, len(names), folder, tally)
    assert not tally.bad, "\n".join(tally.bad)
    assert {name: tally.outcomes[i] for i, name in enumerate(names)} == {
        name: BREAKERS[name].expected for name in names
    }


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
@pytest.mark.faults
@pytest.mark.slow
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


def test_a_share_of_the_damaged_files(tmp_path: Path) -> None:
    tally = Tally()
    count = len(share_cases())
    run_cases(["share", "1", "{first}", "{last}"], "share", 0, count, tmp_path, tally)
    assert not tally.bad, "\n".join(tally.bad)
    assert sum(tally.counts.values()) == count
    assert tally.counts["error"] > count // 4
    assert tally.changed
