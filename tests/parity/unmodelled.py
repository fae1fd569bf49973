"""What the real tools have, somebody might ask for, and the simulator has not; `absent` tells the monitor's rest."""

from typing import Any

IMAGE = "/images/a.qcow2"
NODE = "xvda-qcow2"
CREATE = ("qemu-img", "create", "-f", "qcow2")

PROGRAMS: dict[str, tuple[str, ...]] = {
    "xl info -n": ("xl", "info", "-n"),
    "xl save -D": ("xl", "save", "-D", "pv1", "/images/saved"),
    "xl save with another configuration": ("xl", "save", "pv1", "/images/saved", IMAGE),
    "xl migrate to another host": ("xl", "migrate", "pv1", "elsewhere"),
    "xl -vv": ("xl", "-vv", "list"),
    "qemu-img create -o extended_l2=on,preallocation=metadata": (
        *(*CREATE, "-o", "extended_l2=on,preallocation=metadata", "/images/n", "1M"),
    ),
    "qemu-img convert -c -o extended_l2=on": (
        *("qemu-img", "convert", "-c", "-U", "-O", "qcow2", "-o", "extended_l2=on", IMAGE, "/images/n"),
    ),
    "qemu-img create -o data_file": (*CREATE, "-o", "data_file=/images/d", "/images/n", "1M"),
    "qemu-img bench": ("qemu-img", "bench", IMAGE),
    "qemu-img dd into what it reads": ("qemu-img", "dd", "-U", f"if={IMAGE}", f"of={IMAGE}"),
}
"""Each with a command line that asks for it, of a domain `pv1` that runs on an image."""


def _asked(command: str, **arguments: Any) -> dict[str, Any]:
    return {"execute": command, "arguments": arguments}


def _listed(action: str) -> dict[str, Any]:
    return _asked("transaction", actions=[{"type": action, "data": {"device": NODE, "target": "t", "sync": "full"}}])


MESSAGES: dict[str, dict[str, Any]] = {
    "blockdev-mirror": _asked("blockdev-mirror", device=NODE, target="t", sync="full"),
    "drive-mirror": _asked("drive-mirror", device=NODE, target="/images/n", sync="full"),
    "blockdev-backup": _asked("blockdev-backup", device=NODE, target="t", sync="full"),
    "drive-backup": _asked("drive-backup", device=NODE, target="/images/n", sync="full"),
    "transaction blockdev-backup": _listed("blockdev-backup"),
    "transaction drive-backup": _listed("drive-backup"),
    "blockdev-create": _asked("blockdev-create", **{"job-id": "j", "options": {"driver": "file"}}),
    "blockdev-reopen": _asked("blockdev-reopen", options=[]),
    "query-blockstats": _asked("query-blockstats"),
    "block-dirty-bitmap-add, persistent": _asked("block-dirty-bitmap-add", node=NODE, name="b", persistent=True),
    "migrate": _asked("migrate", uri="exec:cat"),
}
"""Each with a message that asks for it."""
