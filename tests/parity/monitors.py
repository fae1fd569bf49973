"""The same QMP commands to a simulated monitor and to a real QEMU, each with its own copy of the same images."""

import json
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from simulator.disk.content import SECTOR, bytes_of, filled, pattern
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Raw, fresh_qcow2
from simulator.qemu import graph, monitor
from simulator.qemu.board import Board, by_device
from simulator.qemu.commands import work
from simulator.qemu.commands.nodes import BLOCKDEV, opened_drive
from simulator.qemu.graph import Qemu
from simulator.qemu.monitor import Message, Session

replace = msgspec.structs.replace

IMAGES = "/images"
WRITTEN_FROM = "pattern.tmp"
"""The file whose bytes a guest of the real QEMU writes."""
STATE_BYTES = 765
"""What QEMU 7.2.22 saves of a machine that has nothing."""
SETTLED = {"ready", "concluded", "pending", "paused", "standby"}
_REPLY_S_MAX = 120

_SHOWN = (
    (re.compile(r"^disk size: [^\r\n]*", re.MULTILINE), "disk size: ?"),
    (re.compile(r"\bvm-\d{14}\b"), "vm-<date>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d\d:\d\d:\d\d\.\d{3}"), "<date> <clock>"),
)
"""What the human monitor shows of the same."""
_COUNTED = re.compile("(rd|wr|flush|unmap)_total_time_ns|wr_bytes|(wr|flush)_operations")
"""How long something took; and what no device counts where the human monitor's `qemu-io` writes for the guest."""
_VOLATILE = {"idle_time_ns", "timestamp", "actual-size", "date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec"}


@dataclass(frozen=True)
class File:
    """An image to begin with, and the node that it is opened as; a device where it has a backend."""

    name: str
    format: str = "qcow2"
    size: int = 1 << 20
    backing: str = ""
    compat: str = "1.1"
    device: str = ""
    node: str = ""
    readonly: bool = False

    @property
    def opened(self) -> bool:
        return bool(self.device or self.node)


def create_args(file: File) -> list[str]:
    options = ["-o", f"compat={file.compat}"] if file.format == "qcow2" else []
    backing = ["-b", file.backing, "-F", "qcow2"] if file.backing else []
    return ["create", "-q", "-f", file.format, *options, *backing, file.name, str(file.size)]


