"""The images that a running QEMU has open, made out of its replies. Pure, but for what is at the end, which asks it.

QEMU tells its nodes in one command and how they hang together in another; names join the two. Filters that a block job
puts above or between images are no images and are left out here.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xensnap.backends.local.replies import BlockGraph, JobInfo, NamedNode, ask, unreadable
from xensnap.errors import Busy, Effect, Failed
from xensnap.hypervisor import Files, Monitor, Node
from xensnap.model import Format, Layer

GRAPH = "x-debug-query-block-graph"
_FORMATS = {format.value: format for format in Format} | {"vpc": Format.VHD}


class Copying(NamedTuple):
    """What a job that merges images copies.

    Attributes:
        node: QEMU's name of the image that it copies into.
        into: that image.
        out_of: the images that it copies from, the upper ones first.
        below: what it will stand on instead; None of a commit, and where there will be nothing.
        over: whether it writes over what that image has of its own; else it only adds what is not there.
        detects_zeros: whether zeros that are written like data may become marks for zeros.
    """

    node: str
    into: Layer
    out_of: tuple[Layer, ...]
    below: Layer | None
    over: bool
    detects_zeros: bool


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
        self._worked_on: dict[str, dict[str, list[str]]] = {}
        jobs = {node.id for node in told.nodes if node.type == "block-job"}
        for edge in told.edges:
            if not {edge.parent, edge.child} <= names.keys():
                raise unreadable(GRAPH, f"{edge.parent} or {edge.child} is no node of it")
            parent, child = names[edge.parent], names[edge.child]
            self._used.add(child)
            if edge.parent in jobs:
                self._worked_on.setdefault(parent, {}).setdefault(edge.name, []).append(child)
            elif edge.parent in devices:
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

    def written(self) -> dict[str, Layer]:
        """The images that this QEMU may write, by node: those that the guest does, and those that jobs work on."""
        return {name: _layer(told) for name, told in self._named.items() if told.drv in _FORMATS and not told.ro}

    def copying(self, job: str) -> Copying:
        """What a stream, or a commit into the middle, copies where.

        `Failed` with id `qmp-answer`: it is no such job (the names are those of 7.2.22).
        """
        works_on = self._worked_on.get(job, {})
        up, down = works_on.get("active node", []), works_on.get("base", [])
        out_of = sorted(works_on.get("intermediate node", []), key=self._depth, reverse=True)
        images = {name for name, told in self._named.items() if told.drv in _FORMATS}
        if len(up + down) != 1 or not {*up, *down, *out_of} <= images:
            raise unreadable(GRAPH, f"the job {job} copies into {' and '.join(up + down) or 'nothing'}")
        into = self._named[(up + down)[0]]
        below = self._below.get(out_of[-1], {}).get("backing") if up and out_of else None
        return Copying(
            into.node_name,
            _layer(into),
            tuple(_layer(self._named[name]) for name in out_of),
            _layer(self._named[below]) if below in images else None,
            over=bool(down),
            detects_zeros=into.detect_zeroes != "off",
        )

    def _depth(self, name: str) -> int:
        """How many nodes lie below one."""
        below = name
        for depth in range(len(self._below) + 1):
            if "backing" not in self._below.get(below, {}):
                return depth
            below = self._below[below]["backing"]
        raise unreadable(GRAPH, f"{name!r} stands on itself")

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
            node = Node(told.node_name, vdev, _layer(told), told.ro, node)
        return node


def chain(node: Node | None) -> Iterator[Node]:
    """A node and all below it, top first."""
    while node is not None:
        yield node
        node = node.backing


def _layer(told: NamedNode) -> Layer:
    return Layer(path_of(told.image.filename), _FORMATS[told.drv])


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


async def flush_all(monitor: Monitor, files: Files) -> None:
    """`flush` of all images that QEMU may write: one below is not reached through the one above it."""
    for name, layer in (await read(monitor)).written().items():
        await flush(monitor, files, name, layer)


async def flush(monitor: Monitor, files: Files, name: str, layer: Layer) -> None:
    """Make durable what QEMU has written of an image, and write what it has of its tables in its memory.

    QMP has no command for it; the human monitor has, and does not tell whether it could (7.2.22, qemu.md 186). What the
    disk refuses is heard from the file. Tables that could not be written stay in QEMU's memory, and nobody is told.

    Raises:
        Failed: `qmp-error`, the node is not there any more.
        FileFailed: what was written did not reach the disk.
    """

    async def flushed() -> None:
        said = await monitor.execute("human-monitor-command", {"command-line": f"qemu-io {name} flush"})
        if said:
            cause = f"QEMU cannot make {name} durable: {said.strip()}"
            raise Failed(cause, id="qmp-error", effect=Effect.UNKNOWN)

    if layer.path.startswith("/") and await files.stat(layer.path) is not None:
        await files.sync(layer.path, after=flushed)
    else:
        await flushed()  # an image that is no file of this machine, or has lost its name


async def close_unused(monitor: Monitor) -> None:
    """Close the images that fell out of their chain, which QEMU keeps open because they were opened by name.

    From the top down: closing one leaves the next without a user.
    """
    while names := (await read(monitor)).unused():
        for name in names:
            await monitor.execute("blockdev-del", {"node-name": name})
