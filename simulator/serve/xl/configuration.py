"""Configurations: what `xl list -l` prints of a domain."""

import json
from collections.abc import Iterable
from typing import Any

from simulator.world import World
from simulator.xen import configurations
from simulator.xen.incarnations import Incarnation
from xensnap.model import Backend, Disk, Format

_NO_DOMID = 4294967295
_DOM0 = {
    "domid": 0,
    "config": {
        "c_info": {"type": "pv", "name": "Domain-0"},
        "b_info": {"max_memkb": 1572864, "target_memkb": 1572863, "type.pv": {}, "arch_arm": {}, "arch_x86": {}},
    },
}


def listed(world: World, chosen: Iterable[Incarnation], *, dom0: bool) -> str:
    """The JSON of `xl list -l`."""
    told = [_DOM0] if dom0 else []
    told += [{"domid": each.domid, "config": config(world, each)} for each in chosen]
    # yajl writes an empty object over two lines.
    return json.dumps(told, indent=4).replace("{}", "{\n\n" + " " * 16 + "}") + "\n\n"


def config(world: World, each: Incarnation) -> dict[str, Any]:
    """What libxl has stored of a domain."""
    stored = world.domains.get(each.uuid)
    told = spelled(each.traits.kind.value, each.name, each.uuid, stored.disks if stored else each.disks)
    items = configurations.decoded(each.traits.items)
    return told | items | {"b_info": told["b_info"] | items.get("b_info", {})}


def spelled(kind: str, name: str, uuid: str, disks: Iterable[Disk]) -> dict[str, Any]:
    """A configuration in libxl's JSON: what has its default is absent (xen.md 11)."""
    told: dict[str, Any] = {
        "c_info": {"type": kind, "name": name, "domid": _NO_DOMID, "uuid": uuid, "run_hotplug_scripts": "True"},
        "b_info": {
            "max_vcpus": 1,
            "avail_vcpus": [0],
            "max_memkb": 163840,
            "target_memkb": 163840,
            "video_memkb": 0,
            "claim_mode": "True",
            f"type.{kind}": {},
            "arch_arm": {},
            "arch_x86": {"msr_relaxed": "False"},
        },
        "on_reboot": "restart",
        "on_soft_reset": "soft_reset",
    }
    if entries := [_disk(disk) for disk in disks]:
        told["disks"] = entries
    return told


def _disk(disk: Disk) -> dict[str, Any]:
    told: dict[str, Any] = {"pdev_path": disk.path, "vdev": disk.vdev}
    if disk.backend is not Backend.QDISK or disk.format is Format.RAW:
        told["backend"] = disk.backend.value
    told["format"] = disk.format.value if disk.path else "empty"
    if disk.cdrom:
        told["removable"] = 1
        told["is_cdrom"] = 1
    if not disk.readonly:
        told["readwrite"] = 1
    return told | {"colo_restore_enable": "False"}
