"""Looking closer: the space that snapshots take, and what changed between them; the same on both hosts."""

import subprocess

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
