"""The command line on the host under trial: run as its operator runs it, never ending in a traceback."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from xensnap.conformance.trial import Broken, Trial
from xensnap.conformance.workplace import Program, commands_of

STRANGER_S = 60.0


@contextmanager
def commands(trial: Trial) -> "Iterator[Commands]":
    """The command line, for as long as this is open.

    Raises:
        Missing: the workplace has none.
    """
    with commands_of(trial.place).command() as program:
        yield Commands(trial, program)


class Ran(msgspec.Struct, frozen=True):
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """What was typed. Bytes that are no text can be read in it, and can be put into a report."""
        return " ".join(self.words).encode("utf-8", "backslashreplace").decode()

    @property
    def document(self) -> dict[str, Any]:
        """What it printed with `--json`.

        Raises:
            Broken: that is no one JSON document, or does not say what it is.
        """
        try:
            told = msgspec.json.decode(self.out, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Broken(f"{self.line} printed no JSON document: {error}: {self.out[:200]!r}") from error
        if not str(told.get("schema", "")).startswith("xensnap-"):
            raise Broken(f"{self.line} printed a document that does not say what it is: {sorted(told)}")
        return told


class Commands:
    """The command line on the host under trial."""

    def __init__(self, trial: Trial, program: Program) -> None:
        self._trial = trial
        self._program = program

    def run(self, *words: str) -> Ran:
        """Run xensnap to its end, whatever that is; it never ends in a traceback."""
        return self.ended(self.start(*words), words)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Begin to run it, in a process group of its own."""
        argv = (*self._program.words, *words)
        return subprocess.Popen(  # noqa: S603 -- our own program
            argv,
            env=dict(self._program.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def interrupt(self, process: "subprocess.Popen[str]") -> None:
        """Ctrl-C, as a terminal does it: to the whole group."""
        os.killpg(process.pid, signal.SIGINT)

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """Let it die where it is."""
        os.killpg(process.pid, signal.SIGKILL)

    def heard(self, process: "subprocess.Popen[str]", lines: int) -> str:
        """Wait for so many lines of what it says beside its result."""
        assert process.stderr is not None, "it is a pipe"
        return "".join(process.stderr.readline() for _ in range(lines))

    @contextmanager
    def file(self, text: str) -> Iterator[str]:
        """The path of a file of this machine that holds this."""
        with tempfile.TemporaryDirectory(prefix="xensnap-conformance-") as directory:
            path = Path(directory) / "file"
            path.write_text(text, encoding="utf-8")
            yield str(path)

    def ended(self, process: "subprocess.Popen[str]", words: Iterable[str], *, heard: str = "") -> Ran:
        """Wait for its end; `heard` is what was read of its errors before."""
        out, err = process.communicate()
        ran = Ran(("xensnap", *words), process.returncode, out, heard + err)
        self._trial.did(ran.line, f"exit code {ran.code}")
        self._trial.require("Traceback" not in ran.err + ran.out, f"{ran.line} ended in a traceback: {err}")
        return ran

    def ok(self, *words: str) -> Ran:
        """Run what has to succeed."""
        ran = self.run(*words)
        self._trial.equal(ran.code, 0, f"the exit code of {ran.line} ({ran.err.strip()})")
        return ran


@contextmanager
def stranger_at(monitor: str) -> Iterator[None]:
    """Somebody else holds the connection to a QEMU that listens on this socket."""
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(STRANGER_S)
        stranger.connect(monitor)
        stranger.sendall(b'{"execute": "qmp_capabilities"}\n')
        stranger.recv(1)
        yield
