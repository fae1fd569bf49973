"""Guests with other disks and of other kinds, held to what xl 4.17.7 and QEMU 7.2.22 told of them on a real host."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from simulator import NotModelled, SimulatedHost
from simulator.serve import programs
from simulator.serve.ended import Ended, Hangs
from simulator.serve.low import kept
from simulator.tools.qemu_img import SnapshotCreate
from simulator.world import line
from tests.parity.broken import failing
from xensnap.model import Format, Layer

IMAGES = "/var/lib/xen/images"
BLOCKS = "Vdev  BE  handle state evt-ch ring-ref BE-path                       \n"
FOUR_DISKS = f"""name = "pv3"
type = "pv"
kernel = "/boot/vmlinuz"
memory = 160
vcpus = 1
disk = ['{IMAGES}/d.qcow2,qcow2,xvda,rw',
        'format=raw,vdev=xvdb,access=rw,backendtype=qdisk,target={IMAGES}/r.raw',
        '{IMAGES}/e.qcow2,qcow2,xvdc,rw',
        'format=raw,vdev=xvdd,access=ro,devtype=cdrom,target={IMAGES}/cd.iso']
"""


class Dom0:
    """A simulated host on which an operator has made images and files."""

    def __init__(self, config: str) -> None:
        self.host = SimulatedHost.fresh()
        for name in ("d.qcow2", "e.qcow2"):
            self.host.create_image(f"{IMAGES}/{name}", size_bytes=64 << 20)
        for name in ("r.raw", "cd.iso"):
            self.host.create_image(f"{IMAGES}/{name}", "raw", 2 << 20)
        self.put("/guest.cfg", config)
        assert self.says("xl", "create", "/guest.cfg") == ""

    def put(self, path: str, text: str) -> None:
        self.host.cell.world = self.host.world.with_fs(self.host.world.fs.create(path, text.encode()))

    def reads(self, path: str) -> str:
        """What is in a file that xl or QEMU writes."""
        return (kept.read(self.host.world, path) or b"").decode()

    def run(self, *argv: str) -> Ended:
        ended = programs.run(self.host.world, argv)
        self.host.cell.world = ended.world
        return ended

    def says(self, *argv: str) -> str:
        ended = self.run(*argv)
        assert not ended.returncode, ended.stderr
        return ended.stdout


@pytest.fixture
def four() -> Dom0:
    return Dom0(FOUR_DISKS)


def disks_told(config: str) -> list[dict[str, Any]]:
    told = json.loads(config)[0]["config"]["disks"]
    return [{key: value for key, value in disk.items() if key != "colo_restore_enable"} for disk in told]


def test_a_raw_image_goes_to_the_kernel_where_no_backend_is_named(four: Dom0):
    paths = [
        ("51712", "8      8        /local/domain/0/backend/qdisk/1/51712"),
        ("51728", "9      9        /local/domain/0/backend/qdisk/1/51728"),
        ("51744", "10     10       /local/domain/0/backend/qdisk/1/51744"),
        ("51760", "11     11       /local/domain/0/backend/vbd/1/51760"),
    ]
    assert four.says("xl", "block-list", "pv3") == BLOCKS + "".join(
        f"{number} 0   1      4     {rest}\n" for number, rest in paths
    )
    assert four.says("xenstore-read", "/local/domain/0/backend/vbd/1/51760/type") == "phy\n"
    assert four.says("xenstore-read", "/local/domain/0/backend/qdisk/1/51728/params") == f"aio:{IMAGES}/r.raw\n"


def test_a_configuration_names_a_backend_exactly_where_the_file_did(four: Dom0):
    four.run("xl", "save", "pv3", "/saved")
    four.run("xl", "restore", "/saved")
    assert disks_told(four.says("xl", "list", "-l", "pv3")) == [
        {"pdev_path": f"{IMAGES}/d.qcow2", "vdev": "xvda", "format": "qcow2", "readwrite": 1},
        {"pdev_path": f"{IMAGES}/r.raw", "vdev": "xvdb", "backend": "qdisk", "format": "raw", "readwrite": 1},
        {"pdev_path": f"{IMAGES}/e.qcow2", "vdev": "xvdc", "format": "qcow2", "readwrite": 1},
        {"pdev_path": f"{IMAGES}/cd.iso", "vdev": "xvdd", "format": "raw", "removable": 1, "is_cdrom": 1},
    ]


def test_what_the_kernel_serves_a_guest_writes_to_and_reads(four: Dom0):
    four.host.create_image(f"{IMAGES}/s.raw", "raw", 1 << 20)
    assert four.says("xl", "block-attach", "pv3", f"{IMAGES}/s.raw,raw,xvde,rw") == ""
    assert "/backend/vbd/1/51776" in four.says("xl", "block-list", "pv3")
    four.host.guest_writes("pv3", "xvde", 0, 4096, flush=True)
    assert four.host.guest_sees("pv3")["xvde"][1], "it has read what it has written"
    assert four.host.world.qemus[1].drive("xvde") is None
    assert four.says("xl", "block-detach", "pv3", "xvde") == ""


def test_a_save_that_finds_no_space_resumes_the_guest_and_leaves_what_it_has_written(four: Dom0):
    """xen.md 6"""
    four.says("xl", "save", "-c", "pv3", "/saved")
    whole = four.host.world.fs.inode("/saved").stored
    four.host.set_capacity(free_bytes=2 * 4096)
    refused = four.run("xl", "save", "pv3", "/more")
    assert refused.returncode == 1
    assert "28 = No space left on device" in refused.stderr
    assert four.says("xl", "list", "pv3").split()[-2] in {"-b----", "r-----"}
    assert four.host.world.fs.find("/more") is not None
    fragment = four.host.world.fs.inode("/more")
    assert isinstance(fragment.stored, bytes)
    assert isinstance(whole, bytes)
    assert 0 < len(fragment.stored) < len(whole)


def test_a_save_that_finds_no_space_has_destroyed_what_was_under_its_name(four: Dom0):
    """xen.md 6"""
    older = b"what was saved before"
    four.host.cell.world = four.host.world.with_fs(four.host.world.fs.create("/saved", older))
    four.host.set_capacity(free_bytes=2 * 4096)
    assert four.run("xl", "save", "-c", "pv3", "/saved").returncode == 1
    assert four.host.world.fs.inode("/saved").stored != older


def test_a_paused_guest_that_cannot_be_saved_stays_paused_and_leaves_the_beginning_of_a_file(four: Dom0):
    """xen.md 3"""
    four.says("xl", "pause", "pv3")
    assert four.run("xl", "save", "pv3", "/saved").returncode == 1
    assert four.says("xl", "list", "pv3").split()[-2] == "--p---"
    left = four.host.world.fs.inode("/saved").stored
    assert isinstance(left, bytes)
    assert 0 < len(left) < 4096


def test_without_xen_xl_says_so_whatever_it_is_asked(four: Dom0):
    """Every subcommand of xl 4.17.7 on a machine without Xen."""
    four.host.xl_finds(xen=False)
    for words in (("list",), ("create", "/guest.cfg"), ("help",), ("nosuch",), ("info", "-n")):
        ended = four.run("xl", *words)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.endswith("\ncannot init xl context\n")


def test_without_xenstored_a_list_never_ends(four: Dom0):
    four.host.xl_finds(xenstored=False)
    with pytest.raises(Hangs):
        four.run("xl", "list")


# --- an HVM guest that stays in its BIOS -----------------------------------------------------------------------------

IN_ITS_BIOS = f"""name = "bios"
type = "hvm"
memory = 64
vcpus = 1
vga = "none"
vnc = 0
disk = ['{IMAGES}/d.qcow2,qcow2,hda,rw',
        'format=raw,vdev=hdb,access=rw,target={IMAGES}/r.raw',
        'format=raw,vdev=hdc,access=ro,devtype=cdrom,target={IMAGES}/cd.iso']
