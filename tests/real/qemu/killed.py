"""A process that carries out one operation and kills itself: `python -m tests.real.qemu.killed`.

Arguments: directory of the host, when to die, the verb, the name, words for the request. When to die is

    3       at the beginning of the third step (0: never)
    +3      half a moment after that
    @0.12   so many seconds after the beginning of the operation

The children that work at that moment live on. With the word `slow-jobs` QEMU's block jobs copy next to nothing per
second, so that they are alive whenever somebody looks; with `ready-to-die` it dies when it has told one to pivot.
What it has taken is printed, in seconds, and in how many steps, by one that ends well.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from xensnap.backends.local.qmp import LocalMonitor
from xensnap.backends.qemu.host import QemuHost
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.execute import Progress
from xensnap.engine.request import EmptyRequest, ForgetRequest
from xensnap.model import Kind

ENDED_FIRST = 3
"""Exit code of a process that came to the step, and to the end of the operation before the half moment was over."""


def main(directory: str, moment: str, verb: str, name: str, *words: str) -> None:
    """Carry it out, and die at the moment."""
    seen = 0

    def watch(progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if moment[:1] != "@" and seen == abs(int(moment)):
            if moment.startswith("+"):
                threading.Timer(0.03, _die).start()
            else:
                _die()

    if "slow-jobs" in words:
        slow_down()
    if "ready-to-die" in words:
        die_after("job-complete")
    engine = Engine(QemuHost(directory), watch=watch)
    engine.list("guest")
    if moment[:1] == "@":
        threading.Timer(float(moment[1:]), _die).start()
    before = time.monotonic()
    kind = next((each for each in Kind if each in words), None)
    if verb == "create":
        engine.create("guest", CreateRequest(name, kind=kind, disk_only="disk-only" in words, live="live" in words))
    elif verb == "revert":
        engine.revert("guest", RevertRequest(name))
    elif verb == "undo":
        engine.undo("guest")
    elif verb == "forget":
        engine.perform("guest", ForgetRequest(name))
    elif verb == "empty":
        engine.perform("guest", EmptyRequest((name,)))
    else:
        engine.delete("guest", DeleteRequest(name))
    print(time.monotonic() - before, seen, flush=True)  # noqa: T201 -- the test reads it
    # A timer that has not gone off yet is of no concern any more: the operation was faster.
    os._exit(ENDED_FIRST if moment[:1] == "+" and seen >= int(moment) else 0)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow_down() -> None:
    """From now on block jobs that this process starts copy next to nothing per second."""
    execute = LocalMonitor.execute

    async def slowly(self: LocalMonitor, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        if command in ("block-stream", "block-commit"):
            arguments = {**(arguments or {}), "speed": 1}
        return await execute(self, command, arguments)

    LocalMonitor.execute = slowly  # type: ignore[method-assign]


def die_after(last: str) -> None:
    """From now on this process dies as soon as a monitor has answered this command."""
    execute = LocalMonitor.execute

    async def dying(self: LocalMonitor, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        answer = await execute(self, command, arguments)
        if command == last:
            _die()
        return answer

    LocalMonitor.execute = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
