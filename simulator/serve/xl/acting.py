"""What xl does to domains: making, ending, pausing, saving, restoring, renaming."""

import re
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import chain
from simulator.ports.domains import powered_off
from simulator.qemu.board import Board
from simulator.qemu.commands import human
from simulator.serve.ended import Ended, Told, Working
from simulator.serve.xl import configuration, helped
from simulator.serve.xl.words import Refused, Words, domid_of, read, there
from simulator.world import World, life, line, programs
from simulator.world.life import XlError
from simulator.xen import configurations, save_file
from simulator.xen.configurations import Written
from simulator.xen.domains import switched
from simulator.xen.incarnations import Incarnation, Shutdown, Traits
from xensnap.errors import Usage
from xensnap.model import Domain, DomainUuid, GuestKind, RunState

replace = msgspec.structs.replace

_ACKNOWLEDGED_NS = 60_000_000_000
_STDIN = "/dev/stdin"


# --- making ----------------------------------------------------------------------------------------------------------


def create(world: World, argv: Sequence[str], told: Told, *, dry: bool = False) -> Ended | Working:
    """`xl create FILE`; with `-p` it stays paused, with `-e` nobody watches it.

    Args:
        dry: `xl -N`: nothing is made, and the configuration is told in libxl's JSON.
    """
    words = read("create", argv, "FnqpecdiVAf:", _CREATE_LONG)
    named = [*words.words[:1], *(value for name, value in words.options if name == "f")]
    if not named:
        raise Refused("Config file not specified and none in save file", code=6)
    if any("=" not in word for word in words.words[1:]):
        raise Refused("", code=2, stdout=helped.of("create"))
    if len(words.words) > 1:
        raise NotModelled("xl create with more configuration on its command line")
    dry = dry or words.has("n")
    path, shown = _absolute(told.cwd, named[-1]), named[-1]
    head = "" if words.has("q") else f"Parsing config from {shown}\n"
    file = _file(world, path, shown, head, code=3)
    _require_plain("create", words)
    rng, fresh = world.rng.uuid()
    if dry:
        config = configurations.as_read(_text_of(world, path) or "", file.uuid or fresh, source=shown)
        return Ended(replace(world, rng=rng), 0, configuration.written(config) + "\n", head)
    known = world.xen.traits.get(file.uuid or "") or Traits(drivers=_has_drivers(world, file))
    traits = replace(
        known,
        kind=file.kind,
        pinned=file.uuid is not None,
        operator_disks=file.disks,
        items=file.items,
        served=file.served,
    )
    if file.uuid is None:
        world = replace(world, rng=rng)
    program = programs.Build(file.uuid or fresh, file.name, traits, file.disks, paused=words.has("p"))
    return _built(world, program, head, watched=not words.has("e"))


_SHOWN = "FcdVA"
"""Letters with which xl stays, with a console or a viewer, or tells what it does. `-i`, about masks of processors that
a configuration of xl's own may give, changes nothing where there is none."""


def _require_plain(verb: str, words: Words) -> None:
    """Nothing is asked for beside the domain."""
    for letter in _SHOWN:
        if words.has(letter):
            raise NotModelled(f"xl {verb} -{letter}")


def _has_drivers(world: World, file: Written) -> bool:
    """Whether anything knows of Xen: an HVM guest without kernel and with an empty disk stays in its BIOS."""
    if file.kind is not GuestKind.HVM or configurations.names_kernel(file.items):
        return True
    disk = next((disk for disk in file.disks if disk.path and not disk.cdrom), None)
    try:
        return disk is not None and bool(chain.visible(world.fs, disk.layer)[1])
    except chain.OpenError:
        return False


_CREATE_LONG = {"dryrun": "n", "quiet": "q", "defconfig": "f", "vncviewer": "V", "vncviewer-autopass": "A"}


def _file(world: World, path: str, shown: str, head: str, *, before: str = "", code: int) -> Written:
    """A configuration.

    Args:
        head: what is said once it could be read.
        before: what has been said already.
        code: how xl ends where it cannot be read.
    """
    if path in world.fs.dirs:
        raise Refused(
            f"{before}libxl: error: libxl_utils.c:346:libxl_read_file_contents: {shown} is not a plain file: Success\n"
            f"Failed to read config file: {shown}: Inappropriate ioctl for device",
            code=code,
        )
    text = _text_of(world, path)
    if text is None:
        raise Refused(f"{before}Failed to read config file: {shown}: No such file or directory", code=code)
    try:
        refused = configurations.refusal(text, source=shown)
        written = None if refused else configurations.of_file(text, source=shown)
    except Usage as error:
        if _ONLY_WARNED.search(error.cause):
            raise NotModelled(f"xl create of a configuration of which it warns: {error.cause}") from None
        more = "" if "disk specification" in error.cause else "\nFailed to parse config: Invalid argument"
        raise Refused(f"{head}{_in_lines_of_xl(error.cause)}{more}") from None
    if written is None:
        raise Refused(f"{head}{refused}")
    return written


