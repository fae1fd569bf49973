# ruff: noqa: PTH119, PTH208 -- /proc has plain names
"""In dom0: wait until an xl is in the midst of its work, hold it there, and strike. Arguments: what, whom.

`what` is the verb of xl: `save`, `migrate` or `restore`. A save counts as begun when there is a megabyte of it, a
restore when the domain is listed. xl and its helper are stopped then (SIGSTOP), so that whoever is killed dies while
the work is certainly in flight, however slow this program is. `whom` is `us`, `xl` or `both`, who are killed; or
`full`: the store, a tmpfs, gets no larger than it is. What survives goes on. `power` holds all for good: the harness
takes the power away.

Prints as JSON how many bytes there were, and the lines of `xl list`. Standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STORE = "/var/lib/xen/snapshots"
BEGUN_BYTES = 1 << 20
PATIENCE_S = 200.0
LOOK_S = 0.002


def command(pid: int) -> list[str]:
    """The words of a process; none where it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def xl_at(verb: str) -> int:
    """The xl that works on this verb now; 0 where none does. The daemon that stays behind has the same words."""
    for pid in pids():
        words = command(pid)
        if os.path.basename(words[0] if words else "") == "xl" and verb in words and parent(pid) != 1:
            return pid
    return 0


def ours() -> list[int]:
    """Commands of ours, and not the process that they are forked from."""
    return [pid for pid in pids() if "/srv/code/waiting.py" in command(pid) and parent(pid) != 1]


def saved_bytes() -> int:
    """The memory file that is not whole yet, in any store."""
    return max((path.stat().st_size for path in Path(STORE).glob("*/*.save*.part")), default=0)


def listed() -> list[str]:
    done = subprocess.run(["xl", "list"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[2:]


def await_work(what: str) -> int:
    """The pid of the xl that is in the midst of it, held."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (pid := xl_at(what)) and (listed() if what == "restore" else saved_bytes() >= BEGUN_BYTES):
            return pid
        time.sleep(LOOK_S)
    sys.exit(f"no xl {what} within {PATIENCE_S} s")


def fill() -> None:
    """Nothing more fits into the store."""
    there = os.statvfs(STORE)
    used = (there.f_blocks - there.f_bfree) * there.f_frsize
    subprocess.run(["mount", "-o", f"remount,size={used}", STORE], check=True)


def main(what: str, whom: str) -> None:
    pid = await_work(what)
    held = [pid, *(each for each in pids() if parent(each) == pid)]
    for each in held:
        os.kill(each, signal.SIGSTOP)
    sys.stdout.write(json.dumps({"bytes": saved_bytes(), "list": listed()}))
    if whom == "power":
        return
    if whom == "full":
        fill()
    for each in ours() if whom in {"us", "both"} else []:
        os.kill(each, signal.SIGKILL)
    if whom in {"xl", "both"}:
        os.kill(pid, signal.SIGKILL)
        held.remove(pid)
    for each in held:
        os.kill(each, signal.SIGCONT)


if __name__ == "__main__":
    main(*sys.argv[1:])
