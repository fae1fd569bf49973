"""Two engine processes on one domain at once: one after the other, or one is told who is busy (design 5.6)."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost
from tests.crash.test_every_effect import with_history
from tests.discovery.interleave import allowed, at_once, judge_interleavings
from tests.discovery.judgements import PAIRS

TURNS = st.lists(st.integers(0, 60), max_size=40)


@pytest.fixture(scope="module", params=["i", "e"])
def host(request) -> SimulatedHost:
    return with_history(request.param)


@pytest.mark.parametrize("pair", PAIRS)
def test_whoever_is_preempted_anywhere(host, pair) -> None:
    judge_interleavings(host, PAIRS[pair])


@pytest.mark.parametrize("wait_s", [0, 600])
@pytest.mark.parametrize("pair", PAIRS)
def test_in_any_order_of_turns(host, pair, wait_s) -> None:
    endings = allowed(host, PAIRS[pair], waiting=bool(wait_s))

    @settings(max_examples=20)
    @given(TURNS)
    @example([])
    @example([1, 2] * 20)
    def holds(turns: list[int]) -> None:
        assert at_once(host, PAIRS[pair], turns, wait_s=wait_s) in endings

    holds()
