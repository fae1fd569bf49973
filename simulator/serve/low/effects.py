"""Names for what programs and monitors do to a simulated host, when somebody works through them instead of the ports.

They are no points of the ports' registry: who draws faults there draws the same whether these doors are used or not.
"""

from collections.abc import Sequence

from simulator.core.effects import Effect
from simulator.qemu.monitor import COMMANDS
from simulator.serve.xl.run import SUBCOMMANDS

_TOLD_BY_XL = {"list", "vm-list", "domid", "domname", "uptime", "block-list", "info", "-N"}
_TOLD_BY_IMG = {"compare", "info", "map", "measure"}

_PROGRAMS = {
    name: Effect(f"tool.{name}", writes=name in {"cp", "qemu-storage-daemon"}, summary=f"{name} is run")
    for name in ("cp", "qemu-storage-daemon", "xenstore-exists", "xenstore-list", "xenstore-ls", "xenstore-read")
}
_XL = {name: Effect(f"tool.xl-{name}", name not in _TOLD_BY_XL, f"xl {name} is run") for name in (*SUBCOMMANDS, "-N")}
_QMP = {
    name: Effect(f"monitor.{name}", not name.startswith(("query-", "x-debug-")), f"QEMU is told {name}")
    for name in COMMANDS
}
STOPPED = Effect("daemon.stop", writes=True, summary="an xl that watches a domain is stopped")
CONTINUED = Effect("daemon.continue", writes=True, summary="an xl that watches a domain goes on")
MIGRATE = Effect("tool.xl-migrate", writes=True, summary="xl sends a domain's memory, up to its suspension")
REFUSED = Effect("tool.xl-migrate-end", writes=True, summary="xl is refused the migration, and the domain goes on")


def of_program(argv: Sequence[str]) -> Effect:
    """What it is to run this."""
    name, first = argv[0], argv[1] if len(argv) > 1 else ""
    if name == "xl":
        return _XL.get(first, Effect(f"tool.xl-{first}", writes=False, summary="xl is run"))
    if name == "qemu-img":
        reads = first in _TOLD_BY_IMG or (first == "check" and "-r" not in argv)
        return Effect(f"tool.qemu-img-{first}", writes=not reads, summary=f"qemu-img {first} is run")
    return _PROGRAMS.get(name, Effect(f"tool.{name}", writes=False, summary="a program is run"))


def of_command(name: str) -> Effect | None:
    """What it is to tell QEMU this; None for what no effect is worth, as the negotiation."""
    return _QMP.get(name)
