"""The island with what lives on it, as trio sees it: failures come as SourceError.

asyncssh is imported on the island, with the first address that is used: it takes 0.2 s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from mountdl.errors import SourceError
from mountdl.extents import Extent
from mountdl.settings import ProxySettings, SftpSettings
from mountdl.sources import tunnel
from mountdl.sources.proxies import proxy_for
from mountdl.sources.sftp.address import Address
from mountdl.sources.sftp.island import Island

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    import trio

    from mountdl.sources.sftp.hosts import Hosts
    from mountdl.sources.sftp.line import Handle, Line
    from mountdl.sources.sftp.reading import Reading

T = TypeVar("T")


class Crossing:
    """An extent on its way, seen from trio."""

    def __init__(self, island: Island, address: Address, begun: tuple[Handle, Reading, Line]) -> None:
        self._island = island
        self._address = address
        self._handle, self._reading, self._line = begun

    @property
    def size(self) -> int:
        """Of the file, when it was opened."""
        return self._handle.size

    @property
    def mtime(self) -> int:
        """Of the file, when it was opened."""
        return self._handle.mtime

    async def next(self) -> list[bytes]:
        """Return the next bytes, in order. Raises SourceError."""
        return await self._island.run(self._next)

    def close(self) -> None:
        """Want no more."""
        self._island.post(self._reading.close)

    async def _next(self) -> list[bytes]:
        try:
            return await explaining(self._address, self._reading.next)
        except SourceError as error:
            self._line.lost(error.__cause__)
            raise


class Shared:
    """What the mirrors of SFTP share."""

    def __init__(self, settings: SftpSettings, proxies: ProxySettings) -> None:
        self._settings = settings
        self._proxies = proxies
        self._island = Island()
        self._hosts: Hosts | None = None

    async def begin(self, address: Address, extent: Extent, *, urgent: bool) -> Crossing:
        """Send for *extent* of *address*. Raises SourceError."""

        async def begin() -> tuple[Handle, Reading, Line]:
            return await self._there().begin(address, extent, urgent=urgent)

        return Crossing(self._island, address, await self._island.run(explaining, address, begin))

    async def facts(self, address: Address) -> tuple[int, int]:
        """Return size and date of *address*. Raises SourceError."""

        async def ask() -> tuple[int, int]:
            handle = await self._there().handle(address)
            return handle.size, handle.mtime

        return await self._island.run(explaining, address, ask)

    def moor(self, nursery: trio.Nursery) -> None:
        """Connect to servers in *nursery*."""
        self._island.moor(nursery)

    async def warm(self, address: Address) -> None:
        """Connect ahead."""

        async def begin() -> None:
            self._there().warm(address)

        await self._island.run(begin)

    async def close(self) -> None:
        """Close all connections, and end the thread."""

        async def end() -> None:
            if self._hosts is not None:
                self._hosts.close()

        if self._island.inhabited:
            await self._island.run(end)
            await self._island.close()
        self._hosts = None

    async def _dial(self, host: str, port: int) -> socket.socket:
        try:
            proxy = proxy_for(self._proxies, "sftp", host, port)
        except ValueError as error:
            raise tunnel.Unconnected(str(error)) from error
        return await tunnel.connect(host, port, proxy, patience=self._settings.connect_timeout)

    async def _by_trio(self, host: str, port: int) -> socket.socket:
        return await self._island.ashore(self._dial, host, port)

    def _there(self) -> Hosts:
        """Return the hosts. On the island."""
        if self._hosts is None:
            from mountdl.sources.sftp.hosts import Hosts

            self._hosts = Hosts(self._settings, self._by_trio)
        return self._hosts


async def explaining(address: Address, act: Callable[[], Coroutine[object, object, T]]) -> T:
    """Return what *act* does at *address*; raise SourceError for what it raises. On the island."""
    from mountdl.sources.sftp.failures import explained

    try:
        return await act()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Not we were cancelled but what we waited for: another one dropped the line.
        gone = ConnectionResetError()
        raise explained(address, gone) from error
    except Exception as error:
        raise explained(address, error) from error
