# ruff: noqa: PTH115, PTH208 -- dom0 starts programs slowly, and pathlib is one more module
"""In dom0: do what the harness asks over a virtio port. It is frozen with the machine, so that it answers at once.

A message is its length as four bytes, big endian, and that many bytes of JSON. Each question has a number, and its
answer the same one; questions are worked on side by side. Standard library only: dom0 has nothing else then.
"""

import base64
import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Question = dict[str, Any]


class Port:
    """The messages of one virtio port."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self.writing = threading.Lock()

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = os.read(self.fd, length - len(data))
            if not part:  # the harness has gone, and comes back or ends this machine
                time.sleep(0.1)
            data += part
        return data

    def receive(self) -> Question:
        (length,) = struct.unpack(">I", self.read(4))
        question: Question = json.loads(self.read(length))
        return question

    def send(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        data = struct.pack(">I", len(data)) + data
        with self.writing:
            while data:
                data = data[os.write(self.fd, data) :]


def environment(question: Question) -> dict[str, str]:
    return {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **question.get("env", {})}


def run(question: Question) -> dict[str, Any]:
    """A command to its end. One that takes too long is killed with all it started, and has no exit status."""
    began = time.monotonic()
    process = subprocess.Popen(
        question["argv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=question.get("cwd", "/tmp"),
        env=environment(question),
        start_new_session=True,
    )
    status: int | None
    try:
        out, err = process.communicate(base64.b64decode(question.get("input", "")), question["timeout_s"])
        status = process.returncode
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        status = None
    return {
        "status": status,
        "out": base64.b64encode(out).decode(),
        "err": base64.b64encode(err).decode(),
        "seconds": time.monotonic() - began,
    }


def fork(question: Question) -> dict[str, Any]:
    """The same by a fork of the process that waits on a socket with everything imported (waiting.py)."""
    began = time.monotonic()
    said, out, err = (os.memfd_create(name) for name in ("in", "out", "err"))
    os.write(said, base64.b64decode(question.get("input", "")))
    os.lseek(said, 0, os.SEEK_SET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.connect(question["socket"])
        text = json.dumps({"argv": question["argv"], "env": environment(question)})
        socket.send_fds(link, [text.encode()], [said, out, err])
        pid = int(link.recv(64))
        link.settimeout(question["timeout_s"])
        status: int | None
        try:
            status = int(link.recv(64))
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            link.settimeout(None)
            link.recv(64)
            status = None
    os.close(said)
    return {"status": status, "out": taken(out), "err": taken(err), "seconds": time.monotonic() - began}


def taken(file: int) -> str:
    """What is in it, which is closed then."""
    with open(file, "rb") as whole:
        whole.seek(0)
        return base64.b64encode(whole.read()).decode()


def put(question: Question) -> dict[str, Any]:
    with open(question["path"], "wb") as file:  # noqa: PTH123 -- one open says all
        file.write(base64.b64decode(question["data"]))
        os.fchmod(file.fileno(), question.get("mode", 0o644))
    return {}


def get(question: Question) -> dict[str, Any]:
    with open(question["path"], "rb") as file:  # noqa: PTH123 -- one open says all
        return {"data": base64.b64encode(file.read()).decode()}


def ask_guest(question: Question) -> dict[str, Any]:
    """Put a numbered question to a guest's console until the answer with this number comes."""
    tag = question["number"]
    pattern = re.compile(rf"@{tag} (\d+) ([^\r\n]*)\n".encode())
    deadline = time.monotonic() + question["timeout_s"]
    heard, fd = b"", -1
    try:
        while time.monotonic() < deadline:
            if fd < 0:
                fd = open_console(question["domain"])
            if fd < 0:
                time.sleep(0.1)
                continue
            with contextlib.suppress(OSError):
                os.write(fd, f"\n?{tag} {question['text']}\n".encode())
            patient_until = min(deadline, time.monotonic() + question["patience_s"])
            while time.monotonic() < patient_until:
                try:
                    part = os.read(fd, 65536) if select.select([fd], [], [], 0.2)[0] else b""
                except OSError:  # the guest, and its console with it, has gone
                    os.close(fd)
                    fd = -1
                    break
                heard += part
                for found in pattern.finditer(heard.replace(b"\r", b"")):
                    if sum(found[2]) % 65536 == int(found[1]):
                        return {"text": found[2].decode()}
    finally:
        if fd >= 0:
            os.close(fd)
    return {"text": None, "heard": heard[-2000:].decode("ascii", "replace")}


def open_console(domain: str) -> int:
    """The guest's PV console, raw and without echo; -1 where there is none yet."""
    named = subprocess.run(["xl", "domid", domain], capture_output=True, text=True, check=False, env={"PATH": PATH})
    path = f"/local/domain/{named.stdout.strip()}/console/tty"
    read = subprocess.run(["xenstore-read", path], capture_output=True, text=True, check=False, env={"PATH": PATH})
    if not read.stdout.strip():
        return -1
    try:
        fd = os.open(read.stdout.strip(), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return -1
    with contextlib.suppress(termios.error):
        tty.setraw(fd)
    return fd


def talk_qmp(question: Question) -> dict[str, Any]:
    """Commands on a monitor, one after the other, with every line that came, in order."""
    said: list[Any] = []
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(question["timeout_s"])
        monitor.connect(question["path"])
        lines = monitor.makefile("rb")
        greeting = json.loads(lines.readline() or b"null")
        for command in [{"execute": "qmp_capabilities"}, *question["commands"]]:
            sent = time.monotonic()
            monitor.sendall(json.dumps(command).encode() + b"\n")
            while line := lines.readline():
                message = json.loads(line)
                said.append({"message": message, "seconds": time.monotonic() - sent})
                if "event" not in message:
                    break
    return {"greeting": greeting, "said": said, "seconds": time.monotonic() - began}


def processes(question: Question) -> dict[str, Any]:
    """Who writes to this log and runs this program. Looked up here: dom0 starts programs slowly."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/fd/1") == question["log"]:
                found += [int(name)] if os.readlink(f"/proc/{name}/exe").endswith(question["program"]) else []
    return {"pids": found}


def answer(port: Port, question: Question) -> None:
    works: dict[str, Callable[[Question], dict[str, Any]]] = {
        "processes": processes,
        "run": run,
        "fork": fork,
        "put": put,
        "get": get,
        "ask_guest": ask_guest,
        "talk_qmp": talk_qmp,
    }
    try:
        result = works[question["do"]](question)
    except Exception as error:  # noqa: BLE001 -- the harness shall know, whatever it was
        result = {"failed": f"{type(error).__name__}: {error}"}
    port.send({"number": question["id"], **result})


def main() -> None:
    port = Port(sys.argv[1])
    port.send({"number": 0, "python": sys.version.split()[0]})
    while True:
        threading.Thread(target=answer, args=(port, port.receive()), daemon=True).start()


if __name__ == "__main__":
    main()
