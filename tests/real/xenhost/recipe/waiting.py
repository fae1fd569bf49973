"""In dom0: xensnap with everything that it imports, frozen with the machine. What is asked for is done in a fork.

    python waiting.py SOCKET

Python's start and its imports are most of what a short command takes there. A command comes as one packet: JSON with
`argv` and `env`, and three descriptors for its input, its output and its errors. Two packets answer: its pid at once,
and how it has ended. `argv` begins with `xensnap`, or with the path of a Python program.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

import xensnap
from xensnap.cli.__main__ import main as command

LEFT_OUT = ("xensnap.conformance", "xensnap.testing", "xensnap.cli.__main__")
PACKET_BYTES = 65536


def load(path: list[str], prefix: str) -> None:
    """Import all below a package that a command may use on this host."""
    for found in pkgutil.iter_modules(path, prefix):
        if found.name not in LEFT_OUT:
            module = importlib.import_module(found.name)
            if found.ispkg:
                load(list(module.__path__), f"{found.name}.")


def carry_out(question: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the process that was asked for, to its end."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(question["env"])
    sys.argv = question["argv"]
    try:
        status = ended(lambda: command() if sys.argv[0] == "xensnap" else runpy.run_path(sys.argv[0], None, "__main__"))
        for each in threading.enumerate():
            if each is not threading.current_thread() and not each.daemon:
                each.join()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def ended(run: Any) -> int:
    """The exit status that Python gives to what ends so."""
    try:
        run()
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
            return 1
        return int(error.code or 0)
    except BaseException:  # noqa: BLE001 -- as Python does at its end
        traceback.print_exc()
        return 1
    return 0


def serve(listener: socket.socket) -> NoReturn:
    """Take what comes, for ever; several at once."""
    running: dict[int, tuple[socket.socket, int]] = {}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == listener.fileno():
                caller, _ = listener.accept()
                text, descriptors, _, _ = socket.recv_fds(caller, PACKET_BYTES, 3)
                pid = os.fork()
                if not pid:
                    listener.close()
                    caller.close()
                    carry_out(json.loads(text), descriptors)
                for each in descriptors:
                    os.close(each)
                caller.send(str(pid).encode())
                running[handle := os.pidfd_open(pid)] = caller, pid
                poll.register(handle, select.POLLIN)
            else:
                caller, pid = running.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                with caller:
                    caller.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def main(path: str) -> None:
    """Whoever has started this goes on when commands can come."""
    load(list(xensnap.__path__), "xensnap.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    if os.fork():
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.close(nowhere)
    gc.freeze()
    serve(listener)


if __name__ == "__main__":
    main(sys.argv[1])
