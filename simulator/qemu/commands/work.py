"""Block jobs: how they are started, told, and ended. What they copy, and how, stands in `jobs`."""

import posixpath
from collections.abc import Callable

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.content import SECTOR
from simulator.qemu import graph, jobs
from simulator.qemu.blockers import busy_within, root, unreadable
from simulator.qemu.board import Board, Left, Place, by_device, by_node, filename, found, stands_elsewhere, valid_id
from simulator.qemu.commands.ask import progress
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import status_told, stopped, works
from simulator.qemu.commands.nodes import require_free_name
from simulator.qemu.graph import BlockJob, Drive
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, Kind, enum, text, truth, whole

replace = msgspec.structs.replace

_GRANULE = 65536
"""A commit of the active layer counts in pieces of this size."""
_ON_ERROR = enum("report", "ignore", "enospc", "stop", "auto")
_FLAGS: dict[str, Kind] = {"auto-finalize?": truth, "auto-dismiss?": truth}


# --- starting --------------------------------------------------------------------------------------------------------


def _commit(board: Board, arguments: Arguments) -> Result:
    device = arguments["device"]
    bs = _source(board, device)
    chain = bs.drive.chain
    top = _top(board, bs.drive, arguments)
    base = _base(board, bs.drive, top, arguments)
    if words := busy_within(board.qemu, Place(bs.drive, top), base + 1, None):
        raise QmpError(words)
    if base == top:
        raise QmpError("cannot commit an image into itself")
    active = top == 0
    if active and "backing-file" in arguments:
        raise QmpError("'backing-file' specified, but 'top' is the active layer")
    if active:
        require_filter_name(board, arguments)
    elif words := busy_within(board.qemu, Place(bs.drive, top - 1), top, None):
        raise QmpError(words)
    jobs.require_alone(board.qemu, bs.drive)
    job_id, before = name_for_job(board, bs.drive, arguments), board
    board = created(board, job_id, arguments)
    try:
        if not active:
            # Here the filter comes after the job, which is gone again without it.
            require_filter_name(board, arguments)
        if words := unreadable(board.qemu, Place(bs.drive, top), base, job_id):
            raise QmpError(words)  # noqa: TRY301 -- as from the filter's name
    except QmpError as error:
        raise Left(str(error), board.happened("JOB_STATUS_CHANGE", status="null", id=job_id)) from None
    name = arguments.get("backing-file", filename(bs.drive, base))
    try:
        fs, qemu = jobs.commit(
            board.fs,
            board.qemu,
            vdev=bs.drive.vdev,
            top=chain[top].layer,
            base=chain[base].layer,
            job_id=job_id,
            backing_name=name,
        )
    except QmpError as error:
        if active:
            # Here the image is opened for writing before there is a job.
            raise Left(str(error), before) from None
        raise Left(str(error), board.happened("JOB_STATUS_CHANGE", status="null", id=job_id)) from None
    return _begun(board.having(fs, qemu), job_id, arguments, _commit_total(board, bs.drive, top, base))


def _source(board: Board, device: str) -> Place:
    try:
        return root(board.qemu, device)
    except QmpError:
        if by_device(board.qemu, device) is None and by_node(board.qemu, device) is None:
            raise QmpError(f"Device '{device}' not found", "DeviceNotFound") from None
        raise


def _top(board: Board, drive: Drive, arguments: Arguments) -> int:
    if "top-node" in arguments and "top" in arguments:
        raise QmpError("'top-node' and 'top' are mutually exclusive")
    if "top-node" in arguments:
        return _in_chain(board, drive, 0, arguments["top-node"])
    if "top" in arguments:
        at = _by_file(drive, 0, arguments["top"])
        if at is None:
            raise QmpError(f"Top image file {arguments['top']} not found")
        return at
    return 0


def _base(board: Board, drive: Drive, top: int, arguments: Arguments) -> int:
    if "base-node" in arguments and "base" in arguments:
        raise QmpError("'base-node' and 'base' are mutually exclusive")
    if "base-node" in arguments:
        return _in_chain(board, drive, top, arguments["base-node"])
    if "base" in arguments:
        at = _by_file(drive, top + 1, arguments["base"])
        if at is None:
            raise QmpError(f"Can't find '{arguments['base']}' in the backing chain")
        return at
    return len(drive.chain) - 1


def _in_chain(board: Board, drive: Drive, first: int, name: str) -> int:
    found(board.qemu, None, name)
    for at in range(first, len(drive.chain)):
        if drive.chain[at].name == name:
            return at
    raise QmpError(f"'{name}' is not in this backing file chain")


