"""For the tests of other people's tools: a Xen host in a fixture, deaths at every effect, worlds drawn by Hypothesis.

`plugin` is what pytest loads by itself; it brings nothing heavy before a fixture is used. `crashes` lets an operation
die everywhere and looks what is left. `strategies` draws disks, chains, writes and whole operations. `checks` says of a
simulated host what must never be so. Tools that are run as programs find a host to talk to in `xensnap sim shell`.
"""
