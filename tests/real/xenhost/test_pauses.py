"""How long a guest stands still, measured inside it, and a command takes, against the bare ones: side by side.

The guest's clock goes by instructions (see `machine`), so the figures do not tell how busy this machine is, and are no
times of real hardware: only the ratios count.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.real.xenhost.guests import PVH, Guest
from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.report import Figure

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


def bare_checkpoint(lab: XenLab) -> None:
    """What a script would do by hand: save, take the disks while the guest is paused, let it go on."""
    lab.xl("save", "-p", lab.guest.name, "/var/tmp/by-hand.save")
    bare_transaction(lab, "by-hand")
    lab.xl("unpause", lab.guest.name)
    lab.dom0.run("rm", "/var/tmp/by-hand.save")


def idle_gaps_us(lab: XenLab) -> dict[str, int]:
    """How long a guest that does nothing else stands still."""
    deeds = {
        "by hand": lambda: bare_checkpoint(lab),
        "checkpoint": lambda: ours(lab, "idle"),
        "live checkpoint": lambda: ours(lab, "idle-live", "--live"),
    }
    found = {}
    for deed, do in deeds.items():
        gap_us(lab)
        do()
        found[deed] = gap_us(lab)
    return found


def goals(found: Mapping[str, Mapping[str, float]], idle: Mapping[str, int]) -> list[Figure]:
    by_hand = "`xl save -p`, the bare transaction, `xl unpause`"
    disks = found["disk-only"]["stall_ms"] / found["transaction"]["stall_ms"]
    return [
        Figure(
            "pause", "disk-only: the longest read and write of a guest that works", "the bare transaction", disks, 1.2
        ),
        Figure("pause", "checkpoint of an idle guest", by_hand, idle["checkpoint"] / idle["by hand"], 1.05),
        Figure("pause", "the same, live", "checkpoint", idle["live checkpoint"] / idle["checkpoint"], 0.2),
    ]


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
    idle = idle_gaps_us(lab)
    lab.face.ask("work xvda xvdb")
    found = {}
    for number, (deed, do) in enumerate(deeds.items()):
        gap_us(lab), stall_us(lab)
        took_s = do(f"s{number}")
        found[deed] = {"gap_ms": gap_us(lab) / 1e3, "stall_ms": stall_us(lab) / 1e3, "took_s": took_s}
    lab.face.works_well()
    record_property("pauses", json.dumps(found))
    record_property("pause_goals", json.dumps(goals(found, idle)))
    assert lab.running()
    assert all(value > 0 for row in found.values() for value in (*row.values(), *idle.values()))
    assert found["live checkpoint"]["gap_ms"] < found["checkpoint"]["gap_ms"]
    assert idle["live checkpoint"] < idle["checkpoint"]


def test_the_pause_of_a_small_guest(guest: Guest, lab: XenLab) -> None:
    """A plain checkpoint stops the guest for about as long as the file takes to be written, and disk-only never."""
    gap_us(lab)
    ours(lab, "disks", "--disk-only")
    disk_only = gap_us(lab)
    ours(lab, "all")
    assert disk_only < gap_us(lab)
