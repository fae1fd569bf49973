"""The xenstore programs over what a world implies, and over what somebody has written by hand.

The tree is made when somebody asks for it. What is written there is kept and told again, and has no effect: whatever
would make a guest or a backend do something is refused as not modelled.
"""

import re
from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended
from simulator.world import World
from simulator.xen.incarnations import Incarnation, Shutdown
from xensnap.formats.device_disk import device_number
from xensnap.model import Backend, Disk

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


def tree(world: World) -> dict[str, str]:
    """Every node with its value."""
    nodes: dict[str, str] = {"/local/domain/0/domid": "0", "/local/domain/0/name": "Domain-0"}
    for each in world.xen:
        nodes |= _domain(each)
    return nodes | {path: value for path, value in world.written.items() if _home_there(world, path)}


def _home_there(world: World, path: str) -> bool:
    """With a domain goes what was written about it."""
    owner = _DOMAIN.match(path)
    return owner is None or int(owner["domid"]) in world.xen.there


def _domain(each: Incarnation) -> dict[str, str]:
    home, vm = f"/local/domain/{each.domid}", f"/vm/{each.uuid}"
    nodes = {
        f"{home}/vm": vm,
        f"{home}/name": each.name,
        f"{home}/domid": str(each.domid),
        f"{home}/control/shutdown": "",
        f"{home}/memory/static-max": "163840",
        f"{home}/memory/target": "163840",
        f"{vm}/uuid": each.uuid,
        f"{vm}/name": each.name,
    }
    if each.qemu:
        nodes[f"{home}/image/device-model-pid"] = str(each.qemu)
    for disk in each.disks:
        nodes |= _disk(each, disk)
    return nodes


def _disk(each: Incarnation, disk: Disk) -> dict[str, str]:
    number = device_number(disk.vdev) or 0
    kind = "qdisk" if disk.backend is Backend.QDISK else "vbd"
    back = f"/local/domain/0/backend/{kind}/{each.domid}/{number}"
    front = f"/local/domain/{each.domid}/device/vbd/{number}"
    # Xenstore keeps telling of the image that the domain was started from (xen.md 23).
    state = "6" if each.shutdown and each.shutdown is not Shutdown.SUSPEND else "4"
    return {
        f"{front}/backend": back,
        f"{front}/backend-id": "0",
        f"{front}/device-type": "cdrom" if disk.cdrom else "disk",
        f"{front}/state": state,
        f"{front}/virtual-device": str(number),
        f"{back}/frontend": front,
        f"{back}/frontend-id": str(each.domid),
        f"{back}/params": f"{disk.format.value}:{disk.path}" if kind == "qdisk" else disk.path,
        f"{back}/dev": disk.vdev,
        f"{back}/mode": "r" if disk.readonly else "w",
        f"{back}/type": kind,
        f"{back}/state": state,
    }


def run(world: World, program: str, argv: Sequence[str]) -> Ended:
    """One of the programs. `NotModelled` for what would have an effect, and for options that are not modelled."""
    options = [word for word in argv if word.startswith("-")]
    paths = [_absolute(word) for word in argv if not word.startswith("-")]
    if "-h" in options or (not argv and program != "xenstore-ls"):
        return Ended(world, 1, "", _usage(program))
    nodes = _with_parents(tree(world))
    if program == "xenstore-read" and not options:
        return _each(world, "read: couldn't read", paths, {path: f"{value}\n" for path, value in nodes.items()})
    if program == "xenstore-list" and not options:
        children = {path: "".join(f"{name}\n" for name in _below(nodes, path)) for path in nodes}
        return _each(world, "list: could not list", paths, children)
    if program == "xenstore-exists" and not options:
        return Ended(world, int(any(path not in nodes for path in paths)))
    if program == "xenstore-ls" and set(options) <= {"-f"}:
        if missing := next((path for path in paths if path not in {*nodes, "/"}), ""):
            return Ended(world, 1, "", f"xenstore-ls: xs_directory ({missing}): No such file or directory\n")
        lines = [
            _line(path, value, full=bool(options), root=root)
            for root in paths or ["/"]
            for path, value in sorted(nodes.items())
            if path != "/" and path.startswith(root.rstrip("/") + "/")
        ]
        return Ended(world, 0, "".join(lines))
    if program == "xenstore-write" and not options:
        return _written(world, list(argv))
    if program == "xenstore-rm" and not options:
        return _removed(world, paths)
    raise NotModelled(f"{program} {' '.join(argv)}")


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


def _each(world: World, words: str, paths: list[str], answers: dict[str, str]) -> Ended:
    out = ""
    for path in paths:
        if path not in answers:
            return Ended(world, 1, out, f"xenstore-{words} path {path}\n")
        out += answers[path]
    return Ended(world, 0, out)


def _with_parents(nodes: dict[str, str]) -> dict[str, str]:
    found = dict(nodes)
    for path in nodes:
        while path := path.rpartition("/")[0]:
            found.setdefault(path, "")
    return found


def _below(nodes: dict[str, str], path: str) -> list[str]:
    prefix = path.rstrip("/") + "/"
    return sorted({each[len(prefix) :].partition("/")[0] for each in nodes if each.startswith(prefix)})


def _line(path: str, value: str, *, full: bool, root: str) -> str:
    if full:
        return f'{path} = "{value}"\n'
    depth = path.count("/") - root.rstrip("/").count("/") - 1
    return f'{" " * depth}{path.rpartition("/")[2]} = "{value}"\n'
