"""Progress, on stderr only.

-v          a line for each step
--events    a JSON object for each step and each growth, one on a line
otherwise   on a terminal a bar, with bytes and rate where a step knows them; nothing where there is no terminal
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

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

    from xensnap.cli.documents.parts import EventDocument

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
    """The step under way, with a bar where it tells how far it is.

    It appears with the first step, so that verbs that only look stay still.
    """
    shown = None
    rate = Rate()

    def watch(progress: "Progress") -> None:
        nonlocal shown
        from rich.markup import escape

        if shown is None:
            shown = _bar()
            shown.start()
            shown.add_task("", total=None)
        known = bool(progress.total_bytes) and progress.done_bytes is not None
        shown.update(
            shown.task_ids[0],
            description=escape(line(progress, rate.of(progress))),
            total=progress.total_bytes if known else None,
            completed=progress.done_bytes if known else 0,
        )

    try:
        yield watch
    finally:
        if shown is not None:
            shown.stop()


def _bar() -> "Bars":
    """What moves on a terminal: a spinner, the bar, and the step in words."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
    return Bars(*columns, console=Console(stderr=True), transient=True)
