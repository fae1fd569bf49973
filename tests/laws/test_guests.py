"""Laws of domains that run: whatever was done before, memory and disks stay of one moment and nothing is lost."""

from contextlib import suppress
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost, after_engine_crash, after_host_crash, crash_points, persist
from simulator.checkers.guests import standing, torn
from simulator.checkers.leaks import unclean
from simulator.checkers.two_writers import open_twice
from xensnap.errors import Busy, Failed, Refused
from xensnap.hypervisor import TakeInternal, TakeOverlay, Then
from xensnap.model import Backing, Domain, DomainUuid, Format, Layer, RunState

UUID = DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe")
SAVED = "/var/lib/xen/snapshots/g.save"
SIZE = 512 * 1024


@dataclass(frozen=True)
class Write:
    sector: int
    sectors: int
    flush: bool


DEEDS = st.lists(
    st.one_of(
        st.builds(Write, st.integers(0, 1000), st.sampled_from([1, 7, 128, 300]), st.booleans()),
        st.sampled_from(
            [
                *("pause", "unpause", "flush", "reboot", "poweroff", "crash", "start", "destroy", "save", "live"),
                *("away-and-back", "internal", "overlay", "commit", "stream", "complete", "cancel", "sleep"),
                *("set-layers", "busy", "rest"),
            ]
        ),
    ),
    max_size=14,
)


def guest(host: SimulatedHost) -> Domain:
    return host.run(host.toolstack.inspect("guest"))


def fresh(kind: str, seed: int) -> SimulatedHost:
    host = SimulatedHost.fresh(seed)
    host.create_image("/images/0", size_bytes=SIZE)
    host.add_domain("guest", UUID, {"xvda": "/images/0"}, kind=kind)
    host.start("guest")
    return host


def act(host: SimulatedHost, deed: Write | str, number: int) -> None:
    """One deed; in this state it may be refused, or fail."""
    with suppress(Refused, Failed):
        _act(host, deed, number)


