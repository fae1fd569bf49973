"""JUnit XML, as CI services read it."""

from xml.etree import ElementTree as ET

from xensnap.conformance.events import UNTRIED, State
from xensnap.conformance.reports.outcomes import CaseOutcome, RunOutcome, failing


def junit(run: RunOutcome) -> str:
    """One suite. Requirement ids, level and host are properties of each case, what cannot be tried is skipped."""
    count = run.ended.counts
    suite = ET.Element(
        "testsuite",
        name=f"xensnap conformance on {run.began.host}",
        tests=str(len(run.cases)),
        failures=str(count.get(State.FAIL, 0) + count.get(State.UNEXPECTED_PASS, 0)),
        errors=str(count.get(State.ERROR, 0)),
        skipped=str(sum(count.get(state, 0) for state in (*UNTRIED, State.KNOWN_BROKEN))),
        time=f"{run.ended.seconds:.3f}",
    )
    _properties(suite, {"seed": str(run.began.seed), "host": run.began.host, **run.began.versions})
    for case in run.cases:
        suite.append(_case(case))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _case(case: CaseOutcome) -> ET.Element:
    began, ended = case.began, case.ended
    name = began.case.partition("/")[2]
    element = ET.Element("testcase", classname=began.profile, name=name, time=f"{ended.seconds:.3f}")
    _properties(element, {"requirements": " ".join(began.requirements), "level": began.level})
    match ended.state:
        case State.FAIL | State.UNEXPECTED_PASS:
            ET.SubElement(element, "failure", message=_clean(ended.words)).text = _clean(failing(case))
        case State.ERROR:
            ET.SubElement(element, "error", message=_clean(ended.words)).text = _clean(failing(case))
        case State.UNSUPPORTED | State.NOT_APPLICABLE | State.NOT_RUN | State.KNOWN_BROKEN:
            ET.SubElement(element, "skipped", message=f"{ended.state}: {_clean(ended.words)}")
        case State.PASS:
            pass
    return element


def _properties(of: ET.Element, told: dict[str, str]) -> None:
    properties = ET.SubElement(of, "properties")
    for name, value in told.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))


def _clean(text: str) -> str:
    """XML 1.0 has no way to say most control characters."""
    return "".join(char if char in "\t\n" or char >= " " else "\N{REPLACEMENT CHARACTER}" for char in text)
