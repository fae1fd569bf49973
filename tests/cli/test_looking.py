"""Looking closer: the space that snapshots take, and what changed between them; the same on both hosts."""

import json
import struct
import subprocess
from pathlib import Path

import pytest

CLUSTER = 65536


@pytest.fixture
def write(both, qemu_io):
    """Let the guest write into a disk of the domain, which is off."""

    def written(vdev: str, offset: int, length: int) -> None:
        if both.host.startswith("sim"):
            both.ok("sim", "write", "guest1", vdev, str(offset), str(length))
            return
        disk = next(each for each in both.json("info", "guest1")["disks"] if each["vdev"] == vdev)
        words = [qemu_io, "-f", disk["format"], "-c", f"write -q -P 3 {offset} {length}", disk["path"]]
        subprocess.run(words, check=True)

    return written


def test_space_is_told_by_snapshot_and_what_was_written_since(both, write) -> None:
    write("xvda", 0, 4 * CLUSTER)
    both.ok("create", "guest1", "-n", "a")
    write("xvda", 0, CLUSTER)
    write("xvdb", 0, 2 * CLUSTER)
    told = both.json("du", "guest1")
    space = {disk["vdev"]: disk["space"] for disk in told["snapshots"][0]["disks"]}
    assert space["xvda"] == {
        "held_bytes": 4 * CLUSTER,
        "exclusive_bytes": CLUSTER,
        "shared_bytes": 3 * CLUSTER,
        "reclaimable_bytes": CLUSTER,
    }
    assert told["since_bytes"] == {"xvda": CLUSTER, "xvdb": 2 * CLUSTER}
    assert both.json("info", "guest1")["since_bytes"] == told["since_bytes"]
    text = both.ok("du", "guest1", "--disks")
    assert "written since a: xvda 64 KiB, xvdb 128 KiB" in text
    assert "  since then   xvda 64 KiB, xvdb 128 KiB\n" in both.ok("info", "guest1")


def test_what_changed_is_told_by_block_and_by_line(both, write) -> None:
    both.ok("create", "guest1", "-n", "a")
    write("xvda", 2 * CLUSTER, CLUSTER)
    write("xvdb", 3 * CLUSTER, CLUSTER)
    both.ok("create", "guest1", "-n", "b")
    told = both.json("diff", "guest1", "a", "b")
    assert {disk["vdev"]: disk["stretches"] for disk in told["disks"]} == {
        "xvda": [{"offset_bytes": 2 * CLUSTER, "length_bytes": CLUSTER}],
        "xvdb": [{"offset_bytes": 3 * CLUSTER, "length_bytes": CLUSTER}],
    }
    assert any(line.startswith("+") and "qcow2" in line for line in told["configuration"])
    assert "xvda: 64 KiB changed in one place\n  0x20000 65536\n" in both.ok("diff", "guest1", "a", "b", "--blocks")
    assert both.json("diff", "guest1", "a", "b", "--config")["disks"] == []
    assert both.ok("diff", "guest1", "b", "b") == "xvda: the same\nxvdb: the same\n"


def test_a_disk_that_only_one_of_them_has_is_told(both) -> None:
    both.ok("create", "guest1", "-n", "a", "--disk-only", "--exclude", "xvdb")
    both.ok("create", "guest1", "-n", "b")
    assert "xvdb: only in the second" in both.ok("diff", "guest1", "a", "b")
    assert "xvdb: only in the first" in both.ok("diff", "guest1", "b", "a")


def test_a_check_tells_all_reasons_for_each_disk_and_each_way(both) -> None:
    told = both.json("check", "guest1")
    assert told["possible"]
    assert {disk["vdev"]: disk["left_out"] for disk in told["disks"]} == {"xvda": None, "xvdb": None, "hdc": "cdrom"}
    kinds = {disk["vdev"]: [each["id"] for each in disk["internal"]] for disk in told["disks"]}
    assert kinds == {"xvda": [], "xvdb": ["not-qcow2"], "hdc": []}
    modes = {mode["options"]: mode["possible"] for mode in told["modes"]}
    assert modes == {"": True, "--disk-only --type internal": False, "--disk-only --type external": True}
    both.ok("create", "guest1", "-n", "a")
    told = both.json("check", "guest1")
    assert {mode["options"]: mode["possible"] for mode in told["modes"]}["--disk-only --type external"] is False
    text = both.ok("check", "guest1")
    assert "kind-is-sticky: xvda has internal snapshots already" in text