def _in_lines_of_xl(cause: str) -> str:
    """Messages whose lines are counted as xl counts: a line break where none may be belongs to the line before."""
    return _UNEXPECTED_BREAK.sub(lambda found: f"{found[1]}{int(found[2]) - 1}{found[3]}", cause)


_UNEXPECTED_BREAK = re.compile(r"^([^\n]*:)(\d+)(: config parsing error near [^\n]*unexpected NEWLINE)", re.MULTILINE)


def _text_of(world: World, path: str) -> str | None:
    """What is in a file that is no image."""
    stored = getattr(world.fs.inodes.get(world.fs.find(path) or 0), "stored", None)
    return stored.decode("utf-8", "surrogateescape") if isinstance(stored, bytes) else None


_ONLY_WARNED = re.compile("is not a valid number|but should be a list|should be a single value")


def _absolute(cwd: str, path: str) -> str:
    return path if path.startswith("/") else f"{cwd.rstrip('/')}/{path}"


def restore(world: World, argv: Sequence[str], told: Told) -> Ended | Working:
    """`xl restore [CONFIG] FILE`: it is believed that the disks open, and nobody looks (xen.md 8).

    The file can be a pipe, `/dev/stdin`.
    """
    words = read("restore", argv, "FcpedVA", {"vncviewer": "V", "vncviewer-autopass": "A"}, least=1)
    if len(words.words) > 2:
        raise Refused("", stdout=helped.of("restore"))
    shown = words.words[-1]
    path = _absolute(told.cwd, shown)
    data = told.stdin if path == _STDIN else _file_of(world, path, shown)
    if not data:
        raise Refused(
            f"libxl: error: libxl_utils.c:505:libxl_read_exactly: file/stream truncated reading header from {shown}\n"
            "xl: fatal error: xl_vmcontrol.c:713: Protocol error: "
            'libxl_read_exactly( ctx, restore_fd, &hdr, sizeof(hdr), restore_source, "header")'
        )
    try:
        header = save_file.read_header(data)
    except save_file.SavedError:
        raise Refused("File has wrong magic number - corrupt or for a different tool?") from None
    _require_plain("restore", words)
    name, uuid, disks, served, source = header.name, header.uuid, header.disks, header.served, "<saved>"
    loading = (
        f"Loading new save file {shown} (new xl fmt info {save_file.announced(data)})\n"
        " Savefile contains xl domain config in JSON format\n"
    )
    if len(words.words) > 1:
        path_ = _absolute(told.cwd, words.words[0])
        given = _file(world, path_, words.words[0], loading, before=loading, code=1)
        rng, fresh = world.rng.uuid()
        world, uuid, source = replace(world, rng=rng), given.uuid or fresh, words.words[0]
        name, disks, served = given.name, given.disks, given.served
    head = f"{loading}Parsing config from {source}\n"
    traits = world.xen.traits.get(header.uuid, Traits())
    traits = replace(traits, kind=header.kind, items=header.items, served=served)
    program = programs.Build(uuid, name, traits, disks, path, words.has("p"))
    if path == _STDIN:
        program = replace(program, data=data)
    kind = "PV" if header.kind is GuestKind.PV else "HVM"
    tail = (
        f"xc: info: Found x86 {kind} domain from Xen 4.17\nxc: info: Restoring domain\nxc: info: Restore successful\n"
        "xc: info: XenStore: mfn 0x1f5e8, dom 0, evt 1\nxc: info: Console: mfn 0x1f5e7, dom 0, evt 2\n"
    )
    return _built(world, program, head, tail, watched=not words.has("e"))


def _file_of(world: World, path: str, shown: str) -> bytes:
    """What is in a save file; an image is not looked into."""
    if path in world.fs.dirs:
        raise Refused(
            f"libxl: error: libxl_utils.c:505:libxl_read_exactly: failed to read header from {shown}: Is a directory\n"
            "xl: fatal error: xl_vmcontrol.c:713: Is a directory: "
            'libxl_read_exactly( ctx, restore_fd, &hdr, sizeof(hdr), restore_source, "header")'
        )
    if world.fs.find(path) is None:
        raise Refused("Can't open restore file: No such file or directory")
    stored = world.fs.inode(path).stored
    return stored if isinstance(stored, bytes) else b"?"


