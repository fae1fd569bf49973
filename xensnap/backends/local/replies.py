"""What QEMU answers to the questions that we ask it, as values; what is not as it should be is an error of ours.

A monitor belongs to a process that a guest has had its hands on, so its answers are believed no more than a file's.
Members that nobody reads are not here, and are not looked at.
"""

from typing import Any, TypeVar

import msgspec

from xensnap.errors import Effect, Failed
from xensnap.hypervisor import Monitor

T = TypeVar("T")


class Status(msgspec.Struct, frozen=True):
    """Of `query-status`."""

    status: str


class Device(msgspec.Struct, frozen=True, rename="kebab"):
    """Of `query-block`: a drive, by the path that it has in QEMU, and what has let QEMU stop the guest for it."""

    qdev: str = ""
    io_status: str = "ok"

    @property
    def vdev(self) -> str:
        """The id that the drive was given: `/machine/peripheral/xvda/virtio-backend` is that of xvda."""
        return self.qdev.removeprefix("/machine/peripheral/").partition("/")[0]


class ImageFile(msgspec.Struct, frozen=True):
    """The image of a node: its file as QEMU tells it, see `graph.path_of`."""

    filename: str


class NamedNode(msgspec.Struct, frozen=True, rename="kebab"):
    """Of `query-named-block-nodes`."""

    node_name: str
    drv: str
    ro: bool
    image: ImageFile
    detect_zeroes: str = msgspec.field(name="detect_zeroes", default="off")


class GraphNode(msgspec.Struct, frozen=True):
    """Of `x-debug-query-block-graph`: an image, a device or a job, by the number that edges call it."""

    id: int
    type: str
    name: str


class GraphEdge(msgspec.Struct, frozen=True):
    """Of `x-debug-query-block-graph`: who stands on whom, and as what."""

    parent: int
    child: int
    name: str


class BlockGraph(msgspec.Struct, frozen=True):
    """Of `x-debug-query-block-graph`."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


class JobInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """Of `query-jobs`. Progress is in units of the job's own, bytes for those that copy."""

    id: str
    type: str
    status: str
    current_progress: int
    total_progress: int
    error: str = ""


class Ram(msgspec.Struct, frozen=True, rename="kebab"):
    """How far a migration has come with the memory, in bytes, and how often it has begun anew."""

    total: int
    remaining: int
    dirty_sync_count: int = 0


class Migration(msgspec.Struct, frozen=True, rename="kebab"):
    """Of `query-migrate`; without a status where there was none yet."""

    status: str = ""
    ram: Ram | None = None
    expected_downtime: int = 0
    """Milliseconds."""
    error_desc: str = ""


async def ask(monitor: Monitor, question: str, kind: type[T], **arguments: Any) -> T:
    """The answer to a question that changes nothing.

    Args:
        monitor: whom to ask.
        question: a command of QMP.
        kind: what the answer should be.
        arguments: of the command.

    Raises:
        Failed: `qmp-answer`, it is something else; errors of `Monitor.execute` besides.
    """
    return converted(question, await monitor.execute(question, arguments or None), kind)


def converted(question: str, answer: Any, kind: type[T]) -> T:
    """What a question was answered with, as what it should be. Errors as `ask`."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise unreadable(question, str(error)) from error


def unreadable(question: str, why: str) -> Failed:
    """QEMU has answered what makes no sense; nothing has come of it."""
    cause = f"QEMU's answer to {question} makes no sense: {why}"
    return Failed(cause, id="qmp-answer", remedy="Look at the domain's QEMU; end it if in doubt.", effect=Effect.NONE)
