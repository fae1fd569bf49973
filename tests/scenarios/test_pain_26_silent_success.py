"""The tool ended with 0 and had done nothing: the guest ran without its disk, the snapshot was none.

`xl restore` says "successful" for a guest whose disk QEMU could not open.
Source: Corsinvest/cv4pve-autosnap#22, hashicorp/vagrant#8653, retspen/webvirtmgr#233.
"""

import pytest

from simulator import SimulatedHost
from simulator.checkers.guests import torn
from simulator.faults import damage as d
from tests.crash.running import OPERATIONS, running, seen, sound
from tests.discovery.mutants import Instead, nothing
from tests.scenarios.stage import GUEST
from xensnap.engine.engine import Engine
from xensnap.errors import XensnapError


def test_a_script_believes_xl_and_has_a_guest_without_its_disk() -> None:
    host = running("e")
    assert host.xl_save(GUEST, "/images/memory", then="-p") == ""
    Engine(host).stop(GUEST)
    host = SimulatedHost(d.damaged(host.world, d.Garble(Engine(host).view(GUEST).domain.disks[0].path)))
    assert host.xl_restore(GUEST, "/images/memory") == ""
    assert [finding.rule for finding in torn(host.world)] == ["disk-missing"]


@pytest.mark.parametrize(
    ("port", "method", "kinds", "verb"),
    [
        ("blocks", "transaction", "i", "disks"),
        ("blocks", "transaction", "e", "disks"),
        ("blocks", "transaction", "ie", "checkpoint"),
        ("blocks", "delete_internal", "i", "delete"),
        ("toolstack", "set_layers", "e", "disks"),
    ],
)
def test_the_engine_looks_whether_it_was_done(port: str, method: str, kinds: str, verb: str) -> None:
    host = running(kinds)
    before, honest = seen(host), host.fork()
    OPERATIONS[verb](Engine(honest))
    liar = host.fork()
    setattr(liar, port, Instead(getattr(liar, port), **{method: nothing}))
    with pytest.raises(XensnapError):
        OPERATIONS[verb](Engine(liar))
    healed = SimulatedHost(liar.world)
    Engine(healed).recover(GUEST)
    assert seen(healed) in (before, seen(honest))
    sound(healed, verb)
