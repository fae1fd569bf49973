"""What xl cannot do alone on this machine: programs of ours between us and it. A simulated host has its own."""

import base64
import json
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from xensnap.backends.xen import errand
from xensnap.hypervisor import Completed, Runner


class Feed(msgspec.Struct, frozen=True):
    """What a program reads as its input: `head`, then the file from byte `skip` on."""

    head: bytes
    file: str
    skip: int


class Supervisor(Protocol):
    """Runs an xl that needs more than a command line."""

    async def start(self, argv: Sequence[str], *, feed: Feed | None = None, timeout_s: float) -> Completed:
        """Run an xl that leaves a daemon and a QEMU behind, which get none of our locks. Errors as `Runner.run`."""

    async def revive(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """Run this `xl save`, with a file added that breaks off early on, so that xl resumes the guest."""


class LocalSupervisor:
    """The `Supervisor` of this machine.

    Args:
        runner: starts our program, which inherits the locks that we hold.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def start(self, argv: Sequence[str], *, feed: Feed | None = None, timeout_s: float) -> Completed:
        """See `Supervisor.start`."""
        fed = {"head": base64.b64encode(feed.head).decode(), "file": feed.file, "skip": feed.skip} if feed else {}
        return await self._run({"errand": "start", "argv": list(argv), **fed}, timeout_s)

    async def revive(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """See `Supervisor.revive`."""
        return await self._run({"errand": "revive", "argv": list(argv)}, timeout_s)

    async def _run(self, plan: dict[str, Any], timeout_s: float) -> Completed:
        command = [sys.executable, "-I", "-S", "-B", errand.__file__, json.dumps(plan)]
        return await self._runner.run(command, timeout_s=timeout_s)
