"""What is recorded of the real tools: short conversations whose every answer the simulator has to give, too."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.real.xenhost import filters
from tests.real.xenhost.guests import HVM, IMAGES, MANY, PV, PVH, Guest
from tests.real.xenhost.lab import XenLab, versions

SAVED = "/var/tmp/saved"
DISK = f"{IMAGES}/pv1-xvda.qcow2"
OTHER = f"{IMAGES}/pv1-xvdb.qcow2"
ATTACHED = f"{IMAGES}/pv1-xvdc.qcow2"

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Qmp:
    """One command to the monitor of the guest, or of another domain that was made meanwhile."""

    command: Mapping[str, Any]
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """One line to the guest's console: it writes, or it ends."""

    text: str


@dataclass(frozen=True, slots=True)
class Put:
    """A file in dom0."""

    path: str
    text: str


Deed = tuple[str, ...] | Qmp | Say | Put


@dataclass(frozen=True, slots=True)
class Scenario:
    """One trace: a guest that is up, and what is done then."""

    name: str
    story: str
    deeds: tuple[Deed, ...]
    guest: Guest = PV


def qmp(command: str, /, **arguments: Any) -> Qmp:
    """A command; a low line in a name stands for the hyphen that QMP has."""
    named = {key.replace("_", "-"): value for key, value in arguments.items()}
    return Qmp({"execute": command, **({"arguments": named} if named else {})})


def internal(vdev: str, name: str) -> Line:
    return {"type": "blockdev-snapshot-internal-sync", "data": {"device": f"{vdev}-qcow2", "name": name}}


def external(vdev: str, file: str) -> Line:
    names = {"node-name": f"{vdev}-qcow2", "snapshot-node-name": f"{vdev}-new"}
    return {"type": "blockdev-snapshot-sync", "data": {**names, "snapshot-file": file, "format": "qcow2"}}


def transaction(*actions: Line) -> Qmp:
    return qmp("transaction", actions=list(actions))


def attach(domain: str, *words: str) -> tuple[str, ...]:
    """A qcow2 disk that QEMU serves, if the words do not say otherwise."""
    return "xl", "block-attach", domain, ",".join(("format=qcow2", "backendtype=qdisk", *words))


NODES = qmp("query-named-block-nodes", flat=True)
STATUS = qmp("query-status")
LIST = ("xl", "list")
BLOCKS = ("xl", "block-list", "pv1")
CHECK = tuple(("qemu-img", "check", "-f", "qcow2", image) for image in (DISK, OTHER))

