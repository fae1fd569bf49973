"""What xl tells: which domains there are, how they are, and what serves their disks."""

import re
from collections.abc import Callable, Sequence

from simulator.core.numerals import whole
from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended, Told, Working
from simulator.serve.xl import configuration, helped
from simulator.serve.xl.words import DOM0, Refused, domid_of, read, there
from simulator.world import World
from simulator.xen import configurations
from simulator.xen.domains import in_xenstore
from simulator.xen.incarnations import Incarnation, Shutdown
from xensnap.formats.device_disk import device_number
from xensnap.model import Backend, Disk, GuestKind

_DOM0_MIB = 1536
_IDLE = 50
"""An idle guest uses about this fraction of a processor."""
_HEAD = "Name                                        ID   Mem VCPUs\tState\tTime(s)"
_REASONS = {Shutdown.POWEROFF: 0, Shutdown.REBOOT: 1, Shutdown.SUSPEND: 2, Shutdown.CRASH: 3}
_LETTERS = {Shutdown.POWEROFF: "-", Shutdown.REBOOT: "r", Shutdown.SUSPEND: "s", Shutdown.CRASH: "c"}
_BLOCKS = "Vdev  BE  handle state evt-ch ring-ref BE-path                       "

Subcommand = Callable[[World, Sequence[str], Told], Ended | Working]


