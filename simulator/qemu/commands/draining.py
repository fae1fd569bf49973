"""Jobs that stop for a moment, since a command wants nothing to be under way."""

from simulator.qemu.board import Board
from simulator.qemu.graph import BlockJob


def works(job: BlockJob) -> bool:
    """Whether a job has something to do, or waits for the guest to write more."""
    return not job.over and not job.paused and job.status != "pending"


def status_told(board: Board, job: BlockJob, status: str) -> Board:
    """A job is in another state, and says so."""
    return board.happened("JOB_STATUS_CHANGE", status=status, id=job.id)


def drained(board: Board, vdev: str | None = None) -> Board:
    """Every job, or those of one drive, stops and goes on (qemu.md 166)."""
    for job in board.qemu.jobs:
        if works(job) and vdev in {None, job.vdev}:
            for status in ("standby", "ready") if job.status == "ready" else ("paused", "running"):
                board = status_told(board, job, status)
    return board
