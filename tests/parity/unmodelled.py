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


MESSAGES: dict[str, dict[str, Any]] = {
    "blockdev-mirror": _asked("blockdev-mirror", device=NODE, target="t", sync="full"),
    "drive-mirror": _asked("drive-mirror", device=NODE, target="/images/n", sync="full"),
    "drive-backup, sync none": _asked("drive-backup", device=NODE, target="/images/n", sync="none"),
    "drive-backup, compressed": _asked("drive-backup", device=NODE, target="/images/n", sync="full", compress=True),
    "drive-backup, incremental": _asked("drive-backup", device=NODE, target="/n", sync="incremental", bitmap="b"),
    "transaction drive-backup, grouped": _asked(
        "transaction",
        actions=[{"type": "drive-backup", "data": {"device": NODE, "target": "/images/n", "sync": "full"}}],
        properties={"completion-mode": "grouped"},
    ),
    "blockdev-create": _asked("blockdev-create", **{"job-id": "j", "options": {"driver": "file"}}),
    "blockdev-reopen": _asked("blockdev-reopen", options=[]),
    "block-dirty-bitmap-add, persistent": _asked("block-dirty-bitmap-add", node=NODE, name="b", persistent=True),
    "migrate": _asked("migrate", uri="exec:cat"),
}
"""Each with a message that asks for it."""
