"""A Xen host for one case: thawed with a guest up, worked on, and looked at; then it is gone."""

import contextlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.xenhost.cache import fingerprint, kept
from tests.real.xenhost.code import UNUSED_S_MAX
from tests.real.xenhost.dom0 import Answer, Dom0, Running, StandsStill
from tests.real.xenhost.guests import IMAGES, Guest
from tests.real.xenhost.machine import Frozen, Machine
from tests.real.xenhost.states import PYTHON, READY_S, enter, machine, ready, with_guest

ENVIRONMENT = {"XENSNAP_HOST": "xen", "COLUMNS": "100"}
STORE = "/var/lib/xen/snapshots"
VERB_S = 240.0
"""A command of ours, which may save and restore memory several times."""

XENCTX = "/usr/lib/xen-4.17/bin/xenctx"
"""Prints the registers of a guest."""
FIRMWARE, KERNEL = "cs:eip: ", "rip: ffffffff"
"""How it names where a guest is that has not come to its 64-bit kernel yet, and where one is that has."""

FIND_TIMES_MAX = 100
"""Questions to a guest, each of which gives it time to find a disk."""
STEP_TIMES_MAX = 100
"""Questions to a guest, each of which gives its worker time for a step."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `xl list`."""

    name: str
    domid: int
    state: str

    @property
    def paused(self) -> bool:
        return self.state[2] == "p"

    @property
    def shut_down(self) -> bool:
        return self.state[3] == "s"

    @property
    def running(self) -> bool:
        return not self.paused and not self.shut_down


class Face:
    """A guest as seen from its console: what is in its memory and on its disks."""

    def __init__(self, dom0: Dom0, guest: Guest) -> None:
        self._dom0 = dom0
        self.guest = guest
        self.writable = tuple(disk.vdev for disk in guest.disks if not disk.cdrom)

    def ask(self, text: str, *, timeout_s: float = READY_S) -> str:
        """What it answers; one that was just started is waited for."""
        answer = self._dom0.ask_guest(self.guest.name, text, timeout_s=timeout_s)
        if answer is None:
            raise self._silent(text)
        return answer

    def _silent(self, text: str) -> Exception:
        """That it does not answer, and where it stands: in its firmware it has not come to what the case is about."""
        looks = f"for _ in 1 2 3; do {XENCTX} $(xl domid {self.guest.name}) 2>&1 | sed -n 1,2p || true; sleep 1; done"
        where = self._dom0.shell(looks)
        told = f"{self.guest.name} does not answer to: {text}; it stands at {' '.join(where.split())}"
        in_firmware = self.guest.type == "hvm" and FIRMWARE in where and KERNEL not in where
        return StandsStill(told) if in_firmware else AssertionError(told)

    def answers(self, *, timeout_s: float = 3.0) -> bool:
        """Whether it answers, asked for a short while."""
        return self._dom0.ask_guest(self.guest.name, "ping", timeout_s=timeout_s) == "pong"

    def mark(self, word: str, *vdevs: str) -> None:
        """This word in memory and on the second block of each writable disk, or of these."""
        assert self.ask(f"keep {word}") == "done"
        for vdev in vdevs or self.writable:
            assert self.ask(f"write {vdev} 0 {word}") == "done"

    def sees(self, vdev: str) -> None:
        """Wait until the guest's kernel has found a disk that was just attached."""
        for _ in range(FIND_TIMES_MAX):
            if not self.on(vdev).startswith("error"):
                return
        raise AssertionError(f"{self.guest.name} does not find {vdev}")

    @property
    def kept(self) -> str:
        return self.ask("kept")

    def on(self, vdev: str) -> str:
        return self.ask(f"read {vdev} 0")

    def holds(self, memory: str, disks: str) -> None:
        """Memory and all writable disks are what they were when marked so."""
        found = {"memory": self.kept, **{vdev: self.on(vdev) for vdev in self.writable}}
        assert found == {"memory": memory, **dict.fromkeys(self.writable, disks)}

    def works_well(self) -> int:
        """The worker has written on, and never read another thing than it had written; its steps so far."""
        words = self.ask("worked").split()
        assert (words[2], words[4]) == ("0", "0"), f"steps, bad, errors: {words}"
        return int(words[0])

    def works_on(self) -> None:
        """The worker goes on as well as before, however many questions the guest answers within one of its steps."""
        before = self.works_well()
        assert any(self.works_well() > before for _ in range(STEP_TIMES_MAX)), f"it stands at step {before}"


