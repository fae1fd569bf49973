"""What makes it hard: a guest that does not suspend itself, a full file system, memory that is damaged."""

from contextlib import suppress
from functools import partial

import pytest

from simulator import SimulatedHost, after_engine_crash
from tests.crash.harness import GUEST, TRIED, every_crash, every_effect
from tests.crash.running import OPERATIONS, UUID, running, seen, sound
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import ExitCode, Refused, XensnapError

STORE = f"/var/lib/xen/snapshots/{UUID}"


def fails(host: SimulatedHost, verb: str, request: CreateRequest | RevertRequest, *, harmed: str = "") -> XensnapError:
    """It fails, and all is as before, also the memory that the test has `harmed`."""
    before = seen(host)
    with pytest.raises(XensnapError) as caught:
        getattr(Engine(host), verb)(GUEST, request)
    assert caught.value.exit_code in (ExitCode.NOTHING_CHANGED, ExitCode.REFUSED), caught.value
    assert seen(host) == before
    sound(host, str(caught.value), harmed=(harmed,))
    return caught.value


@pytest.mark.parametrize("kinds", ["i", "e"])
def test_a_guest_that_does_not_suspend_itself_gives_no_checkpoint_and_is_not_reverted(kinds: str) -> None:
    host = running(kinds)
    host.guest_answers(GUEST, answers=False)
    assert fails(host.fork(), "create", CreateRequest("second")).id == "guest-silent"
    assert fails(host, "revert", RevertRequest("first")).id == "guest-silent"
    Engine(host).stop(GUEST)
    Engine(host).revert(GUEST, RevertRequest("first"))


@pytest.mark.parametrize("free_bytes", [0, 4096, 12288])
@pytest.mark.parametrize("verb", ["checkpoint", "revert"])
def test_a_file_system_that_fills_up_meanwhile_leaves_no_fragment_of_a_memory(verb: str, free_bytes: int) -> None:
    host = running("ie")
    before, ended = seen(host), host.fork()
    OPERATIONS[verb](Engine(ended))
    for number in every_effect(host, OPERATIONS[verb]):
        TRIED["running: full meanwhile"] += 1
        where = f"{free_bytes} bytes left at effect {number}"
        full = host.fork()
        full.meanwhile(number, partial(full.set_capacity, free_bytes=free_bytes))
        code = ExitCode.DONE
        try:
            OPERATIONS[verb](Engine(full))
        except XensnapError as error:
            code = error.exit_code
        after = SimulatedHost(after_engine_crash(full.world))
        after.set_capacity(1 << 40)
        if code is ExitCode.SOMETHING_LEFT:
            Engine(after).recover(GUEST)
        allowed = {ExitCode.DONE: [seen(ended)], ExitCode.SOMETHING_LEFT: [before, seen(ended)]}
        assert seen(after) in allowed.get(code, [before]), where
        sound(after, where)


@pytest.mark.parametrize("kinds", ["i", "e"])
def test_a_restore_that_fails_brings_the_old_guest_back(kinds: str) -> None:
    host = running(kinds)
    memory = Engine(host).list(GUEST).contents.snapshots["first"].memory
    whole = host.run(host.files.read(memory))
    host.run(host.files.replace(memory, whole[:-100] + bytes(100)))
    fails(host, "revert", RevertRequest("first"), harmed=memory)


@pytest.mark.parametrize("verb", ["revert", "revert disks", "revert disks and stop"])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_a_guest_that_does_not_come_back_at_once_while_a_revert_is_undone_is_not_lost(kinds: str, verb: str) -> None:
    host = running(kinds)
    before, ended, failed = seen(host), host.fork(), 0
    OPERATIONS[verb](Engine(ended))
    for point in every_crash(host, OPERATIONS[verb]):
        died = SimulatedHost(after_engine_crash(point.world))
        died.fail_at("xl.restore")
        with suppress(XensnapError):
            Engine(died).recover(GUEST)
        if died.unmet_faults:
            continue
        failed += 1
        TRIED["running: again while recovering"] += 1
        after = SimulatedHost(after_engine_crash(died.world))
        Engine(after).recover(GUEST)
        assert seen(after) in (before, seen(ended)), f"{point!r}"
        sound(after, repr(point))
    assert failed


def test_a_memory_is_never_written_over_a_file_that_is_there() -> None:
    host = running("i")
    for name in ("second.save", "second.save.part"):
        host.run(host.files.create(f"{STORE}/{name}", b"what somebody else has saved"))
    with suppress(Refused):
        Engine(host).create(GUEST, CreateRequest("second"))
    for name in ("second.save", "second.save.part"):
        assert host.run(host.files.read(f"{STORE}/{name}")) == b"what somebody else has saved"
