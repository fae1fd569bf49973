"""The doors to a simulated world: its monitors on a virtual loop, on real sockets, and its tools by name."""

import asyncio
import json
import random
from pathlib import Path

import pytest
from qemu.qmp import EventListener, ExecuteError, QMPClient
from qemu.qmp.protocol import ConnectError

from simulator import SimulatedHost
from simulator.core.loop import Deadlock, SimulatedLoop
from simulator.serve import programs
from simulator.serve.ended import Ended, Told
from simulator.serve.virtual import VirtualMonitors, socket_path
from xensnap.model import Format, Layer

MIB = 1 << 20


@pytest.fixture
def host() -> SimulatedHost:
    host = SimulatedHost.fresh()
    host.create_image("/images/a.qcow2", size_bytes=64 * MIB)
    host.add_domain("pv1", disks={"xvda": "/images/a.qcow2"})
    host.start("pv1")
    return host


def path_of(host: SimulatedHost, which: str = "libxenstat") -> str:
    return socket_path(which, host.incarnation("pv1").domid)


async def overlaid_and_committed(path: str, seen: list[str]) -> float:
    """An unmodified client takes an overlay, lets the guest's disk be committed back, and hears every event."""
    client, listener = QMPClient(), EventListener()
    client.register_listener(listener)
    await client.connect(path)
    overlay = {"driver": "qcow2", "node-name": "o", "file": {"driver": "file", "filename": "/images/o.qcow2"}}
    await client.execute("blockdev-add", {**overlay, "backing": None})
    await client.execute("blockdev-snapshot", {"node": "xvda-qcow2", "overlay": "o"})
    await client.execute("block-commit", {"device": "o", "job-id": "j"})
    while True:
        event = await listener.get()
        data = event.get("data")
        assert isinstance(data, dict)
        seen.append(f"{event['event']} {data.get('status', '')}".strip())
        if event["event"] == "BLOCK_JOB_READY":
            await client.execute("job-complete", {"id": "j"})
        if data.get("status") == "null":
            break
    await client.disconnect()
    return asyncio.get_running_loop().time()


def committed(seed: int) -> tuple[list[str], float]:
    host = SimulatedHost.fresh()
    host.create_image("/images/a.qcow2", size_bytes=64 * MIB)
    host.create_image("/images/o.qcow2", size_bytes=64 * MIB)
    host.add_domain("pv1", disks={"xvda": "/images/a.qcow2"})
    host.start("pv1")
    latency = random.Random(seed)
    monitors = VirtualMonitors(host.cell, lambda: latency.uniform(0.0001, 0.005))
    seen: list[str] = []
    took = monitors.loop.run_until_complete(overlaid_and_committed(path_of(host), seen))
    monitors.loop.close()
    return seen, took


def test_an_unmodified_client_works_on_the_virtual_loop_and_each_seed_gives_one_story():
    seen, took = committed(1)
    assert seen == [
        "JOB_STATUS_CHANGE created",
        "JOB_STATUS_CHANGE running",
        "JOB_STATUS_CHANGE ready",
        "BLOCK_JOB_READY",
        "JOB_STATUS_CHANGE waiting",
        "JOB_STATUS_CHANGE pending",
        "BLOCK_JOB_COMPLETED",
        "JOB_STATUS_CHANGE concluded",
        "JOB_STATUS_CHANGE null",
    ]
    assert committed(1) == (seen, took)
    assert committed(2)[1] != took


def test_an_error_keeps_its_class_and_words_on_the_way(host):
    monitors = VirtualMonitors(host.cell)

    async def refused() -> ExecuteError:
        client = QMPClient()
        await client.connect(path_of(host))
        with pytest.raises(ExecuteError) as caught:
            await client.execute("block-commit", {"device": "nope", "job-id": "j"})
        await client.disconnect()
        return caught.value

    error = monitors.loop.run_until_complete(refused())
    monitors.loop.close()
    assert (error.error_class, str(error)) == ("DeviceNotFound", "Device 'nope' not found")


