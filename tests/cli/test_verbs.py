"""The verbs from end to end: the same commands do the same on a simulated host and on real images."""

import json
import subprocess
from pathlib import Path

import pytest


def images(shell):
    return Path(shell.host.partition(":")[2])


def test_a_snapshot_is_taken_listed_reverted_to_and_deleted(both) -> None:
    assert both.ok("create", "guest1", "-n", "before") == "done: create snapshot 'before' of guest1\n"
    assert both.ok("list", "guest1", "--name-only") == "before\n"
    assert both.ok("current", "guest1") == "before\n"
    both.ok("create", "guest1", "--name", "after")
    assert both.ok("revert", "guest1", "before") == "done: revert guest1 to snapshot 'before'\n"
    assert both.ok("current", "guest1") == "before\n"
    assert both.ok("delete", "guest1", "after") == "done: delete snapshot 'after' of guest1\n"
    assert both.ok("list", "guest1", "--name-only") == "before\n"


def test_the_names_of_the_2014_design_work_too(both) -> None:
    both.ok("snapshot-create", "-n", "before", "--type", "auto", "guest1")
    assert "before" in both.ok("snapshot-list", "-l", "guest1")
    assert "before" in both.ok("snapshot-list", "-n", "before", "guest1")
    both.ok("snapshot-revert", "-n", "before", "guest1")
    both.ok("snapshot-delete", "-n", "before", "guest1")
    assert both.ok("list", "guest1", "--name-only") == ""


def test_a_snapshot_without_a_name_is_called_by_its_second(both) -> None:
    name = both.json("create", "guest1")["snapshot"]
    assert name.isdecimal()
    assert both.json("list", "guest1")["snapshots"][0]["creation_time_s"] == int(name)


def test_what_a_guest_wrote_comes_back(sim) -> None:
    sim.ok("sim", "write", "guest1", "xvda", "0", "64k")
    sim.ok("sim", "write", "guest1", "xvdb", "1M", "64k")
    before = [sim.json("sim", "read", "guest1", vdev)["runs"] for vdev in ("xvda", "xvdb")]
    sim.ok("create", "guest1", "-n", "before")
    for vdev in ("xvda", "xvdb"):
        sim.ok("sim", "write", "guest1", vdev, "0", "2M")
    sim.ok("revert", "guest1", "before")
    assert [sim.json("sim", "read", "guest1", vdev)["runs"] for vdev in ("xvda", "xvdb")] == before


def test_what_is_on_real_images_comes_back(qemu, qemu_img, qemu_io) -> None:
    place = images(qemu)

    def write(number: int) -> None:
        for disk in qemu.json("info", "guest1")["disks"][:2]:
            command = f"write -q -P {number} {number}M 1M"
            subprocess.run([qemu_io, "-f", disk["format"], "-c", command, disk["path"]], check=True)

    def content() -> list[bytes]:
        found = []
        for disk in qemu.json("info", "guest1")["disks"][:2]:
            raw = place / "copy.tmp"
            subprocess.run([qemu_img, "convert", "-f", disk["format"], "-O", "raw", disk["path"], raw], check=True)
            found.append(raw.read_bytes())
            raw.unlink()
        return found

    write(1)
    before = content()
    qemu.ok("create", "guest1", "-n", "before")
    write(2)
    assert content() != before
    qemu.ok("revert", "guest1", "before")
    assert content() == before
    write(3)
    qemu.ok("create", "guest1", "-n", "after")
    qemu.ok("delete", "guest1", "before")
    for path in place.glob("*.qcow2"):
        subprocess.run([qemu_img, "check", "-q", path], check=True)


def test_info_tells_each_disk_and_that_the_images_are_as_recorded(both) -> None:
    both.ok("create", "guest1", "-n", "before", "--description", "as it was")
    told = both.json("info", "guest1", "before")["snapshots"][0]
    assert told["intact"]
    kinds = [(each["disk"]["vdev"], each["disk"]["kind"], each["disk"]["tag"]) for each in told["disks"]]
    assert kinds == [("xvda", "internal", "before"), ("xvdb", "external", None)]
    assert told["snapshot"]["excluded"] == [{"vdev": "hdc", "reason": "cdrom"}]
    text = both.ok("info", "guest1")
    assert "as the record says" in text
    assert "as it was" in text


def test_info_tells_when_somebody_else_has_worked_on_an_image(qemu, qemu_img) -> None:
    qemu.ok("create", "guest1", "-n", "before")
    subprocess.run([qemu_img, "snapshot", "-d", "before", images(qemu) / "a.qcow2"], check=True)
    told = qemu.json("info", "guest1", "before")["snapshots"][0]
    assert not told["intact"]
    assert told["disks"][0]["problem"].endswith("holds something else than the snapshot left there")
    assert "CHANGED" in qemu.ok("info", "guest1", "before")
    assert qemu.error("revert", "guest1", "before")["id"] == "image-changed"


