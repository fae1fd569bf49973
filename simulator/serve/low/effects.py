"""Which effect it is to run a program or to tell QEMU a command: the ports' own where they would do the same.

What only these doors do has names of its own, which are no points of the ports' registry: who draws faults there draws
the same whether these doors are used or not.
"""

from collections.abc import Sequence

from simulator.core.effects import Effect
from simulator.faults import points
from simulator.qemu.monitor import COMMANDS

_PORTS = {effect.name: effect for effect in points.effects()}
_TOLD = {"list", "vm-list", "domid", "domname", "uptime", "block-list", "info", "-N", "compare", "map", ""}
_STORING = {"xenstore-rm", "xenstore-write"}
_SNAPSHOT = {"-c": "snapshot-create", "-a": "snapshot-apply", "-d": "snapshot-delete"}
_QMP = {
    "blockdev-snapshot-delete-internal-sync": "qmp.snapshot-delete",
    "human-monitor-command": "qmp.flush",
    "query-named-block-nodes": "qmp.query-nodes",
}
STOPPED = _PORTS["watcher.stop"]
CONTINUED = _PORTS["watcher.continue"]
STOOD_IN = _PORTS["watcher.stand-in"]
MIGRATE = _PORTS["xl.migrate"]
REFUSED = _PORTS["xl.migrate-end"]


def of_program(argv: Sequence[str]) -> Effect:
    """What it is to run this."""
    name, first = argv[0], argv[1] if len(argv) > 1 else ""
    if name == "qemu-img":
        first = _of_image(first, argv)
    known = _PORTS.get(f"{name}.{first}")
    if known is not None:
        return known
    writes = name in _STORING if name.startswith("xenstore-") else first not in _TOLD
    return Effect(f"{name}.{first}", writes, f"{name} {first} is run")


def _of_image(verb: str, argv: Sequence[str]) -> str:
    if verb == "snapshot":
        return next((_SNAPSHOT[word] for word in argv if word in _SNAPSHOT), "info")
    if verb == "create" and "-u" in argv:
        return "create-overlay"
    if verb == "convert" and "-l" in argv:
        return "copy-out"
    return "repair" if verb == "check" and "-r" in argv else verb


def of_command(name: str) -> Effect | None:
    """What it is to tell QEMU this; None for what is no command."""
    if name not in COMMANDS:
        return None
    called = _QMP.get(name, f"qmp.{name}")
    return _PORTS.get(called) or Effect(called, not name.startswith(("query-", "x-debug-")), f"QEMU is told {name}")
