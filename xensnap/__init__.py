"""Snapshots of plain-Xen domains: memory and disks of one moment, internal or external.

This package is the engine, its interface to a host, the real hosts and the command line. The simulated host is the
separate package `simulator`. Importing `xensnap` is cheap: it loads no simulator, no event loop and no test library.
"""

__version__ = "0.1.0"
