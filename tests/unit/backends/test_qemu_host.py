"""The host of a directory: its domain files, and what it refuses."""

import asyncio
import os
from pathlib import Path

import pytest

from xensnap.backends.qemu.host import QemuHost
from xensnap.errors import NotFound, Refused, Usage
from xensnap.hypervisor import Capability
from xensnap.model import Format, Layer, RunState

UUID = "0f1e2d3c-0f1e-4d3c-8f1e-2d3c0f1e2d3c"
OTHER = "1f1e2d3c-0f1e-4d3c-8f1e-2d3c0f1e2d3c"


def describe(directory: Path, name: str, uuid: str = UUID, *, file: str = "", path: str = "a.qcow2") -> Path:
    written = directory / f"{file or name}.toml"
    disk = f'[[disk]]\nvdev = "xvda"\npath = "{path}" # the disk\nformat = "qcow2"\n'
    written.write_text(f'name = "{name}"\nuuid = "{uuid}"\n{disk}')
    return written


@pytest.fixture
def host(tmp_path):
    return QemuHost(tmp_path)


@pytest.fixture
def without_qemu(tmp_path, monkeypatch):
    """A host on a machine that has no qemu-system-x86_64."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return QemuHost(tmp_path)


def test_a_host_is_a_directory_that_exists(without_qemu, tmp_path):
    host = without_qemu
    assert (host.name, host.root) == (f"qemu:{tmp_path}", f"{tmp_path}/snapshots")
    assert {Capability.INTERNAL, Capability.EXTERNAL} <= host.capabilities
    assert not {Capability.RUNNING, Capability.MEMORY} & host.capabilities
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound):
        QemuHost(tmp_path / "nowhere")


def test_the_directory_may_be_given_relative_and_paths_are_absolute(tmp_path, monkeypatch):
    describe(tmp_path, "guest")
    monkeypatch.chdir(tmp_path)
    host = QemuHost(".")
    assert host.name == "qemu:."
    (domain,) = host.run(host.toolstack.domains())
    assert domain.disks[0].path == f"{tmp_path}/a.qcow2"
    assert domain.state is RunState.OFF


def test_only_domain_files_are_read(host, tmp_path):
    describe(tmp_path, "guest")
    (tmp_path / ".guest.toml.new").write_text("half of one")
    (tmp_path / ".hidden.toml").write_text("no domain")
    (tmp_path / "notes.txt").write_text("no domain")
    assert [domain.name for domain in host.run(host.toolstack.domains())] == ["guest"]


@pytest.mark.parametrize(("name", "uuid", "key"), [("guest", OTHER, "name"), ("other", UUID, "uuid")])
def test_two_files_of_one_domain_are_both_named(host, tmp_path, name, uuid, key):
    describe(tmp_path, "guest", file="a")
    describe(tmp_path, name, uuid, file="b")
    with pytest.raises(Usage) as caught:
        host.run(host.toolstack.domains())
    for word in (f"{tmp_path}/a.toml", f"{tmp_path}/b.toml", key):
        assert word in str(caught.value)


def test_a_wrong_file_is_named(host, tmp_path):
    (tmp_path / "guest.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(Usage, match=r"guest\.toml: no UTF-8 at byte 8"):
        host.run(host.toolstack.domains())
    (tmp_path / "guest.toml").write_text("name = 'guest'")
    with pytest.raises(Usage, match=r"guest\.toml: uuid") as caught:
        host.run(host.toolstack.domains())
    assert "uuid = " in caught.value.remedy


def test_a_switch_keeps_the_file_as_its_owner_wrote_it(host, tmp_path):
    written = describe(tmp_path, "guest")
    written.chmod(0o640)
    before = written.read_text()
    host.run(host.toolstack.set_layers(UUID, {"xvda": Layer(f"{tmp_path}/o.qcow2", Format.QCOW2)}))
    assert written.read_text() == before.replace('"a.qcow2"', '"o.qcow2"')
    assert written.stat().st_mode & 0o777 == 0o640
    host.run(host.toolstack.set_layers(UUID, {"xvda": Layer("/elsewhere/o.raw", Format.RAW)}))
    assert 'path = "/elsewhere/o.raw" # the disk\nformat = "raw"' in written.read_text()
    assert host.run(host.toolstack.configuration(UUID)) == written.read_text()


def test_a_switch_that_fails_leaves_the_file_alone(host, tmp_path, monkeypatch):
    written = describe(tmp_path, "guest")
    before = written.read_text()

    def full(old, new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(Exception, match="No space left"):
        host.run(host.toolstack.set_layers(UUID, {"xvda": Layer("/o", Format.RAW)}))
    assert written.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["guest.toml"]


def test_what_needs_a_running_domain_is_refused(without_qemu, tmp_path):
    host = without_qemu
    describe(tmp_path, "guest")
    (guest,) = host.run(host.toolstack.domains())
    stack, blocks = host.toolstack, host.blocks
    layer = Layer("/o", Format.QCOW2)
    for work in (
        stack.create(guest.uuid),
        stack.shutdown(guest, timeout_s=1),
        stack.pause(guest),
        stack.unpause(guest),
        stack.resume(guest),
        stack.rename(guest, "x"),
        stack.restore("/m", uuid=guest.uuid, layers={}, paused=True),
        blocks.nodes(guest),
        blocks.transaction(guest, []),
        blocks.delete_internal(guest, "xvda", tag="t", snapshot_id="1"),
        blocks.commit(guest, "xvda", top=layer, base=layer, job_id="j"),
        blocks.stream(guest, "xvda", layer=layer, base=None, job_id="j"),
        blocks.flush(guest),
        blocks.job(guest, "j"),
    ):
        with pytest.raises(Refused) as caught:
            host.run(work)
        assert caught.value.id == "unsupported-on-host"
    with pytest.raises(Refused):
        stack.saving(guest, to="/m")
    assert host.run(stack.destroy(guest)) is None
    assert host.run(stack.hold_watcher(guest)) is None


def test_a_caller_with_a_loop_of_his_own_uses_it(host, tmp_path):
    describe(tmp_path, "guest")

    async def work():
        await host.machine.sleep(0)
        return await host.gather(host.toolstack.inspect("guest"), host.machine.fresh_id())

    assert asyncio.run(work())[0].uuid == UUID
