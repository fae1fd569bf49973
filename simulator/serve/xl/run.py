"""xl as a program: which subcommand, and how its end is told."""

from collections.abc import Sequence
from functools import partial

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended, Told, Working
from simulator.serve.xl import acting, disks, listing
from simulator.serve.xl.listing import Subcommand
from simulator.serve.xl.words import Refused
from simulator.world import World, programs
from simulator.world.life import XlError

_OTHERS = (
    "migrate migrate-receive dump-core cd-insert cd-eject mem-max mem-set button-press "
    "vcpu-list vcpu-pin vcpu-set dmesg top network-attach network-list network-detach console vncviewer sched-credit2 "
    "trigger sysrq debug-keys qemu-monitor-command"
)

UNMODELLED = frozenset(_OTHERS.split())

SUBCOMMANDS: dict[str, Subcommand] = {
    **{name: acting.unmodelled(name) for name in sorted(UNMODELLED)},
    "list": listing.list_,
    "vm-list": listing.vm_list,
    "domid": listing.domid,
    "domname": listing.domname,
    "uptime": listing.uptime,
    "block-list": listing.block_list,
    "block-attach": disks.attach,
    "block-detach": disks.detach,
    "info": listing.info,
    "create": acting.create,
    "restore": acting.restore,
    "destroy": acting.destroy,
    "shutdown": acting.shutdown,
    "reboot": acting.reboot,
    "pause": acting.pause,
    "unpause": acting.unpause,
    "save": acting.save,
    "rename": acting.rename,
    "config-update": acting.config_update,
}


def begun(world: World, argv: Sequence[str], told: Told) -> Ended | Working:
    """`xl ARGV…` up to where it takes several steps, or to its end. `NotModelled` for what is not modelled."""
    rest, options = list(argv), list[str]()
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        options.append(rest.pop(0))  # -v, -f, -t: how much is told, which changes nothing here
    if not rest:
        return Ended(world, 1, "Usage: xl [-vfNtT] <subcommand> [args]\n\n")
    subcommand = SUBCOMMANDS.get(rest[0])
    if subcommand is None:
        return Ended(world, 2, "", "command not implemented\n")
    if dry := any("N" in each for each in options):
        if rest[0] != "create":
            raise NotModelled(f"xl -N {rest[0]}")
        subcommand = partial(acting.create, dry=dry)
    try:
        return subcommand(world, rest[1:], told)
    except Refused as error:
        return _refused(world, error)


def finished(working: Working, world: World, error: XlError | None = None) -> Ended:
    """How it ends, after its last step or the one that failed."""
    try:
        return working.told(world, error)
    except Refused as refused:
        return _refused(world, refused)


def run(world: World, argv: Sequence[str], told: Told) -> Ended:
    """`xl ARGV…` in this world, all of it at once. `NotModelled` for what is not modelled."""
    begin = begun(world, argv, told)
    if isinstance(begin, Ended):
        return begin
    try:
        return finished(begin, programs.tried(begin.world, begin.program))
    except XlError as error:
        return finished(begin, begin.world, error)


def _refused(world: World, error: Refused) -> Ended:
    return Ended(error.world or world, error.code, error.stdout, error.stderr)
