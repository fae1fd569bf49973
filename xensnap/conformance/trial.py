"""What a case works with: guests of its own, operations that leave a trace, and comparisons that name the culprit."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

from xensnap.conformance.events import Did, Event
from xensnap.conformance.workplace import Content, Wish, Workplace
from xensnap.engine import journal, tree
from xensnap.engine.engine import Engine
from xensnap.engine.plan import Plan, each
from xensnap.engine.records import Store
from xensnap.engine.request import Birth, CreateRequest, DeleteRequest, DiskChoice, Request, RevertRequest
from xensnap.errors import Effect, ExitCode, Refused, XensnapError
from xensnap.hypervisor import Hypervisor, Then
from xensnap.model import Disk, Domain, Format, Kind, RunState, Snapshot

MAX_EXAMPLES = 10
"""Of what Hypothesis draws, so many are tried unless told otherwise."""

ENOUGH = 64
"""So much further a counter must be before it counts as later: more than a guest does between two looks."""


class Broken(AssertionError):
    """The host did not do what it must.

    Args:
        words: what was expected, and what is.
        blocks: the blocks that differ, in runs, each with who wrote what it holds.
    """

    def __init__(self, words: str, blocks: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.blocks = blocks


class Trial:
    """One case on one workplace.

    Args:
        place: where.
        prefix: what the names of all domains begin with.
        case: id of the case, for its events.
        tell: gets every event.
        stride: where a case tries many things of one kind, it may try only every so many-th.
        max_examples: of what Hypothesis draws, so many are tried.
        seed: what that is drawn from.
    """

    def __init__(
        self,
        place: Workplace,
        *,
        prefix: str,
        case: str,
        tell: Callable[[Event], None],
        stride: int = 1,
        max_examples: int = MAX_EXAMPLES,
        seed: int = 0,
    ) -> None:
        self.place = place
        self.prefix = prefix
        self.stride = stride
        self.max_examples = max_examples
        self.seed = seed
        self._case = case
        self._tell = tell
        self._kept: list[Event] = []
        self._guests = 0
        self._writes: list[str] = [""]

    @property
    def host(self) -> Hypervisor:
        """The host under trial."""
        return self.place.host

    def guest(self, *wishes: Wish, runs: bool = False, **formats: str) -> "Guest":
        """A domain that is off, with disks as wished or by vdev and format; with `runs` it is brought up."""
        self._guests += 1
        name = f"{self.prefix}{self._guests}"
        disks = [*wishes, *(Wish(vdev, Format(format)) for vdev, format in formats.items())] or [Wish("xvda")]
        self.place.add_domain(name, disks, guest=runs)
        made = Guest(self, name, disks)
        self.did(f"{name}: defined with {', '.join(f'{wish.vdev} ({wish.format})' for wish in disks)}")
        if runs:
            made.start()
        return made

    def did(self, deed: str, told: str = "done", **more: tuple[str, ...]) -> None:
        """Note what was done."""
        self._tell(Did(self._case, deed, told, **more))

    @contextmanager
    def retelling(self) -> Iterator[None]:
        """Forget what was done meanwhile each time that `begin_again` is called, and tell what is left at the end."""
        tell, kept = self._tell, list[Event]()
        self._tell, self._kept = kept.append, kept
        try:
            yield
        finally:
            self._tell = tell
            for event in kept:
                tell(event)

    def begin_again(self) -> None:
        """What was done since `retelling` counts no more."""
        self._kept.clear()

    def number(self, deed: str) -> int:
        """The number of the next write, which this deed is going to make."""
        self._writes.append(deed)
        return len(self._writes) - 1

    def require(self, truth: object, words: str) -> None:
        """Break off unless this is so."""
        if not truth:
            raise Broken(words)

    def equal(self, found: object, wanted: object, what: str) -> None:
        """Two things must be the same."""
        if found != wanted:
            raise Broken(f"{what}: expected {wanted!r}, found {found!r}")

    def same(self, found: Mapping[str, Content], wanted: Mapping[str, Content], what: str) -> None:
        """Disks must show the very same blocks. Where not, tell for each run who wrote what is there."""
        blocks: list[str] = []
        count = 0
        for vdev in sorted({*found, *wanted}):
            here, there = found.get(vdev, ()), wanted.get(vdev, ())
            if len(here) != len(there):
                blocks.append(f"{vdev}: {len(here)} blocks instead of {len(there)}")
            for low, high, now, then in differing(here, there):
                which = f"block {low}" if low == high else f"blocks {low} to {high}"
                blocks.append(f"{vdev} {which}: {self._wrote(now)} instead of {self._wrote(then)}")
                count += high - low + 1
        if blocks:
            raise Broken(f"{what}: {count} blocks differ" if count else f"{what}: sizes differ", tuple(blocks))

    def refused(self, work: Callable[[], object], *ids: str) -> Refused:
        """This must be refused, for one of these reasons if any are given, with remedies, and change nothing."""
        try:
            work()
        except Refused as error:
            found = {reason.id for reason in error.reasons}
            if ids and not found & {*ids}:
                raise Broken(f"refused for {sorted(found)}, not for {sorted(ids)}") from error
            # What is not there has no remedy but the names of what is, which the cause may give.
            without = [r.id for r in error.reasons if not r.remedy and r.exit_code is not ExitCode.NOT_FOUND]
            self.require(not without, f"refused without a remedy: {without}")
            self.equal(error.effect, Effect.NONE, "the effect of a refusal")
            return error
        except XensnapError as error:
            raise Broken(f"failed instead of being refused: {error.cause}") from error
        raise Broken(f"done instead of being refused for {sorted(ids) or 'any reason'}")

    def _wrote(self, number: int) -> str:
        if not number:
            return "zeros"
        deed = self._writes[number] if 0 < number < len(self._writes) else "nobody that we know"
        return f"write {number} ({deed})"


def differing(found: Content, wanted: Content) -> Iterator[tuple[int, int, int, int]]:
    """Where two contents differ: the first and the last block of each run, what is there, and what should be."""
    pairs = enumerate(zip(found, wanted, strict=False))
    for (now, then), run in groupby(pairs, key=itemgetter(1)):
        if now != then:
            numbers = [at for at, _ in run]
            yield numbers[0], numbers[-1], now, then


class Guest:
    """One domain of a trial, and what can be done to it. What is done is told; errors go on to the case."""

    def __init__(self, trial: Trial, name: str, disks: Iterable[Wish], host: Hypervisor | None = None) -> None:
        self.trial = trial
        self.name = name
        self.wishes = tuple(disks)
        self.host = host or trial.host
        self.engine = Engine(self.host)
        self.last = "its definition"

    def through(self, host: Hypervisor) -> "Guest":
        """The same domain, worked on through another host's ports: another process, or one that dies."""
        other = Guest(self.trial, self.name, self.wishes, host)
        other.last = self.last
        return other

    # Being the guest or its operator ---------------------------------------------------------------------------------

    def write(self, vdev: str = "", block: int = 0, blocks: int = 3) -> None:
        """Write to one disk, or to every disk that can be written, of a domain that is off."""
        for wish in self.wishes:
            if (vdev or wish.vdev) == wish.vdev and not (wish.readonly or wish.cdrom or wish.empty):
                deed = f"{self.name} {wish.vdev} blocks {block} to {block + blocks - 1}, after {self.last}"
                number = self.trial.number(deed)
                self.trial.place.write(self.name, wish.vdev, block, blocks, number)
                self.trial.did(f"write {number}: {deed}")

    def shows(self) -> dict[str, Content]:
        """What all disks show; the domain must be off."""
        return {disk.vdev: self.trial.place.shows(disk) for disk in self.domain().disks if disk.path}

    def domain(self) -> Domain:
        """The domain as its host knows it now."""
        return self.host.run(self.host.toolstack.inspect(self.name))

    def disk(self, vdev: str = "xvda") -> Disk:
        """One of its disks, now."""
        found = self.domain().disk(vdev)
        assert found is not None, f"{self.name} has no {vdev}"
        return found

    @property
    def directory(self) -> str:
        """Where its images are."""
        return self.domain().disks[0].path.rpartition("/")[0]

    def read(self, path: str) -> bytes:
        """Every byte of a file of its host, which may be larger than what `Files.read` takes for a text."""
        found = self.host.run(self.host.files.stat(path))
        assert found is not None, f"there is no {path}"
        return self.host.run(self.host.files.read_part(path, offset=0, length_bytes=found.length_bytes))

    def record(self, name: str) -> Snapshot:
        """What is recorded of one of its snapshots."""
        return self.engine.list(self.name).contents.snapshots[name]

    def depth(self, vdev: str = "xvda") -> int:
        """Layers below a disk, its active one counted."""
        return len(self.host.run(self.host.images.chain(self.disk(vdev).layer)).images)

    def start(self) -> None:
        """Bring the guest up."""
        self.engine.start(self.name)
        self.trial.did(f"{self.name}: brought up")
        self.counter()

    def stop(self) -> None:
        """Cut the guest's power."""
        self.engine.stop(self.name)
        self.trial.did(f"{self.name}: power cut")

    def pause(self) -> None:
        """Let the guest stand still."""
        self.engine.pause(self.name)
        self.trial.did(f"{self.name}: paused")

    def unpause(self) -> None:
        """Let it go on."""
        self.engine.unpause(self.name)
        self.trial.did(f"{self.name}: unpaused")

    def counter(self) -> int:
        """What the running guest counts in its memory, about now."""
        return self.trial.place.counter(self.name)

    def works_on(self) -> int:
        """Wait until the guest's counter is much larger; that."""
        until = self.counter() + ENOUGH
        while (now := self.counter()) < until:
            pass
        self.trial.did(f"{self.name}: worked on until it counted {now}")
        return now

    def must_be_sound(self, what: str) -> None:
        """The guest itself finds memory and disks in agreement."""
        self.must_be(RunState.RUNNING, what)
        words = self.trial.place.sound(self.name)
        self.trial.require(not words, f"{what}: the guest finds that {words}")

    def must_be(self, state: RunState, what: str) -> None:
        """The domain is in this state."""
        self.trial.equal(self.domain().state, state, f"{what}: the state of {self.name}")

    # Operations ------------------------------------------------------------------------------------------------------

    def create(self, name: str, *, kind: Kind | None = None, skip: Iterable[str] = (), **more: Any) -> None:
        """Take a snapshot."""
        choices = {vdev: DiskChoice(skip=True) for vdev in skip}
        self._do("create", CreateRequest(name, kind=kind, disks=choices, **more), name)

    def revert(self, name: str, *, then: Then = Then.SAME, **more: Any) -> None:
        """Revert to a snapshot."""
        self._do("revert", RevertRequest(name, then, **more), name)

    def delete(self, name: str, *, children: bool = False, children_only: bool = False, **more: Any) -> None:
        """Delete a snapshot."""
        self._do("delete", DeleteRequest(name, children, children_only, **more), name)

    def perform(self, request: Request) -> None:
        """Anything else that can be asked of it."""
        verb = type(request).__name__.removesuffix("Request").lower()
        self._do(verb, request, getattr(request, "name", ""))

    def make(self, request: Birth, name: str) -> "Guest":
        """Make another domain, of this name, out of a snapshot of this one or an archive; it is off."""
        result = self.engine.make(request)
        made = Guest(self.trial, name, self.wishes, self.host)
        self.trial.did(f"{self.name}: {result.plan.summary}", plan=_steps(result.plan), tree=made.tree())
        return made

    def apply(self, plan: Plan) -> None:
        """Carry out a plan that was made before."""
        before = self.tree()
        try:
            self.engine.apply(plan)
        except XensnapError as error:
            self.trial.did(f"apply: {plan.summary}", _ended(error), plan=_steps(plan), before=before, tree=self.tree())
            raise
        self._done(f"apply: {plan.summary}", plan, before)

    def recover(self, *, abort: bool | None = None) -> str:
        """Bring an interrupted operation to its end; how it ended, empty where there was none."""
        found = self.engine.recover(self.name, abort=abort)
        told = "" if found is None else f"{found.outcome}: {found.summary}"
        self.trial.did(f"{self.name}: recover", told or "nothing to do", tree=self.tree())
        return told

    def plan(self, request: Request) -> Plan:
        """A plan, not carried out."""
        return self.engine.plan(self.name, request)

    def snapshots(self) -> tuple[str, ...]:
        """The names of all snapshots, oldest first."""
        return tuple(self.engine.list(self.name).contents.snapshots)

    def tree(self) -> tuple[str, ...]:
        """How the snapshots stand, a line each, the current one marked."""
        listing = self.engine.list(self.name)
        records = listing.contents.snapshots
        return tuple(
            f"{'  ' * depth}{name}{' *' if name == listing.current else ''}" for depth, name in tree.walk(records)
        )

    def _do(self, verb: str, request: Request, name: str) -> None:
        deed = f"{self.name}: {verb} {name!r}"
        before = self.tree()
        try:
            result = self.engine.perform(self.name, request)
        except XensnapError as error:
            self.trial.did(deed, _ended(error), before=before, tree=self.tree())
            raise
        self.last = f"{verb} {name!r}"
        self._done(deed, result.plan, before)

    def _done(self, deed: str, plan: Plan, before: tuple[str, ...]) -> None:
        history = self._journal(plan.operation)
        self.trial.did(deed, plan=_steps(plan), journal=history, before=before, tree=self.tree())

    def _journal(self, operation: str) -> tuple[str, ...]:
        data = self.host.run(journal.read(self.host, Store.of(self.host, self.domain().uuid).journal))
        return _timeline([entry for entry in journal.decode(data) if entry.operation == operation])


def _timeline(entries: list[journal.Entry]) -> tuple[str, ...]:
    """The journal of one operation in words. Only its two ends have a time."""
    began_ns = next((entry.time_ns for entry in entries if isinstance(entry, journal.Begin)), 0)
    told = []
    for entry in entries:
        match entry:
            case journal.Begin():
                told.append(f"begin: {entry.plan.summary}")
            case journal.Claim():
                told.append(f"taken over by process {entry.pid}, {(entry.time_ns - began_ns) / 1e6:.1f} ms after that")
            case journal.Note() | journal.Fact():
                told.append(entry.text)
            case journal.End():
                told.append(f"end: {entry.outcome}, {(entry.time_ns - began_ns) / 1e6:.1f} ms after it began")
    return tuple(told)


def _steps(plan: Plan) -> tuple[str, ...]:
    before = [step.says() for step in each(plan.prepare)]
    after = [step.says() for step in each(plan.finish)]
    return (*before, "write down the decision", *after)


def _ended(error: XensnapError) -> str:
    if isinstance(error, Refused):
        return f"refused: {', '.join(reason.id for reason in error.reasons)}"
    return f"{error.id}, effect {error.effect}: {error.cause}"