_UNDONE = (
    "libxl: error: libxl_domain.c:1183:libxl__destroy_domid: Domain {0}:Non-existant domain\n"
    "libxl: error: libxl_domain.c:1137:domain_destroy_callback: Domain {0}:Unable to destroy guest\n"
    "libxl: error: libxl_domain.c:1064:domain_destroy_cb: Domain {0}:Destruction of domain failed"
)


def _built(world: World, program: programs.Build, head: str, tail: str = "", *, watched: bool) -> Working:
    domid = world.xen.next_domid
    used = replace(world, xen=replace(world.xen, next_domid=domid + 1))
    if any(each.name == program.name for each in world.xen):
        words = (
            f"libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain {domid}:"
            f'Domain with name "{program.name}" already exists.\n'
            f"libxl: error: libxl_create.c:1296:initiate_domain_create: Domain {domid}:cannot make domain: -6\n"
        )
        raise Refused(head + words + _UNDONE.format(domid), world=used, code=1 if program.memory else 3)
    for place, disk in enumerate(program.disks):
        if disk.path and world.fs.find(disk.path) is None:
            words = (
                f"libxl: error: libxl_device.c:455:libxl__device_disk_set_backend: Disk vdev={disk.vdev} failed to "
                f"stat: {disk.path}: No such file or directory\n"
                f"libxl: error: libxl_create.c:1318:initiate_domain_create: Domain {domid}:Unable to set disk defaults "
                f"for disk {place}\n"
            )
            raise Refused(head + words + _UNDONE.format(domid), world=used, code=1 if program.memory else 3)

    if not program.memory:
        _require_kernel(used, program, domid, head)

    def ended(after: World, error: XlError | None) -> Ended:
        if error is not None:
            raise Refused(f"{head}{error.words}", world=error.world or used)
        made = max((each.domid for each in after.xen.of(program.uuid)), default=0)
        if made and not watched:
            after = life.without_watcher(after, life.require(after, made))
        return Ended(after, 0, "", head + tail)

    return Working(_described(world, program), program, ended)


def _require_kernel(world: World, program: programs.Build, domid: int, head: str) -> None:
    """What a guest boots from is there (trace xen/kernels-that-are-not-there).

    Only where its directory is: a host of which nobody has said what stands in /boot has every kernel there.
    """
    machine = configurations.decoded(program.traits.items).get("b_info", {})
    for what in ("kernel", "ramdisk"):
        path = str(machine.get(what, ""))
        directory = path.rpartition("/")[0] or "/"
        if not path.startswith("/") or directory not in world.fs.dirs or world.fs.find(path) is not None:
            continue
        if what == "ramdisk" or program.traits.kind is not GuestKind.PV:
            raise NotModelled(f"xl create of a domain whose {what} {path} is not there")
        words = (
            f"xc: error: panic: xg_dom_core.c:205: failed to open file '{path}': No such file or directory: "
            "Internal error\n"
            "libxl: error: libxl_dom.c:646:libxl__build_pv: xc_dom_kernel_file failed: No such file or directory\n"
            f"libxl: error: libxl_create.c:1640:domcreate_rebuild_done: Domain {domid}:cannot (re-)build domain: -3\n"
        )
        raise Refused(head + words + _UNDONE.format(domid), world=world, code=3)


def _described(world: World, program: programs.Build) -> World:
    """A domain that was off is known under its uuid; what the host stores of it is what xl was told now."""
    known = world.domains.get(program.uuid)
    described = known.described_by if known else Domain(DomainUuid(program.uuid), "", RunState.OFF, ()).described_by
    kind, memory = program.traits.kind, known.memory_bytes if known else 0
    uuid = DomainUuid(program.uuid)
    domain = Domain(
        uuid, program.name, RunState.OFF, program.disks, described_by=described, kind=kind, memory_bytes=memory
    )
    return replace(world, domains=world.domains.set(program.uuid, domain))


# --- ending ----------------------------------------------------------------------------------------------------------