class XenLab:
    """The host: xl and xensnap in dom0, and the face of each guest."""

    def __init__(self, host: Machine, dom0: Dom0, guest: Guest, *, forked: bool = False) -> None:
        self.forked = forked
        self.host = host
        self.dom0 = dom0
        self.guest = guest
        self.face = Face(dom0, guest)

    # Commands ---------------------------------------------------------------------------------------------------

    def xl(self, *words: str, timeout_s: float = 90.0) -> str:
        """What xl prints; it has to succeed. libxl's own limit is 60 seconds."""
        return self.dom0.run("xl", *words, timeout_s=timeout_s)

    def try_xensnap(self, *words: str) -> Answer:
        """Our command, however it ends; never in a traceback."""
        return honest(self.begin_xensnap(*words)())

    def begin_xensnap(self, *words: str, env: Mapping[str, str] | None = None) -> Running:
        environment = ENVIRONMENT | dict(env or {})
        return self.dom0.start("xensnap", *words, timeout_s=VERB_S, env=environment, forked=self.forked)

    def begin_program(self, path: str, *words: str) -> Running:
        """A Python program that uses the code under test."""
        argv = (path, *words) if self.forked else (PYTHON, path, *words)
        return self.dom0.start(*argv, timeout_s=VERB_S, env=ENVIRONMENT, forked=self.forked)

    def xensnap(self, *words: str) -> str:
        return self.try_xensnap(*words).must().out

    def json(self, *words: str) -> Any:
        return json.loads(self.xensnap(*words, "--json"))

    def refused(self, *words: str) -> Any:
        """The error document of a command that must not succeed."""
        answer = self.try_xensnap(*words, "--json")
        assert answer.status not in {0, None}, answer
        return json.loads(answer.out)

    def lose_power(self) -> None:
        """The whole host is without power for a moment, and boots: no guest is there, nothing is forked any more."""
        self.dom0.close()
        self.host.boot_again()
        self.dom0 = enter(self.host, booting=True)
        self.face = Face(self.dom0, self.guest)
        self.forked = False

    # Looks ------------------------------------------------------------------------------------------------------

    def domains(self) -> dict[str, Listed]:
        """All domains but dom0."""
        rows = [line.split() for line in self.xl("list").splitlines()[2:]]
        return {row[0]: Listed(row[0], int(row[1]), row[4]) for row in rows}

    @property
    def domain(self) -> Listed | None:
        """The guest as xl lists it; None where it is off."""
        return self.domains().get(self.guest.name)

    @property
    def domid(self) -> int:
        """Of the guest, which is there."""
        found = self.domain
        assert found is not None
        return found.domid

    def running(self) -> bool:
        found = self.domain
        return found is not None and found.running

    def snapshots(self) -> list[str]:
        return [each["name"] for each in self.json("list", self.guest.name)["snapshots"]]

    def files(self) -> set[str]:
        """Everything beside the images and in the store, but for locks."""
        found = self.dom0.shell(f"find {IMAGES} {STORE} -type f ! -name lock 2> /dev/null || true")
        return set(found.split())

    def watchers(self) -> list[int]:
        """The daemons of xl that will reboot or clean up the guest: those whose log is this guest's."""
        return self.dom0.processes(f"/var/log/xen/xl-{self.guest.name}.log", "/bin/xl")

    def stand_ins(self) -> list[int]:
        """The programs of ours that watch the guest in the place of an xl that was lost."""
        return self.dom0.processes(f"/var/log/xen/xl-{self.guest.name}.log", "/bin/python3.11")

    def monitor(self) -> str:
        return f"/var/run/xen/qmp-libxenstat-{self.domid}"

    def wait_until_off(self) -> None:
        """Gone from xl's list: shut down and cleaned up."""
        self._poll(f"! xl domid {self.guest.name} > /dev/null 2>&1")

    def wait_until_shut_down(self) -> None:
        """Shut down, and left lying about."""
        self._poll(f"[[ $(xl list {self.guest.name} | tail -n 1) == *' ---s-- '* ]]")

    def wait_for_another_domid(self, before: int) -> None:
        """Back after a reboot."""
        self._poll(f"d=$(xl domid {self.guest.name} 2> /dev/null) && [ $d != {before} ]")

    def _poll(self, condition: str, *, timeout_s: float = 60.0) -> None:
        self.dom0.shell(f"until {condition}; do sleep 0.5; done", timeout_s=timeout_s)

    def images_are_whole(self) -> None:
        """With every guest off, qemu-img finds neither leak nor corruption in any image."""
        for name in self.domains():
            self.xl("destroy", name)
        script = f"shopt -s nullglob; for i in {IMAGES}/*.qcow2; do qemu-img check -q -f qcow2 $i; done"
        self.dom0.shell(script, timeout_s=60)


