"""Work in dom0: commands, files, questions to guests and monitors, over the port that its agent listens on."""

import base64
import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

PATIENCE_S = 3600.0
"""How long an answer may take by our clock. What a question may take in dom0 is counted there, by dom0's clock."""
BUSY_S_MAX = 450.0
"""How long the machine may keep a processor busy over one question, which another's load does not change much: several
times the longest, a guest that boots. One whose guest or Xen stands still does so for ever."""
BUSY_SHARE = 0.25
"""A question that may take long by dom0's clock may keep the processor busy for this share of it, too."""
LOOK_S = 5.0
BULKY = {"data", "env", "input", "socket"}
"""What of a question need not be told."""

WAITING = "/run/xensnap-waiting"
"""Where the process listens that commands are forked from (`recipe/waiting.py`)."""


class Dom0Failed(AssertionError):
    """A command ended otherwise than it should, with all that it said."""


class StandsStill(Dom0Failed):
    """The machine works and never answers: on what, and where it is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one command."""

    argv: tuple[str, ...]
    status: int | None
    out: str
    err: str
    seconds: float

    def must(self) -> "Answer":
        if self.status != 0:
            raise Dom0Failed(f"{' '.join(self.argv)}: {'timed out' if self.status is None else self.status}\n{self}")
        return self

    def __str__(self) -> str:
        return f"$ {' '.join(self.argv)}\n{self.out}{self.err}[{self.status} after {self.seconds:.2f} s]"


class Busy(Protocol):
    """What there is to know of a machine without its help."""

    @property
    def cpu_s(self) -> float:
        """How long it has kept a processor busy."""

    def stands(self) -> str:
        """Where its processor is."""