SCENARIOS = (
    Scenario(
        "pause-is-counted",
        "Two pauses need two unpauses, and an unpause too many says so and ends with 0.",
        (
            *(("xl", "pause", "pv1"),) * 2,
            *(("xl", "unpause", "pv1"), LIST) * 3,
            STATUS,
        ),
    ),
    Scenario(
        "no-such-domain",
        "Unknown names and numbers: exit codes differ by command, and some are 0.",
        (
            ("xl", "pause", "77"),
            ("xl", "unpause", "77"),
            ("xl", "pause", "nosuch"),
            ("xl", "list", "nosuch"),
            ("xl", "list", "77"),
            ("xl", "domid", "nosuch"),
            ("xl", "destroy", "nosuch"),
            ("xl", "block-list", "nosuch"),
            ("xl", "save", "nosuch", SAVED),
            ("xl", "restore", "/nosuch"),
            ("xl", "rename", "nosuch", "other"),
        ),
    ),
    Scenario(
        "save-and-restore",
        "A save that leaves the guest paused, and its restore under a new domid; the name must be free.",
        (
            ("xl", "list", "-l", "pv1"),
            ("xl", "block-list", "pv1"),
            ("xl", "save", "-p", "pv1", SAVED),
            LIST,
            ("stat", "-c", "%a", SAVED),
            ("xl", "restore", SAVED),
            ("xl", "unpause", "pv1"),
            ("xl", "destroy", "pv1"),
            LIST,
            ("xl", "restore", SAVED),
            LIST,
            ("xl", "list", "-l", "pv1"),
        ),
    ),
    Scenario(
        "save-of-a-paused-guest",
        "A paused PV guest cannot be saved: xl waits a minute and gives up.",
        (("xl", "pause", "pv1"), ("xl", "save", "-p", "pv1", SAVED), LIST, ("xl", "unpause", "pv1"), LIST),
    ),
    Scenario(
        "poweroff-after-a-save",
        "The daemon that watches a guest ends with a save, and nobody cleans up after the guest.",
        (("xl", "save", "-c", "pv1", SAVED), LIST, Say("poweroff"), ("sleep", "5"), LIST, STATUS),
    ),
    Scenario(
        "internal-snapshots",
        "Internal snapshots through the monitor: one transaction for two disks, and what is refused.",
        (
            STATUS,
            transaction(internal("xvda", "one"), internal("xvdb", "one")),
            transaction(internal("xvda", "two"), internal("xvdb", "one")),
            transaction(internal("xvda", "two"), internal("xvda", "two")),
            transaction(internal("xvdz", "one")),
            transaction(internal("xvda", "")),
            transaction(),
            NODES,
            qmp("blockdev-snapshot-delete-internal-sync", device="xvda-qcow2", name="none"),
            qmp("blockdev-snapshot-delete-internal-sync", device="xvda-qcow2", name="one"),
            NODES,
            ("xl", "destroy", "pv1"),
            ("qemu-img", "snapshot", "-l", DISK),
            ("qemu-img", "snapshot", "-l", OTHER),
            ("qemu-img", "info", "--output=json", OTHER),
            *CHECK,
        ),
    ),
    Scenario(
        "external-snapshot",
        "An overlay below a running guest: xl and its save file go on naming the base.",
        (
            transaction(external("xvda", f"{IMAGES}/over.qcow2")),
            NODES,
            Say("write xvda 0 over"),
            ("xl", "block-list", "pv1"),
            ("xl", "list", "-l", "pv1"),
            transaction(internal("xvda", "one")),
            qmp("block-commit", device="xvda-new"),
            qmp("block-commit", device="xvda-none", job_id="commit"),
            qmp("block-stream", device="xvda-none", job_id="stream"),
            ("qemu-img", "info", "-U", "--backing-chain", "--output=json", f"{IMAGES}/over.qcow2"),
            ("xl", "destroy", "pv1"),
            *CHECK,
        ),
    ),
    Scenario(
        "tags-offline",
        "qemu-img and tags: a second one of the same name, numbers that are names, and what is not there.",
        (
            ("xl", "destroy", "pv1"),
            *(("qemu-img", "snapshot", "-c", tag, DISK) for tag in ("one", "one", "1", "7")),
            ("qemu-img", "snapshot", "-l", DISK),
            ("qemu-img", "snapshot", "-d", "one", DISK),
            ("qemu-img", "snapshot", "-l", DISK),
            ("qemu-img", "snapshot", "-a", "1", DISK),
            ("qemu-img", "snapshot", "-a", "none", DISK),
            ("qemu-img", "snapshot", "-d", "none", DISK),
            ("qemu-img", "snapshot", "-l", "/nosuch"),
            *CHECK,
        ),
    ),
    Scenario(
        "names",
        "A number as a name, and a name that is taken.",
        (
            ("xl", "rename", "pv1", "5"),
            LIST,
            ("xl", "domid", "5"),
            ("xl", "rename", "5", "Domain-0"),
            ("xl", "rename", "1", "pv1"),
            ("xl", "create", PV.file),
        ),
    ),
    Scenario(
        "disks-attached-and-detached",
        "A disk more and a disk less while the guest runs: where xl looks, and where it does not.",
        (
            ("qemu-img", "create", "-q", "-f", "qcow2", ATTACHED, "32M"),
            attach("pv1", "vdev=xvdc", "access=rw", f"target={ATTACHED}"),
            ("sleep", "5"),
            BLOCKS,
            NODES,
            ("xl", "list", "-l", "pv1"),
            attach("pv1", "vdev=xvdc", "access=rw", f"target={ATTACHED}"),
            attach("pv1", "vdev=xvdd", "format=nosuch", "target=/nosuch"),
            attach("pv1", "vdev=xvdd", "nonsense", "access=zz"),
            ("xl", "block-attach", "pv1"),
            attach("nosuch", "vdev=xvdd", f"target={ATTACHED}"),
            attach("77", "vdev=xvdd", f"target={ATTACHED}"),
            ("xl", "block-detach", "pv1", "xvdz"),
            ("xl", "block-detach", "pv1", "nonsense"),
            ("xl", "block-detach", "pv1"),
            ("xl", "block-detach", "nosuch", "xvdc"),
            ("xl", "block-detach", "77", "xvdc"),
            ("xl", "block-detach", "pv1", "51744"),
            BLOCKS,
            NODES,
            ("xl", "list", "-l", "pv1"),
            ("xl", "block-detach", "pv1", "xvdc"),
            ("xl", "block-detach", "pv1", "xvdb"),
            BLOCKS,
            NODES,
            ("xl", "list", "-l", "pv1"),
            ("xl", "save", "-p", "pv1", SAVED),
            ("xl", "destroy", "pv1"),
            ("xl", "restore", "-p", SAVED),
            BLOCKS,
        ),
    ),
    Scenario(
        "a-disk-that-is-not-there",
        "An image that does not exist is attached without a word.",
        (
            attach("pv1", "vdev=xvdd", "access=rw", "target=/nosuch"),
            ("sleep", "5"),
            BLOCKS,
            NODES,
            ("xl", "list", "-l", "pv1"),
            ("xl", "block-detach", "pv1", "xvdd"),
            BLOCKS,
        ),
    ),
    Scenario(
        "xenstore-is-written",
        "What anybody may write into xenstore, and what the programs say of it.",
        (
            ("xenstore-write", "/tool/xensnap", "one"),
            ("xenstore-read", "/tool/xensnap"),
            ("xenstore-write", "/tool/xensnap/a", "1", "/tool/xensnap/b", "two words"),
            ("xenstore-ls", "/tool/xensnap"),
            ("xenstore-ls", "-f", "/tool/xensnap"),
            ("xenstore-list", "/tool/xensnap"),
            ("xenstore-write", "/tool/xensnap"),
            ("xenstore-write", "/tool/xensnap/a", "1", "/tool/xensnap/b"),
            ("xenstore-write", "no/slash", "x"),
            ("xenstore-read", "no/slash"),
            ("xenstore-read", "/local/domain/0/no/slash"),
            ("xenstore-write", "/tool/xen snap", "x"),
            ("xenstore-write", "/tool/xensnap/", "x"),
            ("xenstore-write", "/", "x"),
            ("xenstore-write",),
            ("xenstore-write", "/tool/xensnap/a", ""),
            ("xenstore-read", "/tool/xensnap/a"),
            ("xenstore-read", "/tool/nosuch"),
            ("xenstore-write", "/tool/deep/er/still", "x"),
            ("xenstore-ls", "/tool/deep"),
            ("xenstore-rm", "/tool/xensnap/b"),
            ("xenstore-rm", "/tool/nosuch"),
            ("xenstore-rm", "/no/such"),
            ("xenstore-rm",),
            ("xenstore-list", "/no/such"),
            ("xenstore-ls", "/no/such"),
            ("xenstore-ls", "/tool/xensnap"),
            ("xenstore-rm", "/tool/xensnap"),
            ("xenstore-exists", "/tool/xensnap"),
            ("xenstore-exists", "/tool/xensnap/a"),
            ("xenstore-write", "/local/domain/0/backend/qdisk/1/51712/params", "qcow2:/elsewhere"),
            ("xenstore-read", "/local/domain/0/backend/qdisk/1/51712/params"),
            BLOCKS,
        ),
    ),
    Scenario(
        "state-saved-by-qemu",
        "QEMU's own jobs that save a machine: what they do where the memory is not QEMU's.",
        (
            qmp("snapshot-save", job_id="j", tag="one", vmstate="xvda-qcow2", devices=["xvda-qcow2", "xvdb-qcow2"]),
            ("sleep", "2"),
            qmp("query-jobs"),
            STATUS,
            qmp("job-dismiss", id="j"),
            NODES,
            qmp("snapshot-load", job_id="j", tag="none", vmstate="xvda-qcow2", devices=["xvda-qcow2"]),
            ("sleep", "2"),
            qmp("query-jobs"),
            STATUS,
            LIST,
            qmp("job-dismiss", id="j"),
            qmp("cont"),
            STATUS,
            qmp("snapshot-load", job_id="j", tag="one", vmstate="xvda-qcow2", devices=["xvda-qcow2", "xvdb-qcow2"]),
            ("sleep", "2"),
            qmp("query-jobs"),
            STATUS,
            LIST,
            qmp("job-dismiss", id="j"),
            qmp("cont"),
            qmp("snapshot-delete", job_id="j", tag="one", devices=["xvda-qcow2", "xvdb-qcow2"]),
            ("sleep", "2"),
            qmp("query-jobs"),
            qmp("job-dismiss", id="j"),
            NODES,
        ),
    ),
    Scenario(
        "dirty-bitmaps",
        "What the guest has written since then, as a backup program follows it.",
        (
            qmp("block-dirty-bitmap-add", node="xvda-qcow2", name="b"),
            NODES,
            Say("write xvda 0 changed"),
            NODES,
            transaction(internal("xvda", "one")),
            qmp("block-dirty-bitmap-clear", node="xvda-qcow2", name="b"),
            NODES,
            qmp("block-dirty-bitmap-remove", node="xvda-qcow2", name="b"),
        ),
    ),
)


