"""What waits for its end in the store of a domain that the host does not know: told, and ended where it can be."""

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.faults.damage import Chmod, Grow, NewUuid, damaged
from tests.crash.harness import GUEST, every_crash, truth
from tests.crash.test_births import ARCHIVE, NEW, everything, source, target
from tests.crash.test_every_effect import OPERATIONS
from tests.doctor.damages import OTHER, UUID, off
from tests.doctor.test_locks import AsyncOperation, going_on
from xensnap.engine.doctor import Finding, Severity
from xensnap.engine.engine import Engine
from xensnap.engine.journal import Note, encode
from xensnap.engine.request import CloneRequest, ImportRequest
from xensnap.errors import ExitCode, NotFound

STORE = f"{SimulatedHost.root}/{UUID}"
VERBS: dict[str, Callable[[Engine], object]] = {
    "recover": lambda engine: engine.recover(UUID),
    "start": lambda engine: engine.start(UUID),
    "stop": lambda engine: engine.stop(UUID),
    "pause": lambda engine: engine.pause(UUID),
    "unpause": lambda engine: engine.unpause(UUID),
    "doctor": lambda engine: engine.diagnose(UUID),
    "repair": lambda engine: engine.repair(UUID),
}
BIRTHS: dict[str, tuple[Callable[[], SimulatedHost], Callable[[Engine], object]]] = {
    "clone": (lambda: source("e"), lambda engine: engine.make(CloneRequest(GUEST, "s", NEW, linked=True))),
    "import": (lambda: target("i"), lambda engine: engine.make(ImportRequest(ARCHIVE, "/images"))),
}


def told(host: SimulatedHost) -> list[Finding]:
    """What the doctor of all domains tells of those that the host does not know."""
    return [found for each in Engine(host.another()).diagnose_stores_of_nobody() for found in each.found]


def interrupted(verb: str, kinds: str = "ie") -> Iterator[SimulatedHost]:
    """The host after each death in an operation that leaves it without an end."""
    for point in islice(every_crash(off(kinds), OPERATIONS[verb]), 0, None, 5):
        died = SimulatedHost(after_engine_crash(point.world))
        if Engine(died).list(GUEST).pending:
            yield died


def bereft(host: SimulatedHost) -> SimulatedHost:
    """The domain was started from a file without its UUID: under that the host knows none any more."""
    return SimulatedHost(damaged(host.world, NewUuid(UUID, OTHER)))


@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_an_operation_on_a_domain_that_is_gone_is_told_and_waits_for_it(verb: str) -> None:
    tried = 0
    before, ended = off(), off()
    OPERATIONS[verb](Engine(ended))
    for died in interrupted(verb):
        tried += 1
        host = bereft(died)
        (found,) = told(host)
        assert (found.id, found.severity, found.repair) == ("interrupted-of-nobody", Severity.ERROR, None)
        assert found.subject == STORE
        assert "cannot be brought to its end, because the host knows no domain" in found.cause
        there = host.world.fs
        (diagnosis,) = Engine(host).diagnose_stores_of_nobody(repair=True)
        assert diagnosis.found == (found,)
        assert Engine(host).bereft() == (UUID,)
        assert host.world.fs == there
        again = SimulatedHost(damaged(host.world, NewUuid(OTHER, UUID)))
        Engine(again).recover(UUID)
        assert not told(again)
        assert truth(again) in (truth(before), truth(ended))
    assert tried > 3


@pytest.mark.parametrize("verb", VERBS)
def test_whoever_asks_for_a_domain_that_is_gone_hears_what_waits_for_it(verb: str) -> None:
    host = bereft(next(interrupted("delete")))
    (found,) = told(host)
    with pytest.raises(NotFound) as caught:
        VERBS[verb](Engine(host))
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert (caught.value.id, caught.value.remedy) == (found.id, found.remedy)
    assert found.cause in caught.value.cause


def test_what_the_domain_that_came_in_its_place_is_told_to_do_can_be_done() -> None:
    host = bereft(next(interrupted("delete")))
    (found,) = (each for each in Engine(host).diagnose(GUEST).found if each.id == "uuid-changed")
    assert f'uuid = "{UUID}"' in found.remedy
    assert f"xensnap recover {UUID}" in found.remedy


@pytest.mark.parametrize("verb", BIRTHS)
def test_a_domain_whose_making_was_interrupted_is_told_and_the_making_ended(verb: str) -> None:
    world, make = BIRTHS[verb]
    host, tried = world(), 0
    ended = host.fork()
    make(Engine(ended))
    ends = everything(host), everything(ended)
    for point in islice(every_crash(host, make), 0, None, 4):
        died = SimulatedHost(after_engine_crash(point.world))
        making = Engine(died).unborn()
        if not making:
            assert not [each for each in told(died) if each.id != "lock-of-nobody"], f"{point!r}"
            continue
        tried += 1
        (found,) = told(died)
        assert (found.id, found.severity) == ("interrupted", Severity.ERROR)
        assert (found.subject, found.remedy) == (making[0].name, f"Run `xensnap recover {making[0].uuid}`.")
        with pytest.raises(NotFound) as caught:
            Engine(died).start(making[0].name)
        assert (caught.value.id, caught.value.remedy) == ("recovery-due", found.remedy)
        (done,) = Engine(died).diagnose_stores_of_nobody(repair=True)
        assert (done.repaired, done.failed) == ((found,), ())
        assert not told(died)
        assert everything(died) in ends, f"{point!r}"
    assert tried > 3


def test_a_domain_that_somebody_makes_just_now_is_left_to_him() -> None:
    make: AsyncOperation = lambda engine: engine.make(CloneRequest(GUEST, "s", NEW, linked=True))  # noqa: E731
    making = 0
    for busy in going_on(source("e"), make, every=5):
        if found := told(busy):
            making += 1
            assert [(each.id, each.severity, each.repair) for each in found] == [("at-work", Severity.NOTE, None)]
            there = busy.world.fs
            assert not [each for each in Engine(busy.another()).diagnose_stores_of_nobody(repair=True) if each.repaired]
            assert busy.world.fs == there
    assert making > 3


def test_a_journal_of_nobodys_that_cannot_be_read_is_told() -> None:
    note = encode(Note("0e1a4b6e-58f7-4d0e-9b53-7f1f0c9d8a26", "half way"))
    host = bereft(SimulatedHost(damaged(off("i").world, Grow(f"{STORE}/journal", note))))
    (found,) = told(host)
    assert (found.id, found.repair) == ("journal-damaged", None)
    with pytest.raises(NotFound) as caught:
        Engine(host).recover(UUID)
    assert (caught.value.id, caught.value.remedy) == (found.id, found.remedy)


def test_what_others_can_write_to_is_told_and_not_believed() -> None:
    world, make = BIRTHS["import"]
    points = (SimulatedHost(after_engine_crash(each.world)) for each in every_crash(world(), make))
    died = next(each for each in points if Engine(each).unborn())
    (making,) = Engine(died).unborn()
    open_to_all = SimulatedHost(damaged(died.world, Chmod(f"{SimulatedHost.root}/{making.uuid}", 0o777)))
    assert [each.id for each in told(open_to_all)] == ["store-not-trusted", "interrupted"]
    there = open_to_all.world.fs
    results = Engine(open_to_all).diagnose_stores_of_nobody(repair=True)
    assert [why for each in results for _, why in each.failed]
    assert open_to_all.world.fs == there