class Dom0:
    """A connection to the agent of a machine. Several threads may ask at once."""

    def __init__(self, connection: socket.socket, machine: Busy) -> None:
        self._connection = connection
        self._machine = machine
        self._stream = connection.makefile("rb")
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {0: Future()}
        self._asked: dict[int, Mapping[str, Any]] = {}
        self._writing = threading.Lock()
        self.said: list[Answer] = []
        """Every command so far: what a failing test shows."""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    # What is asked ------------------------------------------------------------------------------------------------

    def try_run(
        self, *argv: str, timeout_s: float = 30.0, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Answer:
        """Run a command to its end, whatever that is. The limit is by dom0's clock, which waits for a busy machine."""
        return self.start(*argv, timeout_s=timeout_s, stdin=stdin, env=env)()

    def run(self, *argv: str, timeout_s: float = 30.0, stdin: bytes = b"") -> str:
        """What a command prints that has to succeed."""
        return self.try_run(*argv, timeout_s=timeout_s, stdin=stdin).must().out

    def shell(self, script: str, *, timeout_s: float = 30.0) -> str:
        """What a line for the shell prints; any command in it may fail the whole."""
        return self.run("/bin/bash", "-euo", "pipefail", "-c", script, timeout_s=timeout_s)

    def start(
        self,
        *argv: str,
        timeout_s: float = 30.0,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        forked: bool = False,
    ) -> "Running":
        """Begin a command; calling what comes back waits for its end.

        `forked`, it is `xensnap` or a Python program, and done by a fork of the process that waits (`waiting.py`).
        """
        question = {"argv": argv, "input": base64.b64encode(stdin).decode(), "env": dict(env or {}), "socket": WAITING}
        return Running(self, argv, timeout_s, self._ask("fork" if forked else "run", timeout_s, question))

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._now("put", 60.0, {"path": path, "data": base64.b64encode(data).decode(), "mode": mode})

    def get(self, path: str) -> bytes:
        return base64.b64decode(self._now("get", 60.0, {"path": path})["data"])

    def ask_guest(self, domain: str, text: str, *, timeout_s: float = 60.0) -> str | None:
        """The guest's answer, or None where it gives none in that time. Asked again until then; done once."""
        question = {"domain": domain, "text": text, "number": f"{time.time_ns():x}", "patience_s": 5.0}
        answer = self._now("ask_guest", timeout_s, question)
        text_heard: str | None = answer["text"]
        return text_heard

    def processes(self, log: str, program: str) -> list[int]:
        """Those whose output goes to this file and whose executable ends so."""
        pids: list[int] = self._now("processes", 60.0, {"log": log, "program": program})["pids"]
        return pids

    def qmp(self, path: str, *commands: Mapping[str, Any]) -> list[Any]:
        """All that a monitor says to these commands, each with the seconds it took, events among them."""
        said: list[Any] = self._now("talk_qmp", 60.0, {"path": path, "commands": commands})["said"]
        return said

    def greeting(self, path: str) -> Any:
        """What a monitor says to who comes."""
        return self._now("talk_qmp", 60.0, {"path": path, "commands": []})["greeting"]

    # How ------------------------------------------------------------------------------------------------------------

    def wait_for_agent(self) -> None:
        """A machine that was just booted: its agent has said that it is there."""
        self.wait(self._waiting[0])

    def close(self) -> None:
        # The listener sees the end, and takes its half of the connection with it.
        self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._listener.join()
        self._stream.close()

    def _now(self, work: str, limit_s: float, question: Mapping[str, Any]) -> dict[str, Any]:
        return self.wait(self._ask(work, limit_s, question), limit_s)

    def wait(self, future: Future[dict[str, Any]], limit_s: float = 0.0) -> dict[str, Any]:
        """What becomes of a question that has so long by dom0's clock.

        `Dom0Failed`: the machine has gone; `StandsStill`: it works without end.
        """
        deadline, busy_before = time.monotonic() + PATIENCE_S, self._machine.cpu_s
        busy_s_max = max(BUSY_S_MAX, limit_s * BUSY_SHARE)
        while True:
            try:
                return future.result(LOOK_S)
            except TimeoutError:
                busy_s = self._machine.cpu_s - busy_before
                if busy_s > busy_s_max or time.monotonic() > deadline:
                    raise StandsStill(self._standing(busy_s)) from None

    def _standing(self, busy_s: float) -> str:
        said = "\n".join(str(answer) for answer in self.said[-3:])
        asked = "\n".join(f"asked: {question}" for question in self._asked.values())
        still = f"the machine stands still: no answer after {busy_s:.0f} s of work"
        return f"{still}\n{said}\n{asked}\n{self._machine.stands()}"

    def _ask(self, work: str, limit_s: float, question: Mapping[str, Any]) -> Future[dict[str, Any]]:
        number = next(self._numbers)
        future: Future[dict[str, Any]] = Future()
        self._waiting[number] = future
        asked = {"id": number, "do": work, "timeout_s": limit_s, **question}
        self._asked[number] = {name: asked[name] for name in asked.keys() - BULKY}
        data = json.dumps(asked).encode()
        with self._writing:
            self._connection.sendall(struct.pack(">I", len(data)) + data)
        return future

    def _listen(self) -> None:
        while len(head := self._read(4)) == 4:
            answer = json.loads(self._read(struct.unpack(">I", head)[0]))
            future = self._waiting.pop(answer["number"])
            self._asked.pop(answer["number"], None)
            if "failed" in answer:
                future.set_exception(Dom0Failed(answer["failed"]))
            else:
                future.set_result(answer)
        while self._waiting:
            self._waiting.popitem()[1].set_exception(Dom0Failed("the machine has gone, and with it the answer"))

    def _read(self, length: int) -> bytes:
        try:
            return self._stream.read(length)
        except (OSError, ValueError):  # closed by us
            return b""


@dataclass(frozen=True, slots=True)
class Running:
    """A command that has begun in dom0."""

    dom0: Dom0
    argv: Sequence[str]
    limit_s: float
    future: Future[dict[str, Any]]

    @property
    def ended(self) -> bool:
        return self.future.done()

    def __call__(self) -> Answer:
        raw = self.dom0.wait(self.future, self.limit_s)
        out, err = (base64.b64decode(raw[name]).decode(errors="replace") for name in ("out", "err"))
        answer = Answer(tuple(self.argv), raw["status"], out, err, raw["seconds"])
        self.dom0.said.append(answer)
        return answer
