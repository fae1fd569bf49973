"""The engine: observes a host, plans as a pure function, journals, acts. Knows no concrete host."""

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
