"""xl as a program: which subcommand, and how its end is told."""

from collections.abc import Sequence
from functools import partial

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended, Hangs, Told, Working
from simulator.serve.xl import acting, disks, helped, listing
from simulator.serve.xl.listing import Subcommand
from simulator.serve.xl.words import Refused
from simulator.world import World, programs
from simulator.world.life import XlError

_PROGRAM = "/usr/lib/xen-4.17/bin/xl"
_OPTIONS = "fNtTv"
_NO_XEN = (
    "xencall: error: Could not obtain handle on privileged command interface: No such file or directory\n"
    "libxl: error: libxl.c:102:libxl_ctx_alloc: cannot open libxc handle: No such file or directory\n"
    "cannot init xl context\n"
)
"""Of whatever subcommand (xl 4.17.7 on a machine without Xen)."""

SUBCOMMANDS: dict[str, Subcommand] = {
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
    "migrate": acting.migrate,
    "rename": acting.rename,
    "config-update": acting.config_update,
    "qemu-monitor-command": acting.monitor_command,
}


def begun(world: World, argv: Sequence[str], told: Told) -> Ended | Working:
    """`xl ARGV…` up to where it takes several steps, or to its end. `NotModelled` for what is not modelled."""
    rest, options = list(argv), ""
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        options += rest.pop(0)[1:]
    unknown = next((letter for letter in options if letter not in _OPTIONS), None)
    if unknown is not None:
        return Ended(world, 1, "", f"{_PROGRAM}: invalid option -- '{unknown}'\nunknown global option\n")
    if options.count("v") > 1:
        raise NotModelled("xl -vv, which tells what libxl does")
    if not rest:
        return Ended(world, 1, helped.everything())
    if not world.xen.found:
        return Ended(world, 1, "", _NO_XEN)
    if rest[0] == "help":
        return _help(world, rest[1:])
    name = helped.meant(rest[0])
    if not world.xen.answers:
        raise _unanswered(name or rest[0])
    if name is None:
        return Ended(world, 1, "", "command not implemented\n")
    subcommand = SUBCOMMANDS.get(name) or acting.unmodelled(name)
    if dry := "N" in options:
        if not helped.can_be_dry(name):
            return Ended(world, 1, "", "command does not implement -N (dryrun) option\n")
        if name != "create":
            raise NotModelled(f"xl -N {name}")
        subcommand = partial(acting.create, dry=dry)
    try:
        return subcommand(world, rest[1:], told)
    except Refused as error:
        return _refused(world, error)


def _unanswered(name: str) -> Exception:
    """Measured on Xen 4.17.7: without xenstored `xl list` never ends. What the others do is not known."""
    return Hangs("xl list") if name == "list" else NotModelled(f"xl {name} without xenstored")


def _help(world: World, argv: Sequence[str]) -> Ended:
    if not argv:
        return Ended(world, 0, helped.everything())
    name = helped.meant(argv[0])
    return Ended(world, 0, helped.of(name) if name else f'command "{argv[0]}" not implemented\n')


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
