"""The disks of running guests: points, and jobs that merge images while the guest writes."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.real.qemu.conftest import PATIENCE_S, small_file_system
from xensnap.errors import Busy, Effect, Failed, NotFound, Refused
from xensnap.hypervisor import JobState, TakeInternal, TakeOverlay
from xensnap.model import Format, Layer, RunState


@pytest.fixture
def domain(lab):
    return lab.start()


def deepen(lab, domain, vdev, *names):
    """One overlay after another, each with something of its own."""
    for name in names:
        lab.run(lab.blocks.transaction(domain, [TakeOverlay(vdev, lab.overlay(domain, vdev, name))]))
        lab.heard(domain, reports=2)


def image(lab, name):
    return Layer(str(lab.directory / name), Format.QCOW2)


def opened_by(lab, domain):
    """Names of the images that the QEMU has open, whatever for."""
    pid = lab.run(lab.processes.find(domain.uuid)).pid
    names = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a disk's thread closes one now and then
            names.add(fd.readlink().name)
    return sorted(name for name in names if name.endswith(".qcow2"))


def test_roots_are_called_as_on_xen(lab, domain):
    nodes = lab.run(lab.blocks.nodes(domain))
    assert [(node.node_name, node.vdev, node.readonly) for node in nodes] == [
        ("xvda-qcow2", "xvda", False),
        ("xvdb-qcow2", "xvdb", False),
    ]
    assert [node.layer for node in nodes] == [disk.layer for disk in domain.disks]


def test_a_chain_is_told_as_deep_as_it_is(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2", "a2.qcow2")
    assert lab.chain(domain, "xvda") == ["a2.qcow2", "a1.qcow2", "guest-xvda.qcow2"]
    # Also where QEMU opens it by itself.
    lab.run(lab.toolstack.destroy(domain))
    lab.run(lab.toolstack.set_layers(domain.uuid, {"xvda": image(lab, "a2.qcow2")}))
    again = lab.run(lab.toolstack.create(domain.uuid))
    assert lab.chain(again, "xvda") == ["a2.qcow2", "a1.qcow2", "guest-xvda.qcow2"]


def test_points_of_all_disks_are_taken_or_none(lab, domain):
    overlay = lab.overlay(domain, "xvdb", "b1.qcow2")
    lab.run(lab.blocks.transaction(domain, [TakeInternal("xvda", "s1")]))
    # The overlay comes first, so it is there already when the tag turns out to be taken.
    with pytest.raises(Failed, match="already exists") as caught:
        lab.run(lab.blocks.transaction(domain, [TakeOverlay("xvdb", overlay), TakeInternal("xvda", "s1")]))
    assert caught.value.effect is Effect.NONE
    assert lab.chain(domain, "xvdb") == ["guest-xvdb.qcow2"]
    assert "b1.qcow2" not in opened_by(lab, domain)
    lab.run(lab.blocks.transaction(domain, [TakeOverlay("xvdb", overlay), TakeInternal("xvda", "s2")]))
    assert lab.chain(domain, "xvdb") == ["b1.qcow2", "guest-xvdb.qcow2"]
    lab.heard(domain)


def test_a_missing_overlay_changes_nothing(lab, domain):
    actions = [TakeOverlay("xvda", lab.overlay(domain, "xvda", "a1.qcow2")), TakeOverlay("xvdb", image(lab, "no"))]
    with pytest.raises(Failed, match="No such file"):
        lab.run(lab.blocks.transaction(domain, actions))
    assert lab.chain(domain, "xvda") == ["guest-xvda.qcow2"]
    assert opened_by(lab, domain) == ["guest-xvda.qcow2", "guest-xvdb.qcow2"]


def test_what_would_kill_qemu_is_refused(lab, domain):
    overlay = lab.overlay(domain, "xvda", "a1.qcow2")
    for actions in (
        [TakeOverlay("xvda", overlay), TakeInternal("xvda", "s")],
        [TakeOverlay("xvda", overlay), TakeOverlay("xvdb", overlay)],
    ):
        with pytest.raises(Refused) as caught:
            lab.run(lab.blocks.transaction(domain, actions))
        assert caught.value.id == "one-point-each"
    lab.heard(domain)


def test_a_snapshot_is_deleted_by_id_and_tag(lab, domain):
    for tag in ("one", "two"):
        lab.run(lab.blocks.transaction(domain, [TakeInternal("xvda", tag)]))
    for tag, id in (("one", "2"), ("three", "3")):
        with pytest.raises(NotFound):
            lab.run(lab.blocks.delete_internal(domain, "xvda", tag=tag, snapshot_id=id))
    lab.run(lab.blocks.delete_internal(domain, "xvda", tag="one", snapshot_id="1"))
    lab.run(lab.toolstack.destroy(domain))
    left = lab.run(lab.host.images.inspect(domain.disks[0].layer)).snapshots
    assert [(entry.id, entry.tag) for entry in left] == [("2", "two")]


def test_a_paused_guest_s_disks_are_snapshotted(lab, domain):
    lab.run(lab.toolstack.pause(domain))
    lab.run(lab.blocks.transaction(domain, [TakeOverlay("xvda", lab.overlay(domain, "xvda", "a1.qcow2"))]))
    assert lab.seen(domain).state is RunState.PAUSED
    lab.run(lab.toolstack.unpause(domain))
    lab.heard(domain)


def test_the_active_layer_is_committed_while_the_guest_writes_to_it(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2")
    base = domain.disks[0].layer
    job = lab.run(lab.blocks.commit(domain, "xvda", top=image(lab, "a1.qcow2"), base=base, job_id="merge"))
    seen: list[JobState] = []
    state = lab.run(job.wait(progress=seen.append))
    assert (state.ready, state.concluded, seen[-1]) == (True, False, state)
    assert 0 < state.done_bytes <= state.total_bytes  # ready, though the guest has just written again
    lab.heard(domain)
    lab.run(job.complete())
    with pytest.raises(NotFound):
        lab.run(job.state())
    assert lab.chain(domain, "xvda") == ["guest-xvda.qcow2"]
    assert opened_by(lab, domain) == ["guest-xvda.qcow2", "guest-xvdb.qcow2"]
    n = lab.heard(domain)
    deepen(lab, domain, "xvda", "a2.qcow2")
    lab.run(lab.toolstack.destroy(domain))
    lab.check(base)
    assert lab.on_disk(base, n) >= n - 16


def test_a_commit_is_found_again_by_another_process_and_cancelled(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2")
    top, base = image(lab, "a1.qcow2"), domain.disks[0].layer
    lab.run(lab.blocks.commit(domain, "xvda", top=top, base=base, job_id="merge"))
    other = lab.again()
    job = other.run(other.blocks.job(domain, "merge"))
    assert other.run(job.wait()).ready
    assert other.chain(domain, "xvda") == ["a1.qcow2", "guest-xvda.qcow2"]
    other.run(job.cancel())
    with pytest.raises(NotFound):
        other.run(other.blocks.job(domain, "merge"))
    assert other.chain(domain, "xvda") == ["a1.qcow2", "guest-xvda.qcow2"]
    other.heard(domain, reports=5)
    # And it can be tried again.
    again = other.run(other.blocks.commit(domain, "xvda", top=top, base=base, job_id="merge"))
    other.run(again.wait())
    other.run(again.complete())
    assert other.chain(domain, "xvda") == ["guest-xvda.qcow2"]
    other.heard(domain)


def test_a_job_that_is_not_ready_cannot_be_completed(lab, domain):
    # By then it has written to all its sectors, and it stands still from the last overlay on: all has to be copied.
    lab.heard(domain, reports=6)
    deepen(lab, domain, "xvda", "a1.qcow2")
    lab.run(lab.toolstack.pause(domain))
    lab.run(lab.blocks.transaction(domain, [TakeOverlay("xvda", lab.overlay(domain, "xvda", "a2.qcow2"))]))
    lab.execute(domain, "block-stream", device=lab.run(lab.blocks.nodes(domain))[0].node_name, speed=1, **{
        "job-id": "slow", "auto-dismiss": False})  # fmt: skip
    job = lab.run(lab.blocks.job(domain, "slow"))
    with pytest.raises(Failed, match="complete") as caught:
        lab.run(job.complete())
    assert caught.value.effect is Effect.NONE
    lab.run(job.cancel())
    assert lab.chain(domain, "xvda") == ["a2.qcow2", "a1.qcow2", "guest-xvda.qcow2"]
    lab.run(lab.toolstack.unpause(domain))
    lab.heard(domain)


def test_an_image_in_the_middle_is_committed_down(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2", "a2.qcow2")
    job = lab.run(lab.blocks.commit(domain, "xvda", top=image(lab, "a1.qcow2"), base=domain.disks[0].layer, job_id="m"))
    assert lab.run(job.wait()).concluded
    assert lab.chain(domain, "xvda") == ["a2.qcow2", "guest-xvda.qcow2"]
    assert "a1.qcow2" not in opened_by(lab, domain)
    lab.heard(domain, reports=5)
    lab.run(lab.toolstack.destroy(domain))
    backing = lab.run(lab.host.images.inspect(image(lab, "a2.qcow2"))).backing
    assert (backing.name, backing.format) == ("guest-xvda.qcow2", Format.QCOW2)
    lab.check(image(lab, "a2.qcow2"))


@pytest.mark.parametrize("whole", [False, True], ids=["middle", "whole"])
def test_images_below_are_streamed_up_while_the_guest_writes(lab, domain, whole):
    deepen(lab, domain, "xvda", "a1.qcow2", "a2.qcow2")
    top, base = image(lab, "a2.qcow2"), None if whole else domain.disks[0].layer
    job = lab.run(lab.blocks.stream(domain, "xvda", layer=top, base=base, job_id="s"))
    assert lab.run(job.wait()).concluded
    assert lab.chain(domain, "xvda") == ["a2.qcow2", *([] if whole else ["guest-xvda.qcow2"])]
    assert "a1.qcow2" not in opened_by(lab, domain)
    n = lab.heard(domain, reports=5)
    lab.run(lab.toolstack.destroy(domain))
    backing = lab.run(lab.host.images.inspect(top)).backing
    assert (backing and backing.name) == (None if whole else "guest-xvda.qcow2")
    lab.check(top)
    assert lab.on_disk(top, n) >= n - 16


def test_after_a_flush_an_image_s_file_holds_all_that_was_streamed_into_it(lab, domain):
    """As a power cut would find it: of a stream QEMU 7.2.22 leaves the tables in its memory, until somebody flushes."""
    lab.heard(domain, reports=6)
    deepen(lab, domain, "xvda", "a1.qcow2")
    lab.run(lab.toolstack.pause(domain))
    lab.run(lab.blocks.flush(domain))
    top = image(lab, "a1.qcow2")
    before = lab.in_the_file(top)
    assert any(before)
    job = lab.run(lab.blocks.stream(domain, "xvda", layer=top, base=None, job_id="s"))
    lab.run(job.wait())
    lab.run(lab.blocks.flush(domain))
    assert lab.run(lab.host.images.inspect(top)).backing is None
    assert lab.in_the_file(top) == before
    lab.run(lab.toolstack.unpause(domain))
    lab.heard(domain)


def test_merging_what_is_not_in_the_chain_or_was_replaced_is_refused(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2")
    top, base = image(lab, "a1.qcow2"), domain.disks[0].layer
    with pytest.raises(NotFound, match="running chain"):
        lab.run(lab.blocks.commit(domain, "xvda", top=top, base=domain.disks[1].layer, job_id="m"))
    aside = Path(base.path).rename(lab.directory / "aside")
    with pytest.raises(Refused) as caught:
        lab.run(lab.blocks.commit(domain, "xvda", top=top, base=base, job_id="m"))
    assert caught.value.id == "image-replaced"
    Path(base.path).write_bytes(aside.read_bytes())
    with pytest.raises(Refused) as caught:
        lab.run(lab.blocks.commit(domain, "xvda", top=top, base=base, job_id="m"))
    assert caught.value.id == "image-replaced"
    aside.rename(base.path)
    lab.heard(domain)


def test_a_job_whose_target_is_full_fails_and_says_why(lab):
    with small_file_system(lab.directory / "small", 400):
        uuid = lab.describe("small", xvda="raw")
        # Sparse: what the guest writes takes 4 KiB each, what a job copies 64 KiB.
        (lab.directory / "small-xvda.raw").unlink()
        base = Layer(str(lab.directory / "small" / "disk"), Format.RAW)
        with Path(base.path).open("wb") as file:
            file.truncate(1 << 20)
        lab.run(lab.toolstack.set_layers(uuid, {"xvda": base}))
        domain = lab.start(uuid)
        overlay = lab.overlay_of(base, "a1.qcow2")
        lab.run(lab.blocks.transaction(domain, [TakeOverlay("xvda", overlay)]))
        lab.heard(domain, reports=6)
        job = lab.run(lab.blocks.commit(domain, "xvda", top=overlay, base=base, job_id="m"))
        with pytest.raises(Failed, match="No space left on device") as caught:
            lab.run(job.wait())
        assert caught.value.effect is Effect.UNKNOWN
        assert lab.chain(domain, "xvda") == ["a1.qcow2", "disk"]
        lab.heard(domain, reports=6)
        lab.run(lab.toolstack.destroy(domain))


def test_a_job_ends_with_its_qemu(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2")
    top, base = image(lab, "a1.qcow2"), domain.disks[0].layer
    job = lab.run(lab.blocks.commit(domain, "xvda", top=top, base=base, job_id="m"))
    os.kill(lab.run(lab.processes.find(domain.uuid)).pid, signal.SIGKILL)
    with pytest.raises(Failed) as caught:
        lab.run(job.complete())
    with pytest.raises(Failed) as caught:
        lab.run(job.wait())
    assert (caught.value.id, caught.value.effect) == ("job-failed", Effect.UNKNOWN)
    lab.run(lab.toolstack.destroy(domain))
    # Both images are whole enough to go on with.
    lab.run(lab.toolstack.set_layers(domain.uuid, {"xvda": top}))
    lab.start(domain.uuid)


def test_a_job_that_nobody_started_is_not_found(lab, domain):
    with pytest.raises(NotFound):
        lab.run(lab.blocks.job(domain, "never"))


def test_raw_disks_take_overlays_but_no_tags(lab):
    domain = lab.start(lab.describe("raw", xvda="raw"))
    with pytest.raises(Failed, match="does not support internal snapshots"):
        lab.run(lab.blocks.transaction(domain, [TakeInternal("xvda", "s")]))
    deepen(lab, domain, "xvda", "a1.qcow2")
    assert lab.chain(domain, "xvda") == ["a1.qcow2", "raw-xvda.raw"]
    job = lab.run(lab.blocks.commit(domain, "xvda", top=image(lab, "a1.qcow2"), base=domain.disks[0].layer, job_id="m"))
    lab.run(job.wait())
    lab.run(job.complete())
    assert lab.chain(domain, "xvda") == ["raw-xvda.raw"]
    lab.heard(domain)


def test_a_job_that_ended_unnoticed_is_no_danger_to_the_guest(lab, domain):
    deepen(lab, domain, "xvda", "a1.qcow2", "a2.qcow2")
    node = next(node for node in lab.run(lab.blocks.nodes(domain)) if node.vdev == "xvda")
    assert node.backing
    assert node.backing.backing
    where = {"device": node.node_name, "base-node": node.backing.backing.node_name}
    # One of ours waits for whoever looks after it; this one is an operator's.
    lab.execute(domain, "block-stream", **where, **{"job-id": "j", "auto-dismiss": False})
    job = lab.run(lab.blocks.job(domain, "j"))
    deadline = time.monotonic() + PATIENCE_S
    while not lab.run(job.state()).concluded:
        assert time.monotonic() < deadline
    # `query-named-block-nodes` would make QEMU 7.2.22 crash now.
    with pytest.raises(Busy) as caught:
        lab.run(lab.blocks.nodes(domain))
    assert caught.value.id == "job-unnoticed"
    lab.heard(domain)
    lab.run(job.wait())
    assert lab.chain(domain, "xvda") == ["a2.qcow2", "guest-xvda.qcow2"]
    lab.heard(domain)
