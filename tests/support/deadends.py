"""Names with an address from which nothing ever comes, and one that works."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Literal

import trio

NAME = "mirror.test"
_Four = tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
_Six = tuple[
    Literal[socket.AddressFamily.AF_INET6],
    socket.SocketKind,
    int,
    str,
    tuple[str, int, int, int] | tuple[int, bytes],
]
Found = list[_Four | _Six]


@contextlib.contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """Have *port* of *address*, one of loopback, take no more connections and refuse none.

    Its queue is full and never emptied, so that the kernel drops who asks, as a dead way does.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket(family))
            waiting.settimeout(0.2)
            try:
                waiting.connect((address, port))
            except TimeoutError:
                break
        yield


class Names(trio.abc.HostnameResolver):
    """Resolves `NAME` to *addresses*, in that order, and addresses to themselves."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(  # noqa: PLR0913, PLR0917  # trio's own signature
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Found:
        """See trio."""
        shown = host.decode() if host is not None else ""
        result: Found = []
        for address in self._addresses if shown == NAME else (shown,):
            result += socket.getaddrinfo(address, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        return result

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        """See trio."""
        raise NotImplementedError


@contextlib.contextmanager
def named(*addresses: str) -> Iterator[None]:
    """Let `NAME` be *addresses* for what runs in this trio."""
    before = trio.socket.set_custom_hostname_resolver(Names(*addresses))
    try:
        yield
    finally:
        trio.socket.set_custom_hostname_resolver(before)
