"""Files around the conformance cases: runs and capsules read, events, reports and capsules written."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import xensnap
from xensnap.cli.names import local_file
from xensnap.errors import Damaged, Failed, Usage

if TYPE_CHECKING:
    from xensnap.conformance.capsule import Capsule
    from xensnap.conformance.events import Event
    from xensnap.conformance.reports.outcomes import RunOutcome
    from xensnap.conformance.run import Options
    from xensnap.testing.capsules import MachineCapsule


def versions() -> dict[str, str]:
    """What every run is made with, whatever the host."""
    return {"xensnap": xensnap.__version__, "Python": platform.python_version()}


# --- Writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: str | None) -> "Iterator[Callable[[Event], object]]":
    """Write each event as it happens, so that a run that is cut off has left what it saw."""
    if path is None:
        yield lambda _: None
        return
    from xensnap.conformance.events import encode

    try:
        with Path(path).open("wb", buffering=0) as file:
            yield lambda event: file.write(encode(event))
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}", id="file-failed") from error


def write_reports(runs: "tuple[RunOutcome, ...]", wanted: dict[str, str]) -> None:
    """One file for each report that is wanted, by kind."""
    for kind, path in wanted.items():
        if kind != "html" and len(runs) != 1:
            raise Usage(f"--{kind} tells of one run", remedy="Only --html shows several side by side.")
        module = import_module(f"xensnap.conformance.reports.{kind}")
        write_text(path, module.html(runs) if kind == "html" else getattr(module, kind)(runs[0]))


def write_text(path: str, text: str) -> None:
    """A file that somebody asked for by name.

    Raises:
        Failed: it cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}", id="file-failed") from error


def write_capsules(directory: str, run: "RunOutcome", *, host: str, options: "Options") -> tuple[str, ...]:
    """A capsule for each failure of a run; the directory is made when there is one. Returns their paths."""
    from xensnap.conformance.capsule import capsule_of, encode
    from xensnap.conformance.events import State

    failed = [case for case in run.cases if case.ended.state in {State.FAIL, State.ERROR}]
    paths = []
    try:
        for case in failed:
            Path(directory).mkdir(parents=True, exist_ok=True)
            path = Path(directory) / f"{case.began.case.replace('/', '-')}-{options.seed}.json"
            path.write_bytes(encode(capsule_of(case, run, host=host, options=options, versions=versions())))
            paths.append(str(path))
    except OSError as error:
        raise Failed(f"cannot write a capsule to {directory}: {error.strerror}", id="file-failed") from error
    return tuple(paths)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_run(path: str) -> "RunOutcome":
    """A run as `--jsonl` wrote it.

    Raises:
        NotFound: there is no such file.
        Usage: it cannot be read.
        Damaged: it is no run, or was cut off.
    """
    import msgspec

    from xensnap.conformance.events import decode
    from xensnap.conformance.reports.outcomes import gather

    events = []
    for number, line in enumerate(local_file(path).splitlines(), 1):
        try:
            events.append(decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Damaged(f"{path}:{number}: {error}", path=path, remedy="Run again with --jsonl.") from error
    try:
        return gather(events)
    except ValueError as error:
        raise Damaged(f"{path}: {error}", path=path, remedy="Run again with --jsonl.") from error


def read_capsule(path: str) -> "Capsule | MachineCapsule":
    """A replay capsule of a case or of a machine.

    Raises:
        NotFound: there is no such file.
        Usage: it cannot be read.
        Damaged: it is no capsule, or is cut off; with the place in the JSON.
    """
    import msgspec

    from xensnap.conformance.capsule import Capsule
    from xensnap.testing.capsules import MachineCapsule

    data = local_file(path)
    try:
        return msgspec.json.decode(data, type=Capsule | MachineCapsule)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "Take a file that `xensnap conformance run` or a test with the kit wrote, whole."
        raise Damaged(f"{path}: no replay capsule: {error}", path=path, remedy=remedy) from error
