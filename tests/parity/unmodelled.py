"""What the real tools have, somebody might ask for, and the simulator has not; `absent` tells the monitor's rest."""

from typing import Any

IMAGE = "/images/a.qcow2"
NODE = "xvda-qcow2"
FILE = "/etc/xen/pv2.cfg"
SAVED = "/images/saved"
BIOS, WAITS = "bios", "waits"
CREATE = ("qemu-img", "create", "-f", "qcow2")

PROGRAMS: dict[str, tuple[str, ...]] = {
    "xl info -n": ("xl", "info", "-n"),
    "xl save -D": ("xl", "save", "-D", "pv1", "/images/other"),
    "xl save with another configuration": ("xl", "save", "pv1", "/images/other", IMAGE),
    "xl migrate to another host": ("xl", "migrate", "pv1", "elsewhere"),
    "xl -vv": ("xl", "-vv", "list"),
    **{f"xl create -{letter}": ("xl", "create", f"-{letter}", FILE) for letter in "FcdVA"},
    **{f"xl restore -{letter}": ("xl", "restore", f"-{letter}", SAVED) for letter in "FcdVA"},
    "xl destroy -f 0": ("xl", "destroy", "-f", "0"),
    "xl shutdown -F of an HVM guest without drivers for Xen": ("xl", "shutdown", "-F", BIOS),
    "xl reboot -F of an HVM guest without drivers for Xen": ("xl", "reboot", "-F", BIOS),
    "xl shutdown of an HVM guest that has not run yet": ("xl", "shutdown", WAITS),
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
"""Each with a command line that asks for it, of a host with a domain `pv1` that runs on an image, a configuration of
another one, a saved one, an HVM guest that has found nothing to boot, and one that has not begun.
"""


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
    "human-monitor-command, cpu-index": _asked(
        "human-monitor-command", **{"command-line": "info name", "cpu-index": 0}
    ),
}
"""Each with a message that asks for it."""
