"""What xl, QEMU and qemu-img said on a real Xen host (4.17.7), asked again of a simulated one: no tool is needed.

Left out on both sides is what was that host's own: its dom0, UUIDs, the length of a configuration, which kernel its
guest has, and how long image files are, which is their allocator's business.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator import SimulatedHost
from simulator.serve import programs
from simulator.serve.ended import Told
from simulator.world import line
from tests.real.xenhost import filters
from tests.real.xenhost.guests import GUESTS, IMAGES, Guest

TRACES = Path(__file__).parent / "traces" / "xen"
NAMES = sorted(path.stem for path in TRACES.glob("*.jsonl"))

Line = dict[str, Any]


def read(name: str) -> list[Line]:
    return [json.loads(each) for each in (TRACES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


class Machine:
    """The host that a trace begins on: one guest that runs, made from the file that it had there."""

    def __init__(self, guest: Guest) -> None:
        self._before: list[Any] = []
        self._guest = guest
        self.host = SimulatedHost.fresh()
        self.host.make_directory(IMAGES)
        for disk in guest.disks:
            made = ["qemu-img", "create", "-q", "-f", disk.format, disk.path(guest.name), disk.size]
            assert self.run(made)["rc"] == 0
        for name in ("vmlinux", "vmlinuz", "guest.img"):
            self.host.cell.world = self.host.world.with_fs(
                self.host.world.fs.create(f"/var/lib/xen/images/{name}", b"")
            )
        self.host.make_directory("/etc/xen")
        self.host.make_directory("/var/tmp")
        fs = self.host.world.fs.create(guest.file, guest.config().encode())
        self.host.cell.world = self.host.world.with_fs(fs)
        assert self.run(["xl", "create", guest.file])["rc"] == 0

    def answer(self, asked: Line) -> Line:
        """The line of a trace that this one would be here."""
        if self._before:
            return {"event": self._before.pop(0)}
        match asked:
            case {"event": _}:
                return {"event": None}
            case {"qmp": dict(command)}:
                return {**asked, "reply": self.told(command, asked.get("domain", self._guest.name))}
            case {"guest": "poweroff"}:
                self.host.guest_poweroff(self._guest.name)
            case {"guest": str(words)}:
                assert words.startswith("write xvda 0 ")
                self.host.guest_writes(self._guest.name, "xvda", flush=True)
            case {"file": str(path), "text": str(text)}:
                fs = self.host.world.fs
                self.host.cell.world = self.host.world.with_fs(fs.create(path, text.encode()))
            case {"argv": ["sleep", str(seconds)]}:
                self.host.cell.world = self.host.world.slept(int(seconds) * 10**9)
            case {"argv": ["stat", "-c", "%a", str(path)]}:
                return {**asked, "out": f"{self.host.world.fs.inode(path).mode:o}\n"}
            case {"argv": list(argv)}:
                return self.run(argv)
        return asked

    def run(self, argv: list[str]) -> Line:
        ended = programs.run(self.host.world, argv, Told())
        self.host.cell.world = ended.world
        out, err = filters.text(ended.stdout), filters.text(ended.stderr)
        return {"argv": argv, "rc": ended.returncode, "out": out, "err": err}

    def told(self, command: Line, domain: str) -> Any:
        """The reply; what came before it is in lines of its own."""
        world, client, _ = line.opened(self.host.world, self.host.incarnation(domain).domid)
        world, client, _ = line.said(world, client, b'{"execute":"qmp_capabilities"}')
        world, client, answer = line.said(world, client, json.dumps(command).encode())
        self.host.cell.world = line.closed(world, client)
        told = [filters.message(json.loads(each)) for each in answer.splitlines()]
        place = next(at for at, each in enumerate(told) if "event" not in each)
        self._before = told[:place]
        return told[place]


def replayed(name: str) -> Iterator[tuple[Line, Line]]:
    """Each line that this host gives to a trace, with that of the real one."""
    head, *lines = read(name)
    machine = Machine(GUESTS[head["guest"]])
    return ((normal(machine.answer(each)), normal(each)) for each in lines)


_OWN = (
    (re.compile(r"^Domain-0 .*$", re.MULTILINE), "<dom0>"),
    (re.compile(r"info 0x3/0x0/\d+"), "info <length>"),
    (re.compile(r'kernel = "[^"]*"'), 'kernel = "<kernel>"'),
    (re.compile(r"Image end offset: \d+"), "Image end offset: <length>"),
    # Which event channel and which grant a guest's kernel has taken for a disk; -1 is none.
    (re.compile(r"^(\d+ +\d+ +\d+ +\d +)\d+ +\d+ +(?=/local/)", re.MULTILINE), r"\1<channel> <grant> "),
)


def normal(said: Any) -> Any:
    """A line without what was one host's own; configurations as values, since libxl's order of items is no fact."""
    told = json.loads(filters.nodes(json.dumps(said)))
    for key in ("out", "err") if "argv" in told else ():
        for pattern, instead in _OWN:
            told[key] = pattern.sub(instead, told[key])
    nodes = told["reply"].get("return") if "qmp" in told else None
    for node in nodes if isinstance(nodes, list) else ():
        if node.get("drv") == "file":
            node["image"]["virtual-size"] = "<length>"
    if told.get("argv", [])[:3] == ["xl", "list", "-l"] and told["out"].startswith("["):
        told["out"] = json.loads(told["out"])
    return told
