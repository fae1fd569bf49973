"""TAP 14: a line a case, what went wrong in a YAML block below it."""

import json
from collections.abc import Iterator

from xensnap.conformance.events import BAD, UNTRIED, State
from xensnap.conformance.reports.outcomes import CaseOutcome, RunOutcome


def tap(run: RunOutcome) -> str:
    """The whole run."""
    lines = ["TAP version 14", f"1..{len(run.cases)}", f"# host {run.began.host}, seed {run.began.seed}"]
    for number, case in enumerate(run.cases, 1):
        lines += _lines(number, case)
    return "\n".join(lines) + "\n"


def _lines(number: int, case: CaseOutcome) -> Iterator[str]:
    ended = case.ended
    verdict = "not ok" if ended.state in BAD or ended.state is State.KNOWN_BROKEN else "ok"
    directive = ""
    if ended.state in UNTRIED:
        directive = f" # SKIP {ended.state}: {_line(ended.words)}"
    elif ended.state is State.KNOWN_BROKEN:
        directive = f" # TODO {_line(ended.words)}"
    yield f"{verdict} {number} - {case.began.case}{directive}"
    if ended.state in BAD:
        # JSON is YAML.
        told = {"state": ended.state.value, "requirements": case.began.requirements, "message": ended.words}
        yield "  ---"
        yield from (f"  {key}: {json.dumps(value)}" for key, value in told.items())
        yield from (["  blocks:", *(f"    - {json.dumps(block)}" for block in ended.blocks)] if ended.blocks else [])
        yield "  ..."


def _line(text: str) -> str:
    return " ".join(text.split()).replace("#", "\\#")
