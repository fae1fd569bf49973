"""One snapshot was gone, and the list came out empty; a parent that pointed at itself let it run for ever.

Source: Corsinvest/cv4pve-admin#346, OpenNebula/one#4017, and Proxmox' own guard against a "bogus snapshot cycle".
"""

import json
from collections.abc import Iterator
from itertools import islice

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.doctor.damages import UUID, off
from tests.scenarios.stage import GUEST
from xensnap.engine import tree
from xensnap.engine.engine import Engine


def record(name: str) -> str:
    return f"{SimulatedHost.root}/{UUID}/snapshotdata-d.{name}.libxl-json"


def damaged(name: str, parent: str) -> SimulatedHost:
    host = off("i")
    return SimulatedHost(d.damaged(host.world, d.Edit(record(name), ("parent",), parent)))


def naive_ancestors(host: SimulatedHost, name: str) -> Iterator[str]:
    """By the records as they are on disk, one after the other."""
    while parent := json.loads(host.run(host.files.read(record(name))))["parent"]:
        yield parent
        name = parent


def test_a_script_that_follows_parents_never_ends() -> None:
    host = damaged("root", "leaf")
    assert len(list(islice(naive_ancestors(host, "leaf"), 100))) == 100


def test_the_engine_lists_all_and_the_doctor_cuts_the_circle() -> None:
    for name, parent in (("root", "leaf"), ("root", "root"), ("leaf", "never")):
        engine = Engine(damaged(name, parent))
        snapshots = engine.list(GUEST).contents.snapshots
        assert {each for _, each in tree.walk(snapshots)} == set(snapshots)
        engine.repair(GUEST)
        assert not engine.diagnose(GUEST).found
