"""Which configuration a domain has after a revert: kept, that of the memory, or that of a file; and what is refused."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import UUID

DISKS = "disk = ['/elsewhere/a.qcow2,qcow2,xvda', '/b,raw,xvdb', '/c,raw,hdc,cdrom']\n"


def given(shell, text: str = "", *, name: str = "guest1", disks: str = DISKS) -> str:
    """A configuration file in the working directory."""
    (shell.directory / "new.cfg").write_text(f"name = '{name}'\n{disks}{text}\n")
    return "new.cfg"


@pytest.fixture
def checkpoint(sim):
    """A guest that runs, with a checkpoint `a` from when it had one processor and nothing said of crashes."""
    sim.ok("domain", "start", "guest1")
    sim.ok("create", "guest1", "-n", "a")
    return sim


def test_a_file_replaces_the_configuration_of_a_domain_that_is_off(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    words = ["revert", "guest1", "a", "--use-config", given(sim, "vcpus = 2\non_crash = 'destroy'", name="renamed")]
    plan = sim.ok(*words, "--dry-run")
    assert 'change the configuration: b_info.max_vcpus: unset -> 2, c_info.name: "guest1" -> "renamed"' in plan
    assert "xvda is not put on /elsewhere/a.qcow2, as the file says" in plan
    told = sim.run(*words)
    assert told.exit_code == 0
    assert "the configuration becomes another one" in told.stderr
    assert [each["name"] for each in sim.json("list")["domains"]] == ["renamed"]
    assert sim.json("doctor")["domains"][0]["findings"] == [], "the store knows it by that name, too"
    assert "is not what it was then" in sim.ok("revert", "renamed", "a", "--dry-run")
    assert "change the configuration" not in sim.ok("revert", "renamed", "a", "--dry-run")


def test_what_becomes_of_the_configuration_is_told_before_anything_is_done(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    told = sim.run("revert", "guest1", "a", "-v", "--use-config", given(sim, "vcpus = 2")).stderr
    assert told.index("the configuration becomes another one") < told.index("[1/")
    assert told.count("the configuration becomes another one") == 1


def test_with_memory_only_what_a_guest_cannot_see_may_differ(checkpoint) -> None:
    refusal = checkpoint.error("revert", "guest1", "a", "--use-config", given(checkpoint, "vcpus = 2"))
    assert refusal["id"] == "configuration-differs"
    assert "b_info.max_vcpus: unset -> 2" in refusal["cause"]
    checkpoint.ok("revert", "guest1", "a", "--use-config", given(checkpoint, "on_crash = 'destroy'", name="renamed"))
    assert [each["name"] for each in checkpoint.json("list")["domains"]] == ["renamed"]
    assert checkpoint.json("doctor")["domains"][0]["findings"] == []
    checkpoint.ok("revert", "renamed", "a", "--disks-only", "--use-config", given(checkpoint, "vcpus = 2"))
    refusal = checkpoint.error("revert", "guest1", "a", "--keep-config")
    assert refusal["id"] == "configuration-differs"
    told = checkpoint.run("revert", "guest1", "a")
    assert "with its memory comes back): b_info.max_vcpus: 2 -> unset" in told.stderr
    checkpoint.ok("revert", "guest1", "a", "--keep-config")


def test_bridges_follow_the_file_and_the_rest_of_an_interface_may_not(sim) -> None:
    sim.ok("create", "guest1", "-n", "off")
    vif = "vif = ['mac=00:16:3e:00:00:01,bridge=xenbr0']"
    sim.ok("revert", "guest1", "off", "--use-config", given(sim, vif), "--then", "running")
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("revert", "guest1", "a", "--use-config", given(sim, "vif = ['bridge=xenbr1']"))
    assert "xenbr1" in sim.ok("revert", "guest1", "off", "--dry-run")
    for other in (vif.replace(":01", ":02"), "", "vif = ['bridge=a', 'bridge=b']"):
        refusal = sim.error("revert", "guest1", "a", "--use-config", given(sim, other))
        assert (refusal["id"], "nics[" in refusal["cause"]) == ("configuration-differs", True)


def test_what_is_no_configuration_of_this_domain_is_refused(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("sim", "domain", "add", "guest2")
    for text, options, id in (
        ("name = ", {}, "bad-config"),
        ("uuid = '11111111-2222-4333-8444-555555555555'", {}, "configuration-of-another"),
        (f"uuid = '{UUID.upper()}'", {"disks": "disk = ['/b,raw,xvdb']\n"}, "configuration-disks"),
        ("", {"name": "guest2"}, "name-taken"),
    ):
        refusal = sim.error("revert", "guest1", "a", "--use-config", given(sim, text, **options))
        assert (refusal["id"], refusal["effect"]) == (id, "none")
    (sim.directory / "new.cfg").write_bytes(b"\n")
    assert sim.error("revert", "guest1", "a", "--use-config", "new.cfg")["id"] == "bad-domain-config"
    (sim.directory / "new.cfg").write_bytes(b"name = '\xff'")
    assert sim.error("revert", "guest1", "a", "--use-config", "new.cfg")["id"] == "bad-domain-config"
    both = ("--keep-config", "--use-config", given(sim))
    assert sim.error("revert", "guest1", "a", *both)["id"] == "contradiction"


def test_a_plan_holds_the_file_that_was_read(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    plan = sim.ok("revert", "guest1", "a", "--use-config", given(sim, "vcpus = 2"), "--dry-run", "--json")
    (sim.directory / "plan.json").write_text(plan)
    given(sim, "vcpus = 4")
    sim.ok("apply", "plan.json")
    assert "max_vcpus: unset -> 2" in sim.ok("revert", "guest1", "a", "--dry-run")


def test_on_a_directory_of_images_the_description_is_replaced_and_its_disks_stay(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "a", "--type", "external")
    place = Path(qemu.host.partition(":")[2]) / "guest1.toml"
    before = place.read_text()
    disks = "".join(f'[[disk]]\nvdev = "{v}"\npath = "x"\nformat = "raw"\n' for v in ("xvda", "xvdb", "hdc"))
    (qemu.directory / "new.toml").write_text(f'name = "guest1"\nuuid = "{UUID}"\nmemory = "64M"\n{disks}')
    qemu.ok("revert", "guest1", "a", "--use-config", "new.toml")
    told = json.dumps(qemu.json("info", "guest1"))
    assert "images/x" not in told
    assert 'memory = "64M"' in place.read_text()
    (qemu.directory / "old.toml").write_text(before)
    qemu.ok("revert", "guest1", "a", "--use-config", "old.toml")
    assert "memory" not in place.read_text()
    (qemu.directory / "new.toml").write_text("name = 5")
    assert qemu.error("revert", "guest1", "a", "--use-config", "new.toml")["id"] == "bad-domain-file"
