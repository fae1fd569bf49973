"""A Xen host that says what a real one said (4.17.7), lies included, so that each of its oddities meets the backend.

Files are real, below a temporary directory. xl and QMP are answered from here: each command has its usual effect, which
a test can replace by another, real one.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.unit.backends.xen.test_listing import HEADER
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.xen.host import Low, XenHost
from xensnap.backends.xen.live import Stream
from xensnap.backends.xen.supervisor import Feed
from xensnap.formats import libxl_json, savefile
from xensnap.hypervisor import Completed, drive
from xensnap.model import Domain

UUID = "ec57283b-c3c4-4900-88b1-0d2d2f4c46a0"
STREAM = b"LibxlFmt" + bytes(100) + savefile.END


def config(name: str, uuid: str = UUID, kind: str = "pv", disks: Sequence[dict[str, Any]] = ()) -> libxl_json.Config:
    """A configuration as `xl list -l` tells it."""
    info = {"type": kind, "name": name, "uuid": uuid, "domid": 4294967295}
    return {"c_info": info, "b_info": {"max_memkb": 163840}, **({"disks": list(disks)} if disks else {})}


def disk(vdev: str, path: str, format: str = "qcow2") -> dict[str, Any]:
    """A disk as libxl tells it."""
    return {"pdev_path": path, "vdev": vdev, "format": format, "readwrite": 1}


def save_bytes(told: libxl_json.Config) -> bytes:
    """A save file of this configuration."""
    return savefile.encode(savefile.Head(told, 3, 0, b"", 0)) + STREAM


class Guest:
    """One incarnation."""

    def __init__(self, told: libxl_json.Config, letters: str = "r-----", *, ran: bool = True) -> None:
        self.config = told
        self.ran = ran
        self.letters = letters
        self.pauses = int(letters[2] == "p")
        self.connected = True

    @property
    def shown(self) -> str:
        """The six letters."""
        return self.letters if self.letters[3] == "s" else ("--p---" if self.pauses else "r-----")

    @property
    def seconds(self) -> float:
        """The time that it has used."""
        return 14.4 if self.ran else 0.0


Reply = Callable[..., tuple[int, bytes]]


class ScriptedXen:
    """The machine: guests by domid, and everything that `Low` wants."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("store", "userdata", "logs", "images"):
            (place / name).mkdir()
        self.guests: dict[int, Guest] = {}
        self.next_domid = 1
        self.told: list[tuple[str, ...]] = []
        self.instead: dict[str, Reply] = {}
        self.virt_caps = "pv hvm hap"
        self.monitor: dict[str, Any] = {"query-jobs": [], "query-status": {"status": "running"}}
        self.asked: list[str] = []
        self.xls: set[int] = set()
        self.stopped: set[int] = set()
        self.stood_in: list[tuple[int, str, str]] = []
        self.fed = b""
        self.migration_status = 1
        self.stream: Callable[[Path], object] = lambda path: path.write_bytes(save_bytes(config("x")))
        files = LocalFiles(_at_once)
        machine = _Machine()
        low = Low(
            runner=self,
            connector=self,
            files=files,
            machine=machine,
            images=QemuImg(self, machine),
            supervisor=self,
            daemons=self,
            receivers=self,
            gather=_one_by_one,
            run=drive,
        )
        self.host = XenHost(low, root=str(place / "store"), userdata=str(place / "userdata"), logs=str(place / "logs"))

    def add(self, name: str, *, kind: str = "pv", letters: str = "r-----", uuid: str = UUID, **disks: str) -> int:
        """A domain that is there, each disk a new file."""
        told = [disk(vdev, self.image(path), path.rpartition(".")[2]) for vdev, path in disks.items()]
        return self.enter(config(name, uuid, kind, told), letters)

    def image(self, name: str) -> str:
        """A file among the images: raw, or the head of a qcow2 that has nothing in it."""
        path = self.place / "images" / name
        if not path.exists():
            path.write_bytes(bytes(1 << 16))
        return str(path)

    def enter(self, told: libxl_json.Config, letters: str = "r-----", *, ran: bool = True) -> int:
        """A domain comes up, and libxl keeps its configuration."""
        domid, self.next_domid = self.next_domid, self.next_domid + 1
        self.guests[domid] = Guest(told, letters, ran=ran)
        self.userdata(domid).write_bytes(libxl_json.dump(told) + b"\0")
        return domid

    def userdata(self, domid: int, kind: str = "libxl-json") -> Path:
        """What libxl keeps of a domain."""
        return self.place / "userdata" / f"userdata-d.{domid}.{self.guests[domid].config['c_info']['uuid']}.{kind}"

    def watched(self, name: str, domid: int, pid: int) -> None:
        """An xl watches the domain."""
        (self.place / "logs" / f"xl-{name}.log").write_text(
            f"Waiting for domain {name} (domid {domid}) to die [pid {pid}]\n"
        )
        self.xls.add(pid)

    # Runner ----------------------------------------------------------------------------------------------------------

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        heard: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """xl."""
        self.told.append(tuple(argv[1:]))
        verb, *words = argv[1:]
        answer = self.instead.get(verb) or getattr(self, f"_{verb.strip('-').replace('-', '_')}")
        code, text = answer(*words)
        ok = verb in ("list", "info", "block-list", "-N")
        return Completed(tuple(argv), code, text if ok and not code else b"", b"" if ok and not code else text)

    def _list(self, *words: str) -> tuple[int, bytes]:
        if words[0] == "-v":
            lines = [
                f"{guest.config['c_info']['name']:<40} {domid:5d}   160     1     {guest.shown}      {guest.seconds} "
                f"{guest.config['c_info']['uuid']}        -                -\n"
                for domid, guest in self.guests.items()
            ]
            return 0, (HEADER + "".join(lines)).encode()
        found = [{"domid": domid, "config": self._stored(domid)} for domid in self.guests]
        return 0, json.dumps(found).encode()

    def _stored(self, domid: int) -> Any:
        return libxl_json.parse(self.userdata(domid).read_bytes(), source="x")

    def _info(self) -> tuple[int, bytes]:
        return 0, f"virt_caps              : {self.virt_caps}\n".encode()

    def _block_list(self, domid: str) -> tuple[int, bytes]:
        state = 4 if self.guests[int(domid)].connected else 1
        return 0, f"Vdev  BE\n51712 0 1 {state} 8 8 /local/domain/0/backend/qdisk/{domid}/51712\n".encode()

    def _pause(self, domid: str) -> tuple[int, bytes]:
        self.guests[int(domid)].pauses += 1
        return 0, b""

    def _unpause(self, domid: str) -> tuple[int, bytes]:
        guest = self.guests[int(domid)]
        if not guest.pauses:
            return 0, b"Unpausing domain: Invalid argument\n"
        guest.pauses -= 1
        guest.ran |= not guest.pauses
        return 0, b""

    def _save(self, how: str, domid: str, path: str) -> tuple[int, bytes]:
        guest = self.guests[int(domid)]
        Path(path).write_bytes(save_bytes(guest.config))
        guest.pauses += how == "-p"
        return 0, b"xc: info: Saving domain 1, type x86 PV\n"

    def _destroy(self, domid: str) -> tuple[int, bytes]:
        self.guests.pop(int(domid))
        return 0, b""

    def _rename(self, domid: str, name: str) -> tuple[int, bytes]:
        guest = self.guests[int(domid)]
        guest.config = libxl_json.with_identity(guest.config, uuid=guest.config["c_info"]["uuid"], name=name)
        return 0, b""

    # Supervisor ------------------------------------------------------------------------------------------------------

    async def start(self, argv: Sequence[str], *, feed: Feed | None = None, timeout_s: float) -> Completed:
        """xl create and xl restore."""
        self.told.append(tuple(argv[1:]))
        if feed is not None:
            self.fed = feed.head + (await self.host.files.read(feed.file))[feed.skip :]
        code, text = self.instead[argv[1]](*argv[2:])
        return Completed(tuple(argv), code, b"", text)

    async def revive(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """A save that fails."""
        self.told.append(("revive", *argv[2:]))
        self.guests[int(argv[3])].letters = "r-----"
        return Completed(tuple(argv), 1, b"", b"")

    # Daemons ---------------------------------------------------------------------------------------------------------

    async def is_watcher(self, pid: int, log: str) -> bool:
        """Whether it lives."""
        return pid in self.xls

    async def stand_in(self, domid: int, uuid: str, log: str) -> None:
        """One more that watches."""
        self.stood_in.append((domid, uuid, log))

    async def stop(self, pid: int) -> int:
        """SIGSTOP."""
        self.stopped.add(pid)
        return 0

    async def go_on(self, pid: int, started: int) -> None:
        """SIGCONT."""
        self.stopped.discard(pid)

    # Receivers -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def receive(self, to: str, domid: int, program: str) -> AsyncIterator[Stream]:
        """A live stream."""
        yield _Stream(self, Path(to), domid)

    # Monitor ---------------------------------------------------------------------------------------------------------

    async def connect(self, domain: Domain, *, timeout_s: float) -> "ScriptedXen":
        """The domain's QEMU."""
        return self

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """One command; its reply is in `monitor`."""
        self.asked.append(command)
        answer = self.monitor.get(command, {})
        return answer(arguments) if callable(answer) else answer

    async def close(self) -> None:
        """Nothing to do."""


class _Stream:
    def __init__(self, xen: ScriptedXen, path: Path, domid: int) -> None:
        self._xen, self._path, self._guest = xen, path, xen.guests[domid]

    async def complete(self) -> None:
        self._guest.letters = "---ss-"
        self._xen.stream(self._path)

    async def let_go(self) -> Completed:
        self._guest.letters = "r-----"
        status = self._xen.migration_status
        return Completed(("xl", "migrate"), status, b"", b"Migration failed, resuming at sender.\n")


class _Machine(LocalMachine):
    async def sleep(self, seconds: float) -> None:
        """Time is not what these tests are about."""


async def _at_once(seconds: float) -> None:
    pass


async def _one_by_one(*work: Awaitable[Any]) -> list[Any]:
    return [await one for one in work]
