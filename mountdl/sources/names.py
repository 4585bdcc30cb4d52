"""From names of hosts to addresses, in threads that nothing else waits for.

Law: a server of names that does not answer holds up who asks it and nobody else. The C library's question can't be
broken off: it takes its thread for up to half a minute, whoever still wants the answer. Without a network all of the
threads that trio shares out were soon in there, and what hashes chunks and reads what is stored had none: a read of a
stored file took 26 s, where 60 files of mirrors that could not be found were read at the same time.

Knows no protocol. Installed for a whole run by `install`.
"""

import socket
from typing import Any

import trio

AT_A_HOST = 2
"""Questions for one name at a time: one more than is stuck."""
HOSTS = 64
"""Names that are asked for side by side; more share the threads of one."""

_Info = Any
"""What socket.getaddrinfo returns: types of it differ from one version of mypy's to the next."""


class Names(trio.abc.HostnameResolver):
    """Asks the system."""

    def __init__(self) -> None:
        self._limiters: dict[str | bytes | None, trio.CapacityLimiter] = {}
        self._rest = trio.CapacityLimiter(AT_A_HOST)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  # trio's word
        proto: int = 0,
        flags: int = 0,
    ) -> _Info:
        """See socket.getaddrinfo. If cancelled, the thread goes on, and counts until it is done."""

        def ask() -> _Info:
            return socket.getaddrinfo(host, port, family, type, proto, flags)

        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter(host))

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        """See socket.getnameinfo."""

        def ask() -> tuple[str, str]:
            return socket.getnameinfo(sockaddr, flags)

        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._rest)

    def _limiter(self, host: str | bytes | None) -> trio.CapacityLimiter:
        found = self._limiters.get(host)
        if found is None and len(self._limiters) >= HOSTS:
            idle = [name for name, each in self._limiters.items() if not each.borrowed_tokens]
            for name in idle:
                del self._limiters[name]
        if found is None:
            if len(self._limiters) >= HOSTS:
                return self._rest
            found = self._limiters[host] = trio.CapacityLimiter(AT_A_HOST)
        return found


def install() -> None:
    """Have all names of this run of trio asked for so."""
    trio.socket.set_custom_hostname_resolver(Names())
