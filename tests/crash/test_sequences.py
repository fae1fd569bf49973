"""Operations one after the other, death at every effect of the last: each starts from what those before have left.

Ordinary runs try a few pairs. With `XENSNAP_DEEP_S` as many pairs, and as many sequences of three, as come to an end in
so many seconds are tried, in an order that does not favour any, and the share that was covered is told at the end.
"""

import itertools
import random
import time
from collections.abc import Iterable

import pytest

from simulator import SimulatedHost
from tests.crash.harness import COVERED, DEATHS, GUEST, HOST_DEATHS, Operation, judge, scribble, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.deep import DEEP_S
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, EmptyRequest, ForgetRequest, RestoreRequest
from xensnap.errors import Refused

SHARES = 2
"""Into how many parts the sequences are dealt: one for each core of a small machine."""

EACH: dict[str, Operation] = {
    **OPERATIONS,
    "create again": lambda engine: engine.create(GUEST, CreateRequest("again")),
    "delete root": lambda engine: engine.delete(GUEST, DeleteRequest("root")),
    "delete all": lambda engine: engine.delete(GUEST, DeleteRequest(every=True)),
    "forget": lambda engine: engine.perform(GUEST, ForgetRequest("branch")),
    "restore": lambda engine: engine.perform(GUEST, RestoreRequest("branch")),
    "empty": lambda engine: engine.perform(GUEST, EmptyRequest(("branch",))),
    "repair": lambda engine: engine.repair(GUEST),
}
KINDS = ("i", "e", "ie", "ee")
PAIRS = [*itertools.product(KINDS, EACH, EACH)]
TRIPLES = [*itertools.product(KINDS, EACH, EACH, EACH)]
FEW = [("i", "revert", "delete"), ("e", "delete", "revert"), ("ie", "forget", "delete root"), ("e", "forget", "empty")]

Sequence = tuple[str, ...]
"""The kinds of the disks, and the operations."""


def after(kinds: str, operations: Sequence) -> SimulatedHost | None:
    """The world after these and some writes after each; None where one is refused."""
    host = with_history(kinds)
    for number, each in enumerate(operations):
        try:
            EACH[each](Engine(host))
        except Refused:
            return None
        scribble(host, 2 + number)
    return host


def tried(sequence: Sequence, deaths: tuple = DEATHS) -> bool:
    """Die everywhere in the last; whether there was anything to die in."""
    kinds, *first, last = sequence
    host = after(kinds, tuple(first))
    if host is None:
        return False
    before = truth(host)
    trial = host.fork()
    try:
        EACH[last](Engine(trial))
    except Refused:
        assert truth(trial) == before, sequence
        return False
    judge(host, EACH[last], deaths)
    return True


def cover(sequences: Iterable[Sequence], what: str, share: int) -> None:
    """As many as time allows of one of the shares into which all are dealt, so that every core can have one."""
    order = [*sequences]
    random.Random(0).shuffle(order)
    mine = order[share::SHARES]
    until = time.monotonic() + DEEP_S
    for sequence in mine:
        if time.monotonic() >= until:
            break
        COVERED[f"{what} {'tried' if tried(sequence) else 'refused'}"] += 1
    COVERED[f"{what} there are"] += len(mine)


@pytest.mark.parametrize("pair", FEW, ids=" ".join)
def test_a_few_pairs(pair: Sequence) -> None:
    assert tried(pair, (DEATHS[0], HOST_DEATHS[2]))
    if not DEEP_S:  # a deep run has them among all others
        COVERED["pairs tried"] += 1


@pytest.mark.parametrize("share", range(SHARES))
def test_as_many_pairs_as_time_allows(share: int) -> None:
    cover(PAIRS, "pairs", share)


@pytest.mark.parametrize("share", range(SHARES))
def test_as_many_sequences_of_three_as_time_allows(share: int) -> None:
    cover(TRIPLES, "threes", share)
