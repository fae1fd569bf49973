"""Operations one after the other, death at every effect of the last: each starts from what those before have left.

On a domain that is off, and on a guest that runs, which some of them end. Ordinary runs try a few pairs. With
`XENSNAP_DEEP_S` as many pairs, and as many sequences of three, as come to an end in half so many seconds each are
tried, in an order that does not favour any, and the share that was covered is told at the end.
"""

import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from simulator import SimulatedHost
from tests.crash import harness, running, test_relocate
from tests.crash.harness import CLUSTER, COVERED, DEATHS, GUEST, HOST_DEATHS, Operation, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.deep import DEEP_S
from xensnap.engine.engine import Engine
from xensnap.engine.request import (
    AdoptRequest,
    CreateRequest,
    DeleteRequest,
    EmptyRequest,
    ForgetRequest,
    RenameRequest,
    RestoreRequest,
)
from xensnap.errors import NotFound, Refused
from xensnap.model import RunState

SHARES = 2
"""Into how many parts the sequences are dealt: one for each core of a small machine."""

Sequence = tuple[str, ...]
"""The kinds of the disks, and the operations."""


def _without_its_records(name: str) -> dict[str, Operation]:
    """Taken away, or thrown away, and had back."""
    return {
        "let go": lambda engine: engine.delete(GUEST, DeleteRequest(name, metadata_only=True)),
        "adopt": lambda engine: engine.perform(GUEST, AdoptRequest(name)),
        "forget": lambda engine: engine.perform(GUEST, ForgetRequest(name)),
        "restore": lambda engine: engine.perform(GUEST, RestoreRequest(name)),
        "empty": lambda engine: engine.perform(GUEST, EmptyRequest((name,))),
        "undo": lambda engine: engine.undo(GUEST),
    }


@dataclass(frozen=True)
class Field:
    """Operations that follow one another in any order, and where they do.

    Attributes:
        world: makes the world, for kinds of disks and these operations.
        each: the operations, by name.
        kinds: the kinds of disks.
        judge: dies everywhere in one, and judges.
        look: what is the same where an operation was refused.
    """

    world: Callable[[str, Sequence], SimulatedHost]
    each: Mapping[str, Operation]
    kinds: Sequence
    judge: Callable[..., int]
    look: Callable[[SimulatedHost], object]

    def sequences(self, length: int) -> list[Sequence]:
        return [*itertools.product(self.kinds, *[self.each] * length)]


def _off(kinds: str, _operations: Sequence) -> SimulatedHost:
    host = with_history(kinds)
    host.make_directory(test_relocate.TO)
    return host


def _on(kinds: str, operations: Sequence) -> SimulatedHost:
    return running.guest_for(" ".join(operations), kinds)


FIELDS = {
    "": Field(
        _off,
        {
            **OPERATIONS,
            **_without_its_records("branch"),
            "create again": lambda engine: engine.create(GUEST, CreateRequest("again")),
            "delete root": lambda engine: engine.delete(GUEST, DeleteRequest("root")),
            "delete all": lambda engine: engine.delete(GUEST, DeleteRequest(every=True)),
            "relocate": lambda engine: engine.perform(GUEST, test_relocate.MOVE),
            "repair": lambda engine: engine.repair(GUEST),
        },
        ("i", "e", "ie", "ee"),
        harness.judge,
        truth,
    ),
    "of a guest that runs, ": Field(
        _on,
        {
            **running.OPERATIONS,
            **_without_its_records("disks"),
            "rename": lambda engine: engine.perform(GUEST, RenameRequest("first", "one")),
            "compact": lambda engine: engine.compact(GUEST),
        },
        ("i", "e", "ie"),
        running.judge,
        running.seen,
    ),
}
FEW = [
    ("", "i", "revert", "delete"),
    ("", "e", "delete", "revert"),
    ("", "ie", "forget", "delete root"),
    ("", "e", "revert", "undo"),
    ("", "e", "relocate", "delete"),
    ("", "ie", "let go", "relocate"),
    ("of a guest that runs, ", "ie", "disks", "delete oldest"),
    ("of a guest that runs, ", "e", "let go", "adopt"),
    ("of a guest that runs, ", "i", "revert", "undo"),
]


def goes_on(host: SimulatedHost, place: int) -> None:
    """It writes to every disk, and leaves every other time what it has written in its cache."""
    domain = Engine(host).view(GUEST).domain
    for disk in domain.disks:
        if domain.state is RunState.OFF:
            host.write(GUEST, disk.vdev, place % 4 * CLUSTER, CLUSTER)
        else:
            host.guest_writes(GUEST, disk.vdev, place % 4 * CLUSTER, CLUSTER, flush=place % 2 == 0)


def after(field: Field, sequence: Sequence) -> SimulatedHost | None:
    """The world after all but the last of these and some writes after each; None where one is refused."""
    kinds, *operations = sequence
    host = field.world(kinds, tuple(operations))
    for number, each in enumerate(operations[:-1]):
        try:
            field.each[each](Engine(host))
        except (Refused, NotFound):
            return None
        goes_on(host, 2 + number)
    return host


def tried(field: Field, sequence: Sequence, deaths: tuple = DEATHS) -> bool:
    """Die everywhere in the last; whether there was anything to die in."""
    host = after(field, sequence)
    if host is None:
        return False
    last = field.each[sequence[-1]]
    before = field.look(host)
    trial = host.fork()
    try:
        last(Engine(trial))
    except (Refused, NotFound):
        assert field.look(trial) == before, sequence
        return False
    field.judge(host, last, deaths)
    return True


@pytest.mark.parametrize(("name", "kinds", "first", "last"), FEW, ids=" ".join)
def test_a_few_pairs(name: str, kinds: str, first: str, last: str) -> None:
    assert tried(FIELDS[name], (kinds, first, last), (DEATHS[0], HOST_DEATHS[2]))
    if not DEEP_S:  # a deep run has them among all others
        COVERED[f"{name}pairs tried"] += 1


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize(("what", "length"), [("pairs", 2), ("threes", 3)])
@pytest.mark.parametrize("name", FIELDS)
def test_as_many_as_time_allows(name: str, what: str, length: int, share: int) -> None:
    """Of one of the shares into which all are dealt, so that every core can have one."""
    order = FIELDS[name].sequences(length)
    random.Random(0).shuffle(order)
    mine = order[share::SHARES]
    until = time.monotonic() + DEEP_S / 2
    for sequence in mine:
        if time.monotonic() >= until:
            break
        COVERED[f"{name}{what} {'tried' if tried(FIELDS[name], sequence) else 'refused'}"] += 1
    COVERED[f"{name}{what} there are"] += len(mine)
