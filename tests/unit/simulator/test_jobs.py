"""Block jobs of running domains: their life, what the guest reads meanwhile, and who finds them again."""

from collections.abc import Callable

import msgspec
import pytest

from simulator import SimulatedHost, after_engine_crash, after_host_crash, crash_points
from simulator.checkers.guests import torn
from simulator.checkers.leaks import unclean
from simulator.qemu import jobs
from xensnap.errors import Failed, NotFound, Refused
from xensnap.hypervisor import Job, JobState, TakeInternal, TakeOverlay
from xensnap.model import Backing, Domain, DomainUuid, Format, Layer

UUID = DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe")
K64 = 65536
MIB = 1 << 20
SIZE = 4 * MIB
LAYERS = [Layer(f"/images/{number}.qcow2", Format.QCOW2) for number in range(4)]
BASE, MIDDLE, UPPER, TOP = LAYERS


@pytest.fixture
def host() -> SimulatedHost:
    """A guest on a chain of four, each with something of its own, and something over something."""
    host = SimulatedHost.fresh()
    host.create_image(BASE.path, size_bytes=SIZE)
    host.add_domain("guest", UUID, {"xvda": BASE.path})
    host.start("guest")
    for number, layer in enumerate(LAYERS):
        if number:
            host.run(overlay(host, layer, LAYERS[number - 1]))
        host.guest_writes("guest", "xvda", number * 4 * K64, 8 * K64, flush=True)
        host.guest_writes("guest", "xvda", SIZE - K64 + number * 512, 512, flush=True)
    return host


async def overlay(host: SimulatedHost, layer: Layer, below: Layer) -> None:
    await host.files.create(layer.path)
    name = below.path.rpartition("/")[2]
    await host.images.create_overlay(layer.path, backing=Backing(name, below.path, Format.QCOW2), size_bytes=SIZE)
    await host.files.sync_dir("/images")
    await host.blocks.transaction(await host.toolstack.inspect("guest"), [TakeOverlay("xvda", layer)])


def guest(host: SimulatedHost) -> Domain:
    return host.run(host.toolstack.inspect("guest"))


def running_chain(host: SimulatedHost) -> list[Layer]:
    node = host.run(host.blocks.nodes(guest(host)))[0]
    found = [node.layer]
    while node.backing:
        node = node.backing
        found.append(node.layer)
    return found


def commit(host: SimulatedHost, top: Layer = TOP, base: Layer = BASE, job_id: str = "j") -> Job:
    return host.run(host.blocks.commit(guest(host), "xvda", top=top, base=base, job_id=job_id))


def stream(host: SimulatedHost, layer: Layer = TOP, base: Layer | None = None, job_id: str = "j") -> Job:
    return host.run(host.blocks.stream(guest(host), "xvda", layer=layer, base=base, job_id=job_id))


def wait(host: SimulatedHost, job: Job) -> list[JobState]:
    seen: list[JobState] = []
    host.run(job.wait(progress=seen.append))
    return seen


def sound(host: SimulatedHost) -> None:
    assert not list(torn(host.world))
    assert not list(unclean(host.world.fs))
    assert host.running_disks("guest")["xvda"] == host.visible_layer(running_chain(host)[0])


def test_an_active_commit_gets_ready_and_pivots(host):
    """qemu.md 157, 163"""
    seen = host.guest_sees("guest")
    job = commit(host)
    states = wait(host, job)
    assert len(states) > 3
    assert not states[0].ready
    assert (states[-1].ready, states[-1].concluded) == (True, False)
    assert states[-1].done_bytes == states[-1].total_bytes
    assert [state.done_bytes for state in states] == sorted(state.done_bytes for state in states)
    assert running_chain(host) == LAYERS[::-1]
    host.run(job.complete())
    assert running_chain(host) == [BASE]
    assert host.guest_sees("guest") == seen
    sound(host)
    with pytest.raises(NotFound):
        host.run(job.state())
    host.run(host.images.require_unused(TOP))
    host.guest_writes("guest", "xvda", flush=True)
    assert host.visible_layer(BASE) == host.guest_sees("guest")["xvda"]


