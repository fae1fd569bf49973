"""The real Xen host's code over a simulated machine, made ready to be tried: what a dom0 runs, on every machine."""

from collections.abc import Sequence

from xensnap.conformance.places.images import our_command
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.workplace import Program, Wish
from xensnap.doors import DoorHost


class DoorPlace(SimulatedPlace):
    """The `Workplace` of one simulated world that is worked on through `backends/xen`.

    Args:
        seed: of that world.
    """

    def __init__(self, seed: int = 0) -> None:
        self._door = DoorHost.fresh(seed)
        self._door.name = "doors"
        super().__init__(seed, on=self._door)

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        """See Workplace. The domain is started from a file of an operator's, as on a Xen host."""
        super().add_domain(name, disks, guest=guest)
        path = self._door.write_configuration(name)
        self._door.run(self._door.xen.learn(path, remember=True))

    def _called(self, directory: str) -> Program:
        run = our_command(host=f"sim:{directory}")
        inside = our_command("--host", "xen", host="")
        return Program((*run.words, "sim", "run", "--", *inside.words), run.environment)
