"""Stands in for an xl that was lost: waits for the end of one guest, and does then what the guest's configuration says.

    python -m xensnap.backends.xen.stand_in DOMID UUID LOG STORE

xl cannot be told to watch a guest that it has not started itself (Xen 4.17.7), so this program does, in the background,
from now until the guest ends. Where the guest is to come back, it is started by a new xl, which watches it again from
then on. A suspend is no end: unlike xl this one stays when somebody else saves the guest.

It announces itself in the log in xl's own words, by which whoever looks for the guest's watcher finds it.
"""

# ruff: noqa: PTH119 -- paths are text in the model

import os
import shutil
import subprocess
import sys
from enum import StrEnum

from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen.host import this_machine
from xensnap.backends.xen.listing import Line
from xensnap.backends.xen.log import announcement
from xensnap.backends.xen.xl import Xl
from xensnap.errors import XensnapError
from xensnap.formats.libxl_json import Config
from xensnap.hypervisor import Toolstack
from xensnap.model import DomainUuid, DomId, RunState

_EVENTS = ("xenstore-watch", "@releaseDomain")
"""Tells of every domain that has been shut down, suspended or destroyed, and once at its start."""

_SAID = {"": ("on_poweroff", "destroy"), "r": ("on_reboot", "restart"), "c": ("on_crash", "destroy")}
_SAID |= {"w": ("on_watchdog", "destroy")}
"""The item of the configuration for each reason, and what holds where it says nothing (xl.cfg(5))."""


class Deed(StrEnum):
    """What is done with a domain that has been looked at."""

    WAIT = "wait"
    LEAVE = "leave"
    DESTROY = "destroy"
    RESTART = "restart"


def deed(line: Line | None, config: Config) -> Deed:
    """What is to be done. Pure.

    A dump of the memory, another name and a soft reset are xl's own: such a guest is left as it is, for its operator.

    Args:
        line: the domain, as xl lists it; None where it is gone.
        config: its configuration.
    """
    if line is None:
        return Deed.LEAVE
    if line.state not in (RunState.SHUTDOWN, RunState.CRASHED):
        return Deed.WAIT
    item, otherwise = _SAID.get(line.reason, ("", ""))
    wanted = config.get(item, otherwise)
    return Deed(wanted) if wanted in (Deed.DESTROY, Deed.RESTART) else Deed.LEAVE


async def looked(xl: Xl, toolstack: Toolstack, domid: DomId, uuid: DomainUuid) -> bool:
    """Look at the domain, and do what is to be done; whether nothing is left to wait for.

    Args:
        xl: tells of it.
        toolstack: ends and starts it.
        domid: the incarnation that is watched.
        uuid: what the domain is known under.
    """
    line = next((line for line in await xl.lines() if line.domid == domid), None)
    over = line is not None and line.state in (RunState.SHUTDOWN, RunState.CRASHED)
    what = deed(line, (await xl.configurations(domid)).get(domid, {}) if over else {})
    if what in (Deed.DESTROY, Deed.RESTART):
        domain = await toolstack.inspect(uuid)
        if domain.domid != domid:
            return True
        await toolstack.destroy(domain)
    if what is Deed.RESTART:
        await toolstack.create(uuid)
    if what is not Deed.WAIT:
        _say(f"domain {domid}: {line.state if line else 'gone'}; {what}")
    return what is not Deed.WAIT


def main(domid: DomId, uuid: DomainUuid, log: str, store: str) -> int:
    """Leave a process behind that watches; 0 when it does."""
    if shutil.which(_EVENTS[0]) is None:
        sys.stderr.write(f"{_EVENTS[0]} is not installed\n")
        return 1
    os.chdir("/")
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for number in (1, 2):
        os.dup2(said, number)
    os.close(said)
    if pid := os.fork():
        name = os.path.basename(log).removeprefix("xl-").removesuffix(".log")
        _say(announcement(name, domid, pid))
        return 0
    os.setsid()
    _watch(domid, uuid, store)
    return 0


def _watch(domid: DomId, uuid: DomainUuid, store: str) -> None:
    xl, host = Xl(LocalRunner()), this_machine(root=store)
    with subprocess.Popen(_EVENTS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as events:
        assert events.stdout is not None
        for _ in events.stdout:
            try:
                if host.run(looked(xl, host.toolstack, domid, uuid)):
                    break
            except XensnapError as error:
                _say(f"domain {domid}: {error.cause}")
        events.kill()


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main(DomId(int(sys.argv[1])), DomainUuid(sys.argv[2]), *sys.argv[3:]))
