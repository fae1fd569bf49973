"""qemu-storage-daemon as a program that is told on its standard input what to do with one image."""

import json
import re
from collections.abc import Sequence

from simulator.core.unmodelled import NotModelled
from simulator.qemu import monitor
from simulator.qemu.board import Board
from simulator.qemu.graph import Qemu
from simulator.qemu.monitor import Session
from simulator.serve.ended import Ended, Told
from simulator.world import World

_IMAGE = re.compile(r"node-name=(?P<node>[^,]+),driver=(?P<driver>[^,]+),file\.driver=file,file\.filename=(?P<path>.+)")


def run(world: World, argv: Sequence[str], told: Told) -> Ended:
    """One image by `--blockdev`, the monitor on standard input and output, and commands that end with `quit`.

    `NotModelled` for any other use.
    """
    options = dict(zip(argv[::2], argv[1::2], strict=False))
    image = _IMAGE.fullmatch(options.get("--blockdev", ""))
    if image is None or set(options) != {"--blockdev", "--chardev", "--monitor"}:
        raise NotModelled(f"qemu-storage-daemon {' '.join(argv)}")
    world, pid = world.started("qemu-storage-daemon")
    session = Session(daemon=True)
    board = Board(world.fs, Qemu(pid), world.clock.now_ns)
    file = {"driver": "file", "filename": image["path"].replace(",,", ",")}
    opening = {"driver": image["driver"], "node-name": image["node"], "file": file}
    session, board, _ = monitor.received(session, board, b'{"execute":"qmp_capabilities"}')
    asked = json.dumps({"execute": "blockdev-add", "arguments": opening}).encode()
    session, board, answers = monitor.received(session, board, asked)
    if failed := next((each["error"]["desc"] for each in answers if "error" in each), ""):
        return Ended(world.ended(pid), 1, "", f"qemu-storage-daemon: --blockdev {argv[1]}: {failed}\n")
    session, board, answers = monitor.received(Session(daemon=True), board, told.stdin)
    said = b"".join(monitor.spoken(each) for each in (monitor.greeting(), *answers))
    return Ended(world.with_fs(board.fs).ended(pid), 0, said.decode("utf-8", "surrogateescape"))
