"""How the cases have ended on a real Xen host: kept in a file, since not every machine can be one.

`XENSNAP_RECORD=1 pytest --xen=all tests/real/xenhost/test_conformance.py` writes it, profile by profile.
"""

from collections import Counter
from pathlib import Path

import msgspec

from xensnap.conformance import every_case
from xensnap.conformance.campaign import events_of
from xensnap.conformance.events import BAD, RunEnded, decode, encode
from xensnap.conformance.reports.outcomes import RunOutcome, gather

PATH = Path(__file__).parents[2] / "docs" / "reference" / "conformance-xen.jsonl"


def kept() -> RunOutcome | None:
    """All that is known, as one run; cases that are gone by now are left out."""
    return gather(map(decode, PATH.read_bytes().splitlines())) if PATH.exists() else None


def keep(run: RunOutcome) -> None:
    """Put what a run has come to in the place of what was known of its cases. Deeds are not kept."""
    known = kept()
    cases = {case.began.case: case for each in (known, run) if each for case in each.cases}
    order = [case.id for case in every_case() if case.id in cases]
    outcomes = tuple(msgspec.structs.replace(cases[id], deeds=()) for id in order)
    counts = Counter(case.ended.state.value for case in outcomes)
    bad = sum(counts[state.value] for state in BAD)
    seconds = sum(case.ended.seconds for case in outcomes)
    began = msgspec.structs.replace(run.began, cases=tuple(order), prefix="")
    merged = RunOutcome(began, outcomes, RunEnded(dict(sorted(counts.items())), seconds, bad))
    PATH.write_bytes(b"".join(map(encode, events_of(merged))))
