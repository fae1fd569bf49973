"""A file of ours was removed and another has its name, and the number of its inode at once: it stays."""

from simulator import SimulatedHost, after_engine_crash
from simulator.disk.files import Inode
from simulator.faults.damage import Remake, damaged
from tests.crash.harness import GUEST, every_crash
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.engine import Engine

STRANGE = b"what somebody keeps under that name"


def overlays(host: SimulatedHost) -> set[str]:
    return {entry.path for entry in Engine(host).view(GUEST).state.ours if entry.role == "overlay"}


def test_what_is_not_the_file_that_we_made_is_not_removed() -> None:
    host = with_history("e")
    ended = host.fork()
    OPERATIONS["revert"](Engine(ended))
    (going,) = overlays(host) - overlays(ended)
    tried = 0
    for point in every_crash(host, OPERATIONS["revert"]):
        died = SimulatedHost(after_engine_crash(point.world))
        if going in overlays(died) or died.world.fs.find(going) is None:
            continue
        tried += 1
        strange = SimulatedHost(damaged(died.world, Remake(going, STRANGE)))
        Engine(strange).recover(GUEST)
        found = strange.world.fs.inodes[strange.world.fs.number(going)]
        assert isinstance(found, Inode)
        assert found.stored == STRANGE, f"{point!r}"
        assert Engine(died).recover(GUEST)
        assert died.world.fs.find(going) is None, f"{point!r}"
    assert tried > 2
