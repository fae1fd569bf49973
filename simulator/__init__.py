"""A Xen host simulated in process: disks with content, a file system that can crash, and every fault of either.

Start with `SimulatedHost.fresh()`. The world behind it is one frozen value, so a fork costs nothing and forks never
see each other. What is not modelled raises `NotModelled`; there is no empty success.
"""

from simulator.core.unmodelled import NotModelled
from simulator.disk.content import pattern
from simulator.host import SimulatedHost
from simulator.world import World

__all__ = ["NotModelled", "SimulatedHost", "World", "pattern"]

__xensnap__ = "0.1.0"
"""Marks this package as xensnap's own `simulator`, of this version: another distribution has the same name."""
