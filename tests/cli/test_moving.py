"""Archives and clones on the command line, on simulated and on real images."""

import json
import subprocess
from pathlib import Path

import pytest

from simulator import SimulatedHost, persist
from tests.cli.conftest import Shell
from xensnap import hosts


def place(shell: Shell) -> str:
    """A directory on the host for files of its operator."""
    return "/images" if shell.host.startswith("sim") else str(shell.directory / "images")


def test_a_domain_that_was_exported_is_imported_beside_the_first(both) -> None:
    both.ok("create", "guest1", "-n", "then", "--description", "first")
    archive = f"{place(both)}/then.xensnap"
    told = both.json("export", "guest1", "then", "-o", archive)
    assert (told["path"], told["snapshot"], told["domain"]) == (archive, "then", "guest1")
    assert told["size_bytes"] > 0
    words = ["import", archive, "--directory", place(both), "--name", "copy", "--new-uuid", "--as", "now"]
    made = both.json(*words)
    assert (made["domain"], made["snapshot"]) == ("copy", "now")
    assert made["domain_uuid"] != told["domain_uuid"]
    (snapshot,) = both.json("list", "copy")["snapshots"]
    assert (snapshot["name"], snapshot["description"], snapshot["kind"]) == ("now", "first", "internal")
    both.ok("create", "copy", "-n", "later")
    both.ok("revert", "copy", "now")
    both.ok("delete", "copy", "now", "--children")


def test_a_snapshot_that_was_exported_is_added_to_a_domain_that_is_there(both) -> None:
    both.ok("create", "guest1", "-n", "then", "-D", "--only", "xvdb")
    archive = f"{place(both)}/then.xensnap"
    both.ok("export", "guest1", "then", "-o", archive)
    both.ok("delete", "guest1", "then")
    into = ["import", archive, "--directory", place(both), "--domain", "guest1"]
    assert "import snapshot 'then'" in both.ok(*into, "--dry-run")
    assert both.ok("list", "guest1", "--name-only") == ""
    made = both.json(*into, "--as", "back")
    assert (made["domain"], made["snapshot"]) == ("guest1", "back")
    (snapshot,) = both.json("list", "guest1")["snapshots"]
    assert (snapshot["name"], snapshot["kind"], snapshot["parent"]) == ("back", "external", None)
    both.ok("verify", "guest1")
    both.ok("doctor", "guest1", "--check")
    both.ok("revert", "guest1", "back")
    both.ok("create", "guest1", "-n", "on", "-D", "--only", "xvdb")
    both.ok("delete", "guest1", "--all")
    both.ok(*into)
    both.ok("undo", "guest1")
    assert both.ok("list", "guest1", "--name-only") == ""


def test_what_no_disk_can_hold_is_not_added_to_a_domain(both) -> None:
    both.ok("create", "guest1", "-n", "then", "-D", "--only", "xvda", "--type", "internal")
    archive = f"{place(both)}/then.xensnap"
    both.ok("export", "guest1", "then", "-o", archive)
    into = ["import", archive, "--directory", place(both), "--domain", "guest1"]
    assert {each["id"] for each in both.error(*into)["reasons"]} == {"kind-is-sticky", "name-taken"}
    for more in (["--name", "other"], ["--new-uuid"], ["--config", "x"]):
        assert both.error(*into, *more)["id"] == "contradiction"
    assert both.error("import", archive, "--directory", "/no/such", "--domain", "guest1")["exit_code"] in (4, 6)
    assert both.error(*into[:-1], "nobody")["id"] == "domain-not-found"


def test_what_is_there_is_never_written_over(both) -> None:
    both.ok("create", "guest1", "-n", "then")
    archive = f"{place(both)}/then.xensnap"
    both.ok("export", "guest1", "then", "-o", archive)
    assert both.error("export", "guest1", "then", "-o", archive)["id"] == "archive-exists"
    told = both.error("import", archive, "--directory", place(both))
    assert {reason["id"] for reason in told["reasons"]} == {"domain-exists"}
    told = both.error("import", archive, "--directory", place(both), "--new-uuid")
    assert {reason["id"] for reason in told["reasons"]} == {"domain-exists"}
    assert both.error("export", "guest1", "then", "-o", "/no/such/place/x")["id"] == "no-such-directory"
    assert both.error("import", f"{place(both)}/nothing", "--directory", place(both))["exit_code"] == 3


def test_a_plan_to_make_a_domain_is_applied_as_it_stands_or_not_at_all(both) -> None:
    both.ok("create", "guest1", "-n", "then")
    plan = both.directory / "plan.json"
    plan.write_text(both.ok("clone", "guest1", "then", "new", "--dry-run", "--json"))
    assert both.error("info", "new")["id"] == "domain-not-found"
    both.ok("apply", str(plan))
    assert both.json("info", "new")["snapshots"] == []
    assert both.run("apply", str(plan)).exit_code == 4
    both.ok("create", "guest1", "-n", "more")
    plan.write_text(both.ok("clone", "guest1", "then", "other", "--dry-run", "--json"))
    both.ok("delete", "guest1", "more")
    assert both.error("apply", str(plan))["id"] == "plan-is-stale"


