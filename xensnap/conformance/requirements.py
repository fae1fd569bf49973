"""What the cases are about: every requirement has an id that stays, a title, and how binding it is."""

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How binding a requirement is, in the words of RFC 2119."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Requirement(msgspec.Struct, frozen=True):
    """One row of the list of requirements."""

    id: str
    title: str
    level: Level


_ROWS: dict[Level, dict[str, str]] = {
    Level.MUST: {
        "C1": "disk snapshot of a guest that runs",
        "C2": "memory and disks of one moment",
        "C4": "snapshot of a guest that is off",
        "C5": "snapshot of a guest that is paused, which stays paused",
        "C6": "internal snapshot in a qcow2 image",
        "C7": "external snapshot: the image frozen below an overlay",
        "C9": "one moment over all disks",
        "C10": "disks chosen or left out, with reasons",
        "C16": "names: rules, uniqueness, defaults",
        "D1": "delete an internal snapshot",
        "D2": "delete an external snapshot: leaf, middle or current",
        "D7": "an interrupted delete is undone or finished",
        "D10": "only files that are provably ours are removed",
        "L1": "the tree of snapshots",
        "L2": "which snapshot the domain is at",
        "L4": "output for programs",
        "R1": "revert to an internal snapshot, with memory",
        "R2": "revert to an external snapshot; the chain does not grow",
        "R3": "revert to a disk snapshot",
        "R4": "what the guest does after a revert",
        "R5": "revert to a snapshot in the middle makes a branch",
        "R6": "everything that can fail is tried before the guest is ended",
        "R7": "a revert that fails brings the guest back",
        "M1": "the memory file",
        "M2": "memory is checked before it is restored",
        "M5": "memory is bound to its disks",
        "K1": "raw base, qcow2 overlay",
        "K2": "cdrom, empty drive, read-only disk",
        "S1": "records that survive",
        "S3": "records are held against images",
        "S4": "locks that name their holder",
        "S5": "a crash in the middle is undone or finished",
        "S6": "space is looked at before",
        "S8": "modes of files",
        "U1": "the plan can be seen and is carried out as shown",
        "U2": "refusals say what to do instead",
        "U3": "exit codes by kind",
        "U4": "progress, and an orderly interruption",
        "A1": "the same operations for programs",
        "T1": "a host in process",
        "T2": "faults at every effect",
        "T3": "contents are known byte by byte",
        "T4": "conformance cases and their report",
    },
    Level.SHOULD: {
        "C11": "storage that somebody else must snapshot",
        "C12": "quiesce through an agent",
        "C13": "memory copied while the guest runs",
        "C14": "an overlay prepared by the operator",
        "C15": "what the guest does after a snapshot",
        "C17": "records imported",
        "C20": "a snapshot replaced by one of the same name",
        "D3": "delete where branches meet",
        "D4": "delete with all below it",
        "D5": "forget the record, keep the data",
        "D6": "delete while the guest is off",
        "D9": "pinned snapshots",
        "L3": "filters",
        "L5": "space of each snapshot",
        "L6": "which blocks differ",
        "L7": "the configuration of the moment",
        "L8": "parent, info",
        "R8": "risks are accepted one by one",
        "R9": "disks attached or detached since",
        "R10": "NVRAM and TPM",
        "R12": "clone and export",
        "H1": "chains made shorter",
        "H2": "a limit on depth",
        "H3": "space needed to give space back",
        "H4": "images moved",
        "S2": "a lost store is rebuilt",
        "S7": "what snapshots stand in the way of",
        "U5": "retention",
        "A2": "hooks and events",
        "O1": "audit",
    },
    Level.MAY: {
        "C3": "memory alone",
        "C8": "internal and external in one snapshot",
        "C18": "no record",
        "C19": "several guests at one point",
        "R11": "generation id and clock",
        "R13": "one disk only",
        "M3": "integrity of memory files",
        "M4": "fast restore",
        "K3": "disks that are shared",
        "K4": "block devices and network disks",
        "K5": "data files, encryption",
        "K6": "a disk resized between snapshots",
        "D8": "the memory file goes with its snapshot",
        "H5": "dirty bitmaps",
    },
}

REQUIREMENTS = {id: Requirement(id, title, level) for level, rows in _ROWS.items() for id, title in rows.items()}
"""All requirements by id."""
