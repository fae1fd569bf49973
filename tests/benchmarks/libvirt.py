"""libvirt's `test:///default` driver as a peer: a host simulated in process, too, with snapshots but without disks.

Debian has its binding for the system's Python only, so it works in a process of its own and tells its times.
"""

import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.benchmarks.race import Race

SYSTEM_PYTHON = Path("/usr/bin/python3")

_PEER = """
import sys
from time import perf_counter
import libvirt
libvirt.registerErrorHandler(lambda *ignored: None, None)
connection = libvirt.open("test:///default")
domain = connection.lookupByName("test")
made = 0
def create():
    global made
    xml = f"<domainsnapshot><name>s{made}</name></domainsnapshot>"
    made += 1
    started = perf_counter()
    domain.snapshotCreateXML(xml, 0)
    return perf_counter() - started
def revert():
    snapshot = domain.snapshotLookupByName("s3")
    started = perf_counter()
    domain.revertToSnapshot(snapshot, 0)
    return perf_counter() - started
def list():
    started = perf_counter()
    domain.listAllSnapshots()
    return perf_counter() - started
verbs = {"create": create, "revert": revert, "list": list}
for line in sys.stdin:
    verb, times = line.split()
    print(sum(verbs[verb]() for _ in range(int(times))) / int(times), flush=True)
"""


@cache
def version_of_libvirt() -> str:
    """The library's version; empty where the system's Python has no binding."""
    code = "import libvirt; print(libvirt.getVersion())"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    number = int(done.stdout)
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


class Libvirt:
    """The peer's process."""

    def __init__(self, race: Race) -> None:
        if not version_of_libvirt():
            pytest.skip(f"capability missing: no module libvirt for {SYSTEM_PYTHON} (Debian: python3-libvirt)")
        self._process = race.resources.enter_context(
            subprocess.Popen([SYSTEM_PYTHON, "-c", _PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        # Its input is closed first, so that it ends before it is waited for.
        assert self._process.stdin is not None
        race.resources.callback(self._process.stdin.close)

    def __call__(self, verb: str, times: int = 1) -> float:
        """Do it so often; seconds of one, by the peer's own clock."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{verb} {times}\n")
        process.stdin.flush()
        return float(process.stdout.readline())
