"""How long a guest stands still, measured inside it, against the bare commands: `--xen-figures FILE` keeps the ratios.

The guest's clock goes by instructions (see `machine`), so the figures do not tell how busy this machine is, and are no
times of real hardware: only the ratios count.
"""

import json
from dataclasses import replace
from statistics import median

import pytest

from tests.real.xenhost.guests import PVH, Guest
from tests.real.xenhost.lab import XenLab

BIG = replace(PVH, name="pvh512", memory_mib=512, uuid="55555555-5555-4555-8555-555555555555")
ROUNDS = 3


def gap_us(lab: XenLab) -> int:
    return int(lab.face.ask("gap"))


def stall_us(lab: XenLab) -> int:
    """The longest that one read and write of the worker took."""
    return int(lab.face.ask("worked").split()[6])


def bare_transaction(lab: XenLab, name: str) -> None:
    actions = [
        {"type": "blockdev-snapshot-internal-sync", "data": {"device": f"{vdev}-qcow2", "name": name}}
        for vdev in lab.face.writable
    ]
    *_, answer = lab.dom0.qmp(lab.monitor(), {"execute": "transaction", "arguments": {"actions": actions}})
    assert answer["message"] == {"return": {}}


def bare_save(lab: XenLab, name: str) -> None:
    lab.xl("save", "-c", lab.guest.name, f"/var/tmp/{name}.save")
    lab.dom0.run("rm", f"/var/tmp/{name}.save")


def ours(lab: XenLab, name: str, *options: str) -> None:
    lab.xensnap("create", lab.guest.name, "--name", name, *options)


@pytest.mark.parametrize("guest", [pytest.param(BIG, id="pvh512")])
def test_pauses_side_by_side(lab: XenLab, record_property) -> None:
    """Each in turn, so that all meet the same host; the median of a few."""
    deeds = {
        "transaction": lambda name: bare_transaction(lab, name),
        "disk-only": lambda name: ours(lab, name, "--disk-only"),
        "xl save -c": lambda name: bare_save(lab, name),
        "checkpoint": lambda name: ours(lab, name),
        "live checkpoint": lambda name: ours(lab, name, "--live"),
    }
    lab.face.ask("work xvda xvdb")
    gaps: dict[str, list[int]] = {deed: [] for deed in deeds}
    stalls: dict[str, list[int]] = {deed: [] for deed in deeds}
    for number in range(ROUNDS):
        for index, (deed, do) in enumerate(deeds.items()):
            gap_us(lab), stall_us(lab)
            do(f"s{number}{index}")
            gaps[deed].append(gap_us(lab))
            stalls[deed].append(stall_us(lab))
    lab.face.works_well()
    found = {deed: {"gap_ms": median(gaps[deed]) / 1e3, "stall_ms": median(stalls[deed]) / 1e3} for deed in deeds}
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
