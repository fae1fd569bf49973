"""Memory and disks of one moment: saved in two phases, restored, and compared by the guest itself."""

import contextlib
import os
import signal
import stat
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.real.qemu.conftest import small_file_system
from xensnap.backends.qemu import memory as memory_module
from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED
from xensnap.errors import Busy, Effect, Failed, NotFound, Refused, XensnapError
from xensnap.hypervisor import Action, TakeInternal, TakeOverlay, Then
from xensnap.model import Domain, RunState


def checkpoint(lab, domain, name="memory", *, live=False, then=Then.SAME, overlays=()):
    """Memory into a file, and internal or external points of both disks between the phases."""
    to = lab.empty(name)

    async def work():
        async with lab.toolstack.saving(domain, to=to, live=live) as save:
            await save.suspended()
            actions: list[Action] = [TakeOverlay(vdev, layer) for vdev, layer in overlays]
            covered = {action.vdev for action in actions}
            actions += [TakeInternal(disk.vdev, name) for disk in domain.disks if disk.vdev not in covered]
            await lab.blocks.transaction(domain, actions)
            await save.finish(then=then)

    lab.run(work())
    return to


def revert(lab, domain, tag="memory"):
    """Every disk back to the internal snapshot; the domain is off."""
    for disk in domain.disks:
        (entry,) = lab.run(lab.host.images.inspect(disk.layer)).tagged(tag)
        lab.run(lab.host.images.snapshot_apply(disk.layer, snapshot_id=entry.id))


def restored(lab, domain, memory, *, paused=False, **layers) -> Domain:
    found = {disk.vdev: disk.layer for disk in domain.disks} | layers
    return lab.run(lab.toolstack.restore(memory, uuid=domain.uuid, layers=found, paused=paused))


@pytest.mark.parametrize("live", [False, True], ids=["stopped", "live"])
def test_after_a_restore_the_counter_in_memory_is_that_on_disk(lab, live):
    domain = lab.start()
    memory = checkpoint(lab, domain, live=live)
    assert stat.S_IMODE(Path(memory).stat().st_mode) == 0o600
    later = lab.heard(domain, reports=5)
    lab.run(lab.toolstack.destroy(domain))
    revert(lab, domain)
    again = restored(lab, domain, memory)
    assert again.state is RunState.RUNNING
    assert again.domid > domain.domid
    lab.heard(again, reports=REPORTS_UNTIL_NOTICED)
    assert lab.said(again)[0][0] < later


def test_the_guest_notices_memory_and_disks_of_different_moments(lab):
    domain = lab.start()
    memory = checkpoint(lab, domain)
    lab.heard(domain, reports=6)
    lab.run(lab.toolstack.destroy(domain))
    again = restored(lab, domain, memory)  # without taking the disks back
    with pytest.raises(AssertionError, match="assert"):
        lab.heard(again, reports=REPORTS_UNTIL_NOTICED)


@pytest.mark.parametrize("live", [False, True], ids=["stopped", "live"])
def test_disks_frozen_below_overlays_are_restored_from_new_ones(lab, live):
    domain = lab.start()
    overlays = [(disk.vdev, lab.overlay(domain, disk.vdev, f"{disk.vdev}-1.qcow2")) for disk in domain.disks]
    memory = checkpoint(lab, domain, live=live, overlays=overlays)
    assert lab.chain(domain, "xvda") == ["xvda-1.qcow2", "guest-xvda.qcow2"]
    lab.heard(domain, reports=5)
    fresh = {disk.vdev: lab.overlay_of(disk.layer, f"{disk.vdev}-2.qcow2") for disk in domain.disks}
    lab.run(lab.toolstack.destroy(domain))
    again = restored(lab, domain, memory, **fresh)
    lab.heard(again, reports=REPORTS_UNTIL_NOTICED)
    assert lab.chain(again, "xvdb") == ["xvdb-2.qcow2", "guest-xvdb.qcow2"]
    # What comes next starts where it went on.
    lab.run(lab.toolstack.destroy(again))
    lab.run(lab.toolstack.set_layers(domain.uuid, fresh))
    assert lab.chain(lab.start(domain.uuid), "xvdb") == ["xvdb-2.qcow2", "guest-xvdb.qcow2"]


def test_one_transaction_can_freeze_one_disk_and_tag_another(lab):
    domain = lab.start()
    memory = checkpoint(lab, domain, overlays=[("xvda", lab.overlay(domain, "xvda", "a1.qcow2"))])
    lab.heard(domain, reports=3)
    lab.run(lab.toolstack.destroy(domain))
    (entry,) = lab.run(lab.host.images.inspect(domain.disks[1].layer)).tagged("memory")
    lab.run(lab.host.images.snapshot_apply(domain.disks[1].layer, snapshot_id=entry.id))
    fresh = lab.overlay_of(domain.disks[0].layer, "a2.qcow2")
    lab.heard(restored(lab, domain, memory, xvda=fresh), reports=REPORTS_UNTIL_NOTICED)


