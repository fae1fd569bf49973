"""G9: what a simulated snapshot takes in memory for each cluster that has changed; counted, not a matter of time."""

import gc
import tracemalloc

from simulator import SimulatedHost
from tests.crash.harness import CLUSTER

SNAPSHOTS, CHANGED, CLUSTERS = 200, 10, 2000
BYTES_MAX = 1024


def bytes_for_each_changed_cluster() -> float:
    """Traced by Python itself, over many snapshots with a few writes between them."""
    host = SimulatedHost.fresh()
    layer = host.create_image("/images/d.qcow2", size_bytes=1 << 34)
    host.write_layer(layer, 0, CLUSTERS * CLUSTER)
    places = iter(range(SNAPSHOTS * CHANGED))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(SNAPSHOTS):
        for _ in range(CHANGED):
            host.write_layer(layer, next(places) * 7 % CLUSTERS * CLUSTER, CLUSTER)
        host.run(host.images.snapshot_create(layer, tag=f"s{number}"))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(host.run(host.images.inspect(layer)).snapshots) == SNAPSHOTS
    return taken / (SNAPSHOTS * CHANGED)


def test_a_changed_cluster_takes_at_most_a_kilobyte() -> None:
    assert bytes_for_each_changed_cluster() <= BYTES_MAX
