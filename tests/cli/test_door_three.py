"""The real Xen host's code on a simulated host, through executables and sockets: stories, and drawn sequences.

Ordinary runs try one short sequence; the profile `deep` tries many.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.test_sim_run import IMAGE, LIMIT_S, XENSNAP, Host
from tests.deep import EXHAUSTIVE

SEEDS = range(30) if EXHAUSTIVE else range(1)
STEPS = 10 if EXHAUSTIVE else 2
READ = 'xensnap --host "$SIM" sim read --json pv1 xvda | tr -d "\\n "; echo'


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A guest that runs."""
    made = Host(tmp_path / "host")
    made("sim", "init")
    made("sim", "domain", "add", "pv1", "--disk", "xvda=1M")
    made.script("xl create -q /etc/xen/pv1.cfg")
    return made


def typed(host: Host, text: str) -> list[str]:
    """A script for which the simulated host is the Xen host that it runs on; what it prints."""
    return host.script(f"SIM=$XENSNAP_HOST; export XENSNAP_HOST=xen\n{text}").splitlines()


def domain(lines: list[str]) -> list[str]:
    """The guest's line of `xl list`, in words."""
    return next(line.split() for line in lines if line.startswith("pv1   "))


def disks(lines: list[str]) -> list[object]:
    """What `READ` has printed, in order."""
    return [json.loads(line)["runs"] for line in lines if line.startswith("{")]


def test_what_is_taken_comes_back_and_an_overlay_outlives_a_reboot(host: Host):
    told = typed(
        host,
        f"""
        xensnap --host "$SIM" sim write pv1 xvda 0 64k
        {READ}
        xensnap create pv1 -n one
        xensnap --host "$SIM" sim write pv1 xvda 0 128k
        {READ}
        xensnap revert pv1 one
        {READ}
        xensnap delete pv1 one
        xensnap create pv1 -n over --disk-only --type external
        xensnap --host "$SIM" sim write pv1 xvda 64k 64k
        {READ}
        xl reboot pv1
        {READ}
        xensnap doctor pv1
        xl list
        """,
    )
    first, second, reverted, over, rebooted = disks(told)
    assert (reverted, rebooted) == (first, over)
    assert first != second
    assert "pv1: all fits together" in told
    assert domain(told)[1:5:3] == ["3", "-b----"]


def test_a_clone_of_a_disk_that_has_grown_since_holds_what_it_held(host: Host):
    """Such a snapshot cannot be converted: the image is copied whole, by a program that knows nothing of the world."""
    told = typed(
        host,
        f"""
        xensnap --host "$SIM" sim write pv1 xvda 0 64k
        {READ}
        xensnap create pv1 -n small --disk-only
        xensnap --host "$SIM" sim write pv1 xvda 0 128k
        xl destroy pv1
        qemu-img resize -q -f qcow2 {IMAGE} 2M
        xensnap clone pv1 small pv2
        xl create -q /images/pv2.cfg
        {READ.replace("pv1", "pv2")}
        """,
    )
    first, cloned = disks(told)
    assert cloned == first


def test_a_domain_that_is_off_is_known_by_its_file_whether_that_is_named_before_the_verb_or_after_it(host: Host):
    told = typed(
        host,
        """
        xl destroy pv1
        xensnap create pv1 --domain-config /nothing -n none 2>&1 || echo not with $?
        xensnap create pv1 --domain-config /etc/xen/pv1.cfg -n off
        xensnap --host "$SIM" create pv1 --domain-config /etc/xen/pv1.cfg 2>&1 || echo nor with $?
        xensnap list pv1 --name-only
        """,
    )
    assert told[-1] == "off"
    assert {"xensnap: /nothing: no such file", "not with 3", "nor with 2"} <= set(told)
    assert "done: create snapshot 'off' of pv1" in told
    assert any("--root and --domain-config are for the host xen" in line for line in told)


def test_what_xl_and_qemu_keep_is_a_file_as_any_other(host: Host, tmp_path: Path):
    """A log as its directory shows it, and what a domain is saved with."""
    host("sim", "file", "get", "/var/log/xen/xl-pv1.log", str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == host.script('cat "$XENSNAP_LOG_DIR/xl-pv1.log"') != ""
    uuid = next(line for line in host.script("xl vm-list").splitlines() if line.endswith(f"{'pv1':<30}")).split()[0]
    host("sim", "file", "get", f"/var/lib/xen/userdata-d.1.{uuid}.libxl-json", str(tmp_path / "json"))
    assert json.loads((tmp_path / "json").read_text().rstrip("\0"))["c_info"]["name"] == "pv1"
    assert "no such file" in host("sim", "file", "get", "/var/log/xen/none.log", str(tmp_path / "none"), code=3)


def test_memory_is_copied_while_the_guest_runs(host: Host, tmp_path: Path):
    file = tmp_path / "pv1.cfg"
    host("sim", "file", "get", "/etc/xen/pv1.cfg", str(file))
    # Xen here has nothing that logs what a PV guest writes.
    file.write_text(file.read_text().replace('"pv"', '"pvh"'))
    host("sim", "file", "put", str(file), "/etc/xen/pvh1.cfg")
    told = typed(
        host,
        f"""
        xl destroy pv1
        xl create -q /etc/xen/pvh1.cfg
        xensnap --host "$SIM" sim write pv1 xvda 0 64k
        {READ}
        xensnap create pv1 -n live --live
        xensnap --host "$SIM" sim write pv1 xvda 0 128k
        xensnap revert pv1 live
        {READ}
        xl list
        """,
    )
    first, reverted = disks(told)
    assert reverted == first
    assert domain(told)[4] == "-b----"


def test_what_a_killed_command_has_left_is_undone_or_finished(host: Host):
    command = [*XENSNAP, "sim", "run", "--", *XENSNAP, "--host", "xen", "create", "pv1", "-n", "one"]
    with subprocess.Popen(command, env=host.environment, start_new_session=True, stdout=subprocess.PIPE) as killed:
        world = Path(host.environment["XENSNAP_HOST"].partition(":")[2], "world")
        until = time.monotonic() + LIMIT_S
        while b"journal" not in world.read_bytes() and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
    told = typed(host, "xensnap recover pv1; xensnap doctor pv1; xl list")
    assert "pv1: all fits together" in told
    assert domain(told)[4] == "-b----"


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_sequence_is_drawn_each_snapshot_gives_back_what_it_took(host: Host, seed: int):
    drawn, kept, lines, pairs, reads = random.Random(seed), dict[str, int](), list[str](), list[tuple[int, int]](), 0
    for step in range(STEPS):
        lines += [f'xensnap --host "$SIM" sim write pv1 xvda {drawn.randrange(8) * 64}k 64k']
        verb = drawn.choice(("create", "create", "revert", "delete")) if kept else "create"
        name = drawn.choice(sorted(kept)) if verb != "create" else f"s{step}"
        how = f"-n {name} {drawn.choice(('', '--disk-only'))}" if verb == "create" else name
        lines += [f"xensnap {verb} pv1 {how}", READ]
        if verb == "create":
            kept[name] = reads
        elif verb == "revert":
            pairs.append((kept[name], reads))
        else:
            del kept[name]
        reads += 1
    for name, read in kept.items():
        lines += [f"xensnap revert pv1 {name}", READ]
        pairs.append((read, reads))
        reads += 1
    held = disks(typed(host, "\n".join(lines)))
    assert len(held) == reads
    assert all(held[taken] == given for taken, given in ((taken, held[given]) for taken, given in pairs))
