"""A disk's images brought to another directory; death at every effect, and what is refused."""

import pytest

from simulator import SimulatedHost
from simulator.checkers.leaks import files
from tests.crash import test_flags as flags
from tests.crash.harness import CLUSTER, DEATHS, GUEST, IMAGES, TRIED, every_crash, guest, scribble, truth
from tests.crash.test_every_effect import with_history
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import (
    CreateRequest,
    DeleteRequest,
    EmptyRequest,
    ForgetRequest,
    Fresh,
    RelocateRequest,
    RestoreRequest,
    RevertRequest,
)
from xensnap.errors import NotFound, Refused
from xensnap.model import Disk, Format, Layer

_, TO = IMAGES
MOVE = RelocateRequest("xvda", TO)


def ready(kinds: str, *, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """root, leaf and a branch; one snapshot was deleted, so that a base is hidden, and one is in the trash."""
    host = with_history(kinds, host_kind=host_kind)
    Engine(host).delete(GUEST, DeleteRequest("middle"))
    Engine(host).perform(GUEST, ForgetRequest("leaf"))
    host.make_directory(TO)
    return host


def places(host: SimulatedHost, vdev: str = "xvda") -> set[str]:
    """The directories in which the disk's images are, those of its snapshots included."""
    view = Engine(host).view(GUEST)
    held = [d.image.path for s in view.snapshots.values() for d in s.disks if d.vdev == vdev]
    chain = view.chain(vdev)
    return {path.rpartition("/")[0] for path in [*held, *(each.layer.path for each in chain or ())]}


@pytest.mark.parametrize("kinds", ["i", "e", "ie", "ei"])
def test_everything_is_what_it_was_but_elsewhere(kinds: str) -> None:
    host = ready(kinds)
    engine = Engine(host)
    before = truth(host)
    engine.perform(GUEST, MOVE)
    assert places(host) == {TO}
    after = truth(host)
    assert (after.now, after.held, after.parents, after.current) == (
        before.now, before.held, before.parents, before.current,
    )  # fmt: skip
    assert not engine.diagnose(GUEST, check=True).found
    engine.perform(GUEST, RestoreRequest("leaf"))
    for name in engine.list(GUEST).contents.snapshots:
        engine.revert(GUEST, RevertRequest(name))
        scribble(host, 2)
    for each in engine.view(GUEST).state.parked:
        engine.perform(GUEST, EmptyRequest((each.path,)))
    assert not [path for path, _ in files(host.world.fs) if ".parked-" in path]
    engine.delete(GUEST, DeleteRequest(every=True))
    assert not engine.diagnose(GUEST, check=True).found


def images(host: SimulatedHost) -> set[str]:
    """Every file that is not in the store."""
    return {path for path, _ in files(host.world.fs) if path.startswith((TO, "/images"))}


def die_everywhere(host: SimulatedHost) -> int:
    """Before or after it, and no file more or less than then; how many deaths were tried."""
    before, tried = truth(host), 0
    ended = host.fork()
    Engine(ended).perform(GUEST, MOVE)
    assert (truth(ended), places(ended)) == (before, {TO})
    for point in every_crash(host, lambda engine: engine.perform(GUEST, MOVE)):
        for name, death in DEATHS:
            where, tried = f"{point!r}, {name}", tried + 1
            TRIED[name.partition(",")[0]] += 1
            found = SimulatedHost(death(point.world))
            engine = Engine(found)
            engine.recover(GUEST)
            assert truth(found) == before, where
            assert engine.recover(GUEST) is None, where
            assert (places(found), images(found)) in [(places(each), images(each)) for each in (host, ended)], where
            assert not engine.diagnose(GUEST, check=True).found, where
            view = engine.view(GUEST)
            for snapshot in view.snapshots:
                plan_for(view, RevertRequest(snapshot), Fresh("0" * 36, 0))
    for name, death in DEATHS:
        found = SimulatedHost(death(ended.world))
        assert (truth(found), places(found), images(found)) == (before, {TO}, images(ended)), name
    return tried


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_die_at_every_effect(kinds: str) -> None:
    assert die_everywhere(ready(kinds)) > 200


def test_a_base_is_brought_to_where_its_overlays_are() -> None:
    host = guest("e")
    host.make_directory(TO)
    engine = Engine(host)
    for name in ("one", "two"):
        scribble(host, 0)
        engine.create(GUEST, CreateRequest(name, external_dir=TO))
    assert places(host) == {"/images", TO}
    assert die_everywhere(host) > 200
    engine.perform(GUEST, MOVE)
    with pytest.raises(Refused) as caught:
        engine.perform(GUEST, MOVE)
    assert caught.value.id == "nothing-to-relocate"


def test_what_is_frozen_is_flagged_there_and_what_is_parked_is_not() -> None:
    host = flags.guest()
    host.make_directory(TO)
    engine = Engine(host)
    for name in ("one", "two"):
        scribble(host, 0)
        engine.create(GUEST, CreateRequest(name))
    told = engine.perform(GUEST, MOVE).warnings
    assert any(f"target={TO}/" in text for text in told)
    held = flags.frozen(host)
    assert {path for path in images(host) if host.run(host.files.is_immutable(path))} == held
    assert {path for path in held if path.startswith(TO)} == {
        f"{TO}/xvda.raw", next(path for path in held if path.startswith(f"{TO}/xvda.xvda")),
    }  # fmt: skip
    assert not engine.diagnose(GUEST).found


def refused(host: SimulatedHost, request: RelocateRequest = MOVE) -> set[str]:
    with pytest.raises(Refused) as caught:
        Engine(host).perform(GUEST, request)
    return {reason.id for reason in caught.value.reasons}


def test_what_is_refused_is_refused_with_every_reason() -> None:
    host = ready("e")
    with pytest.raises(NotFound):
        Engine(host).perform(GUEST, RelocateRequest("xvdz", TO))
    assert refused(host, RelocateRequest("xvda", "/nowhere")) == {"no-such-directory"}
    shared = host.fork()
    base = shared.create_image("/images/other", backing=Layer("/images/xvda.raw", Format.RAW))
    shared.add_domain("other", disks=[Disk("xvda", base.path, base.format)])
    assert refused(shared) == {"image-shared"}
    taken = host.fork()
    taken.create_image(f"{TO}/xvda.raw", "raw", 4 * CLUSTER)
    assert refused(taken) == {"image-exists"}
    full = host.fork()
    full.set_capacity(free_bytes=CLUSTER)
    assert "no-space" in refused(full)
    host.start(GUEST)
    assert refused(host) == {"domain-is-on"}
