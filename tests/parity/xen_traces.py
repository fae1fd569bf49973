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

TRACES = Path(__file__).parent / "traces" / "xen"
NAMES = sorted(path.stem for path in TRACES.glob("*.jsonl"))
DISK_BYTES = 32 << 20
CONFIGURATION = """name = "pv1"
type = "pv"
memory = 128
vcpus = 1
kernel = "/var/lib/xen/images/vmlinux"
ramdisk = "/var/lib/xen/images/guest.img"
extra = "console=hvc0 quiet loglevel=0 panic=0"
on_crash = "preserve"
disk = [ 'vdev=xvda,format=qcow2,backendtype=qdisk,target=/var/lib/xen/images/pv1-xvda.qcow2',
         'vdev=xvdb,format=qcow2,backendtype=qdisk,target=/var/lib/xen/images/pv1-xvdb.qcow2' ]
"""

Line = dict[str, Any]


def read(name: str) -> list[Line]:
    return [json.loads(each) for each in (TRACES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


class Machine:
    """The host that the traces begin on: one guest that runs."""

    def __init__(self) -> None:
        self._before: list[Any] = []
        self.host = SimulatedHost.fresh()
        for vdev in ("xvda", "xvdb"):
            self.host.create_image(f"/var/lib/xen/images/pv1-{vdev}.qcow2", size_bytes=DISK_BYTES)
        for name in ("vmlinux", "vmlinuz", "guest.img"):
            self.host.cell.world = self.host.world.with_fs(
                self.host.world.fs.create(f"/var/lib/xen/images/{name}", b"")
            )
        self.host.make_directory("/etc/xen")
        self.host.make_directory("/var/tmp")
        fs = self.host.world.fs.create("/etc/xen/pv1.cfg", CONFIGURATION.encode())
        self.host.cell.world = self.host.world.with_fs(fs)
        assert self.run(["xl", "create", "/etc/xen/pv1.cfg"])["rc"] == 0

    def answer(self, asked: Line) -> Line:
        """The line of a trace that this one would be here."""
        if self._before:
            return {"event": self._before.pop(0)}
        match asked:
            case {"event": _}:
                return {"event": None}
            case {"qmp": dict(command)}:
                return {"qmp": command, "reply": self.told(command)}
            case {"guest": "poweroff"}:
                self.host.guest_poweroff("pv1")
            case {"guest": str(words)}:
                assert words.startswith("write xvda 0 ")
                self.host.guest_writes("pv1", "xvda", flush=True)
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

    def told(self, command: Line) -> Any:
        """The reply; what came before it is in lines of its own."""
        world, client, _ = line.opened(self.host.world, self.host.incarnation("pv1").domid)
        world, client, _ = line.said(world, client, b'{"execute":"qmp_capabilities"}')
        world, client, answer = line.said(world, client, json.dumps(command).encode())
        self.host.cell.world = line.closed(world, client)
        told = [filters.message(json.loads(each)) for each in answer.splitlines()]
        place = next(at for at, each in enumerate(told) if "event" not in each)
        self._before = told[:place]
        return told[place]


def answers(lines: list[Line]) -> Iterator[Line]:
    machine = Machine()
    return (machine.answer(each) for each in lines)


_OWN = (
    (re.compile(r"^Domain-0 .*$", re.MULTILINE), "<dom0>"),
    (re.compile(r"info 0x3/0x0/\d+"), "info <length>"),
    (re.compile(r'kernel = "[^"]*"'), 'kernel = "<kernel>"'),
    (re.compile(r"Image end offset: \d+"), "Image end offset: <length>"),
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
