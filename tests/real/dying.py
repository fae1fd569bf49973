"""A program that dies by its own hand before each write of an operation, once for each: `dying.py PLACE VERB KIND`.

Makes `PLACE/1`, `PLACE/2` …, each a host of two disks on which the operation has died a little later than on the one
before, and prints how many. Each is forked, since starting Python takes longer than dying.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from xensnap.backends.qemu.host import QemuHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Kind

WRITES = {
    "files": ("create", "replace", "append", "sync", "sync_dir", "mkdir", "rename", "remove"),
    "images": (
        "create_overlay",
        "snapshot_create",
        "snapshot_apply",
        "snapshot_delete",
        "commit",
        "rebase",
        "resize",
        "check",
    ),
    "toolstack": ("set_layers",),
}


def main(place: Path, verb: str, kind: Kind) -> None:
    number, died = 0, True
    while died:
        number += 1
        directory = place / str(number)
        directory.mkdir()
        prepare(directory, verb, kind)
        pid = os.fork()
        if not pid:
            die_at(directory, verb, kind, number)
        _, status = os.waitpid(pid, 0)
        died = os.WIFSIGNALED(status)
        assert died or os.WEXITSTATUS(status) == 0, status
    sys.stdout.write(f"{number}\n")


def prepare(directory: Path, verb: str, kind: Kind) -> None:
    """`create` finds one snapshot, the others two; each point and the present have a pattern of their own."""
    lines = ['name = "guest"', 'uuid = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"']
    for vdev in ("xvda", "xvdb"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", directory / f"{vdev}.qcow2", "1M"], check=True)
        lines += ["[[disk]]", f'vdev = "{vdev}"', f'path = "{vdev}.qcow2"', 'format = "qcow2"']
    Path(directory, "guest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    engine = Engine(QemuHost(directory))
    write(engine, 1)
    engine.create("guest", CreateRequest(name="one", kind=kind))
    write(engine, 2)
    if verb != "create":
        engine.create("guest", CreateRequest(name="two"))
        write(engine, 3)


def write(engine: Engine, number: int) -> None:
    for disk in engine.host.run(engine.host.toolstack.inspect("guest")).disks:
        words = ["qemu-io", "-f", disk.format, "-c", f"write -q -P {number} 0 128k", disk.path]
        subprocess.run(words, check=True)


def die_at(directory: Path, verb: str, kind: Kind, number: int) -> None:
    """Carry out the operation, and die just before its write of this number, if it has as many."""
    engine = Engine(QemuHost(directory))
    seen = 0

    def dying(method: Any) -> Any:
        async def wrapped(*args: Any, **named: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return await method(*args, **named)

        return wrapped

    for port, names in WRITES.items():
        for name in names:
            setattr(getattr(engine.host, port), name, dying(getattr(getattr(engine.host, port), name)))
    operate(engine, verb, kind)
    os._exit(0)


def operate(engine: Engine, verb: str, kind: Kind) -> None:
    """Carry out the operation that was prepared."""
    match verb:
        case "create":
            engine.create("guest", CreateRequest(name="two", kind=kind))
        case "revert":
            engine.revert("guest", RevertRequest("one"))
        case _:
            engine.delete("guest", DeleteRequest("one"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Kind(sys.argv[3]))
