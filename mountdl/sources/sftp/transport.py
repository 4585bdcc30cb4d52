"""SFTP as a `Transport`: what the application builds and the engine asks for sources."""

import trio

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceRefused
from mountdl.settings import ProxySettings, SftpSettings
from mountdl.sources.base import Probe
from mountdl.sources.sftp.address import Address, parse
from mountdl.sources.sftp.crossing import Shared
from mountdl.sources.sftp.mirror import Mirror


class SftpTransport:
    """The sources behind sftp URLs; implements `Transport`. Costs nothing until the first is used."""

    def __init__(self, settings: SftpSettings, proxies: ProxySettings | None = None) -> None:
        self._shared = Shared(settings, proxies or ProxySettings())
        self._warming: trio.MemorySendChannel[Address] | None = None

    @property
    def schemes(self) -> frozenset[str]:
        """That of SFTP."""
        return frozenset({"sftp"})

    def source(self, ref: MirrorRef, content: Content) -> Mirror:
        """Return the mirror that *ref* is for *content*. A URL that can't be used refuses when it is fetched from."""
        return Mirror(self._shared, ref, content)

    async def probe(self, ref: MirrorRef) -> Probe:
        """Ask what *ref* has. Raises SourceError."""
        address = parse(ref.url)
        if address is None:
            raise SourceRefused("an sftp address", "can't be used")
        size, mtime = await self._shared.facts(address)
        return Probe(size, ranges=True, mtime=float(mtime))

    def warm(self, ref: MirrorRef) -> None:
        """Connect ahead: SSH takes five round trips. Returns at once and never fails."""
        address = parse(ref.url)
        if address is not None and self._warming is not None:
            try:
                self._warming.send_nowait(address)
            except trio.WouldBlock:
                return

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Connect ahead where asked until cancelled; close every connection then."""
        self._warming, asked = trio.open_memory_channel[Address](8)
        try:
            async with trio.open_nursery() as nursery:
                self._shared.moor(nursery)
                task_status.started()
                async for address in asked:
                    await self._shared.warm(address)
        finally:
            self._warming = None
            with trio.move_on_after(3, shield=True):
                await self._shared.close()
