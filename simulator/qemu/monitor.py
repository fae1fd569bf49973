"""One client's conversation with a QEMU, as a pure function: what is said so far and some bytes give the answers.

QEMU 7.2.22 serves one client at a time; who does the serving (`simulator.serve`, a test) sees to that. Nothing here
knows of sockets or of time passing: `went_on` is called when a block job has had time for a step.
"""

from typing import Any

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.qjson import written
from simulator.qemu import introspection
from simulator.qemu.board import Board, Left
from simulator.qemu.commands import (
    absent,
    ask,
    backups,
    bitmaps,
    edges,
    human,
    life,
    machine,
    nodes,
    snapshots,
    stats,
    work,
)
from simulator.qemu.commands.command import Command
from simulator.qemu.commands.draining import drained
from simulator.qemu.graph import Event
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, checked, enum, many
from simulator.qemu.wire import Stream, WireError, shown

replace = msgspec.structs.replace

COMMANDS: dict[str, Command] = {
    **ask.COMMANDS,
    **edges.COMMANDS,
    **nodes.COMMANDS,
    **snapshots.COMMANDS,
    **work.COMMANDS,
    **machine.COMMANDS,
    **bitmaps.COMMANDS,
    **life.COMMANDS,
    **stats.COMMANDS,
    **backups.COMMANDS,
    **human.COMMANDS,
}
_CAPABILITIES = {"enable?": many(enum("oob"))}

_DRAINING = {
    "transaction",
    "blockdev-snapshot",
    "blockdev-snapshot-sync",
    "blockdev-snapshot-internal-sync",
}

Message = dict[str, Any]


class Session(msgspec.Struct, frozen=True):
    """What a monitor knows of its client.

    Attributes:
        daemon: whether this is qemu-storage-daemon, which has fewer commands.
        over: whether QEMU has hung up.
    """

    stream: Stream = Stream()
    negotiated: bool = False
    oob: bool = False
    daemon: bool = False
    over: bool = False


def greeting() -> Message:
    """What a client hears first."""
    return {"QMP": {"version": ask.VERSION, "capabilities": ["oob"]}}


def spoken(message: Message) -> bytes:
    """A message as it goes over the wire."""
    return (written(message) + "\r\n").encode()


def received(session: Session, board: Board, data: bytes) -> tuple[Session, Board, list[Message]]:
    """What QEMU does and says to these bytes. Raises `NotModelled` for what is not modelled."""
    stream, heard = session.stream.fed(data)
    session, said = replace(session, stream=stream), list[Message]()
    for value in heard:
        if session.over:
            break
        session, board, answers = _answered(session, board, value)
        said += answers
    return session, board, said


def told(session: Session, board: Board, events: tuple[Event, ...]) -> list[Message]:
    """What has happened meanwhile, as this client hears it."""
    return _events_of(session, replace(board, events=events))[1]


def went_on(session: Session, board: Board) -> tuple[Board, list[Message]]:
    """Every block job does a step."""
    return _events_of(session, work.stepped(board))


def _answered(session: Session, board: Board, value: Any) -> tuple[Session, Board, list[Message]]:
    identity = {"id": value["id"]} if isinstance(value, dict) and "id" in value else {}
    try:
        name, arguments, oob = _request(session, value)
        session, board, result = _carried_out(session, board, name, arguments, oob=oob)
        board, events = _events_of(session, board)
        board, later = _events_of(session, replace(board, events=board.later, later=()))
        answers = [*events, {"return": result, **identity}, *later]
    except QmpError as error:
        board, events = _events_of(session, error.board if isinstance(error, Left) else board)
        answers = [*events, {**identity, "error": {"class": error.error_class, "desc": str(error)}}]
    if board.crashed:
        return replace(session, over=True), board, events
    return replace(session, over=board.qemu.status == "shutdown"), board, answers


