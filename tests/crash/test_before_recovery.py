"""An operation dies, and before anybody recovers the guest is started and writes: nobody told the operator not to."""

import pytest

from tests.crash.harness import GUEST, judge_where_the_guest_runs_first
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.request import DeleteRequest


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
@pytest.mark.parametrize("verb", ["create", "replace", "delete", "prune"])
def test_what_the_guest_writes_before_the_recovery_is_kept(kinds: str, verb: str) -> None:
    assert judge_where_the_guest_runs_first(with_history(kinds), OPERATIONS[verb]) > 50


@pytest.mark.parametrize("name", ["root", "leaf", "branch"])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_it_is_kept_in_every_deletion(kinds: str, name: str) -> None:
    request = DeleteRequest(name)
    assert judge_where_the_guest_runs_first(with_history(kinds), lambda engine: engine.delete(GUEST, request)) > 50