def test_a_clone_is_a_domain_of_its_own(both) -> None:
    both.ok("create", "guest1", "-n", "then")
    both.ok("clone", "guest1", "then", "guest2")
    assert both.error("clone", "guest1", "then", "guest2")["id"] == "domain-exists"
    assert both.error("clone", "guest1", "then", "x/y")["id"] == "bad-domain-name"
    assert both.error("clone", "guest1", "then", "guest3", "--linked")["id"] == "clone-needs-external"
    assert both.error("clone", "guest1", "then", "guest3", "--linked", "--full")["id"] == "contradiction"
    both.ok("create", "guest2", "-n", "its-own")
    both.ok("delete", "guest1", "then")
    assert both.ok("list", "guest2", "--name-only") == "its-own\n"


def test_an_interrupted_import_is_found_and_ended_by_recover(sim) -> None:
    sim.ok("create", "guest1", "-n", "then")
    sim.ok("export", "guest1", "then", "-o", "/images/then.xensnap")
    words = ["import", "/images/then.xensnap", "--directory", "/images", "--name", "copy", "--new-uuid"]
    sim.ok("sim", "crash", "--at", "80", *words)
    assert sim.error(*words)["id"] == "recovery-due"
    result = sim.run("doctor", "--json")
    (found,) = (each for domain in json.loads(result.stdout)["domains"] for each in domain["findings"])
    assert (result.exit_code, found["id"], found["subject"]) == (5, "interrupted", "copy")
    assert sim.error("domain", "start", "copy")["id"] == "recovery-due"
    (recovered,) = sim.json("recover")["recovered"]
    assert (recovered["domain"], recovered["outcome"]) == ("copy", "undone")
    assert "all fits together" in sim.ok("doctor")
    sim.ok("sim", "crash", "--at", "80", *words)
    assert "repaired interrupted: copy" in sim.ok("doctor", "--repair")
    sim.ok(*words)
    assert sim.ok("list", "copy", "--name-only") == "then\n"


def test_an_archive_of_real_images_is_what_tar_and_b2sum_say(qemu, qemu_img) -> None:
    qemu.ok("create", "guest1", "-n", "then")
    qemu.ok("export", "guest1", "then")
    archive = Path("guest1-then.xensnap")
    assert archive.stat().st_mode & 0o777 == 0o600
    subprocess.run(["tar", "-xf", archive], check=True)
    assert sorted(path.name for path in Path().glob("disk-*")) == ["disk-xvda.qcow2", "disk-xvdb.qcow2"]
    manifest = Path("manifest.json").read_text()
    for name in ("record.libxl-json", "disk-xvda.qcow2", "disk-xvdb.qcow2"):
        done = subprocess.run(["b2sum", "--length=256", name], check=True, capture_output=True, text=True)
        assert done.stdout.split()[0] in manifest
    for name in ("disk-xvda.qcow2", "disk-xvdb.qcow2"):
        subprocess.run([qemu_img, "check", "-q", "-f", "qcow2", name], check=True)


@pytest.mark.parametrize("where", [600, -2000])
def test_an_archive_that_was_changed_is_not_used(qemu, where) -> None:
    qemu.ok("create", "guest1", "-n", "then")
    qemu.ok("export", "guest1", "then")
    archive = Path("guest1-then.xensnap")
    data = bytearray(archive.read_bytes())
    data[where] ^= 1
    archive.write_bytes(data)
    before = sorted(Path("images").iterdir())
    told = qemu.error("import", str(archive), "--directory", "images", "--name", "copy", "--new-uuid")
    assert told["id"] == "bad-archive"
    assert [path for path in sorted(Path("images").iterdir()) if path.suffix in (".toml", ".qcow2")] == [
        path for path in before if path.suffix in (".toml", ".qcow2")
    ]


def test_an_export_tells_its_bytes(both) -> None:
    both.ok("create", "guest1", "-n", "then")
    result = both.run("export", "guest1", "then", "-o", f"{place(both)}/then.xensnap", "--events")
    events = [json.loads(line) for line in result.stderr.splitlines()]
    grown = [event for event in events if event["event"] == "progress"]
    assert grown
    assert all(0 < event["done_bytes"] <= event["total_bytes"] for event in grown)


def test_an_archive_that_has_no_room_leaves_nothing(sim) -> None:
    sim.ok("create", "guest1", "-n", "then")
    path = Path(sim.host.removeprefix("sim:")) / hosts.WORLD_FILE
    host = SimulatedHost(persist.decode(path.read_bytes()))
    host.set_capacity(free_bytes=200_000)
    path.write_bytes(persist.encode(host.world.ended(host.pid)))
    before = sim.json("sim", "show")["lines"]
    told = sim.error("export", "guest1", "then", "-o", "/images/then.xensnap")
    assert {reason["id"] for reason in told["reasons"]} == {"no-space"}
    assert sim.json("sim", "show")["lines"] == before
