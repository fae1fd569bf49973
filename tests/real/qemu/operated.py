"""A process that carries out one operation on a guest that runs: `python -m tests.real.qemu.operated`.

Arguments: directory of the host, a directory beside it, the verb, the name, words for the request.

It starts the guest, takes the snapshots that the operation needs and calls `sync` just before that. A file that it
removes from there on gets a second name beside the host first, its inode, so that it can be had back.
"""

import os
import sys
from pathlib import Path
from typing import Any

from tests.real.power_cuts import keep_what_goes
from tests.real.qemu.conftest import PATIENCE_S, Lab
from xensnap.backends.local.qmp import LocalMonitor, SocketConnector
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.model import Domain, Kind

REPORTS = 5
"""How often the guest tells something before and after the operation: by then it has written to all of its sectors."""


def main(directory: str, kept: str, verb: str, *words: str) -> None:
    """Carry it out on a guest that goes on, and end that."""
    be_patient(setattr)
    lab = Lab(Path(directory))
    domain = lab.start()
    engine = Engine(lab.host)
    kind = next(each for each in Kind if each in words)
    try:
        engine.create("guest", CreateRequest("one", kind=kind))
        lab.heard(domain, reports=REPORTS)
        if verb != "create":
            engine.create("guest", CreateRequest("two", kind=kind))
            lab.heard(domain, reports=REPORTS)
        keep_what_goes(Path(kept), setattr)
        os.sync()
        if verb == "create":
            engine.create("guest", CreateRequest("two", kind=kind, disk_only="disk-only" in words))
        elif verb == "revert":
            engine.revert("guest", RevertRequest("one"))
        else:
            engine.delete("guest", DeleteRequest("two" if "leaf" in words else "one"))
        lab.heard(domain)
    finally:
        lab.close()


def be_patient(replaced: Any) -> None:
    """From now on this process waits for a monitor as long as a QEMU may take that is traced on a busy machine."""
    connect = SocketConnector.connect

    async def wrapped(self: SocketConnector, domain: Domain, *, timeout_s: float) -> LocalMonitor:
        return await connect(self, domain, timeout_s=max(timeout_s, PATIENCE_S))

    replaced(SocketConnector, "connect", wrapped)


if __name__ == "__main__":
    main(*sys.argv[1:])