def test_a_second_client_is_greeted_when_the_first_has_gone(host):
    monitors = VirtualMonitors(host.cell)

    async def two() -> float:
        first, second = QMPClient(), QMPClient()
        await first.connect(path_of(host))
        waiting = asyncio.ensure_future(second.connect(path_of(host)))
        await asyncio.sleep(3600)
        assert not waiting.done()
        await first.disconnect()
        await waiting
        assert await second.execute("query-status") == {"running": True, "singlestep": False, "status": "running"}
        await second.disconnect()
        return asyncio.get_running_loop().time()

    assert monitors.loop.run_until_complete(two()) > 3600
    monitors.loop.close()


def test_a_dead_qemu_refuses_and_hangs_up(host):
    monitors = VirtualMonitors(host.cell)

    async def left_alone() -> None:
        client = QMPClient()
        await client.connect(path_of(host))
        await client.execute("quit")
        with pytest.raises(ConnectError):
            await QMPClient().connect(path_of(host))
        with pytest.raises(EOFError):
            await client.disconnect()

    path = path_of(host)
    monitors.loop.run_until_complete(left_alone())
    monitors.loop.close()
    assert path
    assert not host.world.qemus


def test_waiting_for_nothing_is_a_deadlock_and_no_hang():
    loop = SimulatedLoop()

    async def forever() -> None:
        await asyncio.Event().wait()

    task = loop.create_task(forever())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


# --- tools by name ---------------------------------------------------------------------------------------------------


class Shell:
    """An operator at the host."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host

    def __call__(self, line: str, code: int = 0) -> Ended:
        ended = programs.run(self.host.world, line.split(), Told(cwd="/images"))
        self.host.cell.world = ended.world
        assert ended.returncode == code, (line, ended.stdout, ended.stderr)
        return ended


@pytest.fixture
def shell(host) -> Shell:
    return Shell(host)


def state(shell: Shell) -> str:
    lines = shell("xl list").stdout.splitlines()
    return lines[-1].split()[4] if len(lines) > 2 else ""


def test_pauses_are_counted_and_exit_codes_lie(shell):
    shell("xl pause pv1")
    shell("xl pause pv1")
    shell("xl unpause pv1")
    assert state(shell) == "--p---"
    shell("xl unpause pv1")
    assert state(shell) == "-b----"
    stray = shell("xl unpause pv1")
    assert stray.stderr.endswith("Unpausing domain: Invalid argument\n")
    gone = shell("xl pause 77")
    assert (
        gone.stderr
        == "libxl: error: libxl_domain.c:587:libxl_domain_pause: Domain 77:Pausing domain: No such process\n"
    )
    assert shell("xl pause nosuch", 1).stderr == "nosuch is an invalid domain identifier (rc=-6)\n"


def test_what_operators_do_by_hand_brings_memory_and_disk_back_when_done_in_order(shell):
    host = shell.host
    host.guest_writes("pv1", "xvda", flush=True)
    before = host.guest_sees("pv1")
    shell("xl save -p pv1 /images/pv1.save")
    shell("xl destroy pv1")
    shell("qemu-img snapshot -c point a.qcow2")
    shell("xl restore /images/pv1.save")
    host.guest_writes("pv1", "xvda", flush=True)
    assert host.guest_sees("pv1") != before
    shell("xl destroy pv1")
    shell("qemu-img snapshot -a point a.qcow2")
    shell("xl restore /images/pv1.save")
    assert host.guest_sees("pv1") == before


def test_a_snapshot_taken_under_a_running_guest_succeeds_and_loses_data(shell):
    """design.md 5.13: QEMU under Xen takes no lock, so the tool says nothing, and the next write of QEMU wins."""
    host = shell.host
    host.guest_writes("pv1", "xvda", flush=True)
    shell("qemu-img snapshot -c point a.qcow2")
    host.guest_writes("pv1", "xvda", flush=True)
    shell("xl destroy pv1")
    assert shell("qemu-img snapshot -l a.qcow2").stdout == ""
    assert "1 leaked clusters" in shell("qemu-img check a.qcow2", 3).stdout


def test_a_restore_believes_that_its_disks_open(shell):
    """xen.md 8: rc 0 and a guest without its disk; only QEMU's log tells."""
    host = shell.host
    shell("xl save pv1 /images/pv1.save")
    host.cell.world = host.world.with_fs(host.world.fs.update("/images/a.qcow2", lambda _: b"no image"))
    assert "xc: info: Restore successful\n" in shell("xl restore /images/pv1.save").stderr
    assert host.running_disks("pv1") == {}
    assert host.world.qemus[host.incarnation("pv1").domid].log