def saved_and_restored(guest: Guest) -> tuple[Deed, ...]:
    """What every type of guest can: snapshots through the monitor, memory with them, and the way back."""
    name = guest.name
    looks = (LIST, ("xl", "block-list", name), ("xl", "list", "-l", name), STATUS, NODES)
    return (
        *looks,
        transaction(internal("xvda", "one"), internal("xvdb", "one")),
        transaction(internal("xvda", "one"), internal("xvdb", "two")),
        ("xl", "save", "-p", name, SAVED),
        LIST,
        STATUS,
        qmp("blockdev-snapshot-delete-internal-sync", device="xvdb-qcow2", name="one"),
        ("xl", "unpause", name),
        ("xl", "destroy", name),
        LIST,
        ("xl", "restore", "-p", SAVED),
        *(deed if isinstance(deed, tuple) else Qmp(deed.command, name) for deed in looks),
        ("xl", "unpause", name),
        LIST,
        ("xl", "destroy", name),
        *(("qemu-img", "snapshot", "-l", disk.path(name)) for disk in guest.disks),
        *(("qemu-img", "check", "-f", "qcow2", disk.path(name)) for disk in guest.disks),
    )


OTHER_GUESTS = (
    Scenario(
        "pvh-saved-and-restored",
        "A PVH guest: snapshots, a save that leaves it paused, and its restore.",
        saved_and_restored(PVH),
        PVH,
    ),
    Scenario(
        "hvm-saved-and-restored",
        "An HVM guest with drivers for Xen: snapshots, a save that leaves it paused, and its restore.",
        saved_and_restored(HVM),
        HVM,
    ),
    Scenario(
        "four-disks",
        "Two qcow2 disks, a raw one and a disc: what each of them can.",
        (
            ("xl", "block-list", MANY.name),
            ("xl", "list", "-l", MANY.name),
            NODES,
            transaction(internal("xvda", "one"), internal("xvdb", "one"), internal("xvdc", "one")),
            transaction({"type": "blockdev-snapshot-internal-sync", "data": {"device": "xvdb-raw", "name": "one"}}),
            transaction(internal("xvda", "one"), internal("xvdc", "one")),
            NODES,
            transaction(
                external("xvda", f"{IMAGES}/a.qcow2"),
                {
                    "type": "blockdev-snapshot-sync",
                    "data": {
                        "node-name": "xvdb-raw",
                        "snapshot-node-name": "xvdb-new",
                        "snapshot-file": f"{IMAGES}/b.qcow2",
                        "format": "qcow2",
                    },
                },
            ),
            NODES,
            ("qemu-img", "info", "-U", "--backing-chain", "--output=json", f"{IMAGES}/b.qcow2"),
            ("xl", "destroy", MANY.name),
            *(("qemu-img", "check", "-f", "qcow2", f"{IMAGES}/{name}.qcow2") for name in ("a", "b", "pv4-xvdc")),
        ),
        MANY,
    ),
)


