"""What is kept of runs on a real Xen host: the last outcome of each case, whatever was run when."""

import time

from tests.conformance import xen_run
from tests.conformance.broken import applies_nothing
from xensnap.conformance import every_case, run_cases
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.reports.outcomes import RunOutcome, gather
from xensnap.conformance.run import OpenPlace


def run(profile: str, place: OpenPlace) -> RunOutcome:
    cases = [each for each in every_case() if each.profile == profile]
    return gather(run_cases(cases, place, clock=time.monotonic))


def test_profiles_are_put_together_and_a_later_run_counts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(xen_run, "PATH", tmp_path / "run.jsonl")
    assert xen_run.kept() is None
    xen_run.keep(run("metadata", SimulatedPlace))
    xen_run.keep(run("core", applies_nothing))
    first = xen_run.kept()
    assert first is not None
    assert {case.began.profile for case in first.cases} == {"core", "metadata"}
    assert first.ended.bad == sum(case.ended.state == "fail" for case in first.cases) > 0
    xen_run.keep(run("core", SimulatedPlace))
    last = xen_run.kept()
    assert last is not None
    assert (last.ended.bad, [case.began.case for case in last.cases]) == (0, [case.began.case for case in first.cases])
    assert {case.deeds for case in last.cases} == {()}
