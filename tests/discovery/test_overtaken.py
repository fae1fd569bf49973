"""Somebody removes the lock file that an engine holds, and another engine begins: the first one stops (design 5)."""

import pytest

from tests.crash.harness import GUEST
from tests.crash.test_every_effect import with_history
from tests.discovery.interleave import AsyncOperation, judge_overtaken
from tests.discovery.judgements import PAIRS

RECOVERING: AsyncOperation = lambda engine: engine.recover(GUEST)  # noqa: E731 - as those that it stands beside
TURNED = {f"{name}, turned": PAIRS[name][::-1] for name in ("create and delete", "revert and delete")}
RECOVERED = {
    f"{verb} and recover": (PAIRS["create and delete"][n], RECOVERING) for n, verb in enumerate(("create", "delete"))
}


@pytest.mark.parametrize("kinds", ["i", "e"])
@pytest.mark.parametrize("pair", [*PAIRS, *TURNED, *RECOVERED])
def test_whoever_is_overtaken_stops(kinds: str, pair: str) -> None:
    judge_overtaken(with_history(kinds), (PAIRS | TURNED | RECOVERED)[pair])