@pytest.mark.parametrize("live", [False, True], ids=["stopped", "live"])
def test_after_a_save_the_guest_is_as_it_was_asked_for(lab, live):
    domain = lab.start()
    wanted = {Then.PAUSED: RunState.PAUSED, Then.STOPPED: RunState.OFF}
    for then in (Then.SAME, Then.RUNNING, Then.PAUSED, Then.STOPPED):
        checkpoint(lab, domain, then.value, live=live, then=then)
        assert lab.seen(domain).state is wanted.get(then, RunState.RUNNING)
        if then is Then.PAUSED:
            # Its images are its own again, though it has not run.
            lab.run(lab.blocks.transaction(domain, [TakeInternal(disk.vdev, "later") for disk in domain.disks]))
            lab.run(lab.toolstack.unpause(domain))
        if then is not Then.STOPPED:
            lab.heard(domain)


def test_a_guest_that_dirties_memory_too_fast_is_stopped_to_be_saved(lab, monkeypatch):
    monkeypatch.setattr(memory_module, "_ROUNDS_MAX", 0)
    domain = lab.start()
    memory = checkpoint(lab, domain, live=True)
    assert lab.seen(domain).state is RunState.RUNNING
    lab.heard(domain)
    lab.run(lab.toolstack.destroy(domain))
    revert(lab, domain)
    lab.heard(restored(lab, domain, memory), reports=REPORTS_UNTIL_NOTICED)


def test_a_paused_guest_stays_paused_and_is_saved_again_and_again(lab):
    domain = lab.start()
    lab.run(lab.toolstack.pause(domain))
    first = checkpoint(lab, domain, "first")
    assert lab.seen(domain).state is RunState.PAUSED
    said = lab.said(domain)
    second = checkpoint(lab, domain, "second", live=True)
    assert lab.seen(domain).state is RunState.PAUSED
    assert len(lab.said(domain)) <= len(said) + 1
    lab.run(lab.toolstack.destroy(domain))
    for name, memory in (("second", second), ("first", first)):
        revert(lab, domain, name)
        again = restored(lab, domain, memory, paused=True)
        assert again.state is RunState.PAUSED
        lab.run(lab.toolstack.unpause(again))
        lab.heard(again, reports=REPORTS_UNTIL_NOTICED)
        lab.run(lab.toolstack.destroy(again))


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_leaving_a_save_undoes_it(lab, paused):
    domain = lab.start()
    to = lab.empty("memory")

    async def work(live, suspended):
        async with lab.toolstack.saving(domain, to=to, live=live) as save:
            if suspended:
                await save.suspended()
            raise KeyError

    for at, (live, suspended) in enumerate(product((False, True), (False, True))):
        if paused:
            lab.run(lab.toolstack.pause(domain))
        with pytest.raises(KeyError):
            lab.run(work(live, suspended))
        assert lab.seen(domain).state is (RunState.PAUSED if paused else RunState.RUNNING)
        assert Path(to).read_bytes() == b""
        lab.run(lab.blocks.transaction(domain, [TakeInternal("xvda", f"later-{at}")]))
        checkpoint(lab, domain, f"memory-{at}", live=live)
        lab.run(lab.toolstack.unpause(domain))
        lab.heard(domain)


def test_a_save_whose_engine_died_is_seen_and_revived(lab):
    domain = lab.start()
    to = lab.empty("memory")

    async def work():
        save = lab.toolstack.saving(domain, to=to)
        await (await save.__aenter__()).suspended()
        assert (await lab.toolstack.inspect(domain.uuid)).state is RunState.SUSPENDED
        return save

    lost = lab.run(work())
    other = lab.again()
    assert other.seen(domain).state is RunState.SUSPENDED
    other.run(other.toolstack.resume(domain))
    assert other.seen(domain).state is RunState.RUNNING
    other.heard(domain)
    with contextlib.suppress(RuntimeError):
        lab.run(lost.__aexit__(KeyError, KeyError(), None))


