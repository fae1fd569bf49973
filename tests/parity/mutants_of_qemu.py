"""What a reasonable fake would get wrong of QEMU's monitor: each put into the simulator."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from simulator.disk.snapshots import Table
from simulator.qemu import board as boards
from simulator.qemu import jobs, monitor, wire
from simulator.qemu.board import Board, Left
from simulator.qemu.commands import ask, backups, bitmaps, machine, making, snapshots, work
from simulator.qemu.commands.command import Result
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments

replace = msgspec.structs.replace
Mutate = Callable[[pytest.MonkeyPatch], None]
Do = Callable[[Board, Arguments], Result]

ANSWERED, SPOKEN = monitor._answered, monitor.spoken
OPENED = snapshots._overlay_opened
FED, UNDONE, OVERLAID = wire.Stream.fed, snapshots._undone, snapshots._overlaid_by_file


def _instead(patch: pytest.MonkeyPatch, name: str, do: Callable[[Do, Board, Arguments], Result]) -> None:
    """The command does something else, which may make use of what it did."""
    command = monitor.COMMANDS[name]
    changed = command._replace(do=lambda board, arguments: do(command.do, board, arguments))
    patch.setitem(monitor.COMMANDS, name, changed)


def _error_of(board: Board, arguments: Arguments) -> str:
    job = board.qemu.job(arguments["job-id"])
    return job.error if job else ""


# --- the wire --------------------------------------------------------------------------------------------------------


def a_newline_ends_a_message(patch: pytest.MonkeyPatch) -> None:
    """A client ends each message with a newline, as the server does."""

    def fed(stream: wire.Stream, data: bytes) -> tuple[wire.Stream, list[Any]]:
        return FED(stream, data) if data.endswith(b"\n") else (replace(stream, rest=stream.rest + data), [])

    patch.setattr(wire.Stream, "fed", fed)


def a_newline_ends_an_answer(patch: pytest.MonkeyPatch) -> None:
    """QEMU ends its lines as it lets clients end theirs, with a newline alone."""
    patch.setattr(monitor, "spoken", lambda message: SPOKEN(message).replace(b"\r\n", b"\n"))


def a_message_needs_an_id(patch: pytest.MonkeyPatch) -> None:
    """Every message has an id, also the one that negotiates, and every answer has it back."""

    def answered(session: monitor.Session, board: Board, value: Any) -> Any:
        return ANSWERED(session, board, {"id": None, **value} if isinstance(value, dict) else value)

    patch.setattr(monitor, "_answered", answered)


def a_qemu_that_dies_says_so(patch: pytest.MonkeyPatch) -> None:
    """A command of which QEMU dies is answered by an error, so that a client knows what has become of it."""

    def answered(session: monitor.Session, board: Board, value: Any) -> Any:
        session, board, said = ANSWERED(session, board, value)
        error = {"error": {"class": "GenericError", "desc": board.crashed}}
        return session, board, [*said, error] if board.crashed else said

    patch.setattr(monitor, "_answered", answered)


def an_unknown_device_has_a_class_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """A device that is not there is DeviceNotFound, as the documentation has it."""

    def told(do: Do, board: Board, arguments: Arguments) -> Result:
        try:
            return do(board, arguments)
        except QmpError as error:
            raise QmpError(str(error), "DeviceNotFound" if "Cannot find" in str(error) else "GenericError") from None

    _instead(patch, "blockdev-snapshot-internal-sync", told)


# --- points in time --------------------------------------------------------------------------------------------------


def a_failed_list_keeps_what_it_did(patch: pytest.MonkeyPatch) -> None:
    """The actions before the one that fails stay done."""

    def undone(_before: Board, left: Board, *rest: Any) -> Left:
        return Left(str(rest[-1]), left)

    patch.setattr(snapshots, "_undone", undone)


def an_undone_overlay_is_removed(patch: pytest.MonkeyPatch) -> None:
    """With a list that fails the overlays go that it has made."""

    def undone(before: Board, left: Board, *rest: Any) -> Left:
        return UNDONE(before, replace(left, made=before.made), *rest)

    patch.setattr(snapshots, "_undone", undone)


def any_list_can_be_undone(patch: pytest.MonkeyPatch) -> None:
    """Two points of one device are taken back like one."""

    def undone(before: Board, *rest: Any) -> Left:
        left = UNDONE(before, *rest)
        return Left(str(left), replace(left.board, crashed=""))

    patch.setattr(snapshots, "_undone", undone)


def a_name_may_be_doubled_over_qmp(patch: pytest.MonkeyPatch) -> None:
    """QMP takes a second snapshot of the same name, as qemu-img does."""
    patch.setattr(Table, "by_tag", lambda _table, _tag: None)


def a_bare_overlay_stays(patch: pytest.MonkeyPatch) -> None:
    """An overlay over an image that no device stands on is there afterwards."""
    patch.setattr(snapshots, "_unreferenced_closed", lambda board: board)


def no_image_is_locked(patch: pytest.MonkeyPatch) -> None:
    """An image that is open may be opened once more for writing."""
    for module in (boards, making):
        patch.setattr(module, "require_lock", lambda *_args, **_named: None)


def a_bad_name_leaves_no_file(patch: pytest.MonkeyPatch) -> None:
    """What a node may be called is looked at before its file is made."""

    def looked(board: Board, arguments: Arguments) -> Board:
        if name := arguments.get("snapshot-node-name"):
            boards.require_name(name)
        return OVERLAID(board, arguments)

    patch.setattr(snapshots, "_overlaid_by_file", looked)


def a_shrink_needs_a_flag(patch: pytest.MonkeyPatch) -> None:
    """What a resize would cut off is not lost without a word."""

    def asked(do: Do, board: Board, arguments: Arguments) -> Result:
        place = boards.found(board.qemu, arguments.get("device"), arguments.get("node-name"))
        if arguments["size"] < place.node.belief.size_bytes:
            raise QmpError("shrinking is not allowed")
        return do(board, arguments)

    _instead(patch, "block_resize", asked)


def a_shared_image_can_be_committed_into(patch: pytest.MonkeyPatch) -> None:
    """A commit writes to its base, whoever else stands on that."""
    patch.setattr(jobs, "_require_alone_in", lambda *_args: None)


def an_overlay_is_written_to(patch: pytest.MonkeyPatch) -> None:
    """An overlay is there to be written to, also over a disk that is not."""

    def opened(*args: Any, readonly: bool) -> Any:
        del readonly
        return OPENED(*args, readonly=False)

    patch.setattr(snapshots, "_overlay_opened", opened)


def a_file_has_one_name(patch: pytest.MonkeyPatch) -> None:
    """`base` and `top` name an image by its path, whatever QEMU calls it."""

    def by_file(drive: Any, first: int, name: str) -> int | None:
        return next((at for at in range(first, len(drive.chain)) if drive.chain[at].layer.path == name), None)

    patch.setattr(work, "_by_file", by_file)


# --- the machine's state ---------------------------------------------------------------------------------------------


def a_save_that_fails_is_answered_so(patch: pytest.MonkeyPatch) -> None:
    """The reply to `snapshot-save` tells that it has failed."""

    def told(do: Do, board: Board, arguments: Arguments) -> Result:
        after, result = do(board, arguments)
        if error := _error_of(after, arguments):
            raise QmpError(error)
        return after, result

    _instead(patch, "snapshot-save", told)


def a_save_replaces_its_name(patch: pytest.MonkeyPatch) -> None:
    """A snapshot of the same name makes room, as it does for the human monitor's `savevm`."""

    def replaced(do: Do, board: Board, arguments: Arguments) -> Result:
        gone, _ = monitor.COMMANDS["snapshot-delete"].do(board, arguments | {"job-id": "room"})
        qemu = replace(gone.qemu, jobs=board.qemu.jobs)
        return do(replace(gone, qemu=qemu, events=(), later=()), arguments)

    _instead(patch, "snapshot-save", replaced)


