"""A host seen by a process that dies: from one change that it asks for on, nothing that it asks for happens any more.

Works with every host, since it only stands between an engine and the ports. What a dead process held is let go of by
the system: locks are released; nothing else is.
"""

import inspect
from collections.abc import Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

from xensnap.hypervisor import Hypervisor, Lock

T = TypeVar("T")

PORTS = ("toolstack", "blocks", "images", "files", "machine")

WRITES = frozenset(
    {"append", "create", "lock", "mkdir", "remove", "rename", "replace", "set_immutable", "sync", "sync_dir"}
    | {"commit", "create_overlay", "rebase", "resize", "snapshot_apply", "snapshot_create", "snapshot_delete"}
    | {"copy", "copy_out", "delete_internal", "stream", "transaction"}
    | {
        "destroy",
        "hold_watcher",
        "pause",
        "restore",
        "resume",
        "saving",
        "set_configuration",
        "set_layers",
        "shutdown",
        "unpause",
        "watch",
    }
)
"""The calls that can change something. A death between two looks is the same as one before the next change."""


class Died(BaseException):
    """The process has died."""


class DyingHost:
    """A host for one engine process, which dies before its `last` change.

    Args:
        host: the real one.
        last: the number of the change that it does not live to make, counted from 1.
    """

    def __init__(self, host: Hypervisor, last: int) -> None:
        self._host = host
        self._last = last
        self._locks: list[Lock] = []
        self._changes = 0
        for port in PORTS:
            setattr(self, port, _Port(self, getattr(host, port)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def step(self, name: str) -> None:
        """A method of a port is about to be called."""
        self._changes += name in WRITES
        if self._changes >= self._last:
            raise Died

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """One after the other, so that it is known before which change it dies."""
        try:
            return [await one for one in work]
        finally:
            for one in work:
                if inspect.iscoroutine(one):
                    one.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end or to the death of the process."""
        try:
            return self._host.run(work)
        except Died:
            for lock in self._locks:
                self._host.run(lock.release())
            raise

    def locked(self, lock: Lock) -> None:
        """The process holds this lock."""
        self._locks.append(lock)


def dying(host: Hypervisor, last: int) -> Hypervisor:
    """The host as a process sees it that dies before its `last` change."""
    return cast("Hypervisor", DyingHost(host, last))


class _Port:
    def __init__(self, dying: DyingHost, port: Any) -> None:
        self._dying = dying
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if inspect.iscoroutinefunction(method):
            return self._wrapped(method)
        return self._opened(method) if callable(method) else method

    def _wrapped(self, method: Any) -> Any:
        async def called(*args: Any, **named: Any) -> Any:
            self._dying.step(method.__name__)
            found = await method(*args, **named)
            if method.__name__ == "lock":
                self._dying.locked(found)
            return found

        return called

    def _opened(self, method: Any) -> Any:
        def called(*args: Any, **named: Any) -> Any:
            found = method(*args, **named)
            return _Saving(self._dying, found) if hasattr(found, "__aenter__") else found

        return called


class _Saving(AbstractAsyncContextManager[Any]):
    """A save in two phases. A process that is dead does not undo it."""

    def __init__(self, dying: DyingHost, inner: Any) -> None:
        self._dying = dying
        self._inner = inner

    async def __aenter__(self) -> Any:
        self._dying.step("saving")
        return _Port(self._dying, await self._inner.__aenter__())

    async def __aexit__(self, kind: object, error: object, trace: object) -> Any:
        if kind is Died:
            return None
        return await self._inner.__aexit__(kind, error, trace)
