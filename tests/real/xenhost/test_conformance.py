"""The conformance cases on the real host, as its operator runs them: `xensnap conformance run --host xen` in dom0.

`XENSNAP_RECORD=1` keeps how each case ended, for the page that shows all hosts side by side.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import xen_run
from tests.real.xenhost.code import PROJECT
from tests.real.xenhost.guests import IMAGES, PVH, initramfs
from tests.real.xenhost.lab import ENVIRONMENT, XenLab
from tests.real.xenhost.states import booted, enter, machine
from xensnap.conformance import Profile
from xensnap.conformance.events import BAD, decode
from xensnap.conformance.places.xen import VARIABLE
from xensnap.conformance.reports.outcomes import RunOutcome, failing, gather

PROGRAM = PROJECT / "xensnap" / "conformance" / "places" / "xen_guest.c"
RAMDISK = f"{IMAGES}/counting.img"
EVENTS = "/tmp/run.jsonl"
RUN_S = 7200.0
STRIDE = 111
"""Of the deaths of a process, which tests/real/xenhost/test_killed.py has many of, only so many-th ones."""


@pytest.fixture
def lab(code: Path) -> Iterator[XenLab]:
    """The host just booted, without any guest."""
    frozen = booted()
    with machine(frozen.image, lambda _: code) as host:
        host.thaw(frozen)
        dom0 = enter(host)
        try:
            dom0.put(RAMDISK, initramfs(frozen.image, PROGRAM))
            yield XenLab(host, dom0, PVH)
        finally:
            dom0.close()


def conformance(lab: XenLab, *words: str) -> RunOutcome:
    environment = ENVIRONMENT | {VARIABLE: f"{IMAGES}/vmlinuz,{RAMDISK}"}
    argv = ("xensnap", "conformance", "run", "--host", "xen", *words, "--jsonl", EVENTS)
    answer = lab.dom0.start(*argv, timeout_s=RUN_S, env=environment)()
    assert answer.status in {0, 1}, answer
    return gather(map(decode, lab.dom0.get(EVENTS).splitlines()))


@pytest.mark.parametrize("profile", [pytest.param(profile.value, id=profile.value) for profile in Profile])
def test_the_cases_pass_on_a_real_host_and_nothing_is_left_behind(lab: XenLab, profile: str) -> None:
    domains, files = lab.domains(), lab.files()
    logs = lab.dom0.shell("ls /var/log/xen")
    run = conformance(lab, "--profile", profile, "--stride", str(STRIDE))
    if os.environ.get("XENSNAP_RECORD"):
        xen_run.keep(run)
    assert {case.began.case: failing(case) for case in run.cases if case.ended.state in BAD} == {}
    assert (lab.domains(), lab.files()) == (domains, files)
    assert lab.dom0.shell("ls /var/log/xen") == logs