class RealQemu:
    """A QEMU without a machine, and our connection to its monitor."""

    def __init__(self, directory: Path, files: list[File], program: str = "qemu-system-x86_64") -> None:
        self.directory = directory
        ours, theirs = socket.socketpair()
        argv = [program]
        if program == "qemu-system-x86_64":
            argv += ["-machine", "none", "-display", "none", "-nodefaults"]
            argv += ["-chardev", f"socket,id=c,fd={theirs.fileno()}", "-mon", "chardev=c,mode=control"]
        else:
            argv += ["--chardev", f"socket,id=c,fd={theirs.fileno()}", "--monitor", "chardev=c"]
        for file in files:
            if file.opened:
                argv += _opening(file, directory, program)
        self._process = subprocess.Popen(
            argv, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory
        )
        theirs.close()
        ours.settimeout(_REPLY_S_MAX)
        self._socket = ours
        self._lines = ours.makefile("rb")
        self._endless: set[str] = set()
        self.greeting = self._heard()

    def write(self, device: str, offset: int, length: int, number: int) -> None:
        """What a guest would, through the very device: the bytes of the simulated write of that number."""
        source = self.directory / WRITTEN_FROM
        source.write_bytes(pattern(number, offset, length))
        line = f'qemu-io {device} "write -s {source} {offset} {length}"'
        asked = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
        self.answers(json.dumps(asked).encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _heard(self) -> Message | None:
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def answers(self, data: bytes) -> list[Message | str]:
        """All that it says to these bytes until its jobs have nothing left to do; "EOF" where it has hung up."""
        self.send(data)
        begun = _begun_without_end(data) - self._endless
        self._endless |= begun
        heard: list[Message | str] = []
        while True:
            try:
                self.send(b'{"execute":"query-jobs","id":"barrier"}')
            except BrokenPipeError:
                return [*heard, *self._rest()]
            while True:
                message = self._heard()
                if message is None:
                    return [*heard, self._end()]
                if message.get("id") == "barrier":
                    break
                heard.append(message)
                if "error" in message:
                    self._endless -= begun
                if message.get("event", "").startswith("BLOCK_JOB_C"):
                    self._endless.discard(message["data"]["device"])
            jobs = message.get("return")
            if not jobs or all(job["status"] in SETTLED or job["id"] in self._endless for job in jobs):
                return heard

    def bytes_said(self, data: bytes) -> bytes:
        """Every byte that it says to these bytes, from which no job comes."""
        self.send(data + b'{"execute":"query-block-exports","id":"barrier"}')
        heard = b""
        while b"barrier" not in (line := self._lines.readline()):
            heard += line
        return heard

    def _rest(self) -> list[Message | str]:
        heard: list[Message | str] = []
        while (message := self._heard()) is not None:
            heard.append(message)
        return [*heard, self._end()]

    def _end(self) -> str:
        """How QEMU has ended."""
        code = self._process.wait(_REPLY_S_MAX)
        return "EOF" if not code else f"EOF {code}"

    def close(self) -> str:
        self._socket.close()
        self._process.kill()
        _, err = self._process.communicate()
        self._lines.close()
        return err.decode()


def _begun_without_end(data: bytes) -> set[str]:
    """The backups that copy only what a guest overwrites, until they are cancelled."""
    if b'"none"' not in data:
        return set()
    arguments = json.loads(data)["arguments"]
    begun = [arguments, *(action["data"] for action in arguments.get("actions", ()))]
    return {each.get("job-id", each["device"]) for each in begun if each.get("sync") == "none"}


def _opening(file: File, directory: Path, program: str) -> list[str]:
    path = f"{directory}/{file.name}"
    if file.device:
        node = f",node-name={file.node}" if file.node else ""
        readonly = ",readonly=on" if file.readonly else ""
        return ["-drive", f"if=none,id={file.device},file={path},format={file.format}{node}{readonly}"]
    option = "-blockdev" if program == "qemu-system-x86_64" else "--blockdev"
    readonly = ",read-only=on" if file.readonly else ""
    return [option, f"driver={file.format},node-name={file.node},file.driver=file,file.filename={path}{readonly}"]


class SimulatedQemu:
    """The same, simulated: a board and one session."""

    def __init__(self, files: list[File], *, daemon: bool = False) -> None:
        fs = FileSystem().mkdir(IMAGES)
        for file in files:
            form = "qcow2" if file.backing else ""
            qcow2 = fresh_qcow2(file.size, compat=file.compat, backing_name=file.backing, backing_format=form)
            fs = fs.create(f"{IMAGES}/{file.name}", qcow2 if file.format == "qcow2" else Raw(file.size))
        self.board = Board(fs, Qemu(pid=100, state_bytes=STATE_BYTES, xen=False), 1_700_000_000_000_000_000)
        self.session = Session(daemon=daemon)
        self.writes = 0
        # QEMU opens what it was given as -blockdev before what it was given as -drive.
        for file in sorted(files, key=lambda file: bool(file.device)):
            if file.opened:
                self._open(file)

    def _open(self, file: File) -> None:
        options: dict[str, Any] = {"driver": file.format, "read-only": file.readonly}
        options["file"] = {"driver": "file", "filename": f"{IMAGES}/{file.name}"}
        board, drive = opened_drive(self.board, BLOCKDEV(options, "", ""), file.node)
        if file.device:
            # A raw image that no guest uses is not locked against anybody (qemu.md 92).
            root = replace(drive.root, locked=file.format != "raw")
            drive = replace(drive, vdev=file.device, device=file.device, attached=True, removable=True)
            drive = replace(drive, chain=(root, *drive.chain[1:]))
        else:
            drive = replace(drive, chain=(replace(drive.root, owned=True), *drive.chain[1:]))
        self.board = board.having(board.fs, replace(board.qemu, drives=(*board.qemu.drives, drive)))

    def answers(self, data: bytes) -> list[Message | str]:
        self.session, self.board, said = monitor.received(self.session, self.board, data)
        heard: list[Message | str] = [json.loads(monitor.spoken(message)) for message in said]
        while work.busy(self.board) and not self.session.over:
            self.board, said = monitor.went_on(self.session, self.board)
            heard += said
        if not self.session.over:
            return heard
        if not self.board.crashed:
            return [*heard, "EOF"]
        died_of = signal.SIGSEGV if self.board.crashed.startswith("Segmentation") else signal.SIGABRT
        return [*heard, f"EOF {-died_of}"]

    def bytes_said(self, data: bytes) -> bytes:
        """Every byte that is said to these bytes."""
        self.session, self.board, said = monitor.received(self.session, self.board, data)
        return b"".join(map(monitor.spoken, said))

    def write(self, device: str, offset: int, length: int) -> int:
        """A guest writes to its disk, and flushes it: the number of the write."""
        self.writes += 1
        drive = by_device(self.board.qemu, device)
        assert drive is not None
        run = (offset // SECTOR, (offset + length) // SECTOR, self.writes)
        fs, qemu = graph.wrote(self.board.fs, self.board.qemu, drive.vdev, [run])
        self.board = replace(self.board, fs=fs, qemu=qemu)
        return self.writes

    def visible(self, device: str) -> bytes:
        """What a guest reads of the disk, which has whole sectors."""
        drive = by_device(self.board.qemu, device)
        assert drive is not None
        size, runs = graph.visible(self.board.fs, drive)
        sectors = -(-size // SECTOR)
        return bytes_of(filled(runs, 0, sectors), 0, sectors * SECTOR)


def _graph(told: dict[str, Any]) -> Any:
    """Which node hangs below which, by their names; what jobs hold is in the ledger, and so are all permissions."""
    names = {node["id"]: node["name"] for node in told["nodes"] if node["type"] != "block-job" and node["name"]}
    edges = {
        (names[edge["parent"]], names[edge["child"]], edge["name"])
        for edge in told["edges"]
        if edge["parent"] in names and edge["child"] in names
    }
    return sorted([_unnumbered(part) for part in edge] for edge in edges)


def _unnumbered(text: str) -> str:
    return re.sub(r"#block\d+", "#block", text)


_FLOATING = {"ready", "waiting", "pending", "aborting", "concluded", "null"}


def ordered(answers: list[Any]) -> list[Any]:
    """Answers with the reply before what a job goes on to do: that is a race in the real QEMU."""
    late = [each for each in answers if isinstance(each, dict) and _floats(each)]
    return [*(each for each in answers if each not in late), *late]


def _floats(message: dict[str, Any]) -> bool:
    if message.get("event", "").startswith("BLOCK_JOB"):
        return True
    return message.get("event") == "JOB_STATUS_CHANGE" and message["data"]["status"] in _FLOATING


def normal(value: Any, directory: str = "") -> Any:
    """An answer without what differs between any two runs of the real thing."""
    if isinstance(value, dict):
        if "edges" in value:
            return _graph(value)
        if "driver-specific" in value:
            # Where a qcow2 image puts its tables, and when it gives the room of old ones back, is not simulated: of a
            # second internal snapshot the first one's table is discarded.
            unknown = {key: "?" for key in value["driver-specific"] if key.startswith("discard-")}
            value = value | {"stats": value["stats"] | {"wr_highest_offset": "?"}}
            value |= {"driver-specific": value["driver-specific"] | unknown}
        protocol = value.get("format") == "file"
        # What a commit has not copied yet: that is a race in the real QEMU.
        follower = "granularity" in value and "name" not in value
        return {
            key: "?" if _COUNTED.fullmatch(key) else normal(each, directory)
            for key, each in value.items()
            if key not in _VOLATILE and not (protocol and key == "virtual-size") and not (follower and key == "count")
        }
    if isinstance(value, list):
        return [normal(each, directory) for each in value]
    if isinstance(value, str):
        text = value.replace(directory, IMAGES) if directory else value
        for pattern, instead in _SHOWN:
            text = pattern.sub(instead, text)
        return _unnumbered(text)
    return value
