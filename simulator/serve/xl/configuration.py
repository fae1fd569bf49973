"""Configurations: what `xl list -l` prints of a domain."""

import json
import re
from collections.abc import Iterable
from typing import Any

from simulator.world import World
from simulator.xen import configurations
from simulator.xen.incarnations import Incarnation

_SCHEDULED = {"sched": "credit2", "weight": 256, "cap": 0}
"""What the scheduler tells of a domain that is there; in no configuration that is stored."""
_DOM0 = {
    "domid": 0,
    "config": {
        "c_info": {"type": "pv", "name": "Domain-0"},
        "b_info": {
            "max_memkb": 1572864,
            "target_memkb": 1572863,
            "sched_params": _SCHEDULED,
            "type.pv": {},
            "arch_arm": {},
            "arch_x86": {},
        },
    },
}


def listed(world: World, chosen: Iterable[Incarnation], *, dom0: bool) -> str:
    """The JSON of `xl list -l`."""
    told = [_DOM0] if dom0 else []
    told += [{"domid": each.domid, "config": config(world, each)} for each in chosen]
    return written(told) + "\n\n"


def complaints(chosen: Iterable[Incarnation]) -> str:
    """What xl says when it reads configurations that have disks which were detached (trace xen/disks-attached…)."""
    return "".join(
        f"libxl: warning: libxl_domain.c:2603:retrieve_domain_configuration_end: Domain {each.domid}:Device present in "
        "JSON but not in xenstore, ignored\n" * len(each.detached)
        for each in chosen
    )


def written(told: object) -> str:
    """JSON as yajl writes it: an empty object over two lines."""
    return _EMPTY.sub(r"\1\2{\n\n\1}\3", json.dumps(told, indent=4))


_EMPTY = re.compile(r"^( *)(.*)\{\}(,?)$", re.MULTILINE)


def config(world: World, each: Incarnation) -> dict[str, Any]:
    """What libxl has stored of a domain."""
    stored = world.domains.get(each.uuid)
    disks = stored.disks if stored else each.disks
    traits, attached = each.traits, each.attached
    told = configurations.spelled(
        traits.kind, each.name, each.uuid, disks, traits.items, served=traits.served, attached=attached
    )
    return configurations.in_order(told | {"b_info": told["b_info"] | {"sched_params": _SCHEDULED}})
