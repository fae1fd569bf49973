"""A tool or a toolstack that says it has done its work, and has done nothing: the engine must not believe it.

Either the operation ends with an error and the host is as before, or everything has come out right all the same.
"""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, scribble, truth
from tests.crash.test_every_effect import with_history
from tests.discovery.judgements import CRASHED
from tests.discovery.mutants import Instead, nothing
from xensnap.engine.engine import Engine
from xensnap.errors import XensnapError

BELIEVED = pytest.mark.xfail(
    reason="the engine believes the return code: after a commit no table tells that the base holds what the overlay "
    "held, since both have clusters of their own; only contents would, and to compare those is to read all of them"
)


def lying(host: SimulatedHost, port: str, method: str) -> SimulatedHost:
    """A fork of the host on which this method succeeds and does nothing."""
    fork = host.fork()
    setattr(fork, port, Instead(getattr(fork, port), **{method: nothing}))
    return fork


@pytest.mark.parametrize(
    ("port", "method", "kinds", "verb"),
    [
        ("images", "snapshot_create", "i", "create"),
        ("images", "snapshot_apply", "i", "revert"),
        ("images", "snapshot_delete", "i", "delete"),
        ("images", "create_overlay", "e", "create"),
        ("images", "create_overlay", "e", "revert"),
        pytest.param("images", "commit", "e", "delete root", marks=BELIEVED),
        ("images", "rebase", "e", "delete root"),
        ("images", "rebase", "e", "delete branch"),
        ("toolstack", "set_layers", "e", "create"),
        ("toolstack", "set_layers", "e", "revert"),
    ],
)
def test_a_silent_failure_is_noticed(port: str, method: str, kinds: str, verb: str) -> None:
    host = with_history(kinds)
    honest = host.fork()
    CRASHED[verb](Engine(honest))
    liar = lying(host, port, method)
    before = truth(host)
    try:
        CRASHED[verb](Engine(liar))
    except XensnapError:
        healed = SimulatedHost(liar.world)
        Engine(healed).recover(GUEST)
        assert truth(healed) in (before, truth(honest))
    else:
        for each in (liar, honest):
            scribble(each, 2)  # the guest goes on, which must touch nothing but its active layers
        assert truth(liar) == truth(honest)
