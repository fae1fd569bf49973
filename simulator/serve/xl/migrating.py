"""`xl migrate -s '' DOMAIN COMMAND`: the memory of a guest that runs on meanwhile, sent to a program that is no xl.

That program is a real one, started by the executable in xl's place; what happens to the guest stands in the world. So
the two talk: here is decided what comes next, there it is done. Words and order are xl's (Xen 4.17.7: xen-live.md A;
transcripts 30 to 33, xl_migrate.c).
"""

import signal
from collections.abc import Generator, Sequence
from typing import Any

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended, Told
from simulator.serve.sockets import Worlds
from simulator.serve.xl import acting, configuration, helped
from simulator.serve.xl.words import Refused, domid_of, there
from simulator.world import STEP_NS, World, programs
from simulator.world.life import XlError
from simulator.xen import save_file
from simulator.xen.incarnations import Incarnation
from xensnap.model import GuestKind

BANNER = b"xl migration receiver ready, send binary domain data.\n"
_READY = b"domain received, ready to unpause\0"
_LEAVES_S = 2.0
_TRUNCATED = "libxl: error: libxl_utils.c:505:libxl_read_exactly: file/stream truncated reading {} from {}\n"
_TRANSPORT = "migration transport process"

Ask = tuple[Any, ...]
"""What the executable shall do: `run` a command, `read` so many of its bytes, `send` it some, `say` or `wait`."""
Talk = Generator[Ask, Any, Ended]


def is_meant(argv: Sequence[str]) -> bool:
    """Whether a command line of xl is a migration, whatever its words are worth."""
    words = [word for word in argv if not word.startswith("-")]
    return bool(words) and helped.meant(words[0]) == "migrate" and not {"-h", "--help"} & set(argv)


def talk(worlds: Worlds, argv: Sequence[str]) -> Talk:
    """One migration. Who stops asking has been killed: then nobody resumes the guest, wherever it is (xen-live.md A6).

    Raises:
        NotModelled: it would go to another host, or the receiver says that it has the domain.
    """
    if argv[:1] != ["migrate"]:
        raise NotModelled("xl migrate with options of xl's own")
    with worlds.changing() as cell:
        world = cell.world
        try:
            found, command = _meant(world, argv[1:])
        except Refused as error:
            cell.world = error.world or world
            return Ended(cell.world, error.code, error.stdout, error.stderr)
        cell.world, pid = world.started(f"xl migrate -s '' {found.domid} {command}")
    try:
        return (yield from _sent(worlds, found, command))
    finally:
        with worlds.changing() as cell:
            cell.world = cell.world.ended(pid)


def _meant(world: World, argv: Sequence[str]) -> tuple[Incarnation, str]:
    words = acting.read_migrate(argv)
    domid, command = domid_of(world, words.words[0]), words.words[1]
    if words.options != (("s", ""),) or there(world, domid) is None:
        acting.migrate(world, argv, Told())
    try:
        found = programs.asked_of(world, domid)
    except XlError as error:
        raise Refused(error.words, world=error.world) from None
    return found, command


def _sent(worlds: Worlds, found: Incarnation, command: str) -> Talk:
    domid = found.domid
    child = yield "run", command
    greeting = yield "read", len(BANNER)
    if greeting != BANNER:
        return (yield from _over(worlds, child, _unlike(greeting, BANNER, "banner", command)))
    kind = "PV" if found.traits.kind is GuestKind.PV else "HVM"
    with worlds.changing() as cell:
        begin = programs.head_of(cell.world, found)
    info = save_file.announced(begin)
    head = f"Saving to migration stream new xl format (info {info})\nxc: info: Saving domain {domid}, type x86 {kind}\n"
    yield "say", configuration.complaints([found]) + head
    for part in (lambda world, _: (world, begin + save_file.BEGIN), programs.sent_running, programs.sent_standing):
        failed, data = None, b""
        with worlds.changing() as cell:
            try:
                cell.world, data = part(cell.world.slept(STEP_NS), domid)
            except XlError as error:
                cell.world, failed = error.world or cell.world, error
        if failed:
            return (yield from _over(worlds, child, _not_suspended(domid, failed), "failed to suspend at sender"))
        if not (yield "send", data):
            return (yield from _broken(worlds, found, child))
    said = yield "read", len(_READY)
    if said == _READY:
        with worlds.changing() as cell:
            cell.world = programs.refused(cell.world, domid)
        raise NotModelled("xl migrate whose receiver says that it has the domain")
    words = _unlike(said, _READY, "ready message", command)
    return (yield from _over(worlds, child, words, "resuming at sender", resumed=domid))