def list_(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl list`, with `-v` UUIDs and shutdown reasons, with `-l` the configurations."""
    words = read("list", argv, "lvZcn", _LONG)
    if len(words.words) > 1:
        raise Refused("", stdout=helped.of("list"))
    chosen, dom0 = list(world.xen), True
    if words.words:
        domid = domid_of(world, words.words[0])
        chosen, dom0 = [each for each in chosen if each.domid == domid], not domid
        if not chosen and domid:
            raise Refused(f"Error: Domain '{words.words[0]}' does not exist.")
    if words.has("l"):
        return Ended(world, 0, configuration.listed(world, chosen, dom0=dom0), configuration.complaints(chosen))
    more = "".join(letter for letter in "vZcn" if words.has(letter))
    lines = [_HEAD + "".join(_HEADS[letter] for letter in more if letter != "Z" or "v" not in more)]
    if dom0:
        lines.append(_line("Domain-0", 0, _DOM0_MIB, 2, "r-----", seconds=500.0) + _columns(more, DOM0, "-"))
    lines += [_domain(world, each, more) for each in chosen]
    return Ended(world, 0, "\n".join(lines) + "\n")


_LONG = {"long": "l", "verbose": "v", "context": "Z", "cpupool": "c", "numa": "n"}
_HEADS = {
    "v": "   UUID                            Reason-Code\tSecurity Label",
    "Z": "   Security Label",
    "c": "         Cpupool",
    "n": " NODE Affinity",
}


def _columns(more: str, uuid: str, reason: str) -> str:
    """What options add to a line."""
    told = f" {uuid} {reason:>8}" if "v" in more else ""
    told += f" {'-':>16}" if more.strip("cn") else ""
    return told + (f" {'Pool-0':>15}" if "c" in more else "") + (" all" if "n" in more else "")


def _domain(world: World, each: Incarnation, more: str) -> str:
    reason = f"{_REASONS[each.shutdown]:x}" if each.shutdown else "-"
    building = each.pauses and each.domid not in world.guests
    memory = 0 if building else configurations.memory_mib(each.traits.items) - (each.traits.kind is GuestKind.HVM)
    # One that has executed anything has used up some time of a processor; an idle guest little.
    seconds = 0.1 + _lived(world, each) / 1e9 / _IDLE if each.ran else 0.0
    state, vcpus = letters(world, each), 0 if building else 1
    return _line(each.name, each.domid, memory, vcpus, state, seconds=seconds) + _columns(more, each.uuid, reason)


def _line(name: str, domid: int, memory: int, vcpus: int, state: str, *, seconds: float) -> str:
    return f"{name:<40} {domid:5} {memory:5} {vcpus:5}     {state}  {seconds:8.1f}"


def letters(world: World, each: Incarnation) -> str:
    """The state in six letters (xen.md 2). A guest that runs and has nothing to do is blocked."""
    guest = world.guests.get(each.domid)
    runs = each.executes and guest is not None
    busy = runs and guest is not None and bool(guest.memory.writers)
    return "".join(
        [
            "r" if busy else "-",
            "b" if runs and not busy else "-",
            "p" if each.pauses and not each.shutdown else "-",
            "s" if each.shutdown else "-",
            _LETTERS[each.shutdown] if each.shutdown else "-",
            "d" if each.dying else "-",
        ]
    )


def vm_list(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl vm-list`."""
    read("vm-list", argv, "")
    lines = ["UUID                                  ID    name", f"{DOM0}  0    {'Domain-0':<30}"]
    lines += [f"{each.uuid}  {each.domid}    {each.name:<30}" for each in world.xen]
    return Ended(world, 0, "\n".join(lines) + "\n")


def domid(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl domid NAME`: here a number is a name (xen.md 12)."""
    name = read("domid", argv, "", least=1).words[0]
    found = next((each.domid for each in world.xen if each.name == name), 0 if name == "Domain-0" else None)
    if found is None:
        raise Refused(f"Can't get domid of domain name '{name}', maybe this domain does not exist.")
    return Ended(world, 0, f"{found}\n")


def domname(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl domname DOMID`."""
    given = read("domname", argv, "", least=1).words[0]
    digits = re.match(r"\d+", given, re.ASCII)
    if digits is None:
        raise Refused("Invalid domain id.\n")
    number = whole(digits.group())
    found = there(world, number)
    if found is None and number:
        raise Refused(f"Can't get domain name of domain id '{given}', maybe this domain does not exist.")
    return Ended(world, 0, f"{found.name if found else 'Domain-0'}\n")


def uptime(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl uptime`, of all domains or of those that are named; `-s` begins with the time of day."""
    words = read("uptime", argv, "s")
    wanted = [domid_of(world, ref) for ref in words.words]
    lines = [] if words.has("s") else ["Name                                ID Uptime"]
    lived = {0: ("Domain-0", world.clock.monotonic_ns), **{e.domid: (e.name, _lived(world, e)) for e in world.xen}}
    clock = world.clock.now_ns // 10**9 % 86400
    now = f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}"
    complaints = ""
    for number in wanted or lived:
        if number not in lived:
            words_ = f"Domain {number}:Can't get start time of domain"
            complaints += f"libxl: error: libxl_domain.c:2231:libxl_vm_get_start_time: {words_}\n"
            continue
        name, ns = lived[number]
        up, seconds = _up(ns // 10**9), ns // 10**9 % 60
        lines.append(
            f" {now} up {up}, {name} ({number})" if words.has("s") else f"{name:<33} {number:4} {up}:{seconds:02}"
        )
    return Ended(world, 0, "\n".join([*lines, ""]), complaints)


def _up(seconds: int) -> str:
    """Days, hours and minutes, as xl 4.17.7 has them."""
    days = seconds // 86400
    told = f"{days} day{'s' if days > 1 else ''}, " if days else ""
    return f"{told}{seconds // 3600 % 24:2}:{seconds // 60 % 60:02}"


def _lived(world: World, each: Incarnation) -> int:
    qemu = world.processes.get(each.qemu)
    return world.clock.monotonic_ns - (qemu.started_ns if qemu else world.clock.monotonic_ns)


def block_list(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl block-list`: it exits 0 whatever happens (xen.md 5)."""
    words = read("block-list", argv, "", least=1)
    lines, complaints = [_BLOCKS], list[str]()
    for ref in words.words:
        try:
            number = domid_of(world, ref, code="")
        except Refused as error:
            complaints.append(error.stderr)
            continue
        found = there(world, number)
        for place, disk in enumerate(sorted(found.disks if found else (), key=in_xenstore)):
            kind = "qdisk" if disk.backend is Backend.QDISK else "vbd"
            virtual = device_number(disk.vdev) or 0
            path = f"/local/domain/0/backend/{kind}/{number}/{virtual}"
            state = 6 if found and found.shutdown and found.shutdown is not Shutdown.SUSPEND else 4
            state, channel = (state, 8 + place) if found and connected(world, found, disk) else (1, -1)
            state = 6 if found and disk.vdev in found.closing else state
            lines.append(f"{virtual:<5} 0   {number:<6} {state}     {channel:<6} {channel:<8} {path:<30}".rstrip())
    return Ended(world, 0, "\n".join(lines) + "\n", "".join(complaints))


def connected(world: World, found: Incarnation, disk: Disk) -> bool:
    """Whether a driver of the guest's has connected to a disk, as it does when it first runs."""
    qemu = world.qemus.get(found.domid)
    by_kernel = disk.backend is Backend.PHY
    opened = by_kernel or qemu is None or qemu.guests(disk.vdev) is not None or disk.vdev not in found.attached
    return found.traits.drivers and found.ran and opened


def info(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl info`: what it says of a host, in its order. A word picks the keys that begin so, and only values are told.

    Keys and order are those of xl 4.17 (xl_info.c, xl(1)), the values of a machine that is simulated.
    """
    words = read("info", argv, "n", {"numa": "n"})
    if words.has("n"):
        raise NotModelled("xl info -n")
    free = _HOST_MIB - _DOM0_MIB - sum(configurations.memory_mib(each.traits.items) for each in world.xen)
    facts = _HOST | {"virt_caps": " ".join(world.xen.virt_caps), "free_memory": str(free)}
    told = [(f"{key:<23}: ", f"{value}\n") for key, value in facts.items()]
    if words.words:
        return Ended(world, 0, "".join(value for key, value in told if key.startswith(words.words[0])))
    return Ended(world, 0, "".join(key + value for key, value in told))


_HOST_MIB = 4096
_HOST = {
    "host": "simulated",
    "release": "6.1.0-56-amd64",
    "version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)",
    "machine": "x86_64",
    "nr_cpus": "2",
    "max_cpu_id": "1",
    "nr_nodes": "1",
    "cores_per_socket": "1",
    "threads_per_core": "1",
    "cpu_mhz": "2000.000",
    "hw_caps": ":".join(["00000000"] * 8),
    "virt_caps": "",
    "total_memory": str(_HOST_MIB),
    "free_memory": "",
    "sharing_freed_memory": "0",
    "sharing_used_memory": "0",
    "outstanding_claims": "0",
    "free_cpus": "0",
    "xen_major": "4",
    "xen_minor": "17",
    "xen_extra": ".7",
    "xen_version": "4.17.7",
    "xen_caps": "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64",
    "xen_scheduler": "credit2",
    "xen_pagesize": "4096",
    "platform_params": "virt_start=0xffff800000000000",
    "xen_changeset": "",
    "xen_commandline": "placeholder",
    "cc_compiler": "simulated",
    "cc_compile_by": "simulated",
    "cc_compile_domain": "simulated",
    "cc_compile_date": "simulated",
    "build_id": "simulated",
    "xend_config_format": "4",
}
