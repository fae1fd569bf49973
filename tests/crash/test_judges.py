"""The judges are not blind: what harms a snapshot they see, whatever else is in order."""

import pytest

from simulator.faults.damage import Garble, Vanish, damaged
from tests.crash.harness import GUEST
from tests.crash.running import running, seen, sound
from xensnap.engine.engine import Engine
from xensnap.errors import Damaged


@pytest.mark.parametrize("harm", [lambda path: Garble(path, b"\0"), Vanish], ids=["zeroed", "gone"])
def test_memory_of_another_content_is_not_what_was_saved(harm) -> None:
    host = running("ie")
    before = seen(host)
    memory = Engine(host).list(GUEST).contents.snapshots["first"].memory
    host = type(host)(damaged(host.world, harm(memory)))
    assert seen(host).held != before.held
    with pytest.raises(Damaged):
        sound(host, "its memory is harmed")
