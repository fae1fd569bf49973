"""The page of the reference that tells which requirement is shown by which cases, made from the cases themselves."""

from collections.abc import Iterator
from pathlib import Path

from xensnap.conformance import REQUIREMENTS, Level, every_case

PATH = Path(__file__).parents[2] / "docs" / "reference" / "requirements.md"
MADE_BY = "XENSNAP_GOLDEN=write pytest tests/conformance/test_coverage.py"

INTRODUCTION = """\
# Requirements and their cases

What a snapshot of a domain must be, row by row, and the conformance cases that show it. A requirement without a case is
one that cannot be seen through the ports of a host, or that nobody has written a case for yet: other tests may hold it.
How a host fares is told by `xensnap conformance run`.
"""


CANNOT = {
    "T1": "none: it is about the simulator, not about a host; every run on `sim` stands on it",
    "T4": "none: it is about the cases themselves; `tests/conformance` has what holds them",
}
"""Why there can be no case."""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    cases = every_case()
    shown = {id for case in cases for id in case.requirements}
    yield INTRODUCTION
    yield f"{len(cases)} cases show {len(shown)} of {len(REQUIREMENTS)} requirements."
    for level in Level:
        rows = [each for each in REQUIREMENTS.values() if each.level is level]
        with_cases = [each for each in rows if each.id in shown]
        yield ""
        yield f"## {level}: {len(with_cases)} of {len(rows)}"
        yield ""
        yield "| Id | Requirement | Cases |"
        yield "|---|---|---|"
        for each in rows:
            about = ", ".join(f"`{case.id}`" for case in cases if each.id in case.requirements)
            yield f"| {each.id} | {each.title} | {about or CANNOT.get(each.id, 'none')} |"