def test_what_the_guest_writes_after_the_job_was_ready_is_in_the_base_too(host):
    job = commit(host)
    wait(host, job)
    host.guest_writes("guest", "xvda", 3 * MIB, K64, flush=True)
    assert host.run(job.state()).total_bytes > host.run(job.state()).done_bytes
    host.run(host.machine.sleep(1))
    assert host.run(job.state()).total_bytes == host.run(job.state()).done_bytes
    host.guest_writes("guest", "xvda", 3 * MIB, K64, flush=True)
    host.run(job.complete())
    sound(host)


@pytest.mark.parametrize(
    ("start", "left"),
    [
        (lambda host: commit(host, UPPER, MIDDLE), [TOP, MIDDLE, BASE]),
        (lambda host: commit(host, UPPER, BASE), [TOP, BASE]),
        (lambda host: commit(host, MIDDLE, BASE), [TOP, UPPER, BASE]),
        (stream, [TOP]),
        (lambda host: stream(host, TOP, MIDDLE), [TOP, MIDDLE, BASE]),
        (lambda host: stream(host, UPPER, BASE), [TOP, UPPER, BASE]),
        (lambda host: stream(host, UPPER), [TOP, UPPER]),
    ],
)
def test_other_jobs_end_by_themselves_and_rewrite_the_header_above(host, start: Callable, left):
    """qemu.md 157, 164"""
    host.guest_never_rests("guest", "xvda", length_bytes=4096, end_bytes=SIZE)
    job = start(host)
    assert not any(state.ready for state in wait(host, job))
    host.guest_rests("guest")
    assert running_chain(host) == left
    sound(host)
    chain = host.run(host.images.chain(TOP))
    assert [image.layer for image in chain] == left
    assert all(image.backing is None or "/" not in image.backing.name for image in chain)
    host.guest_poweroff("guest")
    host.run(host.toolstack.set_layers(UUID, {"xvda": TOP}))
    host.start("guest")
    sound(host)


def test_under_a_guest_that_writes_faster_than_it_copies_a_job_never_gets_ready(host):
    host.guest_never_rests("guest", "xvda", length_bytes=8 * K64, end_bytes=SIZE)
    job = commit(host)
    began = host.world.clock.monotonic_ns
    states: list[JobState] = []
    with pytest.raises(Failed, match="in 20 s") as caught:
        host.run(job.wait(progress=states.append, patience_s=20))
    assert caught.value.id == "job-stalled"
    assert not any(state.ready for state in states)
    assert host.world.clock.monotonic_ns - began >= 20e9
    before = host.guest_sees("guest")["xvda"]
    host.guest_rests("guest")
    host.run(job.cancel())
    assert running_chain(host) == LAYERS[::-1]
    assert host.guest_sees("guest")["xvda"][0] == before[0]
    sound(host)


@pytest.mark.parametrize(
    ("start", "ready"),
    [(commit, False), (commit, True), (lambda host: commit(host, UPPER, BASE), False), (stream, False)],
)
def test_a_cancelled_job_changes_nothing_that_is_read(host, start, ready):
    """qemu.md 165"""
    job = start(host)
    host.run(host.machine.sleep(0.1))
    if ready:
        wait(host, job)
    seen = host.guest_sees("guest")
    host.run(job.cancel())
    assert host.guest_sees("guest") == seen
    assert running_chain(host) == LAYERS[::-1]
    with pytest.raises(NotFound):
        host.run(job.state())
    sound(host)
    wait(host, commit(host))


def test_a_job_that_is_not_ready_cannot_be_completed(host):
    job = commit(host)
    with pytest.raises(Failed, match="cannot accept command verb 'complete'"):
        host.run(job.complete())


def test_a_job_is_found_again_by_another_process_and_goes_on_while_nobody_looks(host):
    commit(host)
    after = SimulatedHost(after_engine_crash(host.world, "killed"))
    job = after.run(after.blocks.job(guest(after), "j"))
    assert after.run(job.state()).done_bytes == 0
    after.run(after.machine.sleep(5))
    assert after.run(job.state()).ready
    after.run(after.machine.sleep(3600))
    after.run(job.complete())
    assert running_chain(after) == [BASE]
    with pytest.raises(NotFound):
        after.run(after.blocks.job(guest(after), "j"))
    sound(after)


