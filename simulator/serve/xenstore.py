"""xenstore-ls, -read, -list and -exists over what a world implies. The tree is made when somebody asks for it."""

from collections.abc import Sequence

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended
from simulator.world import World
from simulator.xen.incarnations import Incarnation, Shutdown
from xensnap.formats.device_disk import device_number
from xensnap.model import Backend, Disk


def tree(world: World) -> dict[str, str]:
    """Every node with its value."""
    nodes: dict[str, str] = {"/local/domain/0/domid": "0", "/local/domain/0/name": "Domain-0"}
    for each in world.xen:
        nodes |= _domain(each)
    return nodes


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
    """One of the programs. `NotModelled` for what would change the store, and for options that are not modelled."""
    options = [word for word in argv if word.startswith("-")]
    paths = [word for word in argv if not word.startswith("-")]
    nodes = _with_parents(tree(world))
    if program == "xenstore-read" and not options:
        return _each(world, "read", paths, {path: f"{value}\n" for path, value in nodes.items()})
    if program == "xenstore-list" and not options:
        children = {path: "".join(f"{name}\n" for name in _below(nodes, path)) for path in nodes}
        return _each(world, "list", paths, children)
    if program == "xenstore-exists" and not options:
        return Ended(world, int(any(path not in nodes for path in paths)))
    if program == "xenstore-ls" and set(options) <= {"-f"}:
        lines = [
            _line(path, value, full=bool(options), root=root)
            for root in paths or ["/"]
            for path, value in sorted(nodes.items())
            if path.startswith(root.rstrip("/") + "/")
        ]
        return Ended(world, 0, "".join(lines))
    raise NotModelled(f"{program} {' '.join(argv)}")


def _each(world: World, verb: str, paths: list[str], answers: dict[str, str]) -> Ended:
    out = ""
    for path in paths:
        if path not in answers:
            return Ended(world, 1, out, f"xenstore-{verb}: couldn't {verb} path {path}\n")
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