def a_job_that_is_over_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody has to dismiss the job of a `snapshot-save`."""

    def forgotten(do: Do, board: Board, arguments: Arguments) -> Result:
        after, result = do(board, arguments)
        return replace(after, qemu=replace(after.qemu, jobs=board.qemu.jobs)), result

    _instead(patch, "snapshot-save", forgotten)


def the_end_comes_before_the_reply(patch: pytest.MonkeyPatch) -> None:
    """A client hears that a `snapshot-save` is over, and then its reply."""

    def told(do: Do, board: Board, arguments: Arguments) -> Result:
        after, result = do(board, arguments)
        return replace(after, events=(*after.events, *after.later), later=()), result

    _instead(patch, "snapshot-save", told)


def a_load_goes_by_names(patch: pytest.MonkeyPatch) -> None:
    """`snapshot-load` reverts to the snapshot of that name."""
    patch.setattr(Table, "by_id", lambda _table, _id: None)


def a_load_that_fails_changes_nothing(patch: pytest.MonkeyPatch) -> None:
    """Where one disk cannot be reverted no disk is."""

    def whole(do: Do, board: Board, arguments: Arguments) -> Result:
        after, result = do(board, arguments)
        if not _error_of(after, arguments):
            return after, result
        return replace(after, fs=board.fs, qemu=replace(after.qemu, drives=board.qemu.drives)), result

    _instead(patch, "snapshot-load", whole)


def a_load_that_fails_lets_the_guest_run(patch: pytest.MonkeyPatch) -> None:
    """After a `snapshot-load` that failed the machine goes on as before."""

    def going(do: Do, board: Board, arguments: Arguments) -> Result:
        after, result = do(board, arguments)
        return replace(after, qemu=replace(after.qemu, status=board.qemu.status)), result

    _instead(patch, "snapshot-load", going)


def a_delete_of_nothing_fails(patch: pytest.MonkeyPatch) -> None:
    """`snapshot-delete` of a name that is nowhere has an error."""

    def found(do: Do, board: Board, arguments: Arguments) -> Result:
        after, result = do(board, arguments)
        job = after.qemu.job(arguments["job-id"])
        if job and not job.error and after.fs is board.fs:
            after = replace(after, qemu=after.qemu.doing(replace(job, error="no such snapshot")))
        return after, result

    _instead(patch, "snapshot-delete", found)


def a_guest_of_xen_is_loaded(patch: pytest.MonkeyPatch) -> None:
    """What QEMU has saved of a guest under Xen it can load again."""

    def loaded(do: Do, board: Board, arguments: Arguments) -> Result:
        return do(replace(board, qemu=replace(board.qemu, xen=False)), arguments)

    _instead(patch, "snapshot-load", loaded)


def a_human_reads_of_failures_as_a_client(patch: pytest.MonkeyPatch) -> None:
    """What a line for the human monitor misses is said by an error of QMP."""

    def told(do: Do, board: Board, arguments: Arguments) -> Result:
        after, text = do(board, arguments)
        if text.startswith("Error: "):
            raise QmpError(text.removeprefix("Error: ").strip())
        return after, text

    _instead(patch, "human-monitor-command", told)


def a_human_saves_beside_what_is_there(patch: pytest.MonkeyPatch) -> None:
    """`savevm` of a name that is taken is refused, as `snapshot-save` is."""
    patch.setattr(machine, "_deleted", lambda board, _names, _tag: board)


def a_human_loads_by_an_id(patch: pytest.MonkeyPatch) -> None:
    """`loadvm 2` takes the id, as `qemu-img snapshot -a` does."""
    by_tag = Table.by_tag
    patch.setattr(Table, "by_tag", lambda table, tag: by_tag(table, tag) or table.by_id(tag))


def an_ending_qemu_says_nothing_of_jobs(patch: pytest.MonkeyPatch) -> None:
    """With QEMU its jobs are gone, without a word."""
    patch.setattr(work, "given_up", lambda board: board)


# --- bitmaps ---------------------------------------------------------------------------------------------------------


def a_merge_of_nothing_is_harmless(patch: pytest.MonkeyPatch) -> None:
    """Nothing merged into a bitmap leaves it as it is."""

    def merged(do: Do, board: Board, arguments: Arguments) -> Result:
        return do(board, arguments) if arguments["bitmaps"] else (board, {})

    _instead(patch, "block-dirty-bitmap-merge", merged)


def an_unknown_bitmap_is_refused_anywhere(patch: pytest.MonkeyPatch) -> None:
    """In a transaction a bitmap that is not there is refused as it is alone."""
    patch.setattr(bitmaps, "known", lambda *_args: True)


def a_stream_of_nothing_changes_nothing(patch: pytest.MonkeyPatch) -> None:
    """A stream with nothing between leaves the image as it is."""

    def streamed(do: Do, board: Board, arguments: Arguments) -> Result:
        after, answer = do(board, arguments)
        nothing = "bottom" in arguments and arguments["bottom"] == "n0"
        return replace(
            after, fs=board.fs, qemu=replace(after.qemu, drives=board.qemu.drives)
        ) if nothing else after, answer

    _instead(patch, "block-stream", streamed)


def any_name_is_a_filters(patch: pytest.MonkeyPatch) -> None:
    """What a client calls the filter of a job is its own affair."""
    patch.setattr(work, "require_filter_name", lambda *_args: None)


def a_paused_job_can_be_cancelled(patch: pytest.MonkeyPatch) -> None:
    """`block-job-cancel` ends a paused job as `job-cancel` does."""

    def cancelled(do: Do, board: Board, arguments: Arguments) -> Result:
        return do(board, {**arguments, "force": True})

    _instead(patch, "block-job-cancel", cancelled)


# --- backups ---------------------------------------------------------------------------------------------------------


def a_backup_makes_room_for_a_smaller_target(patch: pytest.MonkeyPatch) -> None:
    """A backup fits its target to the disk, as a commit does."""
    patch.setattr(backups, "sectors", lambda _image: 0)


def a_failed_list_says_nothing_of_its_backups(patch: pytest.MonkeyPatch) -> None:
    """Of a job that a list has made and that has never begun nobody hears."""
    patch.setattr(backups, "taken_back", lambda board, _left: replace(board, events=()))


def a_refused_backup_leaves_no_file(patch: pytest.MonkeyPatch) -> None:
    """What is wrong with a `drive-backup` is found before its file is made."""

    def refused(do: Do, board: Board, arguments: Arguments) -> Result:
        try:
            return do(board, arguments)
        except Left as error:
            raise QmpError(str(error)) from None

    _instead(patch, "drive-backup", refused)


def a_filter_is_never_a_devices_image(patch: pytest.MonkeyPatch) -> None:
    """`query-block` leaves out the filter of a backup as it does that of a commit."""
    patch.setattr(ask, "BACKUP", "none")


def a_backup_of_what_the_guest_overwrites_ends(patch: pytest.MonkeyPatch) -> None:
    """A backup that has nothing to copy yet is over."""

    def ended(do: Do, board: Board, arguments: Arguments) -> Result:
        return do(board, arguments | {"sync": "full"} if arguments["sync"] == "none" else arguments)

    _instead(patch, "blockdev-backup", ended)


MUTANTS: dict[Mutate, str] = {
    a_backup_makes_room_for_a_smaller_target: "qmp-backup",
    a_backup_of_what_the_guest_overwrites_ends: "qmp-backup",
    a_filter_is_never_a_devices_image: "qmp-backup",
    a_failed_list_says_nothing_of_its_backups: "qmp-backups-together",
    a_refused_backup_leaves_no_file: "qmp-drive-backup",
    a_newline_ends_a_message: "qmp-session",
    a_newline_ends_an_answer: "qmp-wire",
    a_message_needs_an_id: "qmp-wire",
    a_qemu_that_dies_says_so: "qmp-abort",
    a_stream_of_nothing_changes_nothing: "qmp-stream-in-full",
    a_paused_job_can_be_cancelled: "qmp-paused",
    any_name_is_a_filters: "qmp-commit-in-full",
    an_unknown_device_has_a_class_of_its_own: "qmp-internal",
    a_failed_list_keeps_what_it_did: "qmp-transaction",
    an_undone_overlay_is_removed: "qmp-transaction",
    any_list_can_be_undone: "qmp-abort",
    a_name_may_be_doubled_over_qmp: "qmp-internal",
    a_bare_overlay_stays: "qmp-external",
    no_image_is_locked: "qmp-locks",
    a_bad_name_leaves_no_file: "qmp-left-behind",
    a_shrink_needs_a_flag: "qmp-left-behind",
    a_save_that_fails_is_answered_so: "qmp-machine",
    a_save_replaces_its_name: "qmp-machine",
    a_job_that_is_over_is_forgotten: "qmp-machine",
    the_end_comes_before_the_reply: "xen/state-saved-by-qemu",
    a_load_goes_by_names: "qmp-tag-for-id",
    a_load_that_fails_changes_nothing: "qmp-load-half-way",
    a_load_that_fails_lets_the_guest_run: "qmp-machine",
    a_delete_of_nothing_fails: "qmp-machine",
    a_guest_of_xen_is_loaded: "xen/state-saved-by-qemu",
    a_shared_image_can_be_committed_into: "qmp-shared-base",
    an_overlay_is_written_to: "qmp-read-only",
    a_file_has_one_name: "qmp-names-of-files",
    a_human_reads_of_failures_as_a_client: "qmp-human-words",
    a_human_saves_beside_what_is_there: "qmp-human-state",
    a_human_loads_by_an_id: "qmp-human-state",
    an_ending_qemu_says_nothing_of_jobs: "qmp-quit",
    a_merge_of_nothing_is_harmless: "qmp-merge-of-nothing",
    an_unknown_bitmap_is_refused_anywhere: "qmp-enable-of-nothing",
}
