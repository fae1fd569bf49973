"""What a revert takes, leaves and keeps: one disk, disks without memory, and what would be given up."""

import json
from pathlib import Path

import pytest

from xensnap.engine.settings import read as settings


def active(shell, vdev: str) -> str:
    return next(disk["path"] for disk in shell.json("info", "guest1")["disks"] if disk["vdev"] == vdev)


def read(shell, vdev: str) -> list[int]:
    return [run["write"] for run in shell.json("sim", "read", "guest1", vdev)["runs"]]


@pytest.fixture
def written(sim):
    """Both disks written, snapshotted, and written again."""
    for vdev in ("xvda", "xvdb"):
        sim.ok("sim", "write", "guest1", vdev, "0", "64k")
    sim.ok("create", "guest1", "-n", "a")
    for vdev in ("xvda", "xvdb"):
        sim.ok("sim", "write", "guest1", vdev, "0", "64k")
    return sim


def test_one_disk_goes_back_and_the_other_stays(written) -> None:
    text = written.run("revert", "guest1", "a", "--only", "xvdb").stderr
    assert "is not in the snapshot" not in text
    assert read(written, "xvda")[0] == 3
    assert read(written, "xvdb")[0] == 2
    written.ok("revert", "guest1", "a")
    assert read(written, "xvda")[0] == 1


def test_a_disk_that_the_snapshot_does_not_cover_is_told(written) -> None:
    told = written.error("revert", "guest1", "a", "--only", "hdc", "--only", "xvda")
    assert told["id"] == "disk-not-in-snapshot"


def test_disks_without_memory_boot_the_guest_or_leave_it_off(sim) -> None:
    sim.ok("domain", "start", "guest1")
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("revert", "guest1", "a", "--disks-only", "--then", "stopped")
    assert sim.json("list", "guest1")["domain"]["state"] == "off"
    sim.ok("revert", "guest1", "a", "--disks-only")
    assert sim.json("list", "guest1")["domain"]["state"] == "running"
    plan = sim.ok("revert", "guest1", "a", "--disks-only", "--dry-run")
    assert "restore" not in plan


def test_what_is_given_up_can_be_kept(written) -> None:
    written.ok("revert", "guest1", "a", "--save-current", "broken")
    assert read(written, "xvda")[0] == 1
    tree = {each["name"]: each for each in written.json("tree", "guest1")["snapshots"]}
    assert (tree["broken"]["parent"], tree["a"]["current"]) == ("a", True)
    written.ok("revert", "guest1", "broken")
    assert read(written, "xvda")[0] == 3
    assert "'broken' of what there is now" in written.ok(
        "revert", "guest1", "a", "--save-current", "again", "--dry-run"
    ).replace("'again'", "'broken'")
    assert written.error("revert", "guest1", "a", "--save-current", "broken")["id"] == "name-taken"
    assert written.error("revert", "guest1", "nothing", "--save-current", "x")["id"] == "no-such-snapshot"
    assert [each["name"] for each in written.json("list", "guest1")["snapshots"]] == ["a", "broken"]


def test_what_is_given_up_waits_in_the_trash_until_it_is_taken_back(written) -> None:
    plan = written.ok("revert", "guest1", "a", "--dry-run")
    assert "keep what is given up in the trash as" in plan
    written.ok("revert", "guest1", "a")
    (kept,) = written.json("trash", "list", "guest1")["snapshots"]
    assert kept["name"].startswith("given-up-")
    assert [each["name"] for each in written.json("list", "guest1")["snapshots"]] == ["a"]
    assert "what the revert to 'a' gave up" in written.ok("undo", "guest1", "--dry-run")
    written.ok("undo", "guest1")
    assert read(written, "xvda")[0] == 3
    assert written.json("current", "guest1")["current"] == kept["name"]
    written.ok("undo", "guest1")
    assert read(written, "xvda")[0] == 1


def test_what_is_given_up_for_good_leaves_nothing(written) -> None:
    assert "trash" not in written.ok("revert", "guest1", "a", "--no-undo", "--dry-run")
    written.ok("revert", "guest1", "a", "--no-undo")
    assert written.ok("trash", "list", "guest1") == "the trash is empty\n"
    assert written.error("undo", "guest1")["id"] == "cannot-undo"


def test_a_deletion_tells_that_it_lets_go_what_was_given_up(written) -> None:
    written.ok("revert", "guest1", "a")
    assert "cannot be had back any more" in written.ok("delete", "guest1", "a", "--dry-run")
    written.ok("delete", "guest1", "a")
    assert written.json("trash", "list", "guest1")["snapshots"] == []


def test_the_snapshot_that_the_domain_is_at_needs_no_name(sim) -> None:
    assert sim.error("revert", "guest1", "--current")["id"] == "no-current-snapshot"
    for name in ("a", "b"):
        sim.ok("create", "guest1", "-n", name)
    for verb in ("revert", "delete"):
        assert sim.error(verb, "guest1", "a", "--current")["id"] == "contradiction"
    assert sim.error("delete", "guest1", "--all", "--current")["id"] == "contradiction"
    assert sim.json("revert", "guest1", "--current")["snapshot"] == "b"
    assert sim.json("delete", "guest1", "--current")["deleted"] == ["b"]
    assert sim.json("delete", "guest1", "--current")["deleted"] == ["a"]


def test_a_plan_file_holds_one_plan(written) -> None:
    words = ["revert", "guest1", "a", "--save-current", "b", "--dry-run"]
    assert written.error(*words)["id"] == "two-plans"


def test_a_configuration_that_is_another_by_now_is_told_before_it_is_reverted(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "a")
    place = Path(qemu.host.partition(":")[2]) / "guest1.toml"
    place.write_text(place.read_text().replace("name =", 'memory = "64M"\nname =', 1))
    text = qemu.ok("revert", "guest1", "a", "--dry-run")
    assert 'the configuration is not what it was then, and stays what it is now: memory: unset -> "64M"\n' in text


def test_settings_are_those_that_are_not_about_disks() -> None:
    text = 'name = "g"\nmemory = 64\ndisk = [ "a,b" ]\nvif = [ "" ]\n'
    assert settings(text) == {"name": '"g"', "memory": "64", "vif[0]": '""'}
    assert settings(json.dumps({"c_info": {"name": "g"}, "disks": [{"vdev": "xvda"}], "nics": [1]}) + "\0") == {
        "c_info.name": '"g"',
        "nics[0]": "1",
    }
    assert settings("") == {}
