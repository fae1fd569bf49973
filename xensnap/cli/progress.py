"""Progress, on stderr only: a line for each step with `-v`, a moving line on a terminal, nothing otherwise."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from xensnap.engine.execute import Progress, Watch


def line(progress: "Progress") -> str:
    """One step in one line."""
    return f"[{progress.number}/{progress.total}] {progress.text}"


@contextmanager
def watching(*, verbose: bool) -> "Iterator[Watch]":
    """What the engine tells its steps to, for as long as the command runs."""
    if verbose:
        yield lambda progress: click.echo(line(progress), err=True)
    elif sys.stderr.isatty():
        with _moving_line() as watch:
            yield watch
    else:
        yield lambda _progress: None


@contextmanager
def _moving_line() -> "Iterator[Watch]":
    """A spinner beside the step under way. It appears with the first step, so that verbs that only look stay still."""
    status = None

    def watch(progress: "Progress") -> None:
        nonlocal status
        from rich.console import Console
        from rich.markup import escape

        if status is None:
            status = Console(stderr=True).status("")
            status.start()
        status.update(escape(line(progress)))

    try:
        yield watch
    finally:
        if status is not None:
            status.stop()