def test_while_a_job_runs_the_disk_takes_no_snapshot_and_no_other_job(host):
    """qemu.md 160, 166"""
    commit(host)
    with pytest.raises(Failed, match="already in use"):
        commit(host)
    with pytest.raises(Failed, match="Need a root block node"):
        commit(host, job_id="k")
    with pytest.raises(Failed, match="busy: block device is in use by block job: commit"):
        stream(host, job_id="k")
    with pytest.raises(Failed, match="Need a root block node"):
        host.run(host.blocks.transaction(guest(host), [TakeInternal("xvda", "s")]))
    host.create_image("/images/x.qcow2", size_bytes=SIZE)
    with pytest.raises(Failed, match="in use by block job: commit"):
        host.run(host.blocks.transaction(guest(host), [TakeOverlay("xvda", Layer("/images/x.qcow2", Format.QCOW2))]))


def test_what_is_not_in_the_chain_or_the_wrong_way_round_is_refused(host):
    """qemu.md 161, 162"""
    with pytest.raises(NotFound):
        commit(host, base=Layer("/images/x.qcow2", Format.QCOW2))
    with pytest.raises(Failed, match="Can't find"):
        commit(host, top=BASE, base=MIDDLE)
    with pytest.raises(Failed, match="not a backing image"):
        stream(host, layer=BASE, base=BASE)
    assert guest(host).domid == 1


def test_a_full_file_system_ends_a_job_with_an_error(host):
    seen = host.guest_sees("guest")
    host.set_capacity(free_bytes=0)
    job = stream(host)
    with pytest.raises(Failed, match="No space left") as caught:
        wait(host, job)
    assert caught.value.id == "job-failed"
    assert running_chain(host) == LAYERS[::-1]
    assert host.guest_sees("guest") == seen


def test_an_immutable_base_is_not_opened_for_writing(host):
    """design 5.9: the flag is cleared before each commit"""
    host.run(host.files.set_immutable(BASE.path, on=True))
    with pytest.raises(Failed, match="Operation not permitted"):
        commit(host)
    host.run(host.files.set_immutable(BASE.path, on=False))
    wait(host, commit(host))


def test_a_base_that_has_another_name_by_now_is_refused_through_the_port(host):
    """design 5.13"""
    host.run(host.files.rename(BASE.path, "/images/elsewhere"))
    host.run(host.files.rename(TOP.path, BASE.path))
    with pytest.raises(Refused) as caught:
        commit(host)
    assert caught.value.id == "image-replaced"
    assert host.guest_sees("guest")["xvda"]


def test_qemu_itself_opens_whatever_has_the_name_and_the_guest_reads_other_data(host):
    """design 5.12, xen-live.md B: the stable path's block-commit corrupts without any error"""
    host.run(host.files.rename(MIDDLE.path, "/images/elsewhere"))
    host.create_image(MIDDLE.path, size_bytes=SIZE)
    domid = host.incarnation("guest").domid
    fs, qemu = jobs.commit(
        host.world.fs, host.world.qemus[domid], vdev="xvda", top=UPPER, base=MIDDLE, job_id="j", backing_name="x"
    )
    while not (job := qemu.jobs[0]).over:
        fs, qemu = jobs.worked(fs, qemu, job)
    assert job.error == ""
    world = msgspec.structs.replace(host.world, fs=fs, qemus=host.world.qemus.set(domid, qemu))
    corrupted = SimulatedHost(world)
    assert [finding.rule for finding in torn(corrupted.world)] == ["memory-and-disk-disagree"]


def test_at_every_death_in_a_commit_the_guest_reads_the_same_and_the_host_comes_up_with_it(host):
    host.run(host.toolstack.set_layers(UUID, {"xvda": TOP}))
    seen = host.guest_sees("guest")["xvda"]

    async def whole() -> None:
        domain = await host.toolstack.inspect("guest")
        job = await host.blocks.commit(domain, "xvda", top=TOP, base=BASE, job_id="j")
        await job.wait()
        await job.complete()

    with host.recording():
        host.run(whole())
    points = crash_points(host)
    assert len(points) > 8
    for point in points:
        after = SimulatedHost(after_engine_crash(point.world, "killed"))
        assert after.guest_sees("guest")["xvda"] == seen, point
        assert not list(torn(after.world)), point
        off = SimulatedHost(after_host_crash(point.world, "lost"))
        assert off.visible("guest")["xvda"] == seen, point