def _by_file(drive: Drive, first: int, name: str) -> int | None:
    """An image of the chain by the name of its file: the root as QEMU calls it, others from where they are named.

    What stands below another image than its header says is known by what QEMU calls it alone (QEMU 7.2.22).
    """
    if not first and stands_elsewhere(drive, 0) and name in {filename(drive, 0), drive.chain[0].layer.path}:
        # The older of its names is the one, until QEMU is asked for its images (measured: 7.2.22).
        raise NotModelled(f"QMP: the root by the name {name!r}, which it has got or lost since it was opened")
    for at in range(first, len(drive.chain)):
        overridden = at and stands_elsewhere(drive, at - 1)
        if not at or overridden:
            if name == filename(drive, at):
                return at
        else:
            directory = posixpath.dirname(drive.chain[at - 1].layer.path)
            if posixpath.normpath(posixpath.join(directory, name)) == drive.chain[at].layer.path:
                return at
    return None


def _commit_total(board: Board, drive: Drive, top: int, base: int) -> int:
    images = graph.images(board.fs, drive)
    if top:
        return images[top].size_bytes
    granules = set[int]()
    for low, high, _ in op.to_commit(images, base):
        granules.update(range(low * SECTOR // _GRANULE, -(-high * SECTOR // _GRANULE)))
    return min(len(granules) * _GRANULE, -(-images[0].size_bytes // _GRANULE) * _GRANULE)


def _stream(board: Board, arguments: Arguments) -> Result:
    given = [name for name in ("base", "base-node", "bottom") if name in arguments]
    for one, other in (("base", "base-node"), ("base", "bottom"), ("bottom", "base-node")):
        if one in given and other in given:
            raise QmpError(f"'{one}' and '{other}' cannot be specified at the same time")
    device = arguments["device"]
    place = found(board.qemu, device, device)
    drive = place.drive
    base = _stop_above(board, place, arguments)
    end = len(drive.chain) if base is None else max(base, place.at + 1)
    if words := busy_within(board.qemu, place, end, device, above_end="bottom" not in arguments):
        raise QmpError(words)
    if base is None and "backing-file" in arguments:
        raise QmpError("backing file specified, but streaming the entire chain")
    jobs.require_alone(board.qemu, drive)
    require_filter_name(board, arguments, "Could not create node: ")
    job_id, before = name_for_job(board, drive, arguments), board
    board = created(board, job_id, arguments)
    lower = None if base is None else drive.chain[base].layer
    name = "" if base is None else arguments.get("backing-file", filename(drive, base))
    try:
        fs, qemu = jobs.stream(
            board.fs,
            board.qemu,
            vdev=drive.vdev,
            layer=place.node.layer,
            base=lower,
            job_id=job_id,
            backing_name=name,
        )
    except QmpError as error:
        raise Left(str(error), before) from None
    total = 0 if place.at + 1 == end else graph.current(board.fs, place.node).size_bytes
    return _begun(board.having(fs, qemu), job_id, arguments, total)


def _stop_above(board: Board, place: Place, arguments: Arguments) -> int | None:
    """Where in the chain a stream ends; None for nowhere."""
    drive, device = place.drive, arguments["device"]
    # Below the filter of a job, which the device stands on, there is the image itself.
    filtered = by_device(board.qemu, device) is not None and board.qemu.filtering(place.node.name) is not None
    if "base" in arguments:
        at = _by_file(drive, place.at + 1, arguments["base"])
        if at is None:
            raise QmpError(f"Can't find '{arguments['base']}' in the backing chain")
        return at
    if "base-node" in arguments:
        name = arguments["base-node"]
        found(board.qemu, None, name)
        names = [node.name for node in drive.chain]
        if name not in names[place.at + (not filtered) :]:
            raise QmpError(f"Node '{name}' is not a backing image of '{device}'")
        return names.index(name)
    if "bottom" in arguments:
        name = arguments["bottom"]
        found(board.qemu, None, name)
        names = [node.name for node in drive.chain]
        if name not in names[place.at :]:
            raise QmpError(f"Node '{name}' is not in a chain starting from '{device}'")
        at = names.index(name) + 1
        return at if at < len(drive.chain) else None
    return None


def require_filter_name(board: Board, arguments: Arguments, prefix: str = "") -> None:
    """The filter of the job may be called so."""
    try:
        if (name := arguments.get("filter-node-name")) is not None:
            require_free_name(board, name)
    except QmpError as error:
        raise QmpError(f"{prefix}{error}") from None


def name_for_job(board: Board, drive: Drive, arguments: Arguments) -> str:
    """What the job shall be called: as it is asked for, or as the device."""
    return free_job_id(board, arguments.get("job-id", drive.device))


def free_job_id(board: Board, job_id: str) -> str:
    """A job may be called so."""
    if not valid_id(job_id):
        raise QmpError(f"Invalid job ID '{job_id}'")
    if board.qemu.job(job_id):
        raise QmpError(f"Job ID '{job_id}' already in use")
    return job_id


def created(board: Board, job_id: str, arguments: Arguments) -> Board:
    """The job is there, unless its speed is none."""
    board = board.happened("JOB_STATUS_CHANGE", status="created", id=job_id)
    if arguments.get("speed", 0) < 0:
        board = board.happened("JOB_STATUS_CHANGE", status="null", id=job_id)
        raise Left("Parameter 'speed' expects a non-negative value", board)
    return board


def _begun(board: Board, job_id: str, arguments: Arguments, total: int) -> Result:
    board = board.happened("JOB_STATUS_CHANGE", status="running", id=job_id)
    job = board.qemu.job(job_id)
    assert job is not None
    number = board.qemu.numbered
    started = replace(
        job,
        total_bytes=total,
        speed=arguments.get("speed", 0),
        auto_finalize=arguments.get("auto-finalize", True),
        auto_dismiss=arguments.get("auto-dismiss", True),
        on_error=arguments.get("on-error", "report"),
        filter_serial=number,
        filter_name=arguments.get("filter-node-name", f"#block{number}"),
    )
    running = replace(started, status="running", error="")
    before = replace(board, qemu=replace(board.qemu, numbered=number + 1).doing(running))
    if job.over:
        return told(before, replace(board, qemu=board.qemu.doing(started))), {}
    # A stream that has nothing to do is over before the command is (qemu.md 158).
    return (before if total or job.kind == jobs.COMMIT else stepped(before)), {}


# --- going on --------------------------------------------------------------------------------------------------------


def stepped(board: Board) -> Board:
    """Every job that has something to do does one step, and says what has changed."""
    for job in board.qemu.jobs:
        board = step(board, job)
    return board


def step(board: Board, job: BlockJob) -> Board:
    """One job does one step, if it is not held by anything."""
    if not works(job):
        return board
    fs, qemu = jobs.worked(board.fs, board.qemu, job)
    return _done(board, job, _left_behind(board, job, board.having(fs, qemu)))


def busy(board: Board) -> bool:
    """Whether a job would do something at the next step."""
    return any(works(job) and not waits(job) for job in board.qemu.jobs)


def waits(job: BlockJob) -> bool:
    """Whether a job does nothing more until the guest writes, or it is told to."""
    return job.endless or (job.status == "ready" and not job.left_sectors)


def _left_behind(before: Board, job: BlockJob, after: Board) -> Board:
    """What lay between two images that a job has joined: it keeps that until it is dismissed, or the monitor does."""
    old, new = before.qemu.drive(job.vdev), after.qemu.drive(job.vdev)
    assert old is not None
    assert new is not None
    there = {node.name: node for node in new.chain}
    if old.root.name not in there or len(old.chain) == len(new.chain):
        return after
    while old.chain[0].name in there:
        old = replace(old, chain=old.chain[1:])
    chain = tuple(there.get(node.name, node) for node in old.chain)
    if job.auto_dismiss:
        return after.having(after.fs, graph.kept_alone(after.qemu, chain))
    kept = Drive(chain[0].name, chain, attached=False, kept=job.id)
    return after.having(after.fs, replace(after.qemu, drives=(*after.qemu.drives, kept)))


def _done(before: Board, job: BlockJob, after: Board) -> Board:
    """What a step has made of a job; where it may not end by itself, its end waits until it is told to."""
    stands = after.qemu.job(job.id)
    assert stands is not None
    if not (stands.over and not stands.error and not job.auto_finalize):
        return told(before, after)
    held = replace(job, status="pending", held=job.status, left_sectors=0)
    board = replace(before, qemu=before.qemu.doing(held))
    board = status_told(status_told(board, job, "waiting"), job, "pending")
    return board.happened("BLOCK_JOB_PENDING", type=job.kind, id=job.id)


def told(before: Board, after: Board) -> Board:
    """What QEMU says of the jobs that stand otherwise than before; those that nobody must dismiss are forgotten."""
    for job in after.qemu.jobs:
        known = before.qemu.job(job.id)
        if known is not None and known.status != job.status:
            after = _told(after, known, job)
    return after


def _told(board: Board, known: BlockJob, job: BlockJob) -> Board:
    if job.status == "ready":
        board = board.happened("JOB_STATUS_CHANGE", status="ready", id=job.id)
        return board.happened("BLOCK_JOB_READY", **_ends(job))
    if not job.over:
        return board
    if known.status != "pending":
        if job.broke_off:
            # A stream tells of whatever it cannot do as of reading (7.2.22).
            operation = "read" if job.kind == jobs.STREAM else "write"
            board = board.happened("BLOCK_JOB_ERROR", device=job.id, operation=operation, action="report")
        for status in ("aborting",) if job.error else ("waiting", "pending"):
            board = status_told(board, job, status)
    ends = _ends(job) | ({"error": job.error} if job.error else {})
    board = status_told(board.happened("BLOCK_JOB_COMPLETED", **ends), job, "concluded")
    return _forgotten(board, job) if job.auto_dismiss else board


def _forgotten(board: Board, job: BlockJob) -> Board:
    return status_told(board.having(*graph.forgotten(board.fs, board.qemu, job.id)), job, "null")


def _ends(job: BlockJob) -> dict[str, object]:
    done, total = progress(job)
    return {"type": job.kind, "device": job.id, "len": total, "offset": done, "speed": job.speed}


# --- told what to do -------------------------------------------------------------------------------------------------


def _job(board: Board, arguments: Arguments) -> BlockJob:
    job = board.qemu.job(arguments["id"])
    if job is None:
        raise QmpError("Job not found")
    return job


def _block_job(board: Board, arguments: Arguments) -> BlockJob:
    name = arguments.get("device", arguments.get("id"))
    job = board.qemu.job(name or "")
    if job is None or job.kind not in jobs.KINDS:
        raise QmpError(f"Block job '{name}' not found", "DeviceNotActive")
    return job


_VERBS = {
    "cancel": {"created", "running", "paused", "ready", "standby", "waiting", "pending"},
    "pause": {"created", "running", "paused", "ready", "standby"},
    "resume": {"created", "running", "paused", "ready", "standby"},
    "set-speed": {"created", "running", "paused", "ready", "standby"},
    "complete": {"ready"},
    "finalize": {"pending"},
    "dismiss": {"concluded"},
}


def _require(job: BlockJob, verb: str) -> None:
    if job.status not in _VERBS[verb]:
        raise QmpError(f"Job '{job.id}' in state '{job.status}' cannot accept command verb '{verb}'")


def _completed(board: Board, job: BlockJob) -> Result:
    if job.status == "standby":
        # It is remembered until the job goes on.
        return replace(board, qemu=board.qemu.doing(replace(job, ordered=True))), {}
    _require(job, "complete")
    job = replace(job, ordered=True)
    return _done(board, job, _pivoted(board, job)).replied_first(), {}


def _pivoted(board: Board, job: BlockJob) -> Board:
    drive = board.qemu.drive(job.vdev)
    assert drive is not None
    at = [node.name for node in drive.chain].index(job.target)
    fs, qemu = jobs.completed(board.fs, board.qemu, job)
    if not drive.attached:
        # Nothing is put in its place: the base merely ends up as writable as it (qemu.md 163).
        drive = jobs.unfollowed(drive)
        lower = (replace(drive.chain[at], readonly=drive.root.readonly), *drive.chain[at + 1 :])
        return board.having(fs, qemu.having(replace(drive, chain=(*drive.chain[:at], *lower))))
    pivoted = qemu.drive(job.vdev)
    assert pivoted is not None
    if len(pivoted.chain) < len(drive.chain):
        # What the monitor holds of the images above stays, and stands on the very base.
        alone = graph.kept_alone(qemu, (*jobs.unfollowed(drive).chain[:at], *pivoted.chain))
        qemu = qemu if alone.drives[-1].root.name == pivoted.root.name else alone
    return board.having(fs, qemu)


def _cancelled(board: Board, job: BlockJob, *, force: bool = True) -> Result:
    _require(job, "cancel")
    if job.status == "ready" and not force:
        # A commit that has caught up ends well, only without a pivot (qemu.md 165).
        fs, qemu = jobs.cancelled(board.fs, board.qemu, job)
        return _done(board, job, board.having(fs, qemu)).replied_first(), {}
    return _abandoned(board, job).replied_first(), {}


def _abandoned(board: Board, job: BlockJob) -> Board:
    working = replace(job, status=job.held or job.status, held="")
    fs, qemu = jobs.cancelled(board.fs, board.qemu.doing(working), working)
    ended = qemu.job(job.id)
    assert ended is not None
    board = board.having(fs, qemu.doing(replace(ended, error="Operation canceled", paused=False)))
    if job.paused:
        # It goes on, to be cancelled.
        board = status_told(board, job, "ready" if job.status == "standby" else "running")
    board = status_told(board, job, "aborting")
    board = status_told(board.happened("BLOCK_JOB_CANCELLED", **_ends(job)), job, "concluded")
    return _forgotten(board, job) if job.auto_dismiss else board


def given_up(board: Board) -> Board:
    """QEMU ends: every job stops, is cancelled and is forgotten, the newest first."""
    for job in stopped(board):
        board = _paused(board, job)[0]
    for job in reversed(board.qemu.jobs):
        board = _forgotten(board, job) if job.over else _abandoned(board, replace(job, auto_dismiss=True))
    return board


def _paused(board: Board, job: BlockJob) -> Result:
    _require(job, "pause")
    if job.paused:
        raise QmpError("Job is already paused")
    status = "standby" if job.status == "ready" else "paused"
    held = replace(job, paused=True, status=status)
    return status_told(replace(board, qemu=board.qemu.doing(held)), job, status), {}


def _resumed(board: Board, job: BlockJob) -> Result:
    if not job.paused:
        raise QmpError("Can't resume a job that was not paused")
    _require(job, "resume")
    status = "ready" if job.status == "standby" else "running"
    going = replace(job, paused=False, status=status, ordered=False)
    board = status_told(replace(board, qemu=board.qemu.doing(going)), job, status)
    if not job.ordered:
        return board, {}
    return _done(board, replace(going, ordered=True), _pivoted(board, going)).replied_first(), {}


def _finalized(board: Board, job: BlockJob) -> Result:
    _require(job, "finalize")
    going = replace(job, status=job.held, ordered=False)
    after = replace(board, qemu=board.qemu.doing(going))
    if job.held == "ready":
        # It has been told before which of the two it is.
        after = _pivoted(after, going) if job.ordered else after.having(*jobs.cancelled(after.fs, after.qemu, going))
    else:
        fs, qemu = jobs.worked(after.fs, after.qemu, going)
        after = _left_behind(after, job, after.having(fs, qemu))
    return told(board, after), {}


def _dismissed(board: Board, job: BlockJob) -> Result:
    _require(job, "dismiss")
    return _forgotten(board, job), {}


def _block_job_cancel(board: Board, arguments: Arguments) -> Result:
    job, force = _block_job(board, arguments), bool(arguments.get("force"))
    if job.paused and not force:
        raise QmpError(f"The block job for device '{job.id}' is currently paused")
    return _cancelled(board, job, force=force)


def _set_speed(board: Board, arguments: Arguments) -> Result:
    job, speed = _block_job(board, arguments), arguments["speed"]
    _require(job, "set-speed")
    if speed < 0:
        raise QmpError("Parameter 'speed' expects a non-negative value")
    return replace(board, qemu=board.qemu.doing(replace(job, speed=speed))), {}


def _on(
    which: Callable[[Board, Arguments], BlockJob], do: Callable[[Board, BlockJob], Result]
) -> Callable[[Board, Arguments], Result]:
    return lambda board, arguments: do(board, which(board, arguments))


COMMANDS = {
    "block-commit": Command(
        {
            "job-id?": text,
            "device": text,
            "base-node?": text,
            "base?": text,
            "top-node?": text,
            "top?": text,
            "backing-file?": text,
            "speed?": whole,
            "on-error?": _ON_ERROR,
            "filter-node-name?": text,
            **_FLAGS,
        },
        _commit,
    ),
    "block-stream": Command(
        {
            "job-id?": text,
            "device": text,
            "base?": text,
            "base-node?": text,
            "backing-file?": text,
            "bottom?": text,
            "speed?": whole,
            "on-error?": _ON_ERROR,
            "filter-node-name?": text,
            **_FLAGS,
        },
        _stream,
    ),
    "block-job-cancel": Command({"device": text, "force?": truth}, _block_job_cancel),
    "block-job-set-speed": Command({"device": text, "speed": whole}, _set_speed),
    **{
        f"job-{verb}": Command({"id": text}, _on(_job, do))
        for verb, do in (
            ("cancel", _cancelled),
            ("complete", _completed),
            ("pause", _paused),
            ("resume", _resumed),
            ("finalize", _finalized),
            ("dismiss", _dismissed),
        )
    },
    **{
        f"block-job-{verb}": Command(members, _on(_block_job, do))
        for verb, members, do in (
            ("complete", {"device": text}, _completed),
            ("pause", {"device": text}, _paused),
            ("resume", {"device": text}, _resumed),
            ("finalize", {"id": text}, _finalized),
            ("dismiss", {"id": text}, _dismissed),
        )
    },
}