def _act(host: SimulatedHost, deed: Write | str, number: int) -> None:
    tools, blocks, domain = host.toolstack, host.blocks, guest(host)
    if isinstance(deed, Write):
        end = min(deed.sector + deed.sectors, SIZE // 512)
        host.guest_writes("guest", "xvda", deed.sector * 512, (end - deed.sector) * 512, flush=deed.flush)
        return
    match deed:
        case "pause" | "unpause" | "destroy":
            host.run(getattr(tools, deed)(domain))
        case "flush" | "reboot" | "poweroff" | "crash":
            getattr(host, f"guest_{deed}")("guest")
        case "start":
            host.run(tools.create(UUID))
        case "save" | "live":
            host.run(checkpoint(host, live=deed == "live"))
        case "away-and-back":
            running = host.run(blocks.nodes(domain))[0].layer
            host.run(checkpoint(host, then=Then.STOPPED))
            host.run(tools.restore(SAVED, uuid=UUID, layers={"xvda": running}, paused=False))
        case "internal":
            host.run(blocks.transaction(domain, [TakeInternal("xvda", f"s{number}")]))
        case "overlay":
            host.run(overlay(host, number))
        case "commit" | "stream":
            host.run(job(host, deed))
        case "complete" | "cancel":
            found = host.run(blocks.job(domain, "j"))
            host.run(getattr(found, deed)())
            switch(host)
        case "sleep":
            host.run(host.machine.sleep(0.3))
        case "set-layers":
            switch(host)
        case "busy":
            host.guest_never_rests("guest", "xvda", length_bytes=1024, end_bytes=SIZE)
        case "rest":
            host.guest_rests("guest")


async def checkpoint(host: SimulatedHost, *, live: bool = False, then: Then = Then.SAME) -> None:
    domain = await host.toolstack.inspect("guest")
    watcher = await host.toolstack.hold_watcher(domain)
    try:
        async with host.toolstack.saving(domain, to=SAVED, live=live) as save:
            await save.suspended()
            await save.finish(then=then)
    finally:
        if watcher:
            await watcher.resume()


async def overlay(host: SimulatedHost, number: int) -> None:
    domain = await host.toolstack.inspect("guest")
    below = (await host.blocks.nodes(domain))[0].layer
    path = f"/images/o{number}"
    await host.files.create(path)
    backing = Backing(below.path, below.path, below.format)
    await host.images.create_overlay(path, backing=backing, size_bytes=SIZE)
    await host.files.sync_dir("/images")
    layer = Layer(path, Format.QCOW2)
    await host.toolstack.set_layers(UUID, {"xvda": layer})
    try:
        await host.blocks.transaction(domain, [TakeOverlay("xvda", layer)])
    except Failed:
        await host.toolstack.set_layers(UUID, {"xvda": below})


async def job(host: SimulatedHost, kind: str) -> None:
    domain = await host.toolstack.inspect("guest")
    top = (await host.blocks.nodes(domain))[0]
    lower = top
    while lower.backing:
        lower = lower.backing
    if kind == "commit":
        await host.blocks.commit(domain, "xvda", top=top.layer, base=lower.layer, job_id="j")
    else:
        await host.blocks.stream(domain, "xvda", layer=top.layer, base=None, job_id="j")


def switch(host: SimulatedHost) -> None:
    """The next start is from what runs now, as who pivots has to see to."""
    if guest(host).domid is not None:
        host.run(host.toolstack.set_layers(UUID, {"xvda": host.run(host.blocks.nodes(guest(host)))[0].layer}))


def sound(host: SimulatedHost) -> None:
    world = host.world
    assert not list(torn(world))
    assert not list(open_twice(world))
    assert not list(unclean(world.fs))
    for domid, each in world.guests.items():
        assert each.runs == world.xen.there[domid].executes
    assert set(world.qemus) == set(world.xen.there)


@given(DEEDS, st.sampled_from(["pv", "pvh", "hvm"]), st.integers(0, 2))
@settings(deadline=None)
def test_whatever_is_done_through_the_ports_a_guest_reads_what_it_has_written(deeds, kind, seed):
    host = fresh(kind, seed)
    domid = 1
    for number, deed in enumerate(deeds):
        act(host, deed, number)
        sound(host)
        now = guest(host).domid
        assert now is None or now >= domid
        domid = now or domid
    again = persist.decode(persist.encode(host.world))
    assert again == host.world
    host.run(host.machine.sleep(1))
    later = SimulatedHost(again, pid=host.pid)
    later.run(later.machine.sleep(1))
    assert later.world == host.world


@given(DEEDS, st.sampled_from(["pv", "hvm"]))
@settings(deadline=None)
def test_after_a_crash_of_the_host_a_start_finds_all_that_was_flushed(deeds, kind):
    host = fresh(kind, 0)
    for number, deed in enumerate(deeds):
        act(host, deed, number)
    after = SimulatedHost(after_host_crash(host.world, "lost"))
    assert guest(after).state is RunState.OFF
    flushed = host.running_disks("guest") if guest(host).domid is not None else host.visible("guest")
    after.start("guest")
    assert after.guest_sees("guest") == flushed


@given(DEEDS, st.sampled_from(["pv", "pvh"]), st.booleans(), st.sampled_from(["finish", "running", "killed"]))
@settings(deadline=None, max_examples=40)
def test_after_a_death_in_a_save_the_guest_can_be_let_go_on(deeds, kind, live, orphans):
    host = fresh(kind, 0)
    for number, deed in enumerate(deeds):
        act(host, deed, number)
    if guest(host).state is not RunState.RUNNING:
        return
    with host.recording():
        act(host, "live" if live else "save", 99)
    for point in crash_points(host):
        after = SimulatedHost(after_engine_crash(point.world, orphans))
        after.run(after.machine.sleep(1))
        domain = guest(after)
        if domain.state is RunState.SUSPENDED:
            after.run(after.toolstack.resume(domain))
        elif domain.state is RunState.PAUSED:
            after.run(after.toolstack.unpause(domain))
        if watcher := after.run(after.toolstack.hold_watcher(domain)):
            after.run(watcher.resume())
        assert not list(standing(after.world)), point
        sound(after)


def test_the_images_of_a_running_guest_are_always_in_use():
    host = fresh("pv", 0)
    deeds: list[Write | str] = ["overlay", Write(0, 8, flush=True), "overlay", "save", "reboot", "pause"]
    for number, deed in enumerate(deeds):
        act(host, deed, number)
        for layer in ("/images/0", *(each.path for each in [guest(host).disks[0]])):
            try:
                host.run(host.images.require_unused(Layer(layer, Format.QCOW2)))
            except Busy:
                continue
            raise AssertionError(layer)