@pytest.mark.parametrize("live", [False, True], ids=["stopped", "live"])
def test_a_full_file_system_leaves_the_guest_running_and_no_memory(lab, live):
    domain = lab.start()
    with small_file_system(lab.directory / "small", 4096):
        checkpoint(lab, domain, "small/memory", live=live)
        needed_kib = (lab.directory / "small/memory").stat().st_size >> 10
    # While the memory is copied, and when only the devices are left to be written. What is copied twice, since the
    # guest has changed it meanwhile, may be some pages less this time.
    for size_kib in (needed_kib // 2, needed_kib - 90):
        with small_file_system(lab.directory / "small", size_kib):
            with pytest.raises(Failed, match="No space left on device") as caught:
                checkpoint(lab, domain, "small/memory", live=live)
            assert caught.value.effect is Effect.NONE
            assert (lab.directory / "small/memory").stat().st_size == 0
        assert lab.seen(domain).state is RunState.RUNNING
        lab.heard(domain)
        for disk in domain.disks:
            entries = lab.execute(domain, "query-named-block-nodes", flat=True)
            (image,) = [entry["image"] for entry in entries if entry["node-name"] == f"{disk.vdev}-qcow2"]
            for entry in image.get("snapshots", []):
                lab.run(lab.blocks.delete_internal(domain, disk.vdev, tag=entry["name"], snapshot_id=entry["id"]))


@pytest.mark.parametrize("suspended", [False, True], ids=["early", "late"])
def test_a_qemu_killed_in_a_save_leaves_no_memory(lab, suspended):
    domain = lab.start()
    to = lab.empty("memory")

    async def work():
        async with lab.toolstack.saving(domain, to=to) as save:
            if suspended:
                await save.suspended()
            os.kill((await lab.processes.find(domain.uuid)).pid, signal.SIGKILL)
            await (save.finish(then=Then.SAME) if suspended else save.suspended())

    with pytest.raises(XensnapError, match=r"hung up|no QEMU|does not answer"):
        lab.run(work())
    assert Path(to).read_bytes() == b""
    lab.run(lab.toolstack.destroy(domain))
    assert lab.seen(domain).state is RunState.OFF
    lab.start(domain.uuid)


def test_the_memory_file_must_be_there_and_empty(lab):
    domain = lab.start()

    async def work(to):
        async with lab.toolstack.saving(domain, to=to):
            pass

    with pytest.raises(NotFound):
        lab.run(work(str(lab.directory / "nowhere")))
    full = lab.directory / "full"
    full.write_bytes(b"older")
    with pytest.raises(Refused):
        lab.run(work(str(full)))
    assert full.read_bytes() == b"older"
    lab.heard(domain)


def test_memory_that_cannot_be_read_leaves_no_qemu(lab):
    domain = lab.start()
    memory = Path(checkpoint(lab, domain, then=Then.STOPPED))
    whole = memory.read_bytes()
    # The last 100 KB only describe the rest for people, and QEMU does without them.
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 5000, whole[:-120_000]):
        memory.write_bytes(damaged)
        with pytest.raises(Failed, match="load of migration failed") as caught:
            restored(lab, domain, str(memory))
        assert caught.value.effect is Effect.NONE
        assert lab.seen(domain).state is RunState.OFF
    memory.write_bytes(whole)
    lab.heard(restored(lab, domain, str(memory)))


def test_memory_fits_only_its_own_machine(lab):
    domain = lab.start()
    memory = checkpoint(lab, domain, then=Then.STOPPED)
    configuration = lab.run(lab.toolstack.configuration(domain.uuid))
    description = lab.directory / "guest.toml"
    description.write_text(configuration.replace('"32M"', '"64M"'), encoding="utf-8")
    with pytest.raises(Failed, match=r"Size mismatch|load of migration failed"):
        restored(lab, domain, memory)
    layers = {disk.vdev: disk.layer for disk in domain.disks}
    again = lab.run(
        lab.toolstack.restore(memory, uuid=domain.uuid, layers=layers, paused=False, configuration=configuration)
    )
    lab.heard(again)


def test_an_image_that_another_qemu_has_locked_is_not_restored_onto(lab):
    domain = lab.start()
    memory = checkpoint(lab, domain, then=Then.STOPPED)
    image = domain.disks[1].layer.path
    other = ["qemu-system-x86_64", "-machine", "none", "-display", "none", "-nodefaults", "-S"]
    other += ["-drive", f"if=none,id=x,format=qcow2,file={image}", "-chardev", "stdio,id=m", "-mon", "chardev=m"]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(Busy, match="qemu-system"):
            restored(lab, domain, memory, paused=True)
        # Were it taken only after that look, QEMU itself notices.
        lab.toolstack._images.require_unused = _nothing
        with pytest.raises(Failed, match="lock"):
            restored(lab, domain, memory, paused=True)
        holder.kill()
    assert lab.seen(domain).state is RunState.OFF


async def _nothing(layer):
    pass


def test_a_domain_that_runs_is_not_restored_over(lab):
    domain = lab.start()
    memory = checkpoint(lab, domain)
    with pytest.raises(Busy):
        restored(lab, domain, memory)
    lab.heard(domain)


def test_a_save_tells_how_much_of_the_memory_is_written(lab):
    domain = lab.start()
    told: list[int] = []

    async def work():
        async with lab.toolstack.saving(domain, to=lab.empty("memory")) as save:
            await save.suspended(progress=told.append)
            await save.finish(then=Then.SAME)

    lab.run(work())
    assert told == sorted(told)
    # The video and firmware memory of the machine counts, too.
    assert 32 << 20 <= told[-1] <= 64 << 20
