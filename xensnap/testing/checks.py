"""What must never be so on a host, whatever tool worked on it. Each check returns what it found; nothing is fine."""

from simulator import SimulatedHost
from simulator.checkers import Finding
from simulator.checkers.guests import alone, standing, torn, twins
from simulator.checkers.leaks import unclean
from simulator.checkers.two_writers import open_twice
from xensnap.engine import journal
from xensnap.engine.engine import Engine
from xensnap.engine.records import Store
from xensnap.errors import XensnapError


def host_findings(host: SimulatedHost) -> tuple[Finding, ...]:
    """Images that leak or are corrupt, guests whose memory and disks are of two moments, guests left standing still or
    without a watcher, domains that are there twice, images that two processes write.
    """
    world = host.world
    return (*unclean(world.fs), *torn(world), *standing(world), *alone(world), *twins(world), *open_twice(world))


def store_findings(host: SimulatedHost) -> tuple[Finding, ...]:
    """Records and journals of xensnap: each can be read, and nothing is half done."""
    found: list[Finding] = []
    engine = Engine(host)
    for domain in engine.domains():
        store = Store.of(host, domain.uuid)
        try:
            listing = engine.list(domain.uuid)
            begun = journal.pending(host.run(journal.read(host, store.journal)))
        except XensnapError as error:
            found.append(Finding("store-unreadable", domain.name, error.cause))
            continue
        if begun is not None:
            found.append(Finding("operation-pending", domain.name, begun.plan.summary))
        found += [Finding("record-damaged", domain.name, error.cause) for error in listing.contents.damaged]
    return tuple(found)


def require_sound(host: SimulatedHost) -> None:
    """Nothing is found at all.

    Raises:
        AssertionError: with every finding, a line each.
    """
    found = (*host_findings(host), *store_findings(host))
    assert not found, "\n".join(["the host is not sound:", *map(str, found)])