def play(lab: XenLab, scenario: Scenario) -> Iterator[Line]:
    """The trace: what it is, what it begins with, then each deed with its answer, filtered."""
    domid = lab.domains()[scenario.guest.name].domid
    disks = [{"vdev": disk.vdev, "file": disk.path(scenario.guest.name)} for disk in scenario.guest.disks]
    yield {
        "trace": scenario.name,
        "story": scenario.story,
        "guest": scenario.guest.name,
        "domid": domid,
        "disks": disks,
        "versions": versions(lab),
    }
    for deed in scenario.deeds:
        match deed:
            case Qmp(command, domain):
                asked = lab.domains()[domain].domid if domain else domid
                monitor = f"/var/run/xen/qmp-libxenstat-{asked}"
                *before, answer = [said["message"] for said in lab.dom0.qmp(monitor, command)][1:]
                yield {"qmp": command, **({"domain": domain} if domain else {}), "reply": filters.message(answer)}
                yield from ({"event": filters.message(said)} for said in before)
            case Say(line):
                yield {"guest": line, "answer": lab.face.ask(line)}
            case Put(path, text):
                lab.dom0.put(path, text.encode())
                yield {"file": path, "text": text}
            case argv:
                answer = lab.dom0.try_run(*argv, timeout_s=120)
                out, err = filters.text(answer.out), filters.text(answer.err)
                yield {"argv": list(argv), "rc": answer.status, "out": out, "err": err}


def written(lines: Iterator[Line]) -> str:
    """As it is kept: one line of JSON for each."""
    return filters.nodes("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