"""


@pytest.fixture
def bios() -> Dom0:
    return Dom0(IN_ITS_BIOS)


def asked(dom0: Dom0, domid: int, command: str) -> Any:
    world, client, _ = line.opened(dom0.host.world, domid)
    world, client, _ = line.said(world, client, b'{"execute":"qmp_capabilities"}')
    world, client, answer = line.said(world, client, json.dumps({"execute": command}).encode())
    dom0.host.cell.world = line.closed(world, client)
    return json.loads(answer)["return"]


def test_before_a_kernel_unplugs_it_each_disk_is_in_qemu_twice(bios: Dom0):
    told = asked(bios, 1, "query-block")
    shape = [
        (
            each["device"],
            each["inserted"]["file"].rpartition("/")[2],
            each["inserted"]["ro"],
            each["removable"],
            each["qdev"],
            each.get("io-status"),
            each.get("tray_open"),
        )
        for each in told
    ]
    assert shape == [
        ("ide0-hd0", "d.qcow2", False, False, "/machine/unattached/device[13]", "ok", None),
        ("ide0-hd1", "r.raw", False, False, "/machine/unattached/device[14]", "ok", None),
        ("ide-5632", "cd.iso", True, True, "ide-5632", "ok", False),
        ("", "cd.iso", False, False, "/machine/unattached/device[25]", None, None),
        ("", "d.qcow2", False, False, "/machine/unattached/device[26]", None, None),
    ]
    assert [each["inserted"]["node-name"] for each in told][3:] == ["hdc-raw", "hda-qcow2"]
    nodes = [(each["drv"], each["ro"]) for each in asked(bios, 1, "query-named-block-nodes")]
    file, qcow2, raw = "file", "qcow2", "raw"
    assert nodes == [
        *((qcow2, False), (file, False), (raw, False), (file, True), (raw, True), (file, True)),
        *((raw, False), (file, False), (qcow2, False), (file, False)),
    ]
    assert "Removable device: not locked, tray closed" in bios.says("xl", "qemu-monitor-command", "bios", "info block")


def test_no_driver_has_connected_to_the_disks_of_such_a_guest(bios: Dom0):
    paths = [("5632 ", "qdisk"), ("768  ", "qdisk"), ("832  ", "vbd")]
    assert bios.says("xl", "block-list", "bios") == BLOCKS + "".join(
        f"{number} 0   1      1     -1     -1       /local/domain/0/backend/{kind}/1/{number.strip()}\n"
        for number, kind in paths
    )


def test_the_copy_that_a_pc_has_is_locked(bios: Dom0):
    image = f"{IMAGES}/d.qcow2"
    refused = bios.run("qemu-img", "snapshot", "-l", image)
    assert refused.returncode == 1
    first, second = refused.stderr.splitlines()
    assert first == f"qemu-img: Could not open '{image}': Failed to get shared \"write\" lock"
    assert second == f"Is another process using the image [{image}]?"
    assert bios.says("qemu-img", "snapshot", "-U", "-l", image) == ""


def test_such_a_guest_can_be_saved_while_it_is_paused_and_is_paused_twice_then(bios: Dom0):
    bios.says("xl", "pause", "bios")
    bios.says("xl", "save", "-p", "bios", "/saved")
    states = []
    for _ in range(2):
        bios.says("xl", "unpause", "bios")
        states.append(bios.says("xl", "list", "bios").split()[-2])
    assert states == ["--p---", "-b----"]


@pytest.mark.parametrize(
    ("verb", "does", "event"), [("shutdown", "Shutting down", "power"), ("reboot", "Rebooting", "reset")]
)
def test_a_guest_that_knows_nothing_of_xen_is_not_asked_to_end(bios: Dom0, verb: str, does: str, event: str):
    """What xl 4.17.7 says where libxl answers ERROR_NOPARAVIRT."""
    before = bios.host.world.xen
    ended = bios.run("xl", verb, "bios")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"{does} domain 1\n"
        f"PV control interface not available: external graceful {verb} not possible.\n"
        f'Use "-F" to fallback to ACPI {event} event.\n'
        f"{verb} failed (rc=-10)\n"
    )
    assert bios.host.world.xen == before


def test_with_acpi_too_one_that_knows_of_xen_is_asked_by_xen():
    host = SimulatedHost.fresh()
    host.add_domain("h", kind="hvm")
    host.start("h")
    asked = programs.run(host.world, ("xl", "shutdown", "-F", "h"))
    assert (asked.returncode, asked.stderr) == (0, "Shutting down domain 1\n")


@pytest.mark.parametrize("kind", ["pv", "hvm"])
def test_of_a_drive_without_a_disk_nothing_is_told_and_the_others_are_as_ever(kind: str):
    config = FOUR_DISKS.replace('type = "pv"', f'type = "{kind}"').replace(
        f"target={IMAGES}/cd.iso", "backendtype=qdisk"
    )
    dom0 = Dom0(config.replace("vdev=xvdd", "vdev=hdc"))
    nodes = [node["node-name"] for node in asked(dom0, 1, "query-named-block-nodes")]
    assert {"xvda-qcow2", "xvdb-raw", "xvdc-qcow2"} <= {*nodes}
    for command in ("query-block", "query-blockstats", "x-debug-query-block-graph"):
        with pytest.raises(NotModelled, match="empty drive"):
            asked(dom0, 1, command)
    with pytest.raises(NotModelled, match="empty drive"):
        dom0.run("xl", "qemu-monitor-command", "pv3", "info block")
    if kind == "hvm":
        with pytest.raises(NotModelled, match="the empty drive 'ide-5632'"):
            dom0.run("xl", "qemu-monitor-command", "pv3", "snapshot_blkdev_internal ide-5632 s")


def test_what_boots_from_its_disk_has_drivers():
    host = SimulatedHost.fresh()
    host.create_image(f"{IMAGES}/d.qcow2", size_bytes=64 << 20)
    host.write_layer(Layer(f"{IMAGES}/d.qcow2", Format.QCOW2))
    config = f"""name = "h"\ntype = "hvm"\ndisk = ['{IMAGES}/d.qcow2,qcow2,hda,rw']\n"""
    host.cell.world = host.world.with_fs(host.world.fs.create("/h.cfg", config.encode()))
    host.cell.world = programs.run(host.world, ("xl", "create", "/h.cfg")).world
    assert [drive.device for drive in host.world.qemus[1].drives] == [""]


BOOTED = f"""name = "hvm2"
type = "hvm"
kernel = "/boot/vmlinuz"
disk = ['{IMAGES}/d.qcow2,qcow2,xvda,rw', '{IMAGES}/e.qcow2,qcow2,xvdb,rw']
"""


@pytest.fixture
def booted() -> Dom0:
    return Dom0(BOOTED)


def test_the_human_monitor_saves_a_guest_without_its_memory_and_cannot_load_it(booted: Dom0):
    """Seen on Xen 4.17.7: the save "succeeds", and after the load QEMU stands still under a guest that runs for xl."""
    monitor = "xl", "qemu-monitor-command", "hvm2"
    assert booted.says(*monitor, "savevm one") == "\n"
    assert " one " in booted.says(*monitor, "info snapshots")
    assert "RAM loading not allowed on Xen" in booted.says(*monitor, "loadvm one")
    assert asked(booted, 1, "query-status") == {"running": False, "singlestep": False, "status": "restore-vm"}
    assert booted.says("xl", "list", "hvm2").split()[-2] == "-b----"


def test_what_xl_says_of_a_host_can_be_asked_for_one_by_one(four: Dom0):
    lines = four.says("xl", "info").splitlines()
    assert all(line[23:25] == ": " for line in lines)
    assert four.says("xl", "info", "virt_caps") == "pv hvm hap gnttab-v1 gnttab-v2\n"
    assert four.says("xl", "info", "nosuch") == ""
    assert [line.partition(" ")[0] for line in lines][:3] == ["host", "release", "version"]


UPTIMES = [
    (5, " 0:00:05"),
    (35999, " 9:59:59"),
    (36000, "10:00:00"),
    (86400, "1 day,  0:00:00"),
    (172799, "1 day, 23:59:59"),
    (8640000, "100 days,  0:00:00"),
]
"""Of xl 4.17.7, to which libxl has told a time so long ago."""


@pytest.mark.parametrize(("seconds", "shown"), UPTIMES)
def test_xl_tells_how_long_a_guest_has_been_there(four: Dom0, seconds: int, shown: str):
    four.host.cell.world = four.host.world.slept(seconds * 10**9)
    head = "Name                                ID Uptime\n"
    assert four.says("xl", "uptime", "pv3") == f"{head}pv3                                  1 {shown}\n"
    four.host.cell.world = replace(four.host.world, clock=four.host.world.clock.set_to(36709 * 10**9))
    assert four.says("xl", "uptime", "-s", "pv3") == f" 10:11:49 up {shown[:-3]}, pv3 (1)\n"


def test_a_guest_that_boots_from_nothing_is_not_made(four: Dom0):
    """The words and their place are those of xl 4.17.7 (xl_parse.c): no disk has been looked at by then."""
    told = "Parsing config from /n.cfg\nNeither kernel nor bootloader specified\n"
    four.put("/n.cfg", 'name = "n"\nmemory = 64\ndisk = [ "nonsense" ]\n')
    for words in (["create"], ["create", "-n"]):
        ended = four.run("xl", *words, "/n.cfg")
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", told)
    assert four.says("xl", "list").count("\n") == 3


def test_each_daemon_has_a_log_of_its_own_and_the_one_before_is_turned_over(four: Dom0):
    """Seen on Xen 4.17.7: after a save the daemon has gone, and what is made anew is told of alone. What the old ones
    are called is by libxl_create_logfile.
    """
    log = "/var/log/xen/xl-pv3.log"
    four.run("xl", "save", "-c", "pv3", "/saved")
    first = four.reads(log)
    suspended = ["Domain 1 has shut down, reason code 2 0x2", "Domain has suspended.", "Done. Exiting now"]
    assert first.splitlines()[1:] == suspended
    four.says("xl", "destroy", "pv3")
    four.says("xl", "create", "/guest.cfg")
    assert four.reads(log).startswith("Waiting for domain pv3 (domid 2) to die [pid ")
    assert four.reads(log).count("\n") == 1
    assert four.reads(f"{log}.1") == first
    four.host.guest_reboot(four.host.world.xen.there[2].uuid)
    begun = [said.partition(" ")[0] for said in four.reads(log).splitlines()]
    assert begun == ["Waiting", "Domain", "Action", "Domain", "Done.", "Waiting"]
    assert sorted(kept.names(four.host.world, kept.LOGS)) == [
        *("qemu-dm-pv3.log", "qemu-dm-pv3.log.1", "qemu-dm-pv3.log.2", "xl-pv3.log", "xl-pv3.log.1")
    ]


def test_a_snapshot_that_a_disk_stops_leaves_nothing_or_has_leaked(four: Dom0):
    """Seen of qemu-img 7.2.22 on blkdebug: EIO ends it with 1 and nothing is listed. At `cluster_alloc` the image is
    sound then, at `pwritev_done` it is not: the counts have been written, and the table has not.
    """
    image = four.host.create_image("/images/off.qcow2")
    four.host.write_layer(image)
    ends = set()
    for _, words, fs in failing(SnapshotCreate(image, "t"), four.host.world.fs):
        world = four.host.world.with_fs(fs)
        listed = programs.run(world, ("qemu-img", "snapshot", "-l", image.path)).stdout
        ends.add((words, listed, programs.run(world, ("qemu-img", "check", image.path)).returncode))
    said = "qemu-img: Could not create snapshot 't': -5 (Input/output error)"
    assert {(said, "", 0), (said, "", 3)} <= ends


def ends_with(**actions: str) -> Dom0:
    """A guest whose configuration says what shall be done when it ends."""
    return Dom0(FOUR_DISKS + "".join(f'{event} = "{action}"\n' for event, action in actions.items()))


def test_a_guest_that_has_ended_is_kept_or_started_again_where_its_configuration_says_so(four: Dom0):
    """Seen of a crash on Xen 4.17.7: `preserve` leaves the domain as it is, and nobody looks after it any more."""
    four.host.guest_crash("pv3")
    assert four.run("xl", "domid", "pv3").returncode == 1
    stays = ends_with(on_crash="preserve")
    stays.host.guest_crash("pv3")
    assert stays.says("xl", "list", "pv3").split()[-2] == "---sc-"
    assert stays.reads("/var/log/xen/xl-pv3.log").splitlines()[1:] == [
        "Domain 1 has shut down, reason code 3 0x3",
        "Action for shutdown reason code 3 is preserve",
        "Done. Exiting now",
    ]
    again = ends_with(on_poweroff="restart", on_reboot="destroy")
    again.host.guest_poweroff("pv3")
    assert again.says("xl", "domid", "pv3") == "2\n"
    again.host.guest_reboot("pv3")
    assert again.run("xl", "domid", "pv3").returncode == 1