def test_info_tells_when_an_image_further_down_is_gone(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "one")
    qemu.ok("create", "guest1", "-n", "two")
    (images(qemu) / "b.raw").unlink()
    for name, problem in (("one", "is not there or unreadable"), ("two", "stands on")):
        told = qemu.json("info", "guest1", name)["snapshots"][0]
        assert problem in told["disks"][1]["problem"]


def test_list_without_a_domain_tells_all_domains(both) -> None:
    both.ok("create", "guest1", "-n", "before")
    (told,) = both.json("list")["domains"]
    assert (told["name"], told["snapshots"], told["current"]) == ("guest1", 1, "before")
    assert both.ok("list", "--name-only") == "guest1\n"


def test_a_dry_run_changes_nothing_and_its_plan_can_be_applied(both) -> None:
    plan = both.ok("create", "guest1", "-n", "before", "--dry-run", "--json")
    assert both.ok("list", "guest1", "--name-only") == ""
    both.ok("apply", "-", stdin=plan)
    assert both.ok("list", "guest1", "--name-only") == "before\n"
    assert json.loads(plan)["schema"] == "xensnap-plan/1"
    both.ok("create", "guest1", "-n", "after")
    operations = [each["operation"] for each in both.json("log", "guest1")["operations"]]
    assert json.loads(plan)["operation"] in operations
    assert len(operations) == len(set(operations))


def test_a_plan_is_refused_once_the_domain_has_moved(both, tmp_path) -> None:
    (tmp_path / "plan.json").write_text(both.ok("create", "guest1", "-n", "one", "--dry-run", "--json"))
    both.ok("create", "guest1", "-n", "two")
    told = both.error("apply", "plan.json")
    assert (told["id"], told["exit_code"]) == ("plan-is-stale", 4)
    assert both.ok("list", "guest1", "--name-only") == "two\n"


def test_a_plan_marks_where_there_is_no_way_back(both) -> None:
    both.ok("create", "guest1", "-n", "before")
    assert "point of no return" in both.ok("delete", "guest1", "before", "--dry-run")
    assert "point of no return" not in both.ok("create", "guest1", "--dry-run")


@pytest.mark.parametrize(
    ("options", "left"), [(["--children"], ""), (["--children-only"], "root\n"), ([], "middle\nleaf\n")]
)
def test_delete_takes_the_children_as_asked(sim, options, left) -> None:
    for name in ("root", "middle", "leaf"):
        sim.ok("create", "guest1", "-n", name)
        sim.ok("sim", "write", "guest1", "xvda", "0", "64k")
    sim.ok("delete", "guest1", "root", *options)
    assert sorted(sim.ok("list", "guest1", "--name-only").split()) == sorted(left.split())


def test_each_disk_can_be_chosen_for(sim) -> None:
    sim.ok("create", "guest1", "-n", "one", "--disk", "xvda=external:/images/mine.qcow2", "--disk", "xvdb=external")
    disks = sim.json("list", "guest1", "one")["snapshots"][0]["disks"]
    assert disks[0]["overlay"] == "/images/mine.qcow2"
    sim.ok("create", "guest1", "-n", "two", "-D", "--only", "xvda")
    assert [disk["vdev"] for disk in sim.json("list", "guest1", "two")["snapshots"][0]["disks"]] == ["xvda"]
    sim.ok("create", "guest1", "-n", "three", "--disk-only", "--exclude", "xvda")
    assert [disk["vdev"] for disk in sim.json("list", "guest1", "three")["snapshots"][0]["disks"]] == ["xvdb"]
    sim.ok("create", "guest1", "-n", "four", "--disk-only", "--disk", "xvda=skip")
    assert [disk["vdev"] for disk in sim.json("list", "guest1", "four")["snapshots"][0]["disks"]] == ["xvdb"]


def test_relative_paths_are_those_of_the_caller(qemu) -> None:
    place = qemu.directory / "overlays"
    place.mkdir()
    qemu.ok("create", "guest1", "-n", "one", "--type", "external", "--external-dir", "overlays")
    assert {Path(disk["overlay"]).parent for disk in qemu.json("list", "guest1")["snapshots"][0]["disks"]} == {place}
    qemu.host = f"qemu:{images(qemu).name}"
    told = qemu.json("list", "guest1")
    assert told["host"] == f"qemu:{images_of(qemu)}"


def images_of(shell):
    return shell.directory / "images"


def test_progress_goes_to_stderr_and_only_when_asked_for(both) -> None:
    assert both.run("create", "guest1", "-n", "one").stderr == ""
    result = both.run("create", "guest1", "-n", "two", "-v")
    assert result.stdout == "done: create snapshot 'two' of guest1\n"
    assert [line.partition("]")[0] for line in result.stderr.splitlines()] == [f"[{n}/5" for n in range(1, 6)]
