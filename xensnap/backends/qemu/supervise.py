"""Starts one QEMU and stays until its monitor answers: a program of its own, never imported for what it does.

    python supervise.py PLAN        (PLAN is a JSON object, see `processes`)

Whoever starts programs here passes its locks on to them, so that nobody else begins while they work. A QEMU stays
behind for weeks, so it must not have them: this program holds them until QEMU is up or gone, and QEMU gets none.

Nothing of xensnap is imported, which is half of the time that a start costs us.
"""

# ruff: noqa: FBT003, PTH104, PTH108, PTH123, PTH208, S606 -- the operating system's own calls are what it is about

import contextlib
import json
import os
import signal
import socket
import sys
from typing import Any

MONITOR_FD = 3
"""Where QEMU finds the listening socket of its monitor."""
_READY_S_MAX = 60.0


def main(plan: dict[str, Any]) -> int:
    """Start `plan["argv"]`; 0 when its monitor answers, else 1 with QEMU's own words on stderr."""
    os.umask(0o077)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(plan["monitor"])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(plan["monitor"])
    listener.listen(1)
    child = os.fork()
    if not child:
        _become(plan, listener)
    listener.close()
    if _answers(plan["monitor"]):
        return 0
    os.kill(child, signal.SIGKILL)  # it has ended, or will not get ready
    _, status = os.waitpid(child, 0)
    with open(plan["complaints"], encoding="utf-8", errors="replace") as file:
        words = file.read().strip()
    sys.stderr.write(words or f"QEMU ended with status {os.waitstatus_to_exitcode(status)}, without a word")
    for path in (plan["monitor"], plan["pid_file"]):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return 1


def _become(plan: dict[str, Any], listener: socket.socket) -> None:
    """The child: say who we are, drop every descriptor but the monitor's, and turn into QEMU."""
    try:
        os.setsid()
        os.chdir("/")
        words = os.open(plan["complaints"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        monitor = os.dup(listener.fileno())
        # Written by the process itself before it is QEMU: there is no instant at which QEMU runs and nobody knows.
        note = plan["note"] | {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid())}
        with open(plan["pid_file"] + ".new", "w", encoding="utf-8") as file:
            json.dump(note, file)
        os.rename(plan["pid_file"] + ".new", plan["pid_file"])
        for fd, to in ((nothing, 0), (words, 1), (words, 2)):
            os.dup2(fd, to)
        if monitor != MONITOR_FD:
            os.dup2(monitor, MONITOR_FD)
        os.set_inheritable(MONITOR_FD, True)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > MONITOR_FD:
                _keep_back(int(name))
        os.execvp(plan["argv"][0], plan["argv"])
    except OSError as error:
        os.write(2, f"cannot start {plan['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _keep_back(fd: int) -> None:
    with contextlib.suppress(OSError):  # the one that listed the directory is gone already
        os.set_inheritable(fd, False)


def _answers(monitor: str) -> bool:
    """Whether the monitor answers before the socket is closed by QEMU's end.

    A greeting is not enough. The monitor has a thread of its own that greets while the machine is still being made,
    which may fail (7.2.22: memory that is not to be had); commands are answered when all is up.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_READY_S_MAX)
        try:
            line.connect(monitor)
            line.sendall(b'{"execute": "qmp_capabilities"}')
            heard = b""
            while b'"return"' not in heard:
                part = line.recv(4096)
                if not part:
                    return False
                heard += part
        except OSError:
            return False
    return True


def start_ticks(pid: int) -> int | None:
    """When a living process was started, in clock ticks since the boot; None where there is none, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may hold anything; what follows the last one is numbers (proc(5)).
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
