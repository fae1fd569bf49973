"""Programs: no shell, a session of their own, and an end after their time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.local.waiting import gather, run
from xensnap.errors import Effect, Failed, ToolFailed, Unknown

LIMIT_S = 60


@pytest.fixture(params=["without a lock", "under a lock"])
def runner(request, tmp_path):
    """Under a lock a program is waited for in an event loop, and else right here."""
    if request.param == "without a lock":
        yield LocalRunner()
        return
    with (tmp_path / "lock").open("wb") as lock:
        yield LocalRunner([lock.fileno()])


def test_a_program_gets_its_arguments_as_they_are(runner):
    words = ["a b", "$HOME", "; exit 9", "'", "*", "", "-n", "\udcff"]
    done = run(runner.run(["printf", "%s|", *words]))
    assert done.stdout == "".join(f"{word}|" for word in words).encode("utf-8", "surrogateescape")
    assert (done.returncode, done.stderr, done.argv) == (0, b"", ("printf", "%s|", *words))


def test_it_is_fed_and_its_words_and_code_are_kept(runner):
    done = run(runner.run(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=b"x" * 200_000))
    assert (done.returncode, done.stdout, done.stderr) == (3, b"x" * 200_000, b"no\n")


def test_one_that_does_not_read_is_no_error(runner):
    assert run(runner.run(["true"], stdin=b"x" * 1_000_000)).returncode == 0


def test_what_says_more_than_any_text_is_not_read_and_has_come_about_somehow(runner):
    with pytest.raises(ToolFailed, match="has said 65 MiB, of which 64 are read") as caught:
        run(runner.run([sys.executable, "-c", "import os; os.ftruncate(1, 65 << 20)"]))
    assert (caught.value.effect, caught.value.returncode) == (Effect.UNKNOWN, 0)


def test_it_speaks_the_language_that_we_read_and_leads_a_session(runner):
    done = run(runner.run(["sh", "-c", "echo $LC_ALL $$; cut -d' ' -f6 /proc/$$/stat"]))
    language, pid, session = done.stdout.decode().split()
    assert language == "C"
    assert session == pid


def test_one_that_is_not_there_has_done_nothing(runner):
    with pytest.raises(Failed) as caught:
        run(runner.run(["xensnap-no-such-program"]))
    assert (caught.value.id, caught.value.effect) == ("no-such-program", Effect.NONE)


def test_one_that_was_killed_has_a_negative_code(runner):
    assert run(runner.run(["sh", "-c", "kill -9 $$"])).returncode == -9


def test_after_its_time_it_and_all_it_has_started_are_ended(runner, tmp_path: Path):
    pids = tmp_path / "pids"
    before = time.monotonic()
    with pytest.raises(Unknown) as caught:
        run(runner.run(["sh", "-c", f"sleep 60 & echo $$ $! > {pids}; wait"], timeout_s=2))
    assert time.monotonic() - before < 50
    assert caught.value.effect is Effect.UNKNOWN
    for pid in pids.read_text().split():
        assert gone(int(pid))


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody has asked after yet has."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_one_that_takes_long_is_heard_meanwhile(runner, tmp_path: Path):
    heard: list[bytes] = []
    noticed = tmp_path / "noticed"

    def hear(words: bytes) -> None:
        heard.append(words)
        if words:
            noticed.touch()

    words = ["sh", "-c", f"echo one; until test -e {noticed}; do sleep 0.01; done; echo two"]
    done = run(runner.run(words, heard=hear, timeout_s=LIMIT_S))
    assert b"one\n" in heard
    assert done.stdout == b"one\ntwo\n"


ASKING = """
import sys
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.local.waiting import gather, run
runner = LocalRunner([int(word) for word in sys.argv[1:2]])
for asked in (runner.run(["true"]), gather(runner.run(["true"])), gather(runner.run(["true"]), runner.run(["true"]))):
    run(asked)
    print("asyncio" in sys.modules)
"""


def test_a_loop_is_started_only_under_a_lock_or_for_several_at_once():
    alone = subprocess.run([sys.executable, "-c", ASKING], capture_output=True, text=True, check=True)
    assert alone.stdout.split() == ["False", "False", "True"]
    locked = subprocess.run([sys.executable, "-c", ASKING, "2"], capture_output=True, text=True, check=True)
    assert locked.stdout.split() == ["True", "True", "True"]


def test_an_interruption_ends_what_is_waited_for(runner, tmp_path: Path):
    pids = tmp_path / "pids"

    def interrupt(words: bytes) -> None:
        if words:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(runner.run(["sh", "-c", f"sleep 60 & echo $$ $! > {pids}; echo begun; wait"], heard=interrupt))
    for pid in pids.read_text().split():
        assert gone(int(pid))


def test_programs_run_side_by_side(runner, tmp_path: Path):
    """None of them ends before all have begun."""
    all_of_them = f"test $(ls {tmp_path}/begun-* | wc -l) = 4"
    words = [f"touch {tmp_path}/begun-{number}; until {all_of_them}; do sleep 0.01; done" for number in range(4)]
    done = run(gather(*(runner.run(["sh", "-c", each], timeout_s=LIMIT_S) for each in words)))
    assert [each.returncode for each in done] == [0] * 4


def test_only_the_locks_that_are_held_are_handed_down(tmp_path):
    held: list[int] = []
    runner = LocalRunner(held)
    lock, other = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("lock", "other"))
    held.append(lock)
    done = run(runner.run(["sh", "-c", "ls -l /proc/$$/fd"]))
    assert str(tmp_path / "lock").encode() in done.stdout
    assert str(tmp_path / "other").encode() not in done.stdout
    held.clear()
    assert str(tmp_path).encode() not in run(runner.run(["sh", "-c", "ls -l /proc/$$/fd"])).stdout
    os.close(lock)
    os.close(other)
