"""The hosts of ours pass the cases that they declare; hosts that are broken on purpose do not."""

import time

import pytest

from tests.conformance.broken import BROKEN, can_only_work_on_disks_inside
from tests.conformance.coverage_page import CANNOT
from xensnap.conformance import REQUIREMENTS, Case, Level, Options, every_case, run_cases
from xensnap.conformance.events import BAD, CaseEnded, Did, Event, RunEnded, State, decode, encode
from xensnap.conformance.places.doors import DoorPlace
from xensnap.conformance.places.plain_qemu import QemuPlace
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.run import DEFAULTS, OpenPlace

CASES = {each.id: each for each in every_case()}
SLOW_PROFILES = {"crash"}
NO_MONITOR = {"real-host/a-stranger-at-the-monitor-is-waited-for-or-told-of"}
"""What a simulated machine in process cannot show: it has no sockets."""
PROGRAMS = {"real-host/a-command-that-is-killed-is-undone-or-done"} | {id for id in CASES if id.startswith("cli/")}
"""Cases that start many programs, which takes long: through executables of a simulated host, tests/cli has them all."""
IN_PROCESS = {id: case for id, case in CASES.items() if id not in PROGRAMS}
THROUGH_DOORS = IN_PROCESS | {id: CASES[id] for id in ("cli/steps-are-told-and-an-interruption-ends-in-order",)}


def expected(case: Case) -> State:
    """How a case ends on a simulated host that can do everything."""
    if case.lacks:
        return State.NOT_APPLICABLE
    return State.NOT_RUN if case.id in NO_MONITOR else State.PASS


def ended(case: Case, place: OpenPlace, options: Options = DEFAULTS) -> CaseEnded:
    events = [*run_cases([case], place, clock=time.monotonic, options=options)]
    assert [decode(encode(each)) for each in events] == events, "a report could not be written"
    (found,) = [each for each in events if isinstance(each, CaseEnded)]
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert last.bad == (found.state in BAD)
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_simulated_host_passes(case: Case) -> None:
    found = ended(case, SimulatedPlace)
    assert found.state is expected(case), (found.words, found.blocks)


@pytest.mark.parametrize("case", THROUGH_DOORS.values(), ids=THROUGH_DOORS.keys())
def test_the_real_xen_hosts_code_passes_over_a_simulated_machine(case: Case) -> None:
    # Every death is died in tests/crash.
    found = ended(case, DoorPlace, Options(stride=11 if case.profile in SLOW_PROFILES else 1))
    assert found.state is expected(case), (found.words, found.blocks)


@pytest.mark.real
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_plain_qemu_passes(case: Case, qemu_img, qemu_io, qemu_system, tmp_path) -> None:
    # Every death would take minutes here; tests/real has them all.
    stride = 11 if case.profile in SLOW_PROFILES else 1
    found = ended(case, lambda _: QemuPlace(str(tmp_path)), Options(stride=stride))
    if case.lacks:
        assert found.state is State.NOT_APPLICABLE
    else:
        assert found.state is State.PASS, (found.words, found.blocks)
    assert [*tmp_path.iterdir()] == [], "something was left behind"


@pytest.mark.parametrize(("broken", "case"), BROKEN.items(), ids=[each.__name__ for each in BROKEN])
def test_a_broken_host_is_found(broken: OpenPlace, case: str) -> None:
    found = ended(CASES[case], broken)
    assert found.state is State.FAIL
    assert found.words


def test_what_differs_is_told_block_by_block_with_who_wrote_it() -> None:
    found = ended(CASES["core/disks-come-back"], next(iter(BROKEN)))
    assert found.blocks[0] == (
        "xvda blocks 4 to 8: write 3 (xsct0-1 xvda blocks 4 to 23, after create 's') "
        "instead of write 1 (xsct0-1 xvda blocks 0 to 8, after its definition)"
    )


