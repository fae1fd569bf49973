"""Progress, on stderr only.

-v          a line for each step
--events    a JSON object for each step and each growth, one on a line
otherwise   a moving line on a terminal, with bytes and rate where a step knows them; nothing where there is none
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from xensnap.engine.execute import Progress, Watch

Clock = Callable[[], float]


class Rate:
    """Bytes per second of the step under way, since its first sign of growth."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._step = 0
        self._since = 0.0
        self._from_bytes = 0

    def of(self, progress: "Progress") -> float | None:
        """The rate by now; None until something has grown."""
        done = progress.done_bytes
        if done is None:
            return None
        now = self._clock()
        if progress.number != self._step:
            self._step, self._since, self._from_bytes = progress.number, now, done
        elapsed = now - self._since
        return (done - self._from_bytes) / elapsed if elapsed > 0 else None


def line(progress: "Progress", rate: float | None = None) -> str:
    """One step in one line, with how far it is."""
    text = f"[{progress.number}/{progress.total}] {progress.text}"
    if progress.done_bytes is None or not progress.total_bytes:
        return text
    from xensnap.cli.output import size

    text += f": {size(progress.done_bytes)} of {size(progress.total_bytes)}"
    return f"{text}, {size(int(rate))}/s" if rate else text


@contextmanager
def watching(*, verbose: bool, events: bool = False) -> "Iterator[Watch]":
    """What the engine tells its steps to, for as long as the command runs."""
    if events:
        yield _event_writer()
    elif verbose:
        rate = Rate()
        yield lambda progress: click.echo(line(progress, rate.of(progress)), err=True)
    elif sys.stderr.isatty():
        with _moving_line() as watch:
            yield watch
    else:
        yield lambda _progress: None


def _event_writer() -> "Watch":
    """One JSON object on a line; see EventDocument."""
    import msgspec

    from xensnap.cli.documents import EventDocument

    rate = Rate()

    def watch(progress: "Progress") -> None:
        told = rate.of(progress)
        event = EventDocument(
            event="step" if progress.done_bytes is None else "progress",
            number=progress.number,
            total=progress.total,
            text=progress.text,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            bytes_per_s=None if told is None else int(told),
        )
        click.echo(msgspec.json.encode(event).decode(), err=True)

    return watch


@contextmanager
def _moving_line() -> "Iterator[Watch]":
    """A spinner beside the step under way. It appears with the first step, so that verbs that only look stay still."""
    status = None
    rate = Rate()

    def watch(progress: "Progress") -> None:
        nonlocal status
        from rich.console import Console
        from rich.markup import escape

        if status is None:
            status = Console(stderr=True).status("")
            status.start()
        status.update(escape(line(progress, rate.of(progress))))

    try:
        yield watch
    finally:
        if status is not None:
            status.stop()
