"""A host seen by a process to which a port tells something else than to all others, or which has a port of its own."""

from collections.abc import Callable
from typing import Any, cast

from xensnap.hypervisor import Hypervisor


class _Changed:
    """Everything of another thing, but for some attributes."""

    def __init__(self, thing: object, **instead: object) -> None:
        self._thing = thing
        vars(self).update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def instead_of(host: Hypervisor, port: str, **methods: Callable[..., Any]) -> Hypervisor:
    """The host, with these methods of this port in the place of its own."""
    return cast("Hypervisor", _Changed(host, **{port: _Changed(getattr(host, port), **methods)}))


def having(host: Hypervisor, **ports: object) -> Hypervisor:
    """The host, with these ports in the place of its own."""
    return cast("Hypervisor", _Changed(host, **ports))
