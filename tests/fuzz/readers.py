"""Everything that reads text or bytes of others, by name; the order is the byte that chooses it in an input."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from simulator.core.unmodelled import NotModelled
from simulator.qemu.wire import Stream
from xensnap.backends.local.graph import Graph
from xensnap.backends.local.reader import where
from xensnap.backends.local.replies import BlockGraph, JobInfo, Migration, NamedNode, Status, converted
from xensnap.backends.xen import listing, log
from xensnap.cli import configuration as cli_configuration
from xensnap.engine import journal, plan, settings, state
from xensnap.formats import (
    archive,
    configuration,
    disk_spec,
    domain_toml,
    libvirt_xml,
    libxl_json,
    qcow2,
    qcow2_counts,
    qcow2_extents,
    record_2014,
    savefile,
    secret,
    snapshot_cfg,
    snapshot_record,
    trashed,
    xl_cfg,
)
from xensnap.model import DomainUuid

UUID = DomainUuid("0" * 36)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _qmp(data: bytes) -> None:
    """What a client sends to a monitor, in two pieces as a socket may cut it.

    Only so much of it: each byte that fits nowhere is an error, and half a megabyte of them takes a fuzzer a minute.
    """
    data = data[: 1 << 14]
    stream, _ = Stream().fed(data[: len(data) // 2])
    try:
        stream.fed(data[len(data) // 2 :])
    except NotModelled:
        return


def _archive(data: bytes) -> None:
    manifest = archive.decode(data, path="x")
    archive.length_bytes(archive.places(manifest, len(data)))


ANSWERS: dict[str, Any] = {
    "query-status": Status,
    "query-jobs": tuple[JobInfo, ...],
    "query-migrate": Migration,
    "query-named-block-nodes": tuple[NamedNode, ...],
    "x-debug-query-block-graph": BlockGraph,
}
"""What QEMU's answers are read as, by the question."""


def read_answers(told: Any) -> None:
    """An object with QEMU's answer to each question of ours, and what we make of the two about its images."""
    answers = told if isinstance(told, dict) else {}
    read = {
        question: converted(question, answers[question], kind)
        for question, kind in ANSWERS.items()
        if question in answers
    }
    if {"query-named-block-nodes", "x-debug-query-block-graph"} <= read.keys():
        graph = Graph(read["query-named-block-nodes"], read["x-debug-query-block-graph"])
        for device in graph.devices():
            graph.top(device, "xvda")
        graph.unused()
        graph.written()
        for job in read.get("query-jobs", ()):
            graph.copying(job.id)


def _answers(data: bytes) -> None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return  # the library has read it by then
    read_answers(told)


def _image(data: bytes) -> None:
    """All that we read of an image: the header, the snapshot table, whether it holds data."""
    for steps in (qcow2.metadata("x"), qcow2.holds_data("x")):
        _stepped(steps, data)


def _stepped(steps: Generator[qcow2.Span, bytes, object], data: bytes) -> None:
    try:
        span = next(steps)
        while True:
            span = steps.send(data[span.offset : span.offset + span.length_bytes])
    except StopIteration:
        return


def _configuration(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    configuration.vdevs(text)
    configuration.portable(text)
    configuration.renewed(text, uuid=UUID, name="other", layers={"xvda": None}, gone=("xvdb",), fresh_hardware=True)


def _settings(text: str) -> None:
    """Two configurations that are compared, the halves of a text."""
    before, after = text[: len(text) // 2], text[len(text) // 2 :]
    settings.name(text)
    settings.differing(before, after)
    settings.of_the_machine(text, after)
    for line in text.splitlines():
        secret.line_shown(line)


READERS: dict[str, Callable[[bytes], object]] = {
    "state": lambda data: state.decode(data, path="x"),
    "record": lambda data: snapshot_record.decode(data, path="x"),
    "trashed": lambda data: trashed.decode(data, path="x"),
    "plan": lambda data: plan.decode(data, path="x"),
    "journal": lambda data: (journal.decode(data), journal.due(data)),
    "toml": lambda data: domain_toml.parse(_text(data), source="x", fresh_uuid="0" * 36),
    "save file": lambda data: (savefile.length(data, path="x"), savefile.parse(data, path="x")),
    "libxl": lambda data: libxl_json.disks(libxl_json.parse(data, source="x")),
    "xl list": lambda data: libxl_json.parse_list(data, source="x"),
    "qcow2": lambda data: qcow2.parse_header(data, "x"),
    "xl.cfg": lambda data: xl_cfg.parse(_text(data), source="x"),
    "disk": lambda data: disk_spec.parse(_text(data), source="x"),
    "snapshot.cfg": lambda data: snapshot_cfg.parse(_text(data), source="x", uuid=UUID),
    "libvirt XML": lambda data: libvirt_xml.parse(data, source="x"),
    "record of 2014": lambda data: record_2014.parse(data, source="x"),
    "archive": lambda data: archive.manifest_bytes(data, path="x"),
    "manifest": _archive,
    "QMP": _qmp,
    "QEMU's answers": _answers,
    "image": _image,
    "configuration": _configuration,
    "xl list -v": lambda data: listing.domains(_text(data)),
    "xl block-list": lambda data: listing.blocks(_text(data)),
    "xl info": lambda data: listing.capabilities(_text(data)),
    "watcher's log": lambda data: log.watching(_text(data)),
    "extents": lambda data: _stepped(qcow2_extents.extents("x"), data),
    "settings": lambda data: _settings(_text(data)),
    "backing name": lambda data: where("/images/a.qcow2", _text(data)),
    "config.toml": lambda data: cli_configuration.decode(data, Path("config.toml")),
    "end of counts": lambda data: _stepped(qcow2_counts.end_of_counts("x", len(data)), data),
}
