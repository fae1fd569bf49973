"""Where fuzzing starts from: `python -m tests.fuzz.seeds DIRECTORY` writes a good input for every reader."""

import json
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
ANSWERS = {
    "query-status": {"status": "running", "running": True},
    "query-jobs": [{"id": "j", "type": "stream", "status": "running", "current-progress": 1, "total-progress": 2}],
    "query-migrate": {"status": "active", "ram": {"total": 2, "remaining": 1, "dirty-sync-count": 1}},
    "query-named-block-nodes": [
        {"node-name": "o", "drv": "qcow2", "ro": False, "image": {"filename": 'json:{"file": {"filename": "/o"}}'}},
        {"node-name": "b", "drv": "raw", "ro": True, "image": {"filename": "/b"}},
    ],
    "x-debug-query-block-graph": {
        "nodes": [
            {"id": 1, "type": "block-backend", "name": "d"},
            {"id": 2, "type": "block-driver", "name": "o"},
            {"id": 3, "type": "block-driver", "name": "b"},
            {"id": 4, "type": "block-job", "name": "j"},
        ],
        "edges": [
            {"parent": 1, "child": 2, "name": "root"},
            {"parent": 2, "child": 3, "name": "backing"},
            {"parent": 4, "child": 2, "name": "active node"},
            {"parent": 4, "child": 3, "name": "intermediate node"},
        ],
    },
}
"""Of a QEMU with one disk, an overlay on a base, which a job pulls up into it."""
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
        "QEMU's answers": json.dumps(ANSWERS).encode(),
        "image": image(host),
        "configuration": engine.list(UUID).contents.snapshots["first"].domain_config.encode(),
        "xl list -v": f"Name ID\npv1 {'1 160 1 r----- 14.4':>40} {UUID} {'-':>16} {'-':>16}\n".encode(),
        "xl block-list": b"Vdev BE handle state evt ring path\n51712 0 1 4 7 8 /local/domain/0/backend/qdisk/1/51712\n",
        "xl info": b"nr_cpus : 2\nvirt_caps              : pv hvm hap\n",
        "watcher's log": b"Waiting for domain pv1 (domid 1) to die [pid 361]\n",
        "extents": image(host),
        "end of counts": image(host),
        "settings": b'name = "g"\nvncpasswd = "a"\nname = "g"\nvncpasswd = "b"\n',
        "backing name": b"file:/images/b.qcow2",
        "config.toml": b'wait = "1m"\n[[hook]]\nwhen = ["pre"]\nrun = ["true"]\n[retention.all]\nkeep-last = 2\n',
        "xl list": f'[{{"domid": 1, "config": {{"c_info": {{"name": "guest", "uuid": "{UUID}"}}}}}}]'.encode(),
    }
    engine.perform(UUID, ForgetRequest("first"))
    trashed = next(name for name in host.world.fs.names(STORE) if name.startswith("trashed-d."))
    return {**found, "trashed": read(trashed), "qcow2": image(host)[:HEADER_BYTES]}


def image(host: SimulatedHost) -> bytes:
    """An image with snapshots, as QEMU has it."""
    stored = host.world.fs.inode("/images/xvda.qcow2").stored
    assert isinstance(stored, Qcow2)
    return encoded(stored)


def main(directory: Path) -> None:
    for number, name in enumerate(READERS):
        data = seeds().get(name, b"")
        (directory / f"seed-{number}").write_bytes(bytes([number]) + data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