def versions(lab: XenLab) -> dict[str, str]:
    """What stands under the case: Xen, the guests' QEMU and qemu-img."""
    info = dict(line.split(":", 1) for line in lab.xl("info").splitlines() if ":" in line)
    info = {name.strip(): value.strip() for name, value in info.items()}
    greeting = lab.dom0.greeting(lab.monitor())["QMP"]["version"]["qemu"]
    image_tool = lab.dom0.run("qemu-img", "--version").split()[2]
    qemu = ".".join(str(greeting[part]) for part in ("major", "minor", "micro"))
    return {"xen": info["xen_version"], "qemu": qemu, "qemu-img": image_tool, "kernel": info["release"]}


def honest(answer: Answer) -> Answer:
    assert "Traceback" not in answer.err, answer
    assert answer.status in {0, 1, 2, 3, 4, 5, 6, 7, None}, answer
    return answer


@dataclass(frozen=True, slots=True)
class Before:
    """What many cases begin with, done once and frozen: `do` is called with the host and `what`."""

    name: str
    do: Callable[[XenLab, Any], None]
    what: Any

    def key(self) -> str:
        return fingerprint(self.name, repr(self.what), Path(inspect.getfile(self.do)))


def prepared(guest: Guest, code: Path, before: Before | None) -> Frozen:
    """The host with this guest up and the code in place, after what comes before."""
    host = ready(guest, code)
    if before is None:
        return host

    def prepare(directory: Path) -> None:
        with machine(host.image, lambda _: code) as made:
            made.thaw(host, to_freeze_again=True)
            dom0 = enter(made, mounted=True)
            dom0.run("xl", "unpause", guest.name)
            before.do(XenLab(made, dom0, guest, forked=True), before.what)
            dom0.shell(f"xl pause {guest.name} && sync")
            dom0.close()
            made.freeze(directory)

    key = fingerprint(host.directory.name, before.key())
    return Frozen(kept(f"{guest.name}.{before.name}", key, prepare, unused_s_max=UNUSED_S_MAX), host.image)


@contextlib.contextmanager
def thawed(guest: Guest, code: Path, *, before: Before | None = None, forked: bool = False) -> Iterator[XenLab]:
    """The host with this guest up and running, as it was frozen; `code` is the second disk.

    `forked`, the state has the code imported already, and `xensnap` is not started but forked; all `before` is so.
    """
    frozen = prepared(guest, code, before) if forked else with_guest(guest)
    with machine(frozen.image, lambda _: code) as host:
        host.thaw(frozen)
        lab = XenLab(host, enter(host, mounted=forked), guest, forked=forked)
        try:
            lab.xl("unpause", guest.name)
            yield lab
        finally:
            lab.dom0.close()
