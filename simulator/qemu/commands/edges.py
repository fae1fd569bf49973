"""`x-debug-query-block-graph`: which node hangs below which, and what stands on them.

Permissions are told as for a disk that is written to; what devices and jobs really hold of them is not modelled, nor
is what a job that has ended stands on until somebody dismisses it.
"""

from collections.abc import Iterator
from typing import Any

from simulator.qemu.board import Board, Place, places, require_media
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.graph import BlockJob, Drive, Node
from simulator.qemu.jobs import COMMIT, STREAM, drive_of
from simulator.qemu.schema import Arguments
from xensnap.model import Format

_READS = ["consistent-read"]
_WRITES = ["resize", "write", "consistent-read"]
_SHARED = ["write-unchanged", "consistent-read"]
_ALL = ["resize", "write-unchanged", "write", "consistent-read"]


class _Told:
    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[dict[str, Any]] = []
        self._ids: dict[tuple[str, str], int] = {}

    def node(self, kind: str, name: str) -> int:
        """The number of a node, which is told when it is first met."""
        known = self._ids.get((kind, name))
        if known is None:
            known = self._ids[kind, name] = len(self._ids) + 1
            self.nodes.insert(0, {"id": known, "type": kind, "name": name})
        return known

    def edge(self, parent: int, child: int, name: str, perm: list[str], shared: list[str]) -> None:
        """One hangs below the other, once however often it is met."""
        edge = {"parent": parent, "child": child, "name": name, "perm": perm, "shared-perm": shared}
        if edge not in self.edges:
            self.edges.insert(0, edge)

    def driver(self, name: str) -> int:
        """The number of an image's node."""
        return self.node("block-driver", name)


def _graph(board: Board, _arguments: Arguments) -> Result:
    require_media(board.qemu)
    told = _Told()
    for drive in board.qemu.drives:
        if drive.attached:
            backend = told.node("block-backend", drive.device or drive.qdev)
            told.edge(backend, _top(board, told, drive), "root", _READS, _ALL)
    for job in board.qemu.jobs:
        if not job.over:
            _job(board, told, job)
    for place in places(board.qemu):
        node = place.node
        number = told.driver(node.name)
        if node.file_name:
            told.edge(number, told.driver(node.file_name), "file", *_of_file(place))
        if place.at + 1 < len(place.drive.chain):
            below = _upper(board, told, place.drive.chain[place.at + 1])
            told.edge(number, below, "backing", _READS, _ALL)
    return board, {"nodes": told.nodes, "edges": told.edges}


def _of_file(place: Place) -> tuple[list[str], list[str]]:
    """What a format holds of its file; a raw image only what somebody holds of itself."""
    if place.node.layer.format is Format.RAW:
        return (_READS if place.drive.attached or place.at else []), _ALL
    return (_WRITES if place.node.writes else _READS), _SHARED


def _top(board: Board, told: _Told, drive: Drive) -> int:
    return _upper(board, told, drive.root)


def _upper(board: Board, told: _Told, node: Node) -> int:
    """What one sees of an image from above: the filter that a job has put there, or itself."""
    job = board.qemu.filtering(node.name)
    return told.driver(job.filter_name if job else node.name)


def _job(board: Board, told: _Told, job: BlockJob) -> None:
    number = told.node("block-job", job.id)
    for role, name in _worked_on(board, job):
        told.edge(number, told.driver(name), role, _READS, _ALL)
    if job.filter_name:
        below = "file" if job.kind == STREAM else "backing"
        told.edge(told.driver(job.filter_name), told.driver(job.source), below, [], _ALL)


def _worked_on(board: Board, job: BlockJob) -> Iterator[tuple[str, str]]:
    """As what a job has which nodes."""
    if job.kind not in {COMMIT, STREAM}:
        if job.filter_name:
            yield "main node", job.filter_name
        return
    chain = [node.name for node in drive_of(board.qemu, job).chain]
    upper = chain.index(job.source)
    lower = chain.index(job.target) if job.target else len(chain)
    active = job.kind == COMMIT and not upper
    yield "main node", chain[0] if job.kind == COMMIT and upper else job.filter_name
    if job.kind == STREAM or active:
        yield "active node" if job.kind == STREAM else "source", job.source
        upper += 1
    for name in chain[upper:lower]:
        yield "intermediate node", name
    if job.kind == COMMIT:
        yield "target" if active else "base", job.target


COMMANDS = {"x-debug-query-block-graph": Command({}, _graph)}
