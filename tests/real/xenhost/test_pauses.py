"""How long a guest stands still, measured inside it, and a command takes, against the bare ones: side by side.

The guest's clock goes by instructions (see `machine`), so the figures do not tell how busy this machine is, and are no
times of real hardware: only the ratios count.
"""

import json
from dataclasses import replace

import pytest

from tests.real.xenhost.guests import PVH, Guest
from tests.real.xenhost.lab import XenLab

BIG = replace(PVH, name="pvh512", memory_mib=512, uuid="55555555-5555-4555-8555-555555555555")


def gap_us(lab: XenLab) -> int:
    return int(lab.face.ask("gap"))


def stall_us(lab: XenLab) -> int:
    """The longest that one read and write of the worker took."""
    return int(lab.face.ask("worked").split()[6])


def bare_transaction(lab: XenLab, name: str) -> float:
    actions = [
        {"type": "blockdev-snapshot-internal-sync", "data": {"device": f"{vdev}-qcow2", "name": name}}
        for vdev in lab.face.writable
    ]
    *_, answer = lab.dom0.qmp(lab.monitor(), {"execute": "transaction", "arguments": {"actions": actions}})
    assert answer["message"] == {"return": {}}
    return float(answer["seconds"])


def bare_save(lab: XenLab, name: str) -> float:
    done = lab.dom0.try_run("xl", "save", "-c", lab.guest.name, f"/var/tmp/{name}.save", timeout_s=90).must()
    lab.dom0.run("rm", f"/var/tmp/{name}.save")
    return done.seconds


def ours(lab: XenLab, name: str, *options: str) -> float:
    return lab.try_xensnap("create", lab.guest.name, "--name", name, *options).must().seconds


@pytest.mark.parametrize("guest", [pytest.param(BIG, id="pvh512")])
def test_pauses_side_by_side(lab: XenLab, record_property) -> None:
    """Each in turn, on one host. The guest's clock goes by instructions, so that a second round would tell the same."""
    deeds = {
        "transaction": lambda name: bare_transaction(lab, name),
        "disk-only": lambda name: ours(lab, name, "--disk-only"),
        "xl save -c": lambda name: bare_save(lab, name),
        "checkpoint": lambda name: ours(lab, name),
        "live checkpoint": lambda name: ours(lab, name, "--live"),
    }
    lab.face.ask("nap 1000")
    lab.face.ask("work xvda xvdb")
    found = {}
    for number, (deed, do) in enumerate(deeds.items()):
        gap_us(lab), stall_us(lab)
        took_s = do(f"s{number}")
        found[deed] = {"gap_ms": gap_us(lab) / 1e3, "stall_ms": stall_us(lab) / 1e3, "took_s": took_s}
    lab.face.works_well()
    record_property("pauses", json.dumps(found))
    assert lab.running()
    assert all(value > 0 for row in found.values() for value in row.values())


def test_the_pause_of_a_small_guest(guest: Guest, lab: XenLab) -> None:
    """A plain checkpoint stops the guest for about as long as the file takes to be written, and disk-only never."""
    gap_us(lab)
    ours(lab, "disks", "--disk-only")
    disk_only = gap_us(lab)
    ours(lab, "all")
    assert disk_only < gap_us(lab)
