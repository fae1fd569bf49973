"""A loop only for those who wait."""

import asyncio
import subprocess
import sys

import pytest

from xensnap.backends.local import waiting
from xensnap.backends.local.machine import sleep


async def result(value):
    return value


async def later(value, *, seconds=0.01):
    await sleep(seconds)
    return value


async def failing(error, *, seconds=0.0):
    if seconds:
        await sleep(seconds)
    raise error


def has_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_what_never_waits_runs_without_a_loop():
    async def work():
        return has_loop(), await waiting.gather(result(1), result(2))

    assert waiting.run(work()) == (False, [1, 2])


def test_a_coroutine_goes_on_in_a_loop_from_where_it_first_waits():
    async def work():
        before = has_loop()
        value = await later(1)
        return before, has_loop(), value, asyncio.current_task() is not None

    assert waiting.run(work()) == (False, True, 1, True)


def test_what_waits_waits_side_by_side():
    told: list[str] = []

    async def telling(value):
        told.append("begun")
        await sleep(0.01)
        told.append("ended")
        return value

    assert waiting.run(waiting.gather(telling(1), result(2), telling(3))) == [1, 2, 3]
    assert told == ["begun", "begun", "ended", "ended"]


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_the_first_error_is_raised_when_all_have_ended(seconds):
    ended = []

    async def slow():
        await sleep(0.03)
        ended.append("slow")

    async def work():
        await waiting.gather(slow(), failing(ValueError("one"), seconds=seconds), failing(KeyError("two")))

    with pytest.raises(ValueError, match="one"):
        waiting.run(work())
    assert ended == ["slow"]


def test_gathers_nest_and_may_be_empty():
    async def work():
        return await waiting.gather(waiting.gather(), waiting.gather(later(1), result(2)), result(3))

    assert waiting.run(work()) == [[], [1, 2], 3]


def test_nobody_is_alone_in_a_loop_or_beside_somebody_else():
    async def asked():
        return waiting.alone()

    async def work():
        one = await waiting.gather(asked())
        several = await waiting.gather(asked(), waiting.gather(asked()))
        before = waiting.alone()
        await sleep(0)
        return one, several, before, waiting.alone()

    assert waiting.run(work()) == ([True], [False, [False]], True, False)


def test_the_callers_own_loop_will_do():
    assert asyncio.run(waiting.gather(later(1), result(2))) == [1, 2]


def test_an_error_comes_out_as_it_is():
    for seconds in (0.0, 0.01):
        with pytest.raises(ZeroDivisionError):
            waiting.run(failing(ZeroDivisionError(), seconds=seconds))


def test_waiting_for_what_is_no_concern_of_ours_is_an_error():
    class Foreign:
        def __await__(self):
            yield "a future of somebody else"

    async def work():
        await Foreign()

    with pytest.raises(RuntimeError, match="somebody else"):
        waiting.run(work())


def test_listing_imports_no_event_loop(tmp_path):
    code = (
        "import sys\n"
        "from xensnap.backends.qemu.host import QemuHost\n"
        "host = QemuHost(sys.argv[1])\n"
        "assert host.run(host.toolstack.domains()) == ()\n"
        "print([name for name in ('asyncio', 'tomlkit', 'subprocess') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


INTERRUPTED = """
import os, signal, sys
from xensnap.backends.local import waiting

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "asyncio.coroutines":
            os.kill(os.getpid(), signal.SIGINT)

async def holding():
    try:
        await waiting.loop()
    finally:
        print("let go")

sys.meta_path.insert(0, Interrupts())
assert "asyncio" not in sys.modules
try:
    waiting.run(holding())
except KeyboardInterrupt:
    print("interrupted")
async def again():
    await waiting.loop()
    return "works"
print(waiting.run(again()))
"""


def test_an_interruption_while_the_loop_is_loaded_lets_go_of_everything_and_breaks_nothing():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n")[:3], done.stderr) == (["let go", "interrupted", "works"], "")


NEVER_BEGUN = """
import asyncio, os, signal
from xensnap.backends.local import waiting

async def first():
    await waiting.loop()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)

async def second():
    await asyncio.sleep(60)

async def work():
    await waiting.loop()
    await waiting.gather(first(), second())

try:
    waiting.run(work())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_an_interruption_keeps_from_beginning_is_not_complained_of():
    done = subprocess.run([sys.executable, "-c", NEVER_BEGUN], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