def test_a_number_may_have_more_digits_than_python_reads(shell):
    number = "9" * 5000
    assert shell(f"xl list {number}", 1).stderr == f"Error: Domain '{number}' does not exist.\n"


def test_every_try_burns_a_domid(shell):
    shell("xl save -c pv1 /images/pv1.save")
    domid = int(shell("xl domid pv1").stdout)
    taken = shell("xl restore /images/pv1.save", 1)
    assert f'Domain {domid + 1}:Domain with name "pv1" already exists.' in taken.stderr
    shell("xl destroy pv1")
    shell("xl restore /images/pv1.save")
    assert int(shell("xl domid pv1").stdout) == domid + 2


def test_xenstore_tells_of_the_image_that_the_domain_began_with(shell):
    domid = shell.host.incarnation("pv1").domid
    params = f"/local/domain/0/backend/qdisk/{domid}/51712/params"
    assert shell(f"xenstore-read {params}").stdout == "qcow2:/images/a.qcow2\n"
    assert shell("xenstore-read /nothing", 1).stderr == "xenstore-read: couldn't read path /nothing\n"
    assert "51712\n" in shell(f"xenstore-list /local/domain/{domid}/device/vbd").stdout


NOT_ADDED = (
    "libxl: error: libxl_device.c:1486:device_addrm_aocomplete: unable to add device\nlibxl_device_disk_add failed.\n"
)

MISREAD = "command line: config parsing error in disk specification"


def not_there(vdev: str, number: int) -> str:
    missing = f"libxl_disk.c:516:libxl__disk_from_xenstore: disk /libxl/1/device/vbd/{number} does not exist"
    return f"libxl: error: {missing} (no backend path\nError: Device {vdev} not connected.\n"


def spec(*words: str) -> str:
    return ",".join(("format=qcow2", "backendtype=qdisk", *words))


def test_a_disk_comes_and_goes_while_the_guest_runs(shell):
    """Measured on Xen 4.17.7, with the words below."""
    shell("qemu-img create -q -f qcow2 c.qcow2 32M")
    attach = f"xl block-attach pv1 {spec('vdev=xvdc', 'access=rw', 'target=/images/c.qcow2')}"
    done = shell(attach)
    assert (done.stdout, done.stderr) == ("", "")
    assert "/qdisk/1/51744" in shell("xl block-list pv1").stdout
    known = "libxl: error: libxl_disk.c:343:device_disk_add: Domain 1:device already exists in xenstore\n"
    assert shell(attach, 1).stderr == known + NOT_ADDED
    (told,) = json.loads(shell("xl list -l pv1").stdout)
    assert told["config"]["disks"][-1] == {
        "pdev_path": "/images/c.qcow2",
        "vdev": "xvdc",
        "backend": "qdisk",
        "format": "qcow2",
        "readwrite": 1,
    }
    done = shell("xl block-detach pv1 51744")
    assert (done.stdout, done.stderr) == ("", "")
    assert "51744" not in shell("xl block-list pv1").stdout
    assert shell("xl block-detach pv1 xvdc", 1).stderr == not_there("xvdc", 51744)


def test_a_disk_whose_image_is_not_there_is_attached_without_a_word(shell):
    """Measured on Xen 4.17.7: exit code 0, and QEMU has no such node."""
    done = shell(f"xl block-attach pv1 {spec('vdev=xvdd', 'access=rw', 'target=/nosuch')}")
    assert (done.stdout, done.stderr) == ("", "")
    qemu = shell.host.world.qemus[1]
    assert [drive.vdev for drive in qemu.drives] == ["xvda"]
    assert "/qdisk/1/51760" in shell("xl block-list pv1").stdout


