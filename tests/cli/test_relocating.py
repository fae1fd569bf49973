"""`chain relocate`: images go to another directory with their snapshots, and the old files wait in the trash."""

import json
import subprocess
from pathlib import Path

from xensnap.formats import domain_toml


def paths(shell, vdev: str = "xvda") -> list[str]:
    disks = {disk["vdev"]: disk for disk in shell.json("chain", "show", "guest1")["disks"]}
    return [layer["path"] for layer in disks[vdev]["layers"]]


def test_the_old_files_wait_in_the_trash(sim) -> None:
    for kind in ("internal", "internal"):
        sim.ok("create", "guest1", "-n", f"{kind}-{len(paths(sim))}-{sim.ok('list', 'guest1').count(chr(10))}")
    plan = sim.ok("chain", "relocate", "guest1", "xvda", "/var", "--dry-run")
    assert "copy /images/guest1-xvda.qcow2 to /var/guest1-xvda.qcow2, and compare" in plan
    assert paths(sim) == ["/images/guest1-xvda.qcow2"]
    sim.ok("chain", "relocate", "guest1", "xvda", "/var")
    assert paths(sim) == ["/var/guest1-xvda.qcow2"]
    assert json.loads(sim.ok("doctor", "guest1", "--json"))["domains"][0]["findings"] == []
    (old,) = sim.json("trash", "list", "guest1")["parked"]
    assert old["path"].startswith("/images/guest1-xvda.qcow2.parked-")
    assert old["path"] in sim.ok("trash", "list", "guest1")
    assert sim.ok("trash", "empty", "guest1") == "deleted 0 from the trash, 1 left\n"
    assert sim.ok("trash", "empty", "guest1", old["path"]) == "deleted 1 from the trash, 0 left\n"
    again = sim.run("chain", "relocate", "guest1", "xvda", "/var")
    assert (again.exit_code, again.stdout) == (0, "nothing to relocate of guest1\n")


def test_real_images_are_copied_with_their_links(qemu) -> None:
    place = Path(qemu.host.partition(":")[2])
    other = place.parent / "other"
    other.mkdir()
    for name in ("one", "two"):
        qemu.ok("create", "guest1", "-n", name, "--type", "external")
    before = paths(qemu)
    qemu.ok("chain", "relocate", "guest1", "xvda", str(other))
    assert [Path(path).parent for path in paths(qemu)] == [other] * len(before)
    description = domain_toml.parse((place / "guest1.toml").read_text(), source="x", fresh_uuid="")
    assert {disk.vdev: Path(disk.path).parent for disk in description.disks}["xvda"] == other
    for path in paths(qemu)[:-1]:
        told = subprocess.run(["qemu-img", "info", "--output=json", path], capture_output=True, check=True)
        assert Path(json.loads(told.stdout)["full-backing-filename"]).parent == other
    assert qemu.ok("verify", "guest1")
    assert qemu.run("doctor", "guest1").exit_code == 0
    qemu.ok("revert", "guest1", "one")
    for name in ("two", "one"):
        qemu.ok("delete", "guest1", name)
    assert len(paths(qemu)) == 1
