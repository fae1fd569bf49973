"""An event loop only for those who wait: reading commands never import asyncio, and others get it when they need it.

`run` steps a coroutine without any loop. The first port that must wait for something outside awaits `loop()`; `run`
then starts asyncio and lets the very same coroutine go on in it. Under a loop that is running already, be it ours or
the caller's, `loop()` returns at once.
"""

# ruff: noqa: PLC0415, BLE001 -- asyncio loads when it is used; any error of gathered work is kept and raised

import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_NEEDS_LOOP = object()

_SIDE_BY_SIDE: ContextVar[bool] = ContextVar("_SIDE_BY_SIDE", default=False)
"""Whether what is stepped now is one of several that a `gather` does."""


async def loop() -> None:
    """Return inside a running event loop. Costs nothing where one runs, the start of asyncio where none does."""
    if not _has_loop():
        await _ask_for_loop()


def alone() -> bool:
    """Whether nobody could go on while somebody waits: no loop runs, and nothing is done side by side."""
    return not _has_loop() and not _SIDE_BY_SIDE.get()


async def gather(*work: Awaitable[Any]) -> list[Any]:
    """Do these side by side and return all results in order; when all have ended, raise the first error.

    Without a loop each goes as far as it gets without waiting, which for reading is to its end.
    """
    started = [_Started(one) for one in work]
    if not _has_loop():
        several = _SIDE_BY_SIDE.set(len(started) > 1 or _SIDE_BY_SIDE.get())
        try:
            for one in started:
                one.advance()
        finally:
            _SIDE_BY_SIDE.reset(several)
    if not all(one.ended for one in started):
        await loop()
        import asyncio

        try:
            await asyncio.gather(*(one.finish() for one in started if not one.ended))
        finally:
            for one in started:
                one.steps.close()  # an interruption leaves some that were never begun, which Python would complain of
    if first := next((one.error for one in started if one.error is not None), None):
        raise first
    return [one.result for one in started]


def run(work: Coroutine[Any, Any, T], looped: Callable[[Coroutine[Any, Any, T]], T] | None = None) -> T:
    """Run a coroutine to its end, in an event loop from where it first needs one.

    Args:
        work: the coroutine. Where it merely gives way it goes on at once.
        looped: runs the rest in a loop; asyncio's own if none is given.
    """
    rest = _rest(work)
    try:
        while (asked := work.send(None)) is None:
            pass
        if asked is not _NEEDS_LOOP:
            raise RuntimeError(f"the coroutine waits for {asked!r}, which is no concern of this host")
        if looped is None:
            with _signals_held():
                import asyncio
            looped = asyncio.run
        return looped(rest)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        # Whoever is interrupted between the steps and the loop lets go of what the coroutine holds, such as locks.
        rest.close()
        work.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Ctrl-C comes afterwards: asyncio cannot be imported again once its import was broken off (Python 3.11)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Started:
    """One awaitable of a `gather`, from its first step to its result or error."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self.steps = work.__await__()
        self.ended = False
        self.result: Any = None
        self.error: BaseException | None = None

    def advance(self) -> None:
        """Go to the end, or to where a loop is needed."""
        try:
            while (asked := next(self.steps)) is None:
                pass
        except StopIteration as end:
            self.ended, self.result = True, end.value
        except Exception as error:
            self.ended, self.error = True, error
        else:
            if asked is not _NEEDS_LOOP:
                raise RuntimeError(f"gathered work waits for {asked!r}, which is no concern of this host")

    async def finish(self) -> None:
        """Go on in the loop to the end."""
        try:
            self.result = await _Steps(self.steps)
        except Exception as error:
            self.error = error
        self.ended = True


class _Steps:
    """What is left of a coroutine that has been stepped already, as something to await."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self.steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self.steps)


async def _rest(work: Coroutine[Any, Any, T]) -> T:
    return await _Steps(work.__await__())  # type: ignore[no-any-return]


def _has_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 -- documented; never raises


@coroutine
def _ask_for_loop() -> Generator[object, None, None]:
    yield _NEEDS_LOOP
