"""Domains start, stand still, end, and are found again."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.real.qemu.conftest import PATIENCE_S, Lab
from xensnap.errors import Busy, Effect, Failed, NotFound
from xensnap.hypervisor import Capability
from xensnap.model import RunState


def test_a_guest_runs_and_its_memory_agrees_with_its_disks(lab):
    domain = lab.start()
    assert domain.state is RunState.RUNNING
    assert lab.heard(domain) > 0


def test_the_host_says_that_it_runs_guests(lab):
    wanted = {Capability.RUNNING, Capability.MEMORY, Capability.SAVE_PAUSED, Capability.LIVE_SAVE}
    assert wanted <= lab.host.capabilities


def test_a_domain_is_found_by_uuid_name_and_domid(lab):
    domain = lab.start()
    for ref in (domain.uuid, "guest", str(domain.domid)):
        assert lab.run(lab.toolstack.inspect(ref)) == domain
    with pytest.raises(NotFound) as caught:
        lab.run(lab.toolstack.inspect(str(domain.domid + 1)))
    assert "guest" in caught.value.remedy


def test_domids_only_grow(lab):
    first = lab.start()
    lab.run(lab.toolstack.destroy(first))
    assert lab.seen(first).domid is None
    assert lab.start(first.uuid).domid > first.domid


def test_a_paused_guest_executes_nothing_until_it_is_unpaused(lab):
    domain = lab.start()
    lab.run(lab.toolstack.pause(domain))
    lab.run(lab.toolstack.pause(domain))
    assert lab.seen(domain).state is RunState.PAUSED
    said = lab.said(domain)
    lab.run(lab.host.machine.sleep(0.2))
    assert lab.said(domain) == said
    lab.run(lab.toolstack.unpause(domain))
    assert lab.heard(domain) > said[-1][0]


def test_a_guest_can_be_created_paused(lab):
    domain = lab.run(lab.toolstack.create(lab.describe(), paused=True))
    assert domain.state is RunState.PAUSED
    assert lab.said(domain) == []


def test_after_destroy_no_image_is_open(lab):
    domain = lab.start()
    process = lab.run(lab.processes.find(domain.uuid))
    lab.run(lab.toolstack.destroy(domain))
    for disk in domain.disks:
        lab.run(lab.host.images.require_unused(disk.layer))
        lab.check(disk.layer)
    assert not Path(process.monitor).exists()
    assert lab.seen(domain).state is RunState.OFF
    lab.run(lab.toolstack.destroy(domain))


def test_a_guest_is_asked_to_power_off(lab):
    domain = lab.start()
    lab.run(lab.toolstack.shutdown(domain, timeout_s=PATIENCE_S))
    assert lab.seen(domain).state is RunState.OFF


def test_a_guest_that_does_not_power_off_still_runs(lab):
    domain = lab.start()
    lab.run(lab.toolstack.pause(domain))
    with pytest.raises(Failed) as caught:
        lab.run(lab.toolstack.shutdown(domain, timeout_s=0.2))
    assert (caught.value.id, caught.value.effect) == ("still-running", Effect.DONE)
    assert lab.seen(domain).state is RunState.PAUSED


def test_a_domain_runs_only_once(lab):
    domain = lab.start()
    with pytest.raises(Busy):
        lab.run(lab.toolstack.create(domain.uuid))
    lab.heard(domain)


def test_an_image_that_is_open_elsewhere_is_not_started_from(lab):
    uuid = lab.describe()
    image = lab.directory / "guest-xvdb.qcow2"
    with image.open("r+b") as file, subprocess.Popen(["sleep", "60"], stdin=file) as other:
        with pytest.raises(Busy, match="sleep 60"):
            lab.run(lab.toolstack.create(uuid))
        other.kill()
    assert lab.run(lab.toolstack.inspect(uuid)).state is RunState.OFF


def test_a_start_that_fails_leaves_nothing_and_says_what_qemu_said(lab):
    uuid = lab.describe(xvda="raw")
    (lab.directory / "guest.toml").write_text(
        (lab.directory / "guest.toml").read_text(encoding="utf-8").replace('"32M"', '"900000G"'), encoding="utf-8"
    )
    with pytest.raises(Failed, match="memory") as caught:
        lab.run(lab.toolstack.create(uuid))
    assert caught.value.effect is Effect.NONE
    assert lab.run(lab.toolstack.inspect(uuid)).state is RunState.OFF
    left = {path.name for path in (lab.directory / "run" / uuid).iterdir()}
    assert left == {"lock", "serial.log", "stderr.log"}


def test_a_boot_medium_that_is_missing_is_named(lab):
    uuid = lab.describe()
    (lab.directory / "guest.img").unlink()
    with pytest.raises(NotFound, match=r"guest\.img"):
        lab.run(lab.toolstack.create(uuid))


def test_a_killed_qemu_is_seen_as_off_and_starts_again(lab):
    domain = lab.start()
    os.kill(lab.run(lab.processes.find(domain.uuid)).pid, signal.SIGKILL)
    lab.run(lab.toolstack.destroy(domain))
    assert lab.seen(domain).state is RunState.OFF
    again = lab.start(domain.uuid)
    assert again.domid > domain.domid


def test_a_pid_used_again_is_not_taken_for_a_qemu(lab):
    domain = lab.start()
    note = lab.directory / "run" / domain.uuid / "qemu.json"
    told = json.loads(note.read_text())
    for lie in ({"start_ticks": told["start_ticks"] + 1}, {"boot_id": "another"}):
        note.write_text(json.dumps(told | lie))
        assert lab.run(lab.processes.find(domain.uuid)) is None
    note.write_text("")
    assert lab.run(lab.processes.find(domain.uuid)) is None
    note.write_text(json.dumps(told))
    assert lab.seen(domain) == domain


def test_only_we_get_into_the_run_directory(lab):
    domain = lab.start()
    home = lab.directory / "run" / domain.uuid
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home.parent, home)] == [0o700, 0o700]
    assert all(not path.stat().st_mode & 0o077 for path in home.iterdir())


def test_a_directory_too_deep_for_a_socket_gets_a_short_one(tmp_path, qemu_system, qemu_img, qemu_io, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    short = tmp_path / "s"
    short.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    lab = Lab(deep)
    try:
        domain = lab.start()
        (made,) = short.iterdir()
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert lab.again().seen(domain) == domain
        lab.run(lab.toolstack.destroy(domain))
        assert list(short.iterdir()) == []
    finally:
        lab.close()


def test_qemu_does_not_inherit_our_locks(lab):
    path = str(lab.directory / "lock")
    uuid = lab.describe()

    async def start_under_a_lock():
        lock = await lab.host.files.lock(path, note=b"us")
        await lab.toolstack.create(uuid)
        await lock.release()
        await (await lab.again().host.files.lock(path, note=b"others")).release()

    lab.run(start_under_a_lock())
    assert lab.run(lab.toolstack.inspect(uuid)).state is RunState.RUNNING


def test_another_process_finds_all_and_can_end_it(lab):
    domain = lab.start()
    program = """
import sys
from xensnap.backends.qemu.host import QemuHost
host = QemuHost(sys.argv[1])
found = host.run(host.toolstack.inspect(sys.argv[2]))
print(found.state, found.domid)
host.run(host.toolstack.destroy(found))
print(host.run(host.toolstack.inspect(sys.argv[2])).state)
"""
    command = [sys.executable, "-c", program, str(lab.directory), domain.uuid]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["running", str(domain.domid), "off"]
    assert lab.seen(domain) == replace(domain, state=RunState.OFF, domid=None)


def test_looking_at_domains_that_are_off_needs_no_event_loop(lab):
    uuid = lab.describe()
    program = """
import sys
from xensnap.backends.qemu.host import QemuHost
host = QemuHost(sys.argv[1])
assert host.run(host.toolstack.inspect(sys.argv[2])).state == "off"
assert len(host.run(host.toolstack.domains())) == 1
assert not {"asyncio", "qemu"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(lab.directory), uuid], check=True)
