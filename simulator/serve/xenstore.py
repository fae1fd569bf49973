"""The xenstore programs over what a world implies, and over what somebody has written by hand.

The tree is made when somebody asks for it. What is written there is kept and told again, and has no effect: whatever
would make a guest or a backend do something is refused as not modelled.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended
from simulator.serve.xl.listing import connected
from simulator.world import World
from simulator.xen.configurations import decoded, memory_mib
from simulator.xen.domains import in_xenstore
from simulator.xen.incarnations import Incarnation, Shutdown
from xensnap.formats.device_disk import device_number
from xensnap.model import Backend, Disk, Format, GuestKind

replace = msgspec.structs.replace

_HOME = "/local/domain/0/"
_TAKES = {
    "xenstore-exists": "[-h] [-p] [-s] key [...]",
    "xenstore-list": "[-h] [-p] [-s] key [...]",
    "xenstore-ls": "[-h] [-f] [-p] [-s] [path]",
    "xenstore-read": "[-h] [-p] [-s] [-R] key [...]",
    "xenstore-rm": "[-h] [-s] [-t] key [...]",
    "xenstore-write": "[-h] [-s] [-R] key value [...]",
}


def _usage(program: str) -> str:
    return f"{program}: Usage: {program} {_TAKES[program]}\n"


_PATH = re.compile(r"[-/_@A-Za-z0-9]+")
_DOMAIN = re.compile(r"/local/domain/(?:0/backend/[^/]+/)?(?P<domid>[1-9][0-9]*)(?:/|$)")
_DOES_SOMETHING = re.compile(r"/local/domain/.*/(?:control/.*|state|online|target)$|/(?:libxl|vm)(?:/|$)")


_DRIVERS = {Format.RAW: "aio"}
"""What xenstore calls the format of an image that QEMU serves, where that is another word."""


def tree(world: World) -> dict[str, str]:
    """Every node with its value."""
    nodes = dict(_OF_THE_HOST)
    for each in world.xen:
        nodes |= _domain(world, each)
    return nodes | {path: value for path, value in world.written.items() if _home_there(world, path)}


def _home_there(world: World, path: str) -> bool:
    """With a domain goes what was written about it."""
    owner = _DOMAIN.match(path)
    return owner is None or int(owner["domid"]) in world.xen.there


def _under(home: str, told: Mapping[str, str]) -> dict[str, str]:
    return {f"{home}/{name}": value for name, value in told.items()}


def _domain(world: World, each: Incarnation) -> dict[str, str]:
    home, vm, memory = f"/local/domain/{each.domid}", f"/vm/{each.uuid}", str(memory_mib(each.traits.items) << 10)
    nodes = _under(home, {"vm": vm, "name": each.name, "domid": str(each.domid), "control/shutdown": ""})
    nodes |= _under(home, {"memory/static-max": memory, "memory/target": memory})
    nodes |= _under(vm, {"uuid": each.uuid, "name": each.name})
    if each.qemu:
        nodes[f"{home}/image/device-model-pid"] = str(each.qemu)
    if each.traits.kind is GuestKind.PV:
        nodes |= _paravirtual(world, each, home, vm)
    for place, disk in enumerate(sorted(each.disks, key=in_xenstore)):
        nodes |= _disk(world, each, place, disk)
    return nodes


def _paravirtual(world: World, each: Incarnation, home: str, vm: str) -> dict[str, str]:
    """What there is of a PV guest beside its disks; of other kinds no tree was recorded (trace xen/xenstore-trees)."""
    console, libxl = f"/local/domain/0/backend/console/{each.domid}/0", f"/libxl/{each.domid}"
    link = {"frontend": f"{home}/console", "frontend-id": str(each.domid), "online": "1", "protocol": "vt100"}
    nodes = _under(home, _OF_A_PV_GUEST)
    nodes |= _under(f"{home}/console", {"backend": console, "tty": f"/dev/pts/{each.domid - 1}"})
    nodes |= _under(f"/local/domain/0/device-model/{each.domid}", _OF_A_DEVICE_MODEL)
    nodes |= _under(console, link | {"state": "1"})
    nodes |= _under(f"{libxl}/device/console/0", link | {"backend": console, "state": "1"})
    nodes |= _under(libxl, {"dm-version": "qemu_xen", "type": each.traits.kind.value})
    if each.ran:
        nodes |= _under(home, _ONCE_IT_HAS_RUN)
    started = world.processes.get(each.qemu)
    at_ns = world.clock.now_ns - world.clock.monotonic_ns + (started.started_ns if started else 0)
    nodes[f"{vm}/start_time"] = f"{at_ns // 10**9}.{at_ns // 10**7 % 100:02}"
    machine = decoded(each.traits.items).get("b_info", {})
    named = {name: str(machine[name]) for name in ("cmdline", "kernel", "ramdisk") if name in machine}
    return nodes | _under(f"{vm}/image", {"ostype": "linux", **named})


def _disk(world: World, each: Incarnation, place: int, disk: Disk) -> dict[str, str]:
    number = device_number(disk.vdev) or 0
    kind = "qdisk" if disk.backend is Backend.QDISK else "vbd"
    back = f"/local/domain/0/backend/{kind}/{each.domid}/{number}"
    front = f"/local/domain/{each.domid}/device/vbd/{number}"
    there = connected(world, each, disk)
    # The backend waits where no driver has come yet (Xen 4.17.7: 1 and 2 in a guest that was restored paused).
    ended = "6" if each.shutdown and each.shutdown is not Shutdown.SUSPEND else "4"
    # Xenstore keeps telling of the image that the domain was started from (xen.md 23).
    served = {
        "bootable": "1",
        "dev": disk.vdev,
        "device-type": "cdrom" if disk.cdrom else "disk",
        "discard-enable": str(int(not disk.readonly)),
        "frontend": front,
        "frontend-id": str(each.domid),
        "mode": "r" if disk.readonly else "w",
        "online": "1",
        "params": f"{_DRIVERS.get(disk.format, disk.format)}:{disk.path}" if kind == "qdisk" else disk.path,
        "removable": str(int(disk.cdrom)),
        "specification": "xen",
        "type": disk.backend.value,
    }
    nodes = _under(back, served | {"state": ended if there else "2"})
    nodes |= _under(f"/libxl/{each.domid}/device/vbd/{number}", served | {"backend": back, "state": "1"})
    drive = world.qemus[each.domid].guests(disk.vdev) if each.domid in world.qemus else None
    if kind == "qdisk" and drive is not None:
        sectors = -(-drive.root.belief.size_bytes // 512)
        nodes |= _under(back, _OF_A_QDISK | {"sectors": str(sectors), "info": str(4 * disk.readonly + disk.cdrom)})
        if not disk.readonly:
            nodes |= _under(back, _OF_DISCARDS)
    nodes |= _under(front, {"backend": back, "backend-id": "0", "device-type": served["device-type"]})
    nodes |= _under(front, {"state": ended if there else "1", "virtual-device": str(number)})
    if there:
        nodes |= _under(front, _OF_A_DRIVER | {"event-channel": str(8 + place), "ring-ref": str(8 + place)})
    return nodes


_OF_A_DEVICE_MODEL = {
    "state": "running",
    **{f"backends/{each}": "" for each in ("9pfs", "console", "qnic", "qusb", "vfb", "vkbd")},
}
_OF_THE_HOST = {
    "/@introduceDomain": "",
    "/@releaseDomain": "",
    "/local/pool/0/name": "Pool-0",
    "/tool/xenstored": "/usr/lib/xen-4.17/bin/oxenstored",
    **_under("/local/domain/0", {"domid": "0", "name": "Domain-0"}),
    **_under("/local/domain/0/control", dict.fromkeys(("feature-poweroff", "feature-reboot", "feature-suspend"), "1")),
    **_under("/local/domain/0/device-model/0", _OF_A_DEVICE_MODEL),
}
_OF_A_PV_GUEST = {
    "console/backend-id": "0",
    "console/limit": "1048576",
    "console/output": "pty",
    "console/port": "2",
    "console/ring-ref": "519170",
    "console/type": "xenconsoled",
    "cpu/0/availability": "online",
    "device/suspend/event-channel": "",
    "memory/videoram": "0",
    "store/port": "1",
    "store/ring-ref": "519169",
    "control/platform-feature-multiprocessor-suspend": "1",
    "control/platform-feature-xs_reset_watches": "1",
    "control/sysrq": "",
    **dict.fromkeys(("attr", "data", "drivers", "error", "feature"), ""),
}
_ONCE_IT_HAS_RUN = dict.fromkeys(("control/feature-poweroff", "control/feature-reboot", "control/feature-suspend"), "1")
_OF_A_QDISK = {
    "feature-flush-cache": "1",
    "hotplug-status": "connected",
    "max-ring-page-order": "4",
    "sector-size": "512",
}
_OF_DISCARDS = {"discard-alignment": "0", "discard-granularity": "512", "feature-discard": "1"}
_OF_A_DRIVER = {"feature-persistent": "1", "protocol": "x86_64-abi", "trusted": "1"}


def run(world: World, program: str, argv: Sequence[str]) -> Ended:
    """One of the programs. `NotModelled` for what would have an effect, and for options that are not modelled."""
    if program not in _TAKES or any(word.startswith("--") and word not in _LONG for word in argv):
        raise NotModelled(f"{program} {' '.join(argv)}")
    letters = "".join(_LONG.get(word, word[1:]) for word in argv if word.startswith("-"))
    words = [word for word in argv if not word.startswith("-")]
    known = re.findall(r"-(\w)", _TAKES[program])
    wrong = next((letter for letter in letters if letter not in known), None)
    complaint = "" if wrong is None else f"{program}: invalid option -- '{wrong}'\n"
    options = set(letters) & set(known)
    if program == "xenstore-ls" and complaint:
        # It complains and goes on.
        return _listed(world, words, full="f" in options, complaint=complaint)
    if complaint or "h" in options or (not words and program != "xenstore-ls"):
        return Ended(world, 1, "", complaint + _usage(program))
    options -= {"s"}
    if program == "xenstore-write" and not options:
        return _written(world, words)
    if program == "xenstore-rm" and not options:
        return _removed(world, [_absolute(word) for word in words])
    if program == "xenstore-ls" and options <= {"f"}:
        return _listed(world, words, full=bool(options))
    nodes = _with_parents(tree(world)) | {"/": ""}
    if program == "xenstore-read" and options <= {"p", "R"}:
        end = "" if "R" in options else "\n"
        prefixes = {word: f"{word}: " if "p" in options else "" for word in words}
        answers = {word: f"{prefixes[word]}{nodes.get(_absolute(word))}{end}" for word in words}
        return _each(world, nodes, "read: couldn't read", answers)
    if program == "xenstore-list" and options <= {"p"}:
        answers = {}
        for word in words:
            head = f"{word.rstrip('/')}/" if "p" in options else ""
            answers[word] = "".join(f"{head}{name}\n" for name in _below(nodes, _absolute(word)))
        return _each(world, nodes, "list: could not list", answers)
    if program == "xenstore-exists" and not options:
        return Ended(world, int(any(_absolute(word) not in nodes for word in words)))
    raise NotModelled(f"{program} {' '.join(argv)}")


_LONG = {"--help": "h", "--raw": "R"}


def _listed(world: World, words: list[str], *, full: bool, complaint: str = "") -> Ended:
    nodes = _with_parents(tree(world))
    if missing := next((word for word in words if _absolute(word) not in {*nodes, "/"}), None):
        return Ended(world, 1, "", f"{complaint}xenstore-ls: xs_directory ({missing}): No such file or directory\n")
    lines = [
        _line(path, value, full=full, root=root)
        for root in [_absolute(word) for word in words] or ["/"]
        for path, value in sorted(nodes.items(), key=lambda node: node[0].split("/"))
        if path != "/" and path.startswith(root.rstrip("/") + "/")
    ]
    return Ended(world, 0, "".join(lines), complaint)


# --- written by hand -------------------------------------------------------------------------------------------------


def _written(world: World, words: list[str]) -> Ended:
    """All pairs, or none where one is refused."""
    if not words or len(words) % 2:
        return Ended(world, 1, "", _usage("xenstore-write"))
    after = world
    for given, value in zip(words[::2], words[1::2], strict=True):
        if not _PATH.fullmatch(given) or (given.endswith("/") and given != "/"):
            return Ended(world, 1, "", f"xenstore-write: could not write path {given}\n")
        after = _with(after, _absolute(given), value)
    return Ended(after)


def _with(world: World, path: str, value: str) -> World:
    owner = _DOMAIN.match(path)
    if _DOES_SOMETHING.search(path) or (owner and int(owner["domid"]) not in world.xen.there):
        raise NotModelled(f"xenstore-write {path}")
    known, written = _with_parents(tree(world)), world.written
    above = path
    while above := above.rpartition("/")[0]:
        if above not in known:
            written = written.set(above, "")
    return replace(world, written=written.set(path, value))


def _removed(world: World, paths: list[str]) -> Ended:
    if not paths:
        return Ended(world, 1, "", _usage("xenstore-rm"))
    written = world.written
    for path in paths:
        if path.rpartition("/")[0] not in {"", *_with_parents(tree(world))}:
            return Ended(world, 1, "", f"xenstore-rm: could not remove path {path}\n")
        below = [each for each in _with_parents(tree(world)) if each == path or each.startswith(f"{path}/")]
        if any(each not in written for each in below):
            raise NotModelled(f"xenstore-rm {path}: what nobody has written by hand")
        for each in below:
            written = written.delete(each)
    return Ended(replace(world, written=written))


def _absolute(path: str) -> str:
    """Names without a slash in front are below the home of dom0."""
    return path if path.startswith("/") else f"{_HOME}{path}"


# --- how it is told --------------------------------------------------------------------------------------------------


def _each(world: World, nodes: dict[str, str], words: str, answers: dict[str, str]) -> Ended:
    """The answers in turn, up to the first of a node that is not there."""
    out = ""
    for word, answer in answers.items():
        if _absolute(word) not in nodes or not word:
            return Ended(world, 1, out, f"xenstore-{words} path {word}\n")
        out += answer
    return Ended(world, 0, out)


def _with_parents(nodes: dict[str, str]) -> dict[str, str]:
    found = dict(nodes)
    for path in nodes:
        while path := path.rpartition("/")[0]:
            found.setdefault(path, "")
    return found


def _below(nodes: dict[str, str], path: str) -> list[str]:
    prefix = path.rstrip("/") + "/"
    return sorted({each[len(prefix) :].partition("/")[0] for each in nodes if each.startswith(prefix)} - {""})


def _line(path: str, value: str, *, full: bool, root: str) -> str:
    if full:
        return f'{path} = "{value}"\n'
    depth = path.count("/") - root.rstrip("/").count("/") - 1
    return f'{" " * depth}{path.rpartition("/")[2]} = "{value}"\n'
