"""The conformance cases from within a test: one call, and the test fails with what the report would say."""

from collections.abc import Callable, Iterable

from xensnap.conformance.case import every_case
from xensnap.conformance.events import BAD
from xensnap.conformance.places.choosing import opener
from xensnap.conformance.reports.outcomes import RunOutcome, failing, gather
from xensnap.conformance.run import OpenPlace, Options, run_cases
from xensnap.hypervisor import Capability


def run_conformance(
    backend: OpenPlace | str,
    *,
    capabilities: Iterable[Capability] = (),
    profiles: Iterable[str] = (),
    options: Options | None = None,
    clock: Callable[[], float] = float,
) -> RunOutcome:
    """Try a host with the cases.

    Args:
        backend: makes a `Workplace` from a seed, or names a host as `--host` does.
        capabilities: what the host must declare at least, so that what it can do no longer is a failure here and not
            an `unsupported` that nobody reads.
        profiles: only these; all where none is given.
        options: seed, shard, stride and known failures.
        clock: seconds that only grow, for the report; none passes where it is not given.

    Returns:
        All that happened, for the reports of `xensnap.conformance.reports`.

    Raises:
        AssertionError: a case failed or broke down, with its words; or a capability is missing.
    """
    open_place = opener(backend) if isinstance(backend, str) else backend
    wanted = {*profiles}
    cases = [case for case in every_case() if not wanted or case.profile.value in wanted]
    run = gather(run_cases(cases, open_place, clock=clock, options=options or Options()))
    missing = sorted({each.value for each in capabilities} - {*run.began.capabilities})
    assert not missing, f"{run.began.host} does not declare {', '.join(missing)}"
    bad = [f"{case.ended.state}  {case.began.case}: {failing(case)}" for case in run.cases if case.ended.state in BAD]
    assert not bad, "\n".join(bad)
    return run
