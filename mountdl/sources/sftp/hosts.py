"""All connections: a bulk line for each host, and a second one for readers while the first is busy.

Runs on the island.
"""

import asyncio
import time
from dataclasses import dataclass

from mountdl.extents import Extent
from mountdl.settings import SftpSettings
from mountdl.sources.sftp.address import Address, Place
from mountdl.sources.sftp.connecting import Dial
from mountdl.sources.sftp.line import Handle, Line
from mountdl.sources.sftp.reading import Reading

BUSY = 512 << 10
"""Bytes on their way on the bulk line from which on a reader takes the other: at 20 MB/s and 20 ms, 34 ms late."""

IDLE = {"bulk": 120.0, "urgent": 30.0}
"""Seconds without use after which a line is closed."""


@dataclass(slots=True)
class Host:
    """The lines to one place."""

    bulk: Line
    urgent: Line

    def line(self, *, urgent: bool) -> Line:
        """Return the line to use now. The second is made when it is first missed, while the first still serves."""
        if not urgent or self.bulk.pace.outstanding < BUSY:
            return self.bulk
        if self.urgent.ready:
            return self.urgent
        self.urgent.begin_connecting()
        return self.bulk


class Hosts:
    """The hosts that were asked so far."""

    def __init__(self, settings: SftpSettings, dial: Dial) -> None:
        self._settings = settings
        self._dial = dial
        self._hosts: dict[Place, Host] = {}
        self._keeper = asyncio.create_task(self._keep())

    async def begin(self, address: Address, extent: Extent, *, urgent: bool) -> tuple[Handle, Reading, Line]:
        """Return the file at *address* and *extent* of it on its way."""
        line = self._host(address.place).line(urgent=urgent)
        handle = await line.handle(address.path)
        return handle, Reading(line, handle, extent), line

    async def handle(self, address: Address) -> Handle:
        """Return the file at *address*, open."""
        return await self._host(address.place).bulk.handle(address.path)

    def warm(self, address: Address) -> None:
        """Connect ahead."""
        self._host(address.place).bulk.begin_connecting()

    def close(self) -> None:
        """Close everything."""
        self._keeper.cancel()
        for host in self._hosts.values():
            host.bulk.drop()
            host.urgent.drop()

    def _host(self, place: Place) -> Host:
        if place not in self._hosts:
            self._hosts[place] = Host(*(Line(place, self._settings, self._dial) for _ in range(2)))
        return self._hosts[place]

    async def _keep(self) -> None:
        """Close lines that nobody uses."""
        while True:
            await asyncio.sleep(5)
            now = time.monotonic()
            for host in self._hosts.values():
                for line, idle in ((host.bulk, IDLE["bulk"]), (host.urgent, IDLE["urgent"])):
                    if line.ready and line.pace.outstanding == 0 and now - line.used > idle:
                        line.drop()
