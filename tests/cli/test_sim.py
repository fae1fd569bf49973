"""The simulated host between commands: kept, locked, saved whatever happens, and never there by surprise."""

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import Shell
from xensnap import hosts


def test_it_is_the_default_once_it_was_made(shell) -> None:
    assert shell.error("list")["id"] == "no-host"
    assert shell.error("create", "guest1")["id"] == "no-host"
    assert shell.json("sim", "path")["exists"] is False
    shell.ok("sim", "init")
    assert shell.json("list") == {"schema": "xensnap-domains/1", "host": "sim", "domains": []}
    shell.ok("sim", "reset", "--remove")
    assert shell.error("list")["id"] == "no-host"
    assert not list((shell.directory / "state" / "xensnap").iterdir())


def test_a_sign_of_xen_forbids_it_as_a_default_but_not_by_name(shell, monkeypatch, tmp_path) -> None:
    shell.ok("sim", "init")
    (tmp_path / "xen").mkdir()
    monkeypatch.setattr(hosts, "XEN_PLACES", (str(tmp_path / "xen"),))
    told = shell.error("list")
    assert (told["id"], told["exit_code"]) == ("no-host", 2)
    assert str(tmp_path / "xen") in told["cause"]
    shell.ok("--host", "sim", "list")
    shell.ok("sim", "show")


def test_domains_and_disks_are_made_as_asked(sim) -> None:
    told = sim.json("sim", "domain", "add", "guest2", "--disk", "xvda=2M,qcow2", "--disk", "xvdb=1M,raw,ro")
    assert [(d["vdev"], d["format"], d["size_bytes"], d["readonly"]) for d in told["disks"]] == [
        ("xvda", "qcow2", 2 << 20, False),
        ("xvdb", "raw", 1 << 20, True),
    ]
    told = sim.json("sim", "disk", "add", "guest2", "xvdc=1M,base=raw:/images/guest2-xvdb.raw")
    assert [d["vdev"] for d in told["disks"]] == ["xvda", "xvdb", "xvdc"]
    chain = sim.json("info", "guest2")["disks"][2]["chain"]
    assert chain == ["/images/guest2-xvdc.qcow2", "/images/guest2-xvdb.raw"]
    sim.ok("sim", "disk", "resize", "guest2", "xvda", "4M")
    assert sim.json("info", "guest2")["disks"][0]["size_bytes"] == 4 << 20


def test_what_is_read_is_told_by_the_writes(sim) -> None:
    assert sim.json("sim", "write", "guest1", "xvda", "64k", "64k")["write"] == 1
    sim.ok("sim", "write", "guest1", "xvda", "96k", "64k")
    runs = [
        (r["offset_bytes"], r["length_bytes"], r["write"]) for r in sim.json("sim", "read", "guest1", "xvda")["runs"]
    ]
    assert runs[:3] == [(0, 65536, 0), (65536, 32768, 1), (98304, 65536, 2)]
    assert sum(length for _, length, _ in runs) == 8 << 20
    part = sim.json("sim", "read", "guest1", "xvda", "80k", "32k")["runs"]
    assert [(r["offset_bytes"], r["length_bytes"], r["write"]) for r in part] == [(81920, 16384, 1), (98304, 16384, 2)]


def test_a_failed_command_leaves_its_traces_in_the_world(sim) -> None:
    before = sim.json("sim", "show")["effects"]
    sim.error("create", "guest1", "--disk", "xvda=external:/nowhere/x.qcow2", "-D", "--only", "xvda")
    assert sim.json("sim", "show")["effects"] > before
    assert sim.json("list", "guest1")["pending"] is None


def test_looking_changes_nothing(sim) -> None:
    place = hosts.SimulatedPlace(sim.host.partition(":")[2])
    before = place.path.read_bytes()
    for words in (["list"], ["info", "guest1"], ["create", "guest1", "--dry-run"], ["sim", "show"]):
        sim.ok(*words)
    assert place.path.read_bytes() == before


def test_two_commands_at_once_never_lose_each_others_work(sim) -> None:
    environment = os.environ | {"XENSNAP_HOST": sim.host}
    words = [sys.executable, "-m", "xensnap.cli", "sim", "write", "guest1", "xvda", "0", "4k", "--wait", "60"]
    running = [subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) for _ in range(6)]
    assert [each.wait(60) for each in running] == [0] * 6
    assert sim.json("sim", "show")["writes"] == 6


def test_the_same_seed_makes_the_same_host(tmp_path) -> None:
    told = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        made = Shell(tmp_path, f"sim:{tmp_path / name}")
        made.ok("sim", "init", "--seed", seed)
        told.append(made.json("sim", "domain", "add", "guest1")["domain"]["uuid"])
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize("at", range(20, 60, 3))
def test_whatever_effect_it_dies_at_the_snapshot_is_there_afterwards_or_not(sim, at) -> None:
    sim.ok("sim", "write", "guest1", "xvda", "0", "64k")
    content = [sim.json("sim", "read", "guest1", vdev)["runs"] for vdev in ("xvda", "xvdb")]
    if sim.run("sim", "crash", "--at", str(at), "create", "guest1", "-n", "one").exit_code:
        return
    sim.ok("recover")
    assert [sim.json("sim", "read", "guest1", vdev)["runs"] for vdev in ("xvda", "xvdb")] == content
    assert sim.ok("list", "guest1", "--name-only") in ("", "one\n")
    assert all(each["intact"] for each in sim.json("info", "guest1")["snapshots"])
    sim.ok("create", "guest1", "-n", "two")


def test_a_command_that_fails_in_sim_crash_fails_as_it_would_alone(sim) -> None:
    assert sim.run("sim", "crash", "--at", "3", "create", "nobody").exit_code == 3
    assert sim.run("sim", "crash", "--at", "999", "create", "guest1").exit_code == 2
    assert sim.ok("list", "guest1", "--name-only") == ""
