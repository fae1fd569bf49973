"""In dom0: carry out one verb, and die at a given step. Arguments: the step, the verb, the domain, a name, words.

With `+` before the step the process dies a moment after the step has begun, while its children work. The exit status
is 0 where there was no such step. Its output is how many steps the operation has.
"""

import os
import signal
import sys
import threading

from xensnap.backends.xen.host import this_machine
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.execute import Progress
from xensnap.model import Kind

MOMENT_S = 0.3


def main(step: str, verb: str, domain: str, name: str, *words: str) -> None:
    def watch(progress: Progress) -> None:
        if progress.number == abs(int(step)):
            os.write(1, b"%d\n" % progress.total)
            if step.startswith("+"):
                threading.Timer(MOMENT_S, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    engine = Engine(this_machine(), watch=watch)
    if verb == "create":
        kind = Kind.EXTERNAL if "external" in words else Kind.INTERNAL
        engine.create(domain, CreateRequest(name, kind=kind, live="live" in words))
    elif verb == "revert":
        engine.revert(domain, RevertRequest(name))
    else:
        engine.delete(domain, DeleteRequest(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
