"""A summary in Markdown, for the pages of a CI service and for the documentation."""

from collections.abc import Iterator

from xensnap.conformance.events import BAD, State
from xensnap.conformance.reports.outcomes import RunOutcome, coverage

SIGNS = {"pass": "✓", "fail": "✗", "error": "!", "no case": ""}


def markdown(run: RunOutcome) -> str:
    """Counts, what went wrong, and each requirement with its verdict."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: RunOutcome) -> Iterator[str]:
    yield f"# Conformance of `{run.began.host}`"
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in run.began.versions.items())
    yield f"{versions}. Seed {run.began.seed}, shard {run.began.shard}. Declares: {', '.join(run.began.capabilities)}."
    yield ""
    yield "| State | Cases |"
    yield "|---|---|"
    yield from (f"| {state} | {run.ended.counts[state]} |" for state in State if state in run.ended.counts)
    yield ""
    wrong = [case for case in run.cases if case.ended.state in BAD]
    if wrong:
        yield "## What went wrong"
        yield ""
        for case in wrong:
            yield f"- **{case.began.case}** ({case.ended.state}): {_cell(case.ended.words)}"
            yield from (f"  - {_cell(block)}" for block in case.ended.blocks[:8])
        yield ""
    yield "## Requirements"
    yield ""
    yield "| Id | Requirement | Level | Verdict | Cases |"
    yield "|---|---|---|---|---|"
    for row in coverage(run):
        about = row.requirement
        verdict = f"{SIGNS.get(row.verdict, '')} {row.verdict}".strip()
        cases = ", ".join(case.began.case for case in row.cases)
        yield f"| {about.id} | {about.title} | {about.level} | {verdict} | {cases} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
