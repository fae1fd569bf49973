"""The images that a running QEMU has open, made out of its replies. Pure, but for `read`, which asks.

QEMU tells its nodes in one command and how they hang together in another; names join the two. Filters that a block job
puts above or between images are no images and are left out here.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xensnap.backends.local.replies import BlockGraph, JobInfo, NamedNode, ask, unreadable
from xensnap.errors import Busy, Effect, Failed
from xensnap.hypervisor import Monitor, Node
from xensnap.model import Format, Layer

GRAPH = "x-debug-query-block-graph"
_FORMATS = {format.value: format for format in Format} | {"vpc": Format.VHD}


class Graph:
    """What hangs below what in a running QEMU.

    Args:
        named: the reply to `query-named-block-nodes` with `flat`.
        told: the reply to `x-debug-query-block-graph`; of the replies only this tells which node is on top of a device
            and which images have no user left.

    Raises:
        Failed: `qmp-answer`, they do not fit together.
    """

    def __init__(self, named: Iterable[NamedNode], told: BlockGraph) -> None:
        self._named = {node.node_name: node for node in named}
        names = {node.id: node.name for node in told.nodes}
        # What jobs stand on has no name here.
        devices = {node.id for node in told.nodes if node.type == "block-backend" and node.name}
        self._below: dict[str, dict[str, str]] = {}
        self._roots: dict[str, str] = {}
        self._used: set[str] = set()
        for edge in told.edges:
            if not {edge.parent, edge.child} <= names.keys():
                raise unreadable(GRAPH, f"{edge.parent} or {edge.child} is no node of it")
            parent, child = names[edge.parent], names[edge.child]
            self._used.add(child)
            if edge.parent in devices:
                self._roots[parent] = child
            else:
                self._below.setdefault(parent, {})[edge.name] = child

    def devices(self) -> tuple[str, ...]:
        """What QEMU calls the devices that an image can be in: their ids, or their paths in the machine."""
        return tuple(self._roots)

    def top(self, device: str, vdev: str) -> Node | None:
        """The image at the root of one of the `devices`, with its chain, as the disk `vdev`."""
        return self._image(self._roots.get(device), vdev)

    def roots(self) -> tuple[str, ...]:
        """The nodes that devices stand on."""
        return tuple(self._roots.values())

    def written(self) -> list[str]:
        """The images that this QEMU may write: those that the guest does, and those that jobs work on."""
        return [name for name, told in self._named.items() if told.drv in _FORMATS and not told.ro]

    def unused(self) -> list[str]:
        """Images that were opened by name (ours all are) and that nothing stands on any more, but that stay open."""
        return [name for name in self._named if name not in self._used and not name.startswith("#")]

    def _image(self, name: str | None, vdev: str) -> Node | None:
        images: list[NamedNode] = []
        above = set[str]()
        while name is not None:
            if name in above:
                raise unreadable(GRAPH, f"{name!r} stands on itself")
            if name not in self._named:
                raise unreadable("query-named-block-nodes", f"{name!r} is in the graph only")
            above.add(name)
            told, below = self._named[name], self._below.get(name, {})
            is_image = told.drv in _FORMATS
            images += [told] if is_image else []
            name = below.get("backing") or (None if is_image else below.get("file"))
        node: Node | None = None
        for told in reversed(images):
            node = Node(told.node_name, vdev, Layer(path_of(told.image.filename), _FORMATS[told.drv]), told.ro, node)
        return node


def chain(node: Node | None) -> Iterator[Node]:
    """A node and all below it, top first."""
    while node is not None:
        yield node
        node = node.backing


def path_of(filename: str) -> str:
    """The path in a file name as QEMU tells it.

    An image whose header names its backing file otherwise than QEMU has opened it, relative for example, is told as
    `json:{…}` (7.2.22).
    """
    if not filename.startswith("json:"):
        return filename
    try:
        options: Any = json.loads(filename.removeprefix("json:"))
    except (ValueError, RecursionError) as error:
        raise unreadable("query-named-block-nodes", f"{filename!r} is no JSON") from error
    while isinstance(options, Mapping) and isinstance(options.get("file"), Mapping):
        options = options["file"]
    return str(options.get("filename", "")) if isinstance(options, Mapping) else ""


def same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file; by name alone where one of them does not exist."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 -- paths are text in the model
    except OSError:
        return one == other


async def read(monitor: Monitor) -> Graph:
    """The graph as it is now. Three round trips.

    `Busy` with id `job-unnoticed` where a stream has ended and is still known: its filter is then in the graph without
    what it stood on, and `query-named-block-nodes` makes QEMU 7.2.22 crash (SIGSEGV, each time).
    """
    jobs = await ask(monitor, "query-jobs", tuple[JobInfo, ...])
    ended = [job.id for job in jobs if job.type == "stream" and job.status == "concluded"]
    if ended:
        cause = f"the job {ended[0]} has ended, and who started it has not taken note of that yet"
        remedy = "If that program has died: `xensnap recover` for a job of ours, `job-dismiss` for another one."
        raise Busy(cause, id="job-unnoticed", remedy=remedy)
    named = await ask(monitor, "query-named-block-nodes", tuple[NamedNode, ...], flat=True)
    return Graph(named, await ask(monitor, GRAPH, BlockGraph))


async def flush(monitor: Monitor) -> None:
    """Make durable what QEMU has written of all images, and write what it has of their tables in its memory.

    QMP has no command for it; the human monitor has. An image below is not reached through the one above it, so each is
    told. `Failed`: one is not there any more. What the disk itself refuses nobody is told of (7.2.22, qemu.md 186).
    """
    for name in (await read(monitor)).written():
        said = await monitor.execute("human-monitor-command", {"command-line": f"qemu-io {name} flush"})
        if said:
            cause = f"QEMU cannot make {name} durable: {said.strip()}"
            raise Failed(cause, id="qmp-error", effect=Effect.UNKNOWN)


async def close_unused(monitor: Monitor) -> None:
    """Close the images that fell out of their chain, which QEMU keeps open because they were opened by name.

    From the top down: closing one leaves the next without a user.
    """
    while names := (await read(monitor)).unused():
        for name in names:
            await monitor.execute("blockdev-del", {"node-name": name})