@pytest.mark.parametrize("case", IN_PROCESS.values(), ids=IN_PROCESS.keys())
def test_a_host_that_declares_little_is_tried_with_little_and_must_refuse_the_rest(case: Case) -> None:
    found = ended(case, can_only_work_on_disks_inside)
    if case.needs - {"internal"}:
        assert (found.state, "does not declare" in found.words) == (State.UNSUPPORTED, True)
    else:
        wanted = State.NOT_APPLICABLE if "internal" in case.lacks else State.PASS
        assert found.state is wanted, (found.words, found.blocks)


@pytest.mark.parametrize("place", [SimulatedPlace, next(iter(BROKEN))])
def test_so_many_examples_are_drawn_as_are_asked_for_and_the_shortest_that_fails_is_told(place: OpenPlace) -> None:
    case = CASES["core/any-course-keeps-every-snapshot"]
    events = [*run_cases([case], place, clock=time.monotonic, options=Options(max_examples=25))]
    told = [each.deed for each in events if isinstance(each, Did)]
    (found,) = [each for each in events if isinstance(each, CaseEnded)]
    if place is SimulatedPlace:
        assert (found.state, told[-1]) == (State.PASS, "25 examples were drawn")
        return
    assert found.state is State.FAIL
    assert found.blocks
    # A domain, three deeds, which are the fewest that are drawn, and the revert at the end.
    assert (len(told), told[-1].partition(": ")[2]) == (5, "revert 'a'"), told


def test_a_known_failure_is_no_failure_and_its_passing_is_reported() -> None:
    known = Options(known_broken={"core/disks-come-back": "bug 7"})
    broken = ended(CASES["core/disks-come-back"], next(iter(BROKEN)), known)
    assert broken.state is State.KNOWN_BROKEN
    assert broken.words.startswith("bug 7: ")
    mended = ended(CASES["core/disks-come-back"], SimulatedPlace, known)
    assert mended.state is State.UNEXPECTED_PASS


def test_a_place_that_breaks_down_is_an_error_and_no_failure_of_the_host() -> None:
    def breaks(seed: int) -> SimulatedPlace:
        if seed:
            raise OSError("no room for a place")
        return SimulatedPlace(seed)

    found = ended(CASES["core/disks-come-back"], breaks)
    assert found.state is State.ERROR
    assert "no room for a place" in found.words


def test_what_is_left_behind_is_an_error() -> None:
    class Littering(SimulatedPlace):
        closed = False

        def inventory(self) -> frozenset[str]:
            return frozenset({"forgotten"} if self.closed else ())

        def close(self) -> None:
            self.closed = True

    found = ended(CASES["core/disks-come-back"], Littering)
    assert (found.state, found.words) == (State.ERROR, "left behind or taken away: forgotten")


def test_shards_share_all_cases_and_no_case_twice() -> None:
    shards = [
        {each.case for each in _run(Options(shard=(part, 3), stride=50)) if isinstance(each, CaseEnded)}
        for part in (1, 2, 3)
    ]
    assert sum(map(len, shards)) == len(set().union(*shards)) == len(IN_PROCESS)


@pytest.mark.parametrize("place", [SimulatedPlace, DoorPlace])
def test_the_same_seed_tells_the_same(place: OpenPlace) -> None:
    def told(seed: int) -> list[Did]:
        return [each for each in _run(Options(seed=seed), "memory", place) if isinstance(each, Did)]

    assert told(3) == told(3)


def test_after_the_time_box_no_case_is_begun_and_each_is_told() -> None:
    ends = [each for each in _run(Options(time_box_s=0.0), "core") if isinstance(each, CaseEnded)]
    assert {each.state for each in ends} == {State.NOT_RUN, State.NOT_APPLICABLE}
    assert "the time box of 0 s was over" in {each.words for each in ends}


def _run(options: Options, profile: str = "", place: OpenPlace = SimulatedPlace) -> list[Event]:
    cases = [each for each in IN_PROCESS.values() if each.profile.startswith(profile)]
    return [*run_cases(cases, place, clock=time.monotonic, options=options)]


def test_every_must_that_can_be_tried_on_a_host_is_tried() -> None:
    shown = {id for case in CASES.values() for id in case.requirements}
    must = {id for id, each in REQUIREMENTS.items() if each.level is Level.MUST}
    assert must - shown == {*CANNOT}
