"""A Xen host simulated in process: disks with content, a file system that can crash, and every fault of either.

Start with `SimulatedHost.fresh()`. The world behind it is one frozen value, so a fork costs nothing and forks never
see each other. What is not modelled raises `NotModelled`; there is no empty success.
"""

from simulator.core.effects import Cut
from simulator.core.unmodelled import NotModelled
from simulator.disk.content import pattern
from simulator.disk.crash import Unsynced
from simulator.faults.crash import CrashPoint, Orphans, after_engine_crash, after_host_crash
from simulator.host import SimulatedHost, crash_points
from simulator.plans import Hindered, Hindrance, Late, TimesOut, heal
from simulator.world import World

__all__ = [
    "CrashPoint",
    "Cut",
    "Hindered",
    "Hindrance",
    "Late",
    "NotModelled",
    "Orphans",
    "SimulatedHost",
    "TimesOut",
    "Unsynced",
    "World",
    "after_engine_crash",
    "after_host_crash",
    "crash_points",
    "heal",
    "pattern",
]

__xensnap__ = "0.1.0"
"""Marks this package as xensnap's own `simulator`, of this version: another distribution has the same name."""
