"""One monitor, several clients, and lines that break."""

import asyncio
import itertools
import json
import os
import signal
import socket
import time
from functools import partial

import pytest

from tests.real.qemu.conftest import PATIENCE_S
from xensnap.backends.local.qmp import CommandFailed, connected
from xensnap.backends.local.waiting import loop
from xensnap.errors import Busy, Effect, Failed, Unknown
from xensnap.model import RunState


def test_a_refusal_keeps_the_words_and_the_class_of_qemu(lab):
    domain = lab.start()
    with pytest.raises(CommandFailed) as caught:
        lab.execute(domain, "block-commit", device="nope", **{"job-id": "j"})
    error = caught.value
    assert (error.words, error.error_class) == ("Device 'nope' not found", "DeviceNotFound")
    assert (error.effect, error.command) == (Effect.NONE, "block-commit")
    with pytest.raises(CommandFailed, match="has not been found") as caught:
        lab.execute(domain, "bogus")
    assert caught.value.error_class == "CommandNotFound"


def test_a_second_client_is_told_busy_and_a_patient_one_gets_its_turn(lab):
    domain = lab.start()

    async def work():
        await loop()
        first = await lab.connector.connect(domain, timeout_s=PATIENCE_S)
        for _ in range(3):  # the first of them fills QEMU's backlog
            with pytest.raises(Busy) as caught:
                await lab.connector.connect(domain, timeout_s=0.1)
            assert caught.value.effect is Effect.NONE
        impatient = [asyncio.create_task(lab.connector.connect(domain, timeout_s=0.3)) for _ in range(3)]
        patient = asyncio.create_task(lab.connector.connect(domain, timeout_s=PATIENCE_S))
        told = await asyncio.gather(*impatient, return_exceptions=True)
        assert {type(error) for error in told} == {Busy}
        await first.close()
        second = await patient
        assert (await second.execute("query-status"))["status"] == "running"
        await second.close()

    lab.run(work())
    assert lab.seen(domain).state is RunState.RUNNING


def test_many_clients_each_get_their_turn(lab):
    domain = lab.start()

    async def work():
        await loop()
        await asyncio.gather(*[lab.toolstack.inspect(domain.uuid) for _ in range(12)])

    lab.run(work())


def test_what_a_killed_client_asked_for_is_not_taken_for_our_own(lab):
    domain = lab.start()
    path = lab.run(lab.processes.find(domain.uuid)).monitor
    # Long replies, so that QEMU is still at them when the next client comes; the id is one that the library gives, too.
    slow = json.dumps({"execute": "query-qmp-schema", "id": "__qmp#00000"}).encode() * 4

    async def work():
        for _ in range(15):
            with socket.socket(socket.AF_UNIX) as killed:
                killed.connect(path)
                killed.recv(4096)
                killed.sendall(b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}')
                killed.recv(4096)
                killed.sendall(slow)
                time.sleep(0.001)  # noqa: ASYNC251 -- so short that QEMU is within the command
            async with connected(lab.connector, domain) as monitor:
                assert await monitor.execute("stop") == {}
                assert (await monitor.execute("query-status"))["status"] == "paused"
                assert await monitor.execute("cont") == {}

    lab.run(work())
    lab.heard(domain)


def test_a_reply_that_is_lost_is_unknown(lab):
    domain = lab.start()
    pid = lab.run(lab.processes.find(domain.uuid)).pid

    async def work():
        await loop()
        async with connected(lab.connector, domain) as monitor:
            os.kill(pid, signal.SIGSTOP)
            waiting = asyncio.create_task(monitor.execute("query-status"))
            await asyncio.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(Unknown) as caught:
                await waiting
            assert caught.value.id == "reply-lost"
            # Now the line is known to be dead, so nothing is sent any more.
            with pytest.raises(Failed) as refused:
                await monitor.execute("query-status")
            assert refused.value.effect is Effect.NONE

    lab.run(work())


def test_a_monitor_that_never_replies_is_unknown(lab):
    domain = lab.start()
    pid = lab.run(lab.processes.find(domain.uuid)).pid

    async def work():
        await loop()
        async with connected(lab.connector, domain) as monitor:
            monitor._reply_s_max = 0.1
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(Unknown):
                await monitor.execute("query-status")
        os.kill(pid, signal.SIGCONT)

    lab.run(work())
    lab.heard(domain)


def test_nobody_answers_for_a_domain_that_is_off(lab):
    domain = lab.start()
    lab.run(lab.toolstack.destroy(domain))
    with pytest.raises(Failed) as caught:
        lab.run(lab.blocks.nodes(domain))
    assert (caught.value.id, caught.value.effect) == ("monitor-gone", Effect.NONE)


def test_who_is_interrupted_anywhere_has_hung_up(lab):
    """Ctrl-C comes at any await; what it left is alive while the domain is recovered, in the frames of the error."""
    domain = lab.start()

    async def ask(patience_s):
        async with connected(lab.connector, domain, timeout_s=patience_s) as monitor:
            return (await monitor.execute("query-status"))["status"]

    interrupted: list[BaseException] = []
    while True:
        try:
            told = asyncio.run(_cancelled_at(len(interrupted), ask(PATIENCE_S)))
        except asyncio.CancelledError as error:
            interrupted.append(error)
            # However long the next one waits: while the frames live, a line that is not hung up on stands.
            assert lab.run(ask(PATIENCE_S)) == "running", len(interrupted)
        else:
            assert told == "running"
            break
    assert len(interrupted) >= 6


async def _cancelled_at(moment, work):
    return await CancelledAt(moment, work)


class CancelledAt:
    """Work that is cancelled while it waits, when it has waited so many times before."""

    def __init__(self, moment, work):
        self.moment = moment
        self.steps = work.__await__()

    def __await__(self):
        goes_on = partial(next, self.steps)
        for waited in itertools.count():
            try:
                awaited = goes_on()
            except StopIteration as end:
                return end.value
            if waited == self.moment:
                current = asyncio.current_task()
                assert current is not None
                current.cancel()
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 -- it is for the work
                goes_on = partial(self.steps.throw, error)
            else:
                goes_on = partial(next, self.steps)
