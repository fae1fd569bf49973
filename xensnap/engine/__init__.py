"""The engine: observes a host, plans as a pure function, journals, acts. Knows no concrete host.

What others need of it has its name here, and is loaded when it is asked for: a command that only lists snapshots must
not wait for all that could be done to them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xensnap.engine.engine import AsyncEngine, Engine, Recovered, Result
    from xensnap.engine.request import CreateRequest, DeleteRequest, DiskChoice, RevertRequest

__all__ = [
    "AsyncEngine",
    "CreateRequest",
    "DeleteRequest",
    "DiskChoice",
    "Engine",
    "Recovered",
    "Result",
    "RevertRequest",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "request" if name.endswith("Request") or name == "DiskChoice" else "engine"
    return getattr(import_module(f"{__name__}.{home}"), name)