@pytest.mark.parametrize(
    ("words", "code", "stderr"),
    [
        ("block-attach pv1", 2, "'xl block-attach' requires at least 2 arguments.\n\n"),
        (f"block-attach nosuch {spec('vdev=xvdd', 'target=/x')}", 1, "nosuch is an invalid domain identifier\n"),
        (
            f"block-attach 77 {spec('vdev=xvdd', 'target=/x')}",
            1,
            "libxl: error: libxl_dom.c:37:libxl__domain_type: unable to get domain type for domid=77\n" + NOT_ADDED,
        ),
        (
            "block-attach pv1 format=nosuch,vdev=xvdd,target=/nosuch",
            1,
            f"{MISREAD}: unknown value for format: near `nosuch' in `format=nosuch,vdev=xvdd,target=/nosuch'\n",
        ),
        ("block-detach pv1", 2, "'xl block-detach' requires at least 2 arguments.\n\n"),
        ("block-detach nosuch xvdc", 1, "nosuch is an invalid domain identifier (rc=-6)\n"),
        (
            "block-detach pv1 xvdz",
            1,
            not_there("xvdz", 268441856),
        ),
    ],
)
def test_what_xl_says_where_a_disk_cannot_come_or_go(shell, words: str, code: int, stderr: str):
    """Measured on Xen 4.17.7."""
    assert shell(f"xl {words}", code).stderr == stderr


def test_a_domain_is_made_from_its_file_as_often_as_it_is_destroyed(shell):
    path = shell.host.write_configuration("pv1")
    shell("xl destroy pv1")
    assert shell(f"xl create {path}").stderr == f"Parsing config from {path}\n"
    assert "already exists" in shell(f"xl create {path}", 3).stderr
    assert state(shell) == "-b----"


def test_the_image_that_the_shell_made_is_the_one_that_the_host_sees(shell):
    shell("qemu-img create -q -f qcow2 -F qcow2 -b a.qcow2 o.qcow2")
    chain = shell.host.run(shell.host.images.chain(Layer("/images/o.qcow2", Format.QCOW2)))
    assert [Path(image.layer.path).name for image in chain.images] == ["o.qcow2", "a.qcow2"]


def test_only_unknown_names_and_wrong_words_have_an_exit_code(shell):
    """xen.md 5"""
    assert shell("xl block-list nosuch").stderr == "nosuch is an invalid domain identifier\n"
    shell("xl unpause 77")
    shell("xl destroy nosuch", 1)
    shell("xl save", 2)
    shell("xl frobnicate", 1)


def test_what_xl_tells_of_a_configuration_leaves_out_what_is_nothing(shell):
    """xen.md 11"""
    (told,) = json.loads(shell("xl list -l pv1").stdout)
    config = told["config"]
    assert (told["domid"], config["c_info"]["domid"]) == (1, 4294967295)
    (disk,) = config["disks"]
    assert {"backend", "removable", "is_cdrom"} & disk.keys() == set()
    assert disk["readwrite"] == 1
    assert config["b_info"]["claim_mode"] == "True"
    everything = json.loads(shell("xl list -l").stdout)
    assert [each["config"].get("disks") for each in everything if each["domid"] == 0] == [None]


def test_qemu_says_that_a_paused_domain_runs(host):
    """xen.md 20"""
    shell = Shell(host)

    async def status() -> object:
        client = QMPClient()
        await client.connect(path_of(host))
        told = await client.execute("query-status")
        await client.disconnect()
        return told

    shell("xl pause pv1")
    monitors = VirtualMonitors(host.cell)
    assert monitors.loop.run_until_complete(status()) == {"running": True, "singlestep": False, "status": "running"}
    monitors.loop.close()
    assert state(shell) == "--p---"


def test_one_tag_twice_and_a_number_that_is_an_id(shell):
    """xen.md 24"""
    for tag in ("twice", "twice", "1"):
        shell(f"qemu-img snapshot -c {tag} a.qcow2")
    tags = [line.split()[:2] for line in shell("qemu-img snapshot -l a.qcow2").stdout.splitlines()[2:]]
    assert tags == [["1", "twice"], ["2", "twice"], ["3", "1"]]
    shell("qemu-img snapshot -d 1 a.qcow2")  # the tag
    shell("qemu-img snapshot -a 1 a.qcow2")  # the id
    shell("qemu-img snapshot -d twice a.qcow2")  # the first of them
    tags = [line.split()[:2] for line in shell("qemu-img snapshot -l a.qcow2").stdout.splitlines()[2:]]
    assert tags == [["2", "twice"]]
