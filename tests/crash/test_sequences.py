"""Two operations one after the other, death at every effect of the second: each starts from what the first has left.

Ordinary runs try a few pairs. With `XENSNAP_DEEP_S` as many as come to an end in so many seconds are tried, in an order
that does not favour any, and the share that was covered is told at the end.
"""

import itertools
import os
import random
import time

import pytest

from simulator import SimulatedHost
from tests.crash.harness import COVERED, DEATHS, GUEST, HOST_DEATHS, Operation, judge, scribble, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, EmptyRequest, ForgetRequest, RestoreRequest
from xensnap.errors import Refused

DEEP_S = float(os.environ.get("XENSNAP_DEEP_S", "0"))

EACH: dict[str, Operation] = {
    **OPERATIONS,
    "create again": lambda engine: engine.create(GUEST, CreateRequest("again")),
    "delete root": lambda engine: engine.delete(GUEST, DeleteRequest("root")),
    "delete all": lambda engine: engine.delete(GUEST, DeleteRequest(every=True)),
    "forget": lambda engine: engine.perform(GUEST, ForgetRequest("branch")),
    "restore": lambda engine: engine.perform(GUEST, RestoreRequest("branch")),
    "empty": lambda engine: engine.perform(GUEST, EmptyRequest("branch")),
    "repair": lambda engine: engine.repair(GUEST),
}
KINDS = ("i", "e", "ie", "ee")
PAIRS = [*itertools.product(KINDS, EACH, EACH)]
FEW = [("i", "revert", "delete"), ("e", "delete", "revert"), ("ie", "forget", "delete root"), ("e", "forget", "empty")]


def after(kinds: str, first: str) -> SimulatedHost | None:
    """The world after the first operation and some writes; None where it is refused."""
    host = with_history(kinds)
    try:
        EACH[first](Engine(host))
    except Refused:
        return None
    scribble(host, 2)
    return host


def tried(pair: tuple[str, str, str], deaths: tuple = DEATHS) -> None:
    kinds, first, second = pair
    host = after(kinds, first)
    if host is None:
        COVERED["pairs refused"] += 1
        return
    before = truth(host)
    trial = host.fork()
    try:
        EACH[second](Engine(trial))
    except Refused:
        assert truth(trial) == before, pair
        COVERED["pairs refused"] += 1
        return
    judge(host, EACH[second], deaths)
    COVERED["pairs tried"] += 1


@pytest.mark.parametrize("pair", FEW, ids=" ".join)
def test_a_few_pairs(pair: tuple[str, str, str]) -> None:
    tried(pair, (DEATHS[0], HOST_DEATHS[2]))


def test_as_many_pairs_as_time_allows() -> None:
    order = PAIRS.copy()
    random.Random(0).shuffle(order)
    until = time.monotonic() + DEEP_S
    for pair in order:
        if time.monotonic() >= until:
            break
        tried(pair)
    else:
        COVERED["all pairs"] += 1
    COVERED["pairs there are"] = len(PAIRS)
