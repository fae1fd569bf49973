"""The registry of effects: every name at which something can be made to fail or be cut."""

from simulator.core.effects import Cut, Effect, declared
from simulator.ports import agent, blocks, domains, files, images, machine, roles, saving, toolstack

# Effects are declared beside the code that performs them; all of it is loaded here, so that none is missing.
DECLARING = (agent, blocks, domains, files, images, machine, roles, saving, toolstack)


def effects() -> tuple[Effect, ...]:
    """Every effect that a port can pass through, by name."""
    return declared()


def points() -> tuple[tuple[str, Cut], ...]:
    """Every effect that changes something, with each of its cuts."""
    return tuple((effect.name, cut) for effect in effects() if effect.writes for cut in Cut)
