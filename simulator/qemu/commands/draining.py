"""Jobs that stop for a moment, since a command wants nothing to be under way."""

from simulator.qemu.board import Board
from simulator.qemu.graph import BlockJob


def works(job: BlockJob) -> bool:
    """Whether a job has something to do, or waits for the guest to write more."""
    return not job.over and not job.paused and job.status != "pending"


def status_told(board: Board, job: BlockJob, status: str) -> Board:
    """A job is in another state, and says so."""
    return board.happened("JOB_STATUS_CHANGE", status=status, id=job.id)


def stopped(board: Board, vdev: str | None = None) -> tuple[BlockJob, ...]:
    """The jobs, or those of one drive, that a drain lets stop, in that order: by the images they stand on.

    QEMU goes through its nodes, the oldest first, and stops what works on one or above it (QEMU 7.2.22).
    """
    working = [job for job in board.qemu.jobs if works(job) and vdev in {None, job.vdev}]
    return tuple(sorted(working, key=lambda job: _oldest(board, job)))


def _oldest(board: Board, job: BlockJob) -> int:
    chains = [[node.name for node in drive.chain] for drive in board.qemu.drives]
    serials = {node.name: node.serial for drive in board.qemu.drives for node in drive.chain}
    below = (names[names.index(job.source) :] for names in chains if job.source in names)
    return min((serials[name] for names in below for name in names), default=0)


def drained(board: Board, vdev: str | None = None) -> Board:
    """Every job, or those of one drive, stops; then they go on in the order in which they were begun (qemu.md 166)."""
    jobs = stopped(board, vdev)
    for job in jobs:
        board = status_told(board, job, "standby" if job.status == "ready" else "paused")
    for job in board.qemu.jobs:
        if job in jobs:
            board = status_told(board, job, "ready" if job.status == "ready" else "running")
    return board
