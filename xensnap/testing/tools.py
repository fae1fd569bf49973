"""What a machine of the kit works with: a tool that takes snapshots of domains, as small as it can be said."""

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Protocol

from simulator import SimulatedHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Usage


class SnapshotTool(Protocol):
    """A tool under test, one process of it. What it cannot or will not do it tells by an exception, whatever kind."""

    def create(self, domain: str, name: str) -> object:
        """Take a snapshot of all disks, and of the memory of a guest that runs."""

    def revert(self, domain: str, name: str) -> object:
        """Make the domain what it was at the snapshot."""

    def delete(self, domain: str, name: str) -> object:
        """Delete one snapshot; all others stay what they are."""

    def names(self, domain: str) -> Collection[str]:
        """The snapshots there are."""

    def recover(self, domain: str) -> object:
        """Called in a new process after one that failed or died: bring what it left half done to an end."""


MakeTool = Callable[[SimulatedHost], SnapshotTool]
"""Starts a process of the tool on a host."""


class OurTool:
    """xensnap's own engine as such a tool."""

    def __init__(self, host: SimulatedHost) -> None:
        self._engine = Engine(host)

    def create(self, domain: str, name: str) -> object:
        """See SnapshotTool."""
        return self._engine.create(domain, CreateRequest(name))

    def revert(self, domain: str, name: str) -> object:
        """See SnapshotTool."""
        return self._engine.revert(domain, RevertRequest(name))

    def delete(self, domain: str, name: str) -> object:
        """See SnapshotTool."""
        return self._engine.delete(domain, DeleteRequest(name))

    def names(self, domain: str) -> Collection[str]:
        """See SnapshotTool."""
        return tuple(self._engine.list(domain).contents.snapshots)

    def recover(self, domain: str) -> object:
        """See SnapshotTool."""
        return self._engine.recover(domain)


def name_of(make: MakeTool) -> str:
    """Where it can be found again: `MODULE:NAME`."""
    return f"{make.__module__}:{getattr(make, '__qualname__', type(make).__qualname__)}"


def found(name: str) -> MakeTool:
    """What has this name.

    Raises:
        Usage: there is no such thing.
    """
    module, _, path = name.partition(":")
    try:
        value: object = import_module(module)
        for part in path.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise Usage(f"there is no tool {name}: {error}", id="bad-tool", remedy="Say --tool MODULE:FACTORY.") from error
    return value  # type: ignore[return-value] # whoever named it knows what it is