def _unlike(said: bytes, wanted: bytes, what: str, command: str) -> str:
    """What is said of a receiver that says something else, or has left."""
    stream = "migration receiver stream"
    if len(said) < len(wanted):
        return _TRUNCATED.format(what, stream)
    return f"{stream} contained unexpected data instead of {what}\n(command run was: {command} )\n"


def _broken(worlds: Worlds, found: Incarnation, child: int) -> Talk:
    """The receiver takes no more."""
    domid = found.domid
    helper = f"domain {domid} save/restore helper"
    words = _TRUNCATED.format("ipc msg header", f"{helper} stdout pipe")
    words += _left(helper, child + 1, -signal.SIGPIPE, "error")
    words += "migration sender: libxl_domain_suspend failed (rc=-3)\n"
    with worlds.changing() as cell:
        stands = cell.world.xen.there[domid].shutdown
    after = (
        ""
        if stands
        else (
            f"xc: error: Dom {domid} not suspended: (shutdown 0, reason 255): Internal error\n"
            f"libxl: error: libxl_dom_suspend.c:666:domain_resume_done: Domain {domid}:xc_domain_resume failed: "
            "Invalid argument\n"
        )
    )
    return (yield from _over(worlds, child, words, "resuming at sender", resumed=domid, after=after))


def _over(
    worlds: Worlds, child: int, words: str, how: str = "", *, resumed: int | None = None, after: str = ""
) -> Talk:
    """Hang up and wait for the receiver to end, but not for long. Only then is the guest resumed."""
    yield "say", words
    status = yield "wait", _LEAVES_S
    told = _left(_TRANSPORT, child, status, "info")
    with worlds.changing() as cell:
        if resumed is not None:
            cell.world = programs.refused(cell.world, resumed)
        return Ended(cell.world, 1, "", told + (f"Migration failed, {how}.\n" if how else "") + after)


def _left(what: str, pid: int, status: int | None, level: str) -> str:
    """How a child has ended."""
    if status is None:
        return f"migration child [{pid}] not exiting, no longer waiting (exit status will be unreported)\n"
    where = "libxl: {}: libxl_exec.c:{}:libxl_report_child_exitstatus: {} [{}] {}\n"
    if status < 0:
        return where.format(level, 127, what, pid, f"died due to fatal signal {signal.strsignal(-status)}")
    return where.format(level, 117, what, pid, f"exited with error status {status}") if status else ""


def _not_suspended(domid: int, error: XlError) -> str:
    """Why the memory was not sent to its end: Xen logs no dirty pages, or the guest did not answer."""
    if "logdirty" in error.words:
        why, reason = f"xc: error: {error.words} (22 = Invalid argument): Internal error\n", "22 = Invalid argument"
    else:
        why, reason = (
            (
                "libxl: error: libxl_dom_suspend.c:269:domain_suspend_common_pvcontrol_suspending: "
                f"Domain {domid}:guest didn't acknowledge suspend, cancelling request\n"
                "xc: error: Domain has not been suspended: shutdown 0, reason 255: Internal error\n"
            ),
            "0 = Success",
        )
    return (
        f"{why}xc: error: Save failed ({reason}): Internal error\n"
        f"libxl: error: libxl_stream_write.c:347:libxl__xc_domain_save_done: Domain {domid}:saving domain: domain did "
        f"not respond to suspend request: {reason.partition(' = ')[2]}\n"
        "migration sender: libxl_domain_suspend failed (rc=-8)\n"
    )
