"""Reports: each says of every case how it ended, and what went wrong where something did."""

import json
import time
from xml.etree import ElementTree as ET

import pytest

from tests.conformance.broken import applies_nothing
from xensnap.conformance import REQUIREMENTS, every_case, run_cases
from xensnap.conformance.events import CaseEnded, Event, State, decode, encode
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.reports.compare import compare, told
from xensnap.conformance.reports.html import html
from xensnap.conformance.reports.junit import junit
from xensnap.conformance.reports.markdown import markdown
from xensnap.conformance.reports.outcomes import CaseOutcome, Coverage, RunOutcome, coverage, gather
from xensnap.conformance.reports.tap import tap

QUICK = [each for each in every_case() if each.profile in {"core", "memory"}]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return [*run_cases(QUICK, applies_nothing, clock=time.monotonic)]


@pytest.fixture(scope="module")
def bad(events) -> RunOutcome:
    return gather(events)


@pytest.fixture(scope="module")
def good() -> RunOutcome:
    return gather(run_cases(QUICK, SimulatedPlace, clock=time.monotonic))


def failed(run: RunOutcome) -> set[str]:
    return {case.began.case for case in run.cases if case.ended.state is State.FAIL}


def test_events_come_back_from_their_lines(events) -> None:
    assert [decode(encode(event)) for event in events] == events


def test_a_run_that_was_cut_off_is_no_run(events) -> None:
    for kept in (events[1:], events[:-1], events[:-2]):
        with pytest.raises(ValueError, match="cut off"):
            gather(kept)


def test_the_broken_host_fails_and_the_good_one_does_not(bad, good) -> None:
    assert "core/disks-come-back" in failed(bad)
    assert failed(good) == set()


def test_junit_counts_and_names_what_went_wrong(bad) -> None:
    suite = ET.fromstring(junit(bad))
    assert int(suite.attrib["tests"]) == len(bad.cases) == len(suite.findall("testcase"))
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == len(failed(bad))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
    (case,) = suite.findall("testcase[@name='disks-come-back']")
    (failure,) = case.findall("failure")
    assert "xvda blocks 4 to 8: write 3" in (failure.text or "")
    assert {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")} == {
        "requirements": "C4 C6 C9 R1 T3",
        "level": "MUST",
    }


def test_tap_has_a_line_a_case_and_its_plan(bad) -> None:
    lines = tap(bad).splitlines()
    assert lines[:2] == ["TAP version 14", f"1..{len(bad.cases)}"]
    points = [line for line in lines if line.startswith(("ok ", "not ok "))]
    assert [int(line.split("ok ")[1].split()[0]) for line in points] == [*range(1, len(bad.cases) + 1)]
    assert {line.split(" - ")[1] for line in points if line.startswith("not ok")} == failed(bad)
    blocks = [line for line in lines if line.startswith("    - ")]
    assert blocks
    assert all(json.loads(line.removeprefix("    - ")) for line in blocks)


def test_markdown_has_every_requirement(bad) -> None:
    text = markdown(bad)
    for row in coverage(bad):
        assert f"| {row.requirement.id} | {row.requirement.title} |" in text
    assert "**core/disks-come-back** (fail)" in text


def test_a_requirement_is_as_bad_as_its_worst_case_and_untried_where_nothing_tried_it(bad, good) -> None:
    assert {row.requirement.id: row.verdict for row in coverage(bad)}["R1"] == "fail"
    verdicts = {row.requirement.id: row.verdict for row in coverage(good)}
    assert (verdicts["R1"], verdicts["K5"]) == ("pass", "no case")


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ((State.PASS, State.PASS), "pass"),
        ((State.PASS, State.UNSUPPORTED, State.NOT_APPLICABLE), "pass"),
        ((State.PASS, State.NOT_RUN), "not run"),
        ((State.PASS, State.KNOWN_BROKEN), "known broken"),
        ((State.PASS, State.ERROR, State.FAIL), "fail"),
        ((State.UNSUPPORTED, State.NOT_APPLICABLE), "unsupported"),
        ((), "no case"),
    ],
)
def test_a_requirement_passes_only_if_all_of_its_cases_did_that_could_be_tried(good, states, verdict) -> None:
    began = good.cases[0].began
    cases = tuple(CaseOutcome(began, (), CaseEnded(began.case, state, 0.0)) for state in states)
    assert Coverage(REQUIREMENTS["R1"], cases).verdict == verdict


def test_the_page_stands_alone_and_shows_hosts_side_by_side(bad, good) -> None:
    page = html((bad, good))
    assert page.count('<details class="case"') == len(bad.cases) + len(good.cases)
    for outside in ("http://", "https://", "src=", "@import"):
        assert outside not in page
    assert "xvda blocks 4 to 8: write 3" in page
    assert "write down the decision" in page


def test_what_a_host_says_is_text_on_the_page_and_never_markup(events) -> None:
    hostile = [decode(encode(each).replace(b"blocks differ", b"<script>alert(1)</script>")) for each in events]
    page = html((gather(hostile),))
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_comparison_tells_what_was_lost_and_gained(bad, good) -> None:
    assert told(compare(good, good)) == "nothing changed"
    lost = compare(good, bad)
    assert lost.worse
    assert {line.partition(":")[0] for line in lost.lost} == failed(bad)
    gained = compare(bad, good)
    assert not gained.worse
    assert {line.partition(":")[0] for line in gained.gained} == failed(bad)
    assert told(gained).startswith(f"gained: {len(failed(bad))}\n  core/")
