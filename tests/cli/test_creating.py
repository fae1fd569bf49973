"""A snapshot in the place of an older one, and overlays that the operator has made."""

import subprocess
from pathlib import Path

import pytest


def names(shell) -> list[str]:
    return [each["name"] for each in shell.json("list", "guest1")["snapshots"]]


def test_a_snapshot_takes_the_place_of_an_older_one_of_its_name(both) -> None:
    for name in ("a", "lastgood", "b"):
        both.ok("create", "guest1", "-n", name)
    assert both.error("create", "guest1", "-n", "lastgood")["id"] == "name-taken"
    before = {each["name"]: each for each in both.json("list", "guest1")["snapshots"]}
    both.ok("create", "guest1", "-n", "lastgood", "--replace")
    after = {each["name"]: each for each in both.json("list", "guest1")["snapshots"]}
    assert set(after) == {"a", "lastgood", "b"}
    assert after["lastgood"]["disks"] != before["lastgood"]["disks"]
    assert {name: each["parent"] for name, each in after.items()} == {"a": None, "b": "a", "lastgood": "b"}
    assert all(each["intact"] for each in both.json("info", "guest1")["snapshots"])
    layers = {disk["vdev"]: disk["layers"] for disk in both.json("chain", "show", "guest1")["disks"]}
    assert len(layers["xvdb"]) == 4
    both.ok("create", "guest1", "-n", "new", "--replace")
    for name in ("lastgood", "a", "b", "new"):
        both.ok("revert", "guest1", name)
        both.ok("delete", "guest1", name)


def test_a_pinned_snapshot_is_not_replaced_by_mistake(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("pin", "guest1", "a", "--owner", "me")
    assert sim.error("create", "guest1", "-n", "a", "--replace")["id"] == "pinned"
    sim.ok("create", "guest1", "-n", "a", "--replace", "--accept", "pinned")
    assert sim.json("list", "guest1")["snapshots"][0]["pin"] is None


def test_a_replacement_can_be_planned_and_applied(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    plan = sim.ok("create", "guest1", "-n", "a", "--replace", "--dry-run", "--json")
    (sim.directory / "plan.json").write_text(plan)
    assert "in place of the old one" in sim.ok("apply", "plan.json")
    assert names(sim) == ["a"]


@pytest.fixture
def overlay(qemu, qemu_img):
    """An overlay for xvdb as an operator makes it, with any options changed."""
    place = Path(qemu.host.partition(":")[2])

    def made(name: str, size: str = "4M", base: str = "b.raw", layout: str = "raw") -> str:
        words = [qemu_img, "create", "-q", "-f", "qcow2", "-F", layout, "-b", base, place / name, size]
        subprocess.run(words, check=True)
        return str(place / name)

    return made


def test_an_overlay_that_is_there_is_gone_on_in(qemu, overlay) -> None:
    path = overlay("mine.qcow2")
    words = ["create", "guest1", "-n", "a", "--disk", f"xvdb=external:{path}"]
    assert qemu.error(*words)["id"] == "overlay-exists"
    qemu.ok(*words, "--reuse-external")
    assert next(disk["path"] for disk in qemu.json("info", "guest1")["disks"] if disk["vdev"] == "xvdb") == path
    qemu.ok("revert", "guest1", "a")
    qemu.ok("delete", "guest1", "a")


def test_one_that_is_not_as_it_must_be_is_refused_with_what_is_wrong(qemu, overlay, qemu_io) -> None:
    written = overlay("written.qcow2")
    subprocess.run([qemu_io, "-f", "qcow2", "-c", "write -q 0 64k", written], check=True)
    wrong = {
        overlay("size.qcow2", size="8M"): "its size is 8388608 bytes",
        overlay("base.qcow2", base="c.raw"): "it stands on",
        overlay("layout.qcow2", base="a.qcow2", layout="qcow2"): "it stands on",
        written: "not an empty one",
        str(Path(written).with_name("b.raw")): "no qcow2 image",
    }
    for path, cause in wrong.items():
        told = qemu.error("create", "guest1", "--disk", f"xvdb=external:{path}", "--reuse-external")
        assert told["id"] == "overlay-not-usable"
        assert cause in told["cause"]
    assert names(qemu) == []
