"""An operator who works on our images with qemu-img, at every effect of an operation on the domain.

What he does by hand may itself destroy something: that is his. But whatever we do around it, the host ends as if one
had gone after the other, or the operation says that it failed, or the doctor finds what does not fit; nothing of what
neither of the two was about is lost in silence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from simulator import SimulatedHost
from simulator.core.effects import Cut
from simulator.core.unmodelled import NotModelled
from simulator.tools.qemu_img import Commit, Rebase, SnapshotApply, SnapshotCreate, SnapshotDelete
from tests.crash import running
from tests.crash.harness import GUEST, TRIED, Operation, Truth, every_effect, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.doctor import Severity
from xensnap.engine.engine import Engine
from xensnap.errors import ExitCode, NotFound, XensnapError
from xensnap.model import Disk, Image, RunState

Hand = Callable[[SimulatedHost], str]
"""One command of the operator; what it says on stderr."""


def last(host: SimulatedHost) -> Disk:
    """The disk that he works on, as the domain's description names it."""
    return host.run(host.toolstack.inspect(GUEST)).disks[-1]


def inspected(host: SimulatedHost) -> Image:
    return host.run(host.images.inspect(last(host).layer))


def commit(host: SimulatedHost) -> str:
    top, *below = host.run(host.images.chain(last(host).layer)).images
    return host.operate(Commit(top.layer, below[0].layer)) if below else "there is nothing below"


def rebase(host: SimulatedHost, *, copy: bool) -> str:
    top, *below = host.run(host.images.chain(last(host).layer)).images
    if not below:
        return "there is nothing below"
    onto = below[-1].layer if len(below) > 1 else None
    name = onto.path.rpartition("/")[2] if onto else ""
    return host.operate(Rebase(top.layer, name, onto.format if onto else "", copy))


def tag(host: SimulatedHost) -> str:
    return host.operate(SnapshotCreate(last(host).layer, "by-hand"))


def apply(host: SimulatedHost) -> str:
    image = inspected(host)
    return host.operate(SnapshotApply(image.layer, image.snapshots[0].id)) if image.snapshots else "no snapshots"


def delete(host: SimulatedHost) -> str:
    image = inspected(host)
    if not image.snapshots:
        return "no snapshots"
    first = image.snapshots[0]
    return host.operate(SnapshotDelete(image.layer, first.tag, first.id))


HANDS: dict[str, Hand] = {
    "commit": commit,
    "rebase": partial(rebase, copy=True),
    "rebase -u": partial(rebase, copy=False),
    "snapshot -c": tag,
    "snapshot -a": apply,
    "snapshot -d": delete,
}
FITTING = {"i": ("snapshot -c", "snapshot -a", "snapshot -d"), "e": ("commit", "rebase", "rebase -u", "snapshot -c")}
VERBS = ("create", "revert", "delete", "replace")


@dataclass(frozen=True)
class End:
    """What is there in the end, and what of it anybody is told: whether there was an error, and what does not fit."""

    seen: Truth
    failed: bool
    found: frozenset[str]


def ended(host: SimulatedHost, error: XensnapError | None) -> End:
    if Engine(host).view(GUEST).domain.state is not RunState.OFF:
        Engine(host).stop(GUEST)  # images that are open cannot be checked
    found = Engine(host).diagnose(GUEST, check=True).found
    told = frozenset(f"{each.id} {each.subject}" for each in found if each.severity is not Severity.NOTE)
    return End(truth(host), error is not None, told)


def performs(host: SimulatedHost, operation: Operation) -> XensnapError | None:
    """How an operation ends; what it has left open is recovered, and where that cannot be, somebody is told."""
    told: XensnapError | None = None
    try:
        operation(Engine(host))
    except XensnapError as error:
        told = error
    left = told is not None and told.exit_code in (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN)
    assert bool(Engine(host).list(GUEST).pending) == left, told
    try:
        Engine(host).recover(GUEST)
    except XensnapError as error:
        told = error
    return told


def works(host: SimulatedHost, hand: Hand, done: list[bool]) -> None:
    try:
        done.append(not hand(host))
    except (NotFound, NotModelled, XensnapError):
        done.append(False)


def in_turn(host: SimulatedHost, operation: Operation, hand: Hand) -> list[End]:
    """Every end that both may come to, one after the other or alone."""
    ends = []
    for order in ("operation hand", "hand operation", "hand", "operation"):
        fork, error = host.fork(), None
        for step in order.split():
            if step == "hand":
                works(fork, hand, [])
            else:
                error = performs(fork, operation)
        ends.append(ended(fork, error))
    return ends


def judge(found: End, ends: list[End], where: str) -> None:
    """As one after the other, or told; and what is the same in whatever order is so in between, too.

    What the doctor finds in any case, because of what was done by hand, tells of nothing in between.
    """
    told = found.failed or found.found - frozenset.intersection(*(end.found for end in ends[:-1]))
    assert told or found.seen in [end.seen for end in ends], where
    for key in {key for end in ends for key in end.seen.held}:
        allowed = [end.seen.held.get(key) for end in ends]
        if len({repr(each) for each in allowed}) == 1:
            assert found.seen.held.get(key) == allowed[0], f"{key}: {where}"


FITTING_HANDS = pytest.mark.parametrize(
    ("kinds", "name"), [(kinds, name) for kinds in FITTING for name in FITTING[kinds]]
)


def interleave(host: SimulatedHost, operation: Operation, name: str, counted: str) -> None:
    """The hand works before each effect of the operation, on a host of its own each time."""
    hand = HANDS[name]
    ends = in_turn(host, operation, hand)
    happened = 0
    for number in every_effect(host, operation):
        busy = host.fork()
        done: list[bool] = []
        busy.meanwhile(number, partial(works, busy, hand, done), Cut.BEFORE)
        found = ended(busy, performs(busy, operation))
        TRIED[counted] += 1
        happened += any(done)
        judge(found, ends, f"effect {number}, {name}")
    assert happened


@FITTING_HANDS
@pytest.mark.parametrize("verb", VERBS)
def test_an_operator_works_on_an_image_that_is_not_open(kinds: str, name: str, verb: str) -> None:
    interleave(with_history(kinds), OPERATIONS[verb], name, "by hand meanwhile")


RUNNING_VERBS = ("checkpoint", "disks", "revert", "delete", "delete oldest")


@FITTING_HANDS
@pytest.mark.parametrize("verb", RUNNING_VERBS)
def test_an_operator_works_on_the_image_of_a_guest_that_runs(kinds: str, name: str, verb: str) -> None:
    """QEMU under Xen takes no lock that would keep him from it, and what he does there is his. Nothing else is lost."""
    interleave(running.guest_for(verb, kinds), running.OPERATIONS[verb], name, "by hand meanwhile, running")
