"""The state machine of a guest that lives: it runs, stands still, reboots, ends, writes into its cache and flushes.

Meanwhile disks come and go, and snapshots of every sort are taken, reverted to and deleted. The oracle is a plain
dictionary of what every sector of every disk holds, on the disk and as the guest reads it. After every step all of it
must be so: what the guest reads, what its disks hold, what each snapshot holds and its memory file remembers (design
5.1-5.3), who runs and who watches (5.10). At *every effect* of an operation besides: no other snapshot has changed, the
memory agrees with the disks, and the next start is from where the guest is (5.2, 5.3, 5.9).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from simulator import SimulatedHost, World, crash_points
from simulator.checkers import Finding, content, guests, starts
from simulator.checkers.leaks import unclean
from simulator.checkers.two_writers import open_twice
from simulator.guest import Memory
from simulator.xen import save_file
from tests.stateful.benches import CLUSTER, DOMAIN, SECTOR, UUID, Content, spread
from tests.stateful.machine import NAMES, SECTORS, counted
from tests.stateful.tree import Tree
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, DiskChoice, RevertRequest
from xensnap.errors import Refused
from xensnap.formats import snapshot_record
from xensnap.hypervisor import Then
from xensnap.model import Consistency, Disk, Format, Kind, RunState, Snapshot

VDEVS = ("xvda", "xvdb", "xvdc", "xvdd")
WANTED = {Then.RUNNING: RunState.RUNNING, Then.PAUSED: RunState.PAUSED, Then.STOPPED: RunState.OFF}
ON = (RunState.RUNNING, RunState.PAUSED)
GUESTS = ("pv", "pv", "pvh", "hvm", "hvm without drivers")
HOWS = ("memory", "memory", "memory", "live", "disk_only", "disk_only", "live disk_only")
GOING_OVER = {"xl.pause", "qmp.job-complete", "qmp.job-pivot", "qmp.job-dismiss", "toolstack.set-layers", "xl.unpause"}
"""The effects at which a guest stands still that leaves an overlay for the image below it."""
MAY_REFUSE = {"kind-is-sticky", "not-qcow2"}


class Held(NamedTuple):
    """What one disk holds: on the disk, and as the guest reads it through its page cache."""

    stored: Content
    read: Content


class Moment(NamedTuple):
    """What a snapshot has to give back."""

    disks: dict[str, Held]
    state: RunState
    memory: Memory | None


class Living(RuleBasedStateMachine):
    """A domain on a simulated host, from its definition on."""

    def __init__(self) -> None:
        super().__init__()
        self.host = SimulatedHost.fresh()
        self.engine = Engine(self.host)
        self.kind = "pv"
        self.state = RunState.OFF
        self.now: dict[str, Held] = {}
        self.away: dict[str, tuple[Disk, Content]] = {}
        self.moments: dict[str, Moment] = {}
        self.tree = Tree()
        self.images: set[str] = set()

    # Given -----------------------------------------------------------------------------------------------------------

    @initialize(
        disks=st.lists(
            st.tuples(st.sampled_from([Format.QCOW2, Format.QCOW2, Format.RAW]), st.integers(1, 3)),
            min_size=1,
            max_size=3,
        ),
        kind=st.sampled_from(GUESTS),
        running=st.sampled_from([True, True, False]),
    )
    def define_the_domain(self, disks: list[tuple[Format, int]], kind: str, *, running: bool) -> None:
        self.kind = kind
        made = [self._made(vdev, form, size) for vdev, (form, size) in zip(VDEVS, disks, strict=False)]
        self.host.add_domain(DOMAIN, UUID, made, kind=kind.partition(" ")[0], drivers=" " not in kind)
        if running:
            self.engine.start(DOMAIN)
            self.state = RunState.RUNNING

    def _made(self, vdev: str, form: Format, clusters: int) -> Disk:
        layer = self.host.create_image(f"/images/{vdev}-{len(self.images)}.{form}", form, clusters * CLUSTER)
        self.images.add(layer.path)
        self.now[vdev] = Held((0,) * (clusters * SECTORS), (0,) * (clusters * SECTORS))
        return Disk(vdev, layer.path, layer.format)

    # When: the guest -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.state in {RunState.OFF, RunState.RUNNING})
    @rule(data=st.data(), flush=st.booleans())
    def write(self, data: st.DataObject, *, flush: bool) -> None:
        vdev = data.draw(st.sampled_from(sorted(self.now)))
        held = self.now[vdev]
        start = data.draw(st.integers(0, len(held.read) - 1))
        count = data.draw(st.integers(1, min(len(held.read) - start, 200)))
        if self.state is RunState.OFF:
            number = self.host.write(DOMAIN, vdev, start * SECTOR, count * SECTOR)
        else:
            number = self.host.guest_writes(DOMAIN, vdev, start * SECTOR, count * SECTOR, flush=flush)
        read = held.read[:start] + (number,) * count + held.read[start + count :]
        self.now[vdev] = Held(read if flush or self.state is RunState.OFF else held.stored, read)
        counted("guest writes")

    @precondition(lambda self: self.state is RunState.RUNNING)
    @rule(what=st.sampled_from(["flush", "flush", "reboot", "reboot", "poweroff", "crash"]))
    def guest_does(self, what: str) -> None:
        getattr(self.host, f"guest_{what}")(DOMAIN)
        if what != "crash":
            self._flushed()
        if what != "flush":
            self._forgotten()
            self.state = RunState.RUNNING if what == "reboot" else RunState.OFF
        counted(f"guest {what}s")

    def _flushed(self) -> None:
        self.now = {vdev: Held(held.read, held.read) for vdev, held in self.now.items()}

    def _forgotten(self) -> None:
        self.now = {vdev: Held(held.stored, held.stored) for vdev, held in self.now.items()}

    # When: the operator ----------------------------------------------------------------------------------------------

    @rule(what=st.sampled_from(["go on", "go on", "go on", "pause", "stop"]))
    def turn(self, what: str) -> None:
        before = self.state
        if what == "go on" and before is not RunState.RUNNING:
            (self.engine.start if before is RunState.OFF else self.engine.unpause)(DOMAIN)
            self.state = RunState.RUNNING
        elif what == "pause" and before is not RunState.PAUSED:
            if before is RunState.OFF:
                self.engine.start(DOMAIN, paused=True)
            else:
                self.engine.pause(DOMAIN)
            self.state = RunState.PAUSED
        elif what == "stop" and before is not RunState.OFF:
            self.engine.stop(DOMAIN)
            self._forgotten()
            self.state = RunState.OFF
        if self.state is not before:
            counted(f"turned {self.state}")

    @precondition(lambda self: self.state is not RunState.PAUSED)
    @rule(data=st.data(), form=st.sampled_from([Format.QCOW2, Format.RAW]))
    def attach_or_detach(self, data: st.DataObject, form: Format) -> None:
        vdev = data.draw(st.sampled_from(VDEVS))
        if vdev in self.now:
            if len(self.now) > 1:
                self._detach(vdev)
            return
        if vdev in self.away:
            disk, known = self.away.pop(vdev)
            self.now[vdev] = Held(known, known)
        else:
            disk = self._made(vdev, form, 1)
        self.host.attach(DOMAIN, disk)
        counted("attach")

    def _detach(self, vdev: str) -> None:
        disk = self.engine.view(DOMAIN).domain.disk(vdev)
        assert disk is not None
        self.host.detach(DOMAIN, vdev)
        self.away[vdev] = (disk, self.now.pop(vdev).read)
        counted("detach")

    @precondition(lambda self: self.state is RunState.OFF)
    @rule(data=st.data(), clusters=st.integers(1, 4))
    def resize(self, data: st.DataObject, clusters: int) -> None:
        vdev = data.draw(st.sampled_from(sorted(self.now)))
        self.host.resize(DOMAIN, vdev, clusters * CLUSTER)
        kept = self.now[vdev].stored[: clusters * SECTORS]
        after = kept + (0,) * (clusters * SECTORS - len(kept))
        self.now[vdev] = Held(after, after)
        counted("resize")

    # When: snapshots -------------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(NAMES),
        kind=st.sampled_from([None, None, Kind.INTERNAL, Kind.EXTERNAL]),
        how=st.sampled_from(HOWS),
        then=st.sampled_from([Then.SAME, Then.SAME, Then.SAME, *Then]),
        skip=st.sampled_from([None, None, None, *VDEVS]),
        planned=st.booleans(),
    )
    def create(self, name: str, kind: Kind | None, how: str, skip: str | None, then: Then, *, planned: bool) -> None:
        disk_only = "disk_only" in how
        left_out = skip if skip in self.now and len(self.now) > 1 and disk_only else None
        request = CreateRequest(
            name=name,
            kind=kind,
            disks={left_out: DiskChoice(skip=True)} if left_out else {},
            disk_only=disk_only,
            live="live" in how,
            then=then if how != "disk_only" or self.state is RunState.OFF else Then.SAME,
        )
        memory = self.host.memory(DOMAIN) if self.state in ON and not disk_only else None
        expected = set(self._against(request))
        found = self._operate("create", request, planned=planned, undisturbed=memory is None)
        assert set(found) - MAY_REFUSE == expected, (found, expected)
        if found:
            return
        covered = {vdev: held for vdev, held in self.now.items() if vdev != left_out}
        taken = self.engine.list(DOMAIN).contents.snapshots[name]
        self.moments[name] = Moment(covered, self.state, memory)
        grade = {RunState.OFF: Consistency.CLEAN}.get(self.state, Consistency.CRASH)
        assert taken.live == (memory is not None and request.live)
        assert taken.consistency is (Consistency.CHECKPOINT if memory else grade)
        self.tree.created(name)
        if memory is not None:
            self.state = WANTED.get(then, self.state)
            if then is Then.STOPPED:
                self.state = RunState.OFF
                self._forgotten()
        counted(f"create: {taken.consistency}")

    def _against(self, request: CreateRequest) -> Iterator[str]:
        """The ids of all reasons to refuse this now."""
        if request.name in self.moments:
            yield "name-taken"
        if self.state is RunState.OFF:
            if request.then not in {Then.SAME, Then.STOPPED}:
                yield "domain-is-off"
            return
        if request.disk_only and (request.live or request.then is not Then.SAME):
            yield "needs-memory"
        if (set(self.now) - {vdev for vdev, choice in request.disks.items() if choice.skip}) & self._open_twice():
            yield "image-open-twice"
        if request.disk_only:
            return
        if self.state is RunState.PAUSED and (
            self.kind != "hvm without drivers" or self.engine.view(DOMAIN).domain.never_ran
        ):
            yield "paused-guest"
        if request.live and self.kind == "pv":
            yield "no-live-save"

    def _open_twice(self) -> set[str]:
        """The disks whose emulated twins the guest has not unplugged; those attached later have none."""
        if self.state is RunState.OFF:
            return set()
        vdevs = Counter(node.vdev for node in self.host.run(self.host.blocks.nodes(self.engine.view(DOMAIN).domain)))
        return {vdev for vdev, count in vdevs.items() if count > 1}

    @precondition(lambda self: self.moments)
    @rule(data=st.data(), then=st.sampled_from([Then.SAME, Then.SAME, *Then]), planned=st.booleans())
    def revert(self, data: st.DataObject, then: Then, *, planned: bool) -> None:
        self._revert(data.draw(st.sampled_from(sorted(self.moments))), then, planned=planned)

    def _revert(self, name: str, then: Then, *, planned: bool) -> None:
        moment = self.moments[name]
        expected = {"disk-gone"} if set(moment.disks) - set(self.now) else set()
        if moment.memory and set(self.now) - set(moment.disks):
            expected.add("disk-not-covered")
        found = self._operate("revert", RevertRequest(name, then), planned=planned)
        assert set(found) == expected, (found, expected)
        if found:
            return
        self.state = WANTED.get(then, moment.state)
        self._forgotten()  # whatever ran before has ended
        for vdev, held in moment.disks.items():
            resumed = moment.memory is not None and self.state is not RunState.OFF
            self.now[vdev] = held if resumed else Held(held.stored, held.stored)
        if moment.memory and self.state is not RunState.OFF:
            self._remembers(moment.memory)
        self.tree.current = name
        counted("revert: " + ("memory" if moment.memory else "disks"))

    @precondition(lambda self: self.state is RunState.RUNNING and len(self.moments) < len(NAMES))
    @rule(data=st.data(), kind=st.sampled_from([None, Kind.INTERNAL, Kind.EXTERNAL]), how=st.sampled_from(HOWS))
    def there_and_back(self, data: st.DataObject, kind: Kind | None, how: str) -> None:
        """What chance seldom brings together: a snapshot, a write that it must not see, and the way back to it."""
        name = next(name for name in NAMES if name not in self.moments)
        self.create(name, kind, how, None, Then.SAME, planned=False)
        self.holds()
        self.write(data, flush=data.draw(st.booleans()))
        if name in self.moments:
            self._revert(name, Then.SAME, planned=False)

    def _remembers(self, memory: Memory) -> None:
        """The guest is the one of that moment, and has only counted on since."""
        found = self.host.memory(DOMAIN)
        assert msgspec.structs.replace(found, counter=memory.counter) == memory
        assert found.counter >= memory.counter

    @precondition(lambda self: self.moments)
    @rule(
        data=st.data(), how=st.sampled_from(["one", "one", "one", "children", "children_only"]), planned=st.booleans()
    )
    def delete(self, data: st.DataObject, how: str, *, planned: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.moments)))
        gone = self.tree.chosen(name, how)
        request = DeleteRequest(name, children=how == "children", children_only=how == "children_only")
        twice = self._tags_in_use(gone)
        found = self._operate("delete", request, planned=planned, going=frozenset(gone), undisturbed=True)
        assert set(found) == ({"image-open-twice"} if twice else set() if gone else {"no-children"}), found
        if found:
            return
        self.tree.deleted(gone)
        for victim in gone:
            del self.moments[victim]
        pivots = sum(point.effect == "qmp.job-pivot" for point in crash_points(self.host))
        counted("delete: " + ("off" if self.state is RunState.OFF else "pivot" if pivots else "running"))

    def _tags_in_use(self, names: Iterable[str]) -> bool:
        """Whether tags of these would have to be deleted through one of two nodes."""
        active = {disk.vdev: disk.path for disk in self.engine.view(DOMAIN).domain.disks}
        snapshots = self.engine.list(DOMAIN).contents.snapshots
        tags = [part for name in names for part in snapshots[name].disks if part.tag]
        return any(part.vdev in self._open_twice() and active[part.vdev] == part.image.path for part in tags)

    def _operate(
        self,
        verb: str,
        request: Any,
        *,
        planned: bool,
        going: frozenset[str] = frozenset(),
        undisturbed: bool = False,
    ) -> tuple[str, ...]:
        """The ids of the reasons for a refusal; none where it was done, and then every effect of it was looked at."""
        with self.host.recording():
            try:
                if planned:
                    self.engine.apply(self.engine.plan(DOMAIN, request))
                else:
                    getattr(self.engine, verb)(DOMAIN, request)
            except Refused as error:
                return tuple(reason.id for reason in error.reasons)
        kept = {name: moment for name, moment in self.moments.items() if name not in going}
        for point in crash_points(self.host):
            findings = list(wrong_at_an_effect(point.world, kept))
            assert not findings, f"{point!r}: {findings}"
            if undisturbed and self.state is RunState.RUNNING:
                goes_on = all(one.executes for one in point.world.xen)
                assert goes_on or point.effect in GOING_OVER, f"{point!r}: the guest stands still"
        return ()

    # Then ------------------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if self.now:
            self._guest_is_right()
            self._snapshots_are_right()
            self._host_is_sound()
            self._nothing_is_stuck_or_left()

    def _guest_is_right(self) -> None:
        view = self.engine.view(DOMAIN)
        assert view.domain.state is self.state
        assert {disk.vdev for disk in view.domain.disks} == set(self.now)
        if self.state is RunState.OFF:
            read = stored = self.host.visible(DOMAIN)
        else:
            read, stored = self.host.guest_sees(DOMAIN), self.host.running_disks(DOMAIN)
            assert self.host.incarnation(DOMAIN).pauses == (self.state is RunState.PAUSED)
        for vdev, held in self.now.items():
            assert spread(stored[vdev]) == held.stored, f"{vdev} holds"
            assert spread(read[vdev]) == held.read, f"{vdev} as it is read"

    def _snapshots_are_right(self) -> None:
        contents = self.engine.list(DOMAIN).contents
        assert set(contents.snapshots) == set(self.moments)
        fs = self.host.world.fs
        for name, moment in self.moments.items():
            snapshot = contents.snapshots[name]
            assert snapshot.state is moment.state
            assert {disk.vdev for disk in snapshot.disks} == set(moment.disks)
            for disk in snapshot.disks:
                given = content.would_give(fs, disk)
                assert given is not None, f"{disk.vdev} at {name} is lost"
                assert spread(given) == moment.disks[disk.vdev].stored, f"{disk.vdev} at {name}"
            assert bool(snapshot.memory) == (moment.memory is not None)
            if moment.memory:
                kept = save_file.read_memory(self.host.run(self.host.files.read(snapshot.memory)))
                assert msgspec.structs.replace(kept, counter=moment.memory.counter) == moment.memory, (
                    f"memory at {name}"
                )
                assert kept.counter >= moment.memory.counter

    def _host_is_sound(self) -> None:
        world = self.host.world
        found = [*guests.torn(world), *guests.twins(world), *guests.alone(world), *starts.elsewhere(world)]
        found += [*open_twice(world), *unclean(world.fs)]
        found += [each for each in guests.standing(world) if self.state is not RunState.PAUSED]
        assert not found
        listing = self.engine.list(DOMAIN)
        assert listing.pending == ""
        assert not listing.contents.damaged
        parents = {name: snapshot.parent for name, snapshot in listing.contents.snapshots.items()}
        assert (listing.current, parents) == (self.tree.current, self.tree.parents)

    def _nothing_is_stuck_or_left(self) -> None:
        view = self.engine.view(DOMAIN)
        for name, moment in self.moments.items():
            self._plannable(RevertRequest(name), {"disk-gone", "disk-not-covered"} if self._differs(moment) else set())
            self._plannable(DeleteRequest(name), {"image-open-twice"} if self._tags_in_use([name]) else set())
        reached = {image.layer.path for image in view.images.values() if image}
        ours = {entry.path for entry in view.state.ours}
        there = {f"/images/{name}" for name in self.host.world.fs.names("/images")}
        assert there <= reached | ours | self.images
        assert ours <= there
        store = f"{self.host.root}/{UUID}"
        saves = {name for name in self.host.world.fs.names(store) if name.endswith((".save", ".part"))}
        memories = {snapshot.memory for snapshot in view.snapshots.values() if snapshot.memory}
        assert {f"{store}/{name}" for name in saves} == memories

    def _differs(self, moment: Moment) -> bool:
        return set(moment.disks) != set(self.now)

    def _plannable(self, request: Any, unless: set[str]) -> None:
        """There is a plan, or the domain is not now what it has to be: never a dead end."""
        with suppress(Refused):
            self.engine.plan(DOMAIN, request)
            return
        with pytest.raises(Refused) as caught:
            self.engine.plan(DOMAIN, request)
        assert {reason.id for reason in caught.value.reasons} <= unless, caught.value


def wrong_at_an_effect(world: World, kept: dict[str, Moment]) -> Iterator[Finding]:
    """What must not be at any instant of any operation."""
    yield from guests.torn(world)
    yield from guests.twins(world)
    yield from starts.elsewhere(world)
    yield from open_twice(world)
    told = {snapshot.name: snapshot for snapshot in recorded(world)}
    for name, moment in kept.items():
        for vdev, held in moment.disks.items():
            disk = told[name].disk(vdev) if name in told else None
            given = content.would_give(world.fs, disk) if disk else None
            if given is None:
                yield Finding("snapshot-lost", name, vdev)
            elif spread(given) != held.stored:
                yield Finding("snapshot-changed", name, vdev)


def recorded(world: World) -> Iterator[Snapshot]:
    """The snapshots whose records are in the store at this instant."""
    store = f"{SimulatedHost.root}/{UUID}"
    for name in world.fs.names(store):
        if name.startswith("snapshotdata-d."):
            text = world.fs.inode(f"{store}/{name}").stored
            assert isinstance(text, bytes)
            yield decoded(text)


@lru_cache(maxsize=256)
def decoded(text: bytes) -> Snapshot:
    """One record."""
    return snapshot_record.decode(text, path="a record")
