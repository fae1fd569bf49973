"""Where fuzzing starts from: `python -m tests.fuzz.seeds DIRECTORY` writes a good input for every reader."""

import sys
from pathlib import Path

from simulator import SimulatedHost
from simulator.disk.image import Qcow2
from simulator.disk.qcow2_file import encoded
from tests.crash.running import UUID, running
from tests.fuzz.readers import READERS
from xensnap.engine import plan
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, ForgetRequest
from xensnap.formats import libvirt_xml

HEADER_BYTES = 512
STORE = f"{SimulatedHost.root}/{UUID}"


def seeds() -> dict[str, bytes]:
    """A good input by the name of its reader, all from one host with a guest that has snapshots."""
    host = running("ie")
    engine = Engine(host)

    def read(name: str) -> bytes:
        return host.run(host.files.read(f"{STORE}/{name}"))

    found = {
        "state": read("domain.libxl-json"),
        "record": read("snapshotdata-d.first.libxl-json"),
        "journal": read("journal"),
        "save file": read("first.save"),
        "plan": plan.encode(engine.plan(UUID, CreateRequest("more"))),
        "libxl": engine.list(UUID).contents.snapshots["first"].domain_config.encode(),
        "libvirt XML": libvirt_xml.dump(engine.list(UUID).contents.snapshots["first"]).encode(),
        "xl.cfg": b'name = "guest"\nmemory = 256\ndisk = [ "format=qcow2,vdev=xvda,target=/a,,b" ]\non_crash="x"\n',
        "disk": b"format=qcow2, vdev=xvda, access=rw, backendtype=qdisk, target=/images/a b",
        "snapshot.cfg": b'name = "before"\ndescription = "x"\n',
        "toml": b'name = "g"\nuuid = "%s"\n[[disk]]\nvdev = "xvda"\npath = "a"\nformat = "raw"\n' % UUID.encode(),
        "record of 2014": b'{"name": "first", "creation_time": 1400000000, "memory": "/m", "disks": []}',
        "manifest": b'{"schema": "xensnap-archive/1", "members": []}',
        "QMP": b'{"execute": "qmp_capabilities"}\r\n{"execute": "query-block", "id": [1, 2.5e3, "\\u00e9"]}\n',
        "xl list": f'[{{"domid": 1, "config": {{"c_info": {{"name": "guest", "uuid": "{UUID}"}}}}}}]'.encode(),
    }
    engine.perform(UUID, ForgetRequest("first"))
    trashed = next(name for name in host.world.fs.names(STORE) if name.startswith("trashed-d."))
    return {**found, "trashed": read(trashed), "qcow2": header(host)}


def header(host: SimulatedHost) -> bytes:
    """The beginning of an image as QEMU has it."""
    stored = host.world.fs.inode("/images/xvda.qcow2").stored
    assert isinstance(stored, Qcow2)
    return encoded(stored)[:HEADER_BYTES]


def main(directory: Path) -> None:
    for number, name in enumerate(READERS):
        data = seeds().get(name, b"")
        (directory / f"seed-{number}").write_bytes(bytes([number]) + data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
