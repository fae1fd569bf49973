"""What strategies draw and capsules keep, as values: disks to be made, writes of a guest, faults."""

from collections.abc import Mapping

import msgspec

from simulator import Cut, SimulatedHost
from simulator.plans import Armed
from xensnap.model import Disk, Format, Layer

CLUSTER_BYTES = 64 * 1024


class DiskLayout(msgspec.Struct, frozen=True):
    """One disk to be made: its format, its size in clusters of 64 KiB, and how its image is laid out."""

    vdev: str
    format: Format = Format.QCOW2
    clusters: int = 4
    cluster_size_bytes: int = CLUSTER_BYTES
    compat: str = "1.1"
    layers: int = 1
    """How many images its chain has; those above the first are empty overlays."""

    def make(self, host: SimulatedHost, domain: str) -> Disk:
        """The disk, with all images of its chain, on this host."""
        layer = host.create_image(
            f"/images/{domain}-{self.vdev}-0",
            self.format.value,
            self.clusters * CLUSTER_BYTES,
            cluster_size_bytes=self.cluster_size_bytes,
            compat=self.compat,
        )
        for number in range(1, self.layers):
            below = Layer(layer.path, layer.format)
            size = self.clusters * CLUSTER_BYTES
            layer = host.create_image(f"/images/{domain}-{self.vdev}-{number}", "qcow2", size, backing=below)
        return Disk(self.vdev, layer.path, layer.format)


class GuestWrite(msgspec.Struct, frozen=True):
    """A write of a guest: which disk, and which of its clusters, counted round."""

    vdev: str
    cluster: int
    clusters: int = 1

    def do(self, host: SimulatedHost, domain: str, sizes: Mapping[str, int]) -> int:
        """Write; the number that the blocks show from now on. `sizes` are those of the disks in clusters."""
        at = self.cluster % sizes[self.vdev]
        length = min(self.clusters, sizes[self.vdev] - at)
        return host.write(domain, self.vdev, at * CLUSTER_BYTES, length * CLUSTER_BYTES)


class FaultPlan(msgspec.Struct, frozen=True):
    """One fault: at which effect, at its which time, how far it comes, and what the system says."""

    effect: str
    cut: Cut
    errno: int
    nth: int = 1

    def arm(self, host: SimulatedHost) -> Armed:
        """Let it happen from now on. A fault that is never met shows in `host.unmet_faults`, too."""
        return Armed(host, host.fail_at(self.effect, self.cut, self.errno, nth=self.nth))

    def __str__(self) -> str:
        nth = f"for the {self.nth}. time" if self.nth > 1 else "for the first time"
        return f"{self.effect} happens {nth}, it fails ({self.cut}, error {self.errno})"
