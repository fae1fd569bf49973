"""In dom0: put a question to a guest's monitor by xensnap's own port. Arguments: its socket, how many times.

Prints as JSON the seconds that each took.
"""

import asyncio
import json
import sys
import time

from xensnap.backends.local.qmp import SocketConnector
from xensnap.model import Domain, DomainUuid, RunState

DOMAIN = Domain(DomainUuid("00000000-0000-4000-8000-000000000000"), "any", RunState.RUNNING, ())


async def asked(path: str, times: int) -> list[float]:
    async def where(domain: Domain) -> str:
        return path

    monitor = await SocketConnector(where).connect(DOMAIN, timeout_s=10)
    took = []
    for _ in range(times):
        began = time.monotonic()
        await monitor.execute("query-status")
        took.append(time.monotonic() - began)
    await monitor.close()
    return took


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(asked(sys.argv[1], int(sys.argv[2])))))