def _events_of(session: Session, board: Board) -> tuple[Board, list[Message]]:
    """What is to be told now. A client that has not negotiated yet hears nothing; a daemon is no machine."""
    seconds, rest = divmod(board.now_ns, 10**9)
    stamp = {"seconds": seconds, "microseconds": rest // 1000}
    unknown = introspection.MACHINE_EVENTS if session.daemon else ()
    told = [_event(event, stamp) for event in board.events if event.name not in unknown] if session.negotiated else []
    return replace(board, events=()), told


def _event(event: Event, stamp: dict[str, int]) -> Message:
    data = {"data": event.data} if event.data else {}
    return {"event": event.name, **data, "timestamp": stamp}


# --- requests --------------------------------------------------------------------------------------------------------


def _request(session: Session, value: Any) -> tuple[str, Arguments, bool]:
    """The command that is asked for. The order of these looks is QEMU's (qemu.md 102)."""
    if isinstance(value, WireError):
        raise QmpError(str(value))
    if not isinstance(value, dict):
        raise QmpError("QMP input must be a JSON object")
    key = ""
    for member, given in value.items():
        if member == "execute" or (member == "exec-oob" and session.oob):
            if key:
                raise QmpError("QMP input member 'execute' clashes with 'exec-oob'")
            key = member
            if not isinstance(given, str):
                raise QmpError(f"QMP input member '{member}' must be a string")
        elif member == "arguments":
            if not isinstance(given, dict):
                raise QmpError("QMP input member 'arguments' must be an object")
        elif member != "id":
            raise QmpError(f"QMP input member '{shown(member.encode('utf-8', 'surrogateescape'))}' is unexpected")
    if not key:
        raise QmpError("QMP input lacks member 'execute'")
    return value[key], value.get("arguments", {}), key == "exec-oob"


def _carried_out(
    session: Session, board: Board, name: str, arguments: Arguments, *, oob: bool
) -> tuple[Session, Board, Any]:
    command = _looked_up(session, name)
    if oob:
        # Those that may be sent so are not modelled (qemu.md 106).
        raise QmpError(f"The command {name} does not support OOB")
    if name == "qmp_capabilities":
        return *_negotiated(session, board, arguments), {}
    if command is None:
        checked({}, arguments)
        return session, board, _OF_ITSELF[name](session)
    if backups.at_work(board) and not backups.allowed(name):
        raise NotModelled(f"QMP: {name} while a backup is at work")
    given = arguments if name == "blockdev-add" else checked(command.members, arguments)
    if name == "blockdev-add":
        given = nodes.BLOCKDEV(arguments, "", "")
    if name in _DRAINING:
        board = drained(board)
    try:
        board, result = command.do(board, given)
    except QmpError as error:
        if not isinstance(error, Left) and board.events:
            raise Left(str(error), board, error.error_class) from None
        raise
    return session, board, result


def _looked_up(session: Session, name: str) -> Command | None:
    """The command of that name; None for what the monitor knows of itself."""
    if name == "qmp_capabilities":
        return None
    if not session.negotiated:
        words = "Expecting capabilities negotiation with 'qmp_capabilities'"
        raise QmpError(words, "CommandNotFound")
    if name in _OF_ITSELF:
        return None
    command = COMMANDS.get(name)
    if command is None or (session.daemon and not command.daemon):
        if name in (absent.DAEMON_NAMES if session.daemon else absent.NAMES):
            raise NotModelled(f"QMP: the command {name}")
        raise QmpError(f"The command {name} has not been found", "CommandNotFound")
    return command


def _negotiated(session: Session, board: Board, arguments: Arguments) -> tuple[Session, Board]:
    enabled = checked(_CAPABILITIES, arguments).get("enable", [])
    if session.negotiated:
        raise QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound")
    return replace(session, negotiated=True, oob="oob" in enabled), board


# --- what it says of itself ------------------------------------------------------------------------------------------


def names(*, daemon: bool) -> list[str]:
    """All commands that there are; of a command that is not modelled nobody is told."""
    return ["qmp_capabilities", *_OF_ITSELF, *(name for name, each in COMMANDS.items() if each.daemon or not daemon)]


def _commands(session: Session) -> list[Message]:
    return [{"name": name} for name in names(daemon=session.daemon)]


def _schema(session: Session) -> list[Message]:
    wanted = [*names(daemon=session.daemon), *introspection.JOB_EVENTS]
    wanted += () if session.daemon else introspection.MACHINE_EVENTS
    return introspection.needed(introspection.recorded(), wanted)


_OF_ITSELF = {"query-commands": _commands, "query-qmp-schema": _schema}
