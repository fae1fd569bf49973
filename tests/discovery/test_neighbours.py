"""Two domains that share images: what is done to both at once goes one after the other, or one is told who is busy."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost
from simulator.faults.damage import Back, StartFrom, damaged
from tests.crash.harness import CLUSTER, DEATHS, GUEST, TRIED, every_crash, guest, held_by
from tests.deep import EXHAUSTIVE
from tests.discovery.interleave import (
    DONE,
    LOCKED,
    AsyncOperation,
    Turns,
    allowed,
    at_once,
    effects,
    every_preemption,
    judge_interleavings,
    one_after_the_other,
)
from tests.discovery.neighbours import AFTER, BASE, BEFORE, BESIDE, BESIDE_IT, CLONE, OF_THE_GUEST, seen, sharing
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Busy
from xensnap.hypervisor import drive
from xensnap.model import Disk, Layer

shared = cache(sharing)
UUIDS = pytest.mark.parametrize("uuid", [BEFORE, AFTER], ids=["before", "after"])
PAIRS = {
    f"{ours} and {theirs}": (OF_THE_GUEST[ours], BESIDE_IT[theirs]) for ours, theirs in product(OF_THE_GUEST, BESIDE_IT)
}
PAIRS |= {f"clone and {theirs}": (CLONE, BESIDE_IT[theirs]) for theirs in BESIDE_IT}
PAIRS |= {f"clone and {ours} of the source": (CLONE, OF_THE_GUEST[ours]) for ours in OF_THE_GUEST}


def places(host: SimulatedHost, pair: tuple[AsyncOperation, AsyncOperation], *, every: int = 1) -> Iterator[Turns]:
    """Effects of either at which the other is let run to its end; in deep runs all, and that one is preempted, too."""
    if EXHAUSTIVE:
        yield from every_preemption(host, pair)
        return
    for first in (0, 1):
        for cut in range(first, effects(host, pair[first]) + 1, every):
            yield (*(0,) * first, cut, 1 << 20, 1 << 20)


@UUIDS
@pytest.mark.parametrize("names", PAIRS)
def test_two_at_once_go_one_after_the_other_or_one_is_told(uuid: str, names: str) -> None:
    host = shared(uuid)
    assert judge_interleavings(host, PAIRS[names], places(host, PAIRS[names], every=3), look=seen) > 40


@UUIDS
@pytest.mark.parametrize("names", PAIRS)
def test_each_of_them_does_something(uuid: str, names: str) -> None:
    for number in (0, 1):
        done = one_after_the_other(shared(uuid), PAIRS[names], [number], look=seen)
        assert done.outcomes[number] == DONE
        assert done.truth != seen(shared(uuid))


@settings(max_examples=60)
@given(st.sampled_from([BEFORE, AFTER]), st.sampled_from(list(PAIRS)), st.lists(st.integers(0, 40), max_size=40))
def test_whoever_waits_is_served_whichever_domain_he_came_from(uuid: str, names: str, turns: list[int]) -> None:
    found = at_once(shared(uuid), PAIRS[names], turns, wait_s=3600, look=seen)
    assert found in allowed(shared(uuid), PAIRS[names], waiting=True, look=seen)


TAKES = (1, 2, 5, 9, 14)
"""Of all takings of a lock the last before each look: there are two to hold first, and one more after each look."""


def test_whoever_shares_images_with_more_and_more_domains_is_told_and_has_done_nothing() -> None:
    host = shared(BEFORE).fork()
    layers = [host.create_image(f"/images/over{n}.qcow2", "qcow2", 4 * CLUSTER, backing=BASE) for n in TAKES]
    uuids = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(1, len(TAKES) + 1)]
    for n, uuid in enumerate(uuids):
        own = host.create_image(f"/images/own{n}.qcow2", "qcow2", 4 * CLUSTER)
        host.add_domain(f"other{n}", uuid, [Disk("xvda", own.path, own.format)])
        Engine(host).create(f"other{n}", CreateRequest("own"))

    def joins(uuid: str, layer: Layer) -> None:
        host.cell.world = damaged(host.world, StartFrom(uuid, "xvda", layer))

    for nth, uuid, layer in zip(TAKES, uuids, layers, strict=True):
        host.meanwhile("lock.take", partial(joins, uuid, layer), nth=nth)
    before = held_by(host, Engine(host).list(GUEST).contents.snapshots)
    with pytest.raises(Busy, match="more and more domains share images with"):
        Engine(host).create(GUEST, CreateRequest("third"))
    assert held_by(host, Engine(host).list(GUEST).contents.snapshots) == before
    assert not host.world.fs.locks
    Engine(host).create(GUEST, CreateRequest("third"))


@pytest.mark.parametrize("kinds", ["e", "eee"])
def test_other_domains_are_looked_at_as_often_however_many_images_go(kinds: str) -> None:
    host = guest(kinds)
    Engine(host).create(GUEST, CreateRequest("first"))
    other = host.create_image("/images/other.raw", "raw", 4 * CLUSTER)
    uuid = host.add_domain("other", disks=[Disk("xvda", other.path, other.format)]).uuid
    Engine(host).create("other", CreateRequest("theirs"))
    with host.recording() as seen_:
        Engine(host).revert(GUEST, RevertRequest("first", no_undo=True))
    removed = [event.number for event in seen_.trace if event.effect == "image.remove"]
    between = [event for event in seen_.trace if removed[0] < event.number < removed[-1]]
    headers = [event for event in between if event.subject == other.path]
    assert len(removed) == len(kinds)
    assert [event.effect for event in headers] == ["image.inspect"] * (len(kinds) - 1)
    assert [event for event in between if str(uuid) in event.subject] == []


@UUIDS
def test_who_holds_a_neighbours_lock_is_told_with_what_he_does_and_to_whom(uuid: str) -> None:
    host = shared(uuid).fork()
    me, since_s = host.run(host.machine.whoami()), host.world.clock.now_ns // 10**9
    work = OF_THE_GUEST["create"](AsyncEngine(host))
    for _ in range(effects(host, OF_THE_GUEST["create"]) // 2):
        work.send(None)
    with pytest.raises(Busy) as told:
        drive(BESIDE_IT["delete"](AsyncEngine(host.another())))
    who = f"process {me.pid} of {me.user} (boot {me.boot_id}), since epoch second {since_s}"
    assert f"{uuid}/lock is locked by `create {GUEST}`, {who}" in str(told.value)
    assert told.value.id == LOCKED
    with suppress(StopIteration):
        while True:
            work.send(None)


@UUIDS
@pytest.mark.parametrize("verb", ["delete the last", "revert"])
def test_locks_of_neighbours_end_with_their_holder_and_what_he_left_comes_first(uuid: str, verb: str) -> None:
    host = shared(uuid)

    def operation(engine: Engine) -> object:
        return drive(OF_THE_GUEST[verb](engine.aio))

    ended = host.fork()
    operation(Engine(ended))
    due = 0
    for point, (name, death) in product(every_crash(host, operation), DEATHS):
        died = SimulatedHost(death(point.world))
        TRIED[name.partition(",")[0]] += 1
        pending = bool(Engine(died).list(GUEST).pending)
        beside = died.fork()
        if pending:
            due += 1
            with pytest.raises(Busy, match=f"{GUEST}, which shares images with {BESIDE}") as told:
                drive(BESIDE_IT["delete"](AsyncEngine(beside, wait_s=3600)))  # for children that go on
            assert told.value.id == "recovery-due"
        else:
            drive(BESIDE_IT["delete"](AsyncEngine(beside, wait_s=3600)))
        Engine(died).recover(GUEST)
        Engine(died).compact(GUEST)  # what a deletion has freed is merged by whoever comes next
        assert seen(died) in (seen(host), seen(ended)), f"{point!r}, {name}"
    assert due > 50


def test_a_template_that_no_store_tells_of_makes_nobody_wait() -> None:
    host = sharing(AFTER, recorded=False)
    assert not Engine(host).view(GUEST).neighbours
    pair = (OF_THE_GUEST["delete the last"], BESIDE_IT["revert"])
    both = one_after_the_other(host, pair, (0, 1), look=seen)
    assert both.outcomes == (DONE, DONE)
    for turns in places(host, pair):
        assert at_once(host, pair, turns, wait_s=0, look=seen) == both, turns


def test_no_lock_is_taken_but_ones_own_where_nothing_is_shared() -> None:
    host = sharing(AFTER, recorded=False)
    assert locks_taken(host, OF_THE_GUEST["delete the last"]) == 1
    assert locks_taken(host, CLONE) <= 3  # the source's once more, where that comes after the clone's
    assert locks_taken(shared(AFTER), OF_THE_GUEST["create"]) == 2


def locks_taken(host: SimulatedHost, operation: AsyncOperation) -> int:
    running = host.fork()
    with running.recording():
        drive(operation(AsyncEngine(running)))
    return len({point.number for point in running.recorded if point.effect == "lock.take"})


def test_what_a_domain_is_put_on_by_hand_meanwhile_is_not_removed() -> None:
    """At every effect up to the last look at all domains, which is right before the image would go."""
    host = shared(AFTER)
    operation = OF_THE_GUEST["delete the last"]
    (goes,) = (disk.image for disk in Engine(host).view(GUEST).snapshots["second"].disks)
    alone = host.fork()
    with alone.recording() as watch:
        drive(operation(AsyncEngine(alone)))
    assert alone.world.fs.find(goes.path) is None
    names = [event.effect for event in watch.trace]
    removed = max(number for number, name in enumerate(names) if name == "image.remove")
    looked = max(number for number, name in enumerate(names[:removed]) if name == "toolstack.domains")
    assert "journal.append" not in names[looked:removed], "nothing is done between that look and the removal"
    decided = max(number for number, name in enumerate(names[:looked]) if name == "domain.replace")
    for number in range(1, looked + 2):
        beside = host.fork()
        beside.meanwhile(number, partial(late, beside, goes))
        result = drive(AsyncEngine(beside).delete(GUEST, DeleteRequest("second")))
        assert beside.world.fs.find(goes.path) is not None, f"{number}: {names[number - 1]}"
        assert beside.visible("late")["xvda"] == host.visible_layer(goes)
        if number > decided + 1:
            assert f"{goes.path} is left alone, since the domain late needs it now" in result.warnings


def test_what_an_image_of_another_is_put_on_by_hand_meanwhile_is_not_removed() -> None:
    """As above, of a domain that is there all the time: at every effect up to the last look at its image."""
    host = shared(AFTER).fork()
    (goes,) = (disk.image for disk in Engine(host).view(GUEST).snapshots["second"].disks)
    layer = host.create_image("/images/late.qcow2", "qcow2", 4 * CLUSTER)
    host.add_domain("late", "11111111-1111-4111-8111-111111111111", [Disk("xvda", layer.path, layer.format)])
    alone = host.fork()
    with alone.recording() as watch:
        Engine(alone).delete(GUEST, DeleteRequest("second"))
    assert alone.world.fs.find(goes.path) is None
    removed = max(number for number, event in enumerate(watch.trace) if event.effect == "image.remove")
    looked = max(number for number, event in enumerate(watch.trace[:removed]) if event.subject == layer.path)

    def rebased(beside: SimulatedHost) -> None:
        beside.cell.world = damaged(beside.world, Back(layer.path, goes.path, goes.format.value))

    for number in range(1, looked + 2):
        beside = host.fork()
        beside.meanwhile(number, partial(rebased, beside))
        Engine(beside).delete(GUEST, DeleteRequest("second"))
        assert beside.world.fs.find(goes.path) is not None, f"{number}: {watch.trace[number - 1]}"
        assert beside.visible("late")["xvda"] == host.visible_layer(goes)


def late(host: SimulatedHost, goes: Layer) -> None:
    layer = host.create_image("/images/late.qcow2", "qcow2", 4 * CLUSTER, backing=goes)
    host.add_domain("late", "11111111-1111-4111-8111-111111111111", [Disk("xvda", layer.path, layer.format)])