def test_a_domain_that_cannot_be_snapshotted_ends_the_check_with_6(sim) -> None:
    sim.ok("sim", "domain", "add", "bare")
    result = sim.run("check", "bare")
    assert result.exit_code == 6
    assert "nothing-to-snapshot" in result.stdout


def test_verify_finds_what_was_done_behind_our_back(qemu, qemu_img) -> None:
    place = Path(qemu.host.partition(":")[2])
    qemu.ok("create", "guest1", "-n", "a")
    qemu.ok("create", "guest1", "-n", "b")
    assert "2 images checked" not in qemu.ok("verify", "guest1")
    subprocess.run([qemu_img, "snapshot", "-d", "a", place / "a.qcow2"], check=True)
    result = qemu.run("verify", "guest1", "--json")
    told = {each["name"]: each for each in json.loads(result.stdout)["snapshots"]}
    assert result.exit_code == 1
    assert (told["a"]["intact"], told["b"]["intact"]) == (False, True)
    assert "holds something else" in told["a"]["findings"][0]["told"]
    assert qemu.run("verify", "guest1", "b").exit_code == 0


def test_verify_counts_what_a_snapshot_stands_on(qemu) -> None:
    """A header says nothing of tables: the image that holds the snapshot is whole, and the one below it is not."""
    place = Path(qemu.host.partition(":")[2])
    for name in ("a", "b"):
        qemu.ok("create", "guest1", "-n", name, "--type", "external")
    (base, above) = (each["disks"][0]["image"] for each in qemu.json("list", "guest1")["snapshots"])
    assert Path(base) == place / "a.qcow2"
    with Path(base).open("r+b") as image:
        image.seek(48)
        (table,) = struct.unpack(">Q", image.read(8))
        image.seek(table)
        image.write(bytes(8))  # nothing counts the clusters of the header and of the tables any more
    told = {each["name"]: each for each in json.loads(qemu.run("verify", "guest1", "--json").stdout)["snapshots"]}
    assert not told["a"]["intact"]
    assert not told["b"]["intact"]
    assert base in told["b"]["findings"][0]["told"] != above


def test_a_chain_tells_who_holds_each_layer_and_is_made_shorter(both) -> None:
    both.ok("create", "guest1", "-n", "a")
    both.ok("create", "guest1", "-n", "b")
    layers = {disk["vdev"]: disk["layers"] for disk in both.json("chain", "show", "guest1")["disks"]}
    assert [layer["role"] for layer in layers["xvdb"]] == ["active", "frozen", "frozen"]
    assert [layer["snapshots"] for layer in layers["xvdb"]] == [[], ["b"], ["a"]]
    assert [layer["snapshots"] for layer in layers["xvda"]] == [["a", "b"]]
    assert both.ok("chain", "compact", "guest1") == "nothing to merge away\n"


def test_what_could_not_be_merged_then_is_merged_later(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("create", "guest1", "-n", "b")
    sim.ok("revert", "guest1", "a")
    sim.ok("delete", "guest1", "a")
    hidden = sim.json("chain", "show", "guest1")["hidden"]
    assert [each["why"] for each in hidden] == ["2 images stand on it"]
    assert "stays: /images/guest1-xvdb.raw" in sim.ok("chain", "compact", "guest1")
    sim.ok("delete", "guest1", "b")
    assert sim.json("chain", "show", "guest1")["hidden"] == []
    assert [len(disk["layers"]) for disk in sim.json("chain", "show", "guest1")["disks"]] == [1, 1, 1]


def test_snapshots_go_while_the_guest_runs_and_leave_its_own_images_alone(sim) -> None:
    for name in ("a", "b"):
        sim.ok("create", "guest1", "-n", name)
    sim.ok("domain", "start", "guest1")
    for name in ("a", "b"):
        result = sim.run("delete", "guest1", name)
        assert (result.exit_code, result.stderr) == (0, "")
    assert sim.json("chain", "show", "guest1")["hidden"] == []
    assert [len(disk["layers"]) for disk in sim.json("chain", "show", "guest1")["disks"]] == [1, 1, 1]


def test_each_host_tells_what_it_can_do(both) -> None:
    able = {each["name"]: each["there"] for each in both.json("capabilities")["capabilities"]}
    assert able["internal"]
    assert able["external"]
