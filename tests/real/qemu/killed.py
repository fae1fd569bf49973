"""A process that carries out one operation and kills itself at a given step: `python -m tests.real.qemu.killed`.

Arguments: directory of the host, the step to die at (0: never), the verb, the name, words for the request. The children
that work at that moment live on. With `+` before the step, the process dies half a moment after the step has begun.
"""

import os
import signal
import sys
import threading

from xensnap.backends.qemu.host import QemuHost
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.execute import Progress
from xensnap.model import Kind


def main(directory: str, step: str, verb: str, name: str, *words: str) -> None:
    """Carry it out, and die at the step."""
    seen = 0

    def watch(progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == abs(int(step)):
            if step.startswith("+"):
                threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    engine = Engine(QemuHost(directory), watch=watch)
    kind = Kind(words[0]) if words else None
    if verb == "create":
        engine.create("guest", CreateRequest(name, kind=kind, disk_only="disk-only" in words))
    elif verb == "revert":
        engine.revert("guest", RevertRequest(name))
    else:
        engine.delete("guest", DeleteRequest(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