def destroy(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl destroy`."""
    words = read("destroy", argv, "f", least=1)
    domid = domid_of(world, words.words[0])
    if not domid:
        if words.has("f"):
            raise NotModelled("xl destroy -f of the domain 0")
        raise Refused(
            "Not destroying domain 0; use -f to force.\n"
            "This can only be done when using a disaggregated hardware domain and toolstack.\n"
        )
    if there(world, domid) is None:
        raise Refused(f"{_UNDONE.format(domid)}\ndestroy failed (rc=-21)")
    return Ended(life.destroyed(world, domid))


def shutdown(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl shutdown`: the guest is asked; `-w` waits until it has gone.

    Where nothing in the guest knows of Xen xl refuses, or with `-F` presses a button of ACPI, which is not modelled.
    """
    return _asked(world, argv, "shutdown", Shutdown.POWEROFF)


def reboot(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl reboot`."""
    return _asked(world, argv, "reboot", Shutdown.REBOOT)


def _asked(world: World, argv: Sequence[str], verb: str, reason: Shutdown) -> Ended:
    words = read(verb, argv, "awF", {"all": "a", "wait": "w"})
    if words.has("a"):
        return _all_asked(world, verb, reason, waits=words.has("w"))
    if not words.words:
        raise Refused("You must specify -a or a domain id.\n")
    domid = domid_of(world, words.words[0])
    head = f"{'Shutting down' if reason is Shutdown.POWEROFF else 'Rebooting'} domain {domid}\n"
    found, guest = there(world, domid), world.guests.get(domid)
    if not domid:
        raise NotModelled(f"xl {verb} of the domain 0")
    if found is None:
        unknown = f"libxl_dom.c:37:libxl__domain_type: unable to get domain type for domid={domid}"
        raise Refused(f"{head}libxl: error: {unknown}\n{verb} failed (rc=-3)")
    if not found.suspends_itself:
        if words.has("F"):
            raise NotModelled(f"xl {verb} -F of a guest without drivers for Xen")
        raise Refused(f"{head}{_UNCONTROLLED.format(verb, _BUTTONS[reason])}\n{verb} failed (rc=-10)")
    if found.traits.kind is not GuestKind.PV and not found.ran:
        raise NotModelled(f"xl {verb} of a guest whose kernel has not begun")
    if not found.executes or guest is None or not guest.answers:
        waited = world.slept(_ACKNOWLEDGED_NS)
        complaint = "libxl: error: libxl_domain.c:854:pvcontrol_cb: guest didn't acknowledge control request: -9"
        raise Refused(f"{head}{complaint}\n{verb} failed (rc=-9)", world=waited)
    if words.has("w"):
        if reason is not Shutdown.POWEROFF:
            raise NotModelled(f"xl {verb} -w")
        head += f"Waiting for 1 domains\nDomain {domid} has been shut down, reason code 0\n"
    world = powered_off(world, domid) if reason is Shutdown.POWEROFF else life.shut(world, domid, reason)
    return Ended(world, 0, "", head)


# xl 4.17.7, of what libxl answers where the kernel has not told Xen how to interrupt it.
_UNCONTROLLED = (
    'PV control interface not available: external graceful {0} not possible.\nUse "-F" to fallback to ACPI {1} event.'
)
_BUTTONS = {Shutdown.POWEROFF: "power", Shutdown.REBOOT: "reset"}


def _all_asked(world: World, verb: str, reason: Shutdown, *, waits: bool) -> Ended:
    """Every domain but the first is asked, in the order of their numbers; words behind are not looked at."""
    domids = sorted(each.domid for each in world.xen)
    if waits and (len(domids) > 1 or (domids and reason is not Shutdown.POWEROFF)):
        raise NotModelled(f"xl {verb} -a -w of several domains, or of one that comes again")
    said = "" if domids or not waits else "Waiting for 0 domains\n"
    for domid in domids:
        guest = world.guests.get(domid)
        found = world.xen.there[domid]
        if not found.executes or not found.suspends_itself or guest is None or not guest.answers:
            raise NotModelled(f"xl {verb} -a where a domain does not answer")
        asked = _asked(world, [str(domid), *(["-w"] if waits else [])][::-1], verb, reason)
        world, said = asked.world, said + asked.stderr
    return Ended(world, 0, "", said)


# --- standing still --------------------------------------------------------------------------------------------------


def pause(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl pause`: counted, and 0 even where there is no such domid (xen.md 4, 5)."""
    domid = domid_of(world, read("pause", argv, "", least=1).words[0])
    if there(world, domid) is None:
        words = f"Domain {domid}:Pausing domain: No such process" if domid else "Pausing domain: Invalid argument"
        return Ended(world, 0, "", f"libxl: error: libxl_domain.c:587:libxl_domain_pause: {words}\n")
    return Ended(life.paused(world, domid))


def unpause(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl unpause`: one pause less, and 0 whatever happens (xen.md 4, 5, 7)."""
    domid = domid_of(world, read("unpause", argv, "", least=1).words[0])
    found = there(world, domid)
    if found is None:
        words = f"libxl_dom.c:37:libxl__domain_type: unable to get domain type for domid={domid}"
        words = words if domid else "libxl_domain.c:688:domain_unpause_done: Unpausing domain: Invalid argument"
        return Ended(world, 0, "", f"libxl: error: {words}\n")
    if not found.pauses or found.shutdown:
        words = f"libxl_domain.c:688:domain_unpause_done: Domain {domid}:Unpausing domain: Invalid argument"
        return Ended(world, 0, "", f"libxl: error: {words}\n")
    return Ended(life.unpaused(world, domid))


# --- saving ----------------------------------------------------------------------------------------------------------


def save(world: World, argv: Sequence[str], told: Told) -> Ended | Working:
    """`xl save`: then the domain is gone, or with `-c` runs on, or with `-p` is paused."""
    words = read("save", argv, "cpD", least=2)
    domid = domid_of(world, words.words[0])
    if not domid or words.has("D"):
        raise NotModelled("xl save -D, or of the domain 0")
    shown = words.words[1]
    path = _absolute(told.cwd, shown)
    if len(words.words) > 2:
        if world.fs.find(_absolute(told.cwd, words.words[2])) is None:
            raise Refused("unable to read overridden config file")
        raise NotModelled("xl save with another configuration")
    found = there(world, domid)
    if found is None:
        raise Refused(
            "libxl: error: libxl_dom.c:1216:libxl__userdata_path: unable to find domain info for domain "
            f"{domid}: No such file or directory\nunable to retrieve domain configuration"
        )
    if not path.startswith("/dev/") and (path in world.fs.dirs or path.rpartition("/")[0] not in {*world.fs.dirs, ""}):
        raise Refused(f"Failed to open temp file {shown} for writing")
    then = "-p" if words.has("p") else "-c" if words.has("c") else ""
    kind = "PV" if found.traits.kind is GuestKind.PV else "HVM"
    info = save_file.announced(programs.head_of(world, found))
    head = configuration.complaints([found])
    head += f"Saving to {shown} new xl format (info {info})\nxc: info: Saving domain {domid}, type x86 {kind}\n"

    def ended(after: World, error: XlError | None) -> Ended:
        if error is not None:
            raise Refused(head + _save_failed(found, error), world=error.world)
        return Ended(after, 0, "", head)

    return Working(world, programs.Save(domid, path, then), ended)


def _save_failed(found: Incarnation, error: XlError) -> str:
    """The words for a guest that does not answer, for a full file system, or whatever else it was."""
    domid = found.domid
    if "acknowledge" in error.words:
        return (
            "libxl: error: libxl_dom_suspend.c:269:domain_suspend_common_pvcontrol_suspending: "
            f"Domain {domid}:guest didn't acknowledge suspend, cancelling request\n"
            "xc: error: Domain has not been suspended: shutdown 0, reason 255: Internal error\n"
            "xc: error: Save failed (0 = Success): Internal error\n"
            f"libxl: error: libxl_stream_write.c:347:libxl__xc_domain_save_done: Domain {domid}:saving domain: domain "
            "did not respond to suspend request: Success\nFailed to save domain, resuming domain\n"
            f"xc: error: Dom {domid} not suspended: (shutdown 0, reason 255): Internal error\n"
            f"libxl: error: libxl_dom_suspend.c:666:domain_resume_done: Domain {domid}:xc_domain_resume failed: "
            "Invalid argument"
        )
    if "No space left" in error.words:
        return (
            "xc: error: Failed to write page data to stream (28 = No space left on device): Internal error\n"
            "xc: error: Save failed (28 = No space left on device): Internal error\n"
            f"libxl: error: libxl_stream_write.c:347:libxl__xc_domain_save_done: Domain {domid}:saving domain: domain "
            "responded to suspend request: No space left on device\nFailed to save domain, resuming domain"
        )
    return error.words


# --- names and configurations ----------------------------------------------------------------------------------------


def rename(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl rename`: any name that is free, numbers too (xen.md 12)."""
    words = read("rename", argv, "", least=2)
    (ref, name, *_), domid = words.words, domid_of(world, words.words[0])
    if not domid:
        raise NotModelled("xl rename of the domain 0")
    found = there(world, domid)
    # libxl looks at the name first (trace xen/names).
    if name in {"Domain-0", *(each.name for each in world.xen if each.domid != domid)}:
        raise Refused(
            f'libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain {domid}:Domain with name "{name}" already '
            f"exists.\nCan't rename domain '{ref}'."
        )
    if found is None:
        raise Refused(f"Can't rename domain '{ref}'.")
    stored = world.domains[found.uuid]
    renamed = Domain(stored.uuid, name, stored.state, stored.disks, stored.domid, stored.described_by, stored.kind)
    xen = world.xen.putting(replace(found, name=name))
    return Ended(replace(world, xen=xen, domains=world.domains.set(found.uuid, renamed)))


_AVOID = (
    "WARNING: xl now has better capability to manage domain configuration, avoid using this command when possible\n"
)


def config_update(world: World, argv: Sequence[str], told: Told) -> Ended:
    """`xl config-update`: what the watcher reboots with, and nothing else (xen-live.md B1). The domain comes first."""
    if not argv:
        raise Refused("xl config-update requires a domain argument", stdout=helped.of("config-update"))
    try:
        domid = domid_of(world, argv[0])
    except Refused as error:
        raise Refused(_AVOID + error.stderr.removesuffix("\n")) from None
    words = read("config-update", argv[1:], "dqf:", {"defconfig": "f", "quiet": "q"})
    named = [*words.words[:1], *(value for name, value in words.options if name == "f")]
    if not named:
        raise Refused(f"{_AVOID}Config file not specified")
    file = _file(world, _absolute(told.cwd, named[-1]), named[-1], _AVOID, before=_AVOID, code=253)
    said = f"{_AVOID}setting dom{domid} configuration\n"
    found = there(world, domid)
    if found is None:
        unknown = f"libxl_dom.c:1216:libxl__userdata_path: unable to find domain info for domain {domid}: Success"
        raise Refused(f"{said}libxl: error: {unknown}\nfailed to update configuration")
    layers = {disk.vdev: disk.layer for disk in file.disks}
    changed = replace(found, reboots_from=switched(found.reboots_from, layers))
    return Ended(replace(world, xen=world.xen.putting(changed)), 0, "", said)


def monitor_command(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl qemu-monitor-command`: what the human monitor says, which is no failure whatever it is (xen.md 5)."""
    words = read("qemu-monitor-command", argv, "", least=2).words
    domid = domid_of(world, words[0])
    qemu = world.qemus.get(domid)
    if qemu is None:
        raise NotModelled("xl qemu-monitor-command to a domain without QEMU")
    board, told = human.said(Board(world.fs, qemu, world.clock.now_ns), " ".join(words[1:]))
    if board.crashed or board.qemu.status == "shutdown":
        raise NotModelled("xl qemu-monitor-command that ends QEMU")
    return Ended(line.settled(world, domid, board, board.events), 0, f"{told}\n")


def read_migrate(argv: Sequence[str]) -> Words:
    """The words of `xl migrate`."""
    return read("migrate", argv, "FC:s:epDgl", _MIGRATE_LONG, least=2)


def migrate(world: World, argv: Sequence[str], told: Told) -> NoReturn:
    """`xl migrate`, as far as its words are looked at; a stream to another host is not modelled.

    One into a program is where there is an executable that starts it: see `migrating`.
    """
    words = read_migrate(argv)
    domid = domid_of(world, words.words[0])
    named = [value for name, value in words.options if name == "C"]
    if named and world.fs.find(_absolute(told.cwd, named[-1])) is None:
        raise Refused("unable to read overridden config file")
    if domid and there(world, domid) is None and not named:
        unknown = f"libxl_dom.c:1216:libxl__userdata_path: unable to find domain info for domain {domid}"
        raise Refused(
            f"libxl: error: {unknown}: Inappropriate ioctl for device\nunable to retrieve domain configuration"
        )
    raise NotModelled("xl migrate")


_MIGRATE_LONG = {"debug": "g", "live": "l"}

_DEPRECATED = 'WARNING: "button-press" is deprecated. Please use "trigger"'


def unmodelled(name: str) -> Callable[[World, Sequence[str], Told], Ended]:
    """A subcommand that exists and is not modelled."""

    def refuse(_world: World, argv: Sequence[str], _told: Told) -> Ended:
        if argv and argv[0] in {"-h", "--help"}:
            raise Refused(_DEPRECATED if name == "button-press" else "", code=0, stdout=helped.of(name))
        raise NotModelled(f"xl {name}")

    return refuse
