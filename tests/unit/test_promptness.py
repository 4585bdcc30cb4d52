"""Sockets that a library made and left to Nagle's algorithm."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from mountdl.sources.swarm.promptness import PAUSE, Promptness


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        near = stack.enter_context(socket.create_connection(server.getsockname()))
        yield near, stack.enter_context(server.accept()[0])


def prompt(each: socket.socket) -> bool:
    return each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_connections_send_at_once() -> None:
    """Those that there are, and stay open; nothing else that is open is in the way."""
    one, other = socket.socketpair()
    with one, other, connection() as (near, far):
        assert not prompt(near)
        Promptness().connected(5.0)
        assert prompt(near)
        assert prompt(far)
        near.sendall(b"x")
        one.sendall(b"y")
        assert (far.recv(1), other.recv(1)) == (b"x", b"y")


def test_looks_are_apart() -> None:
    """Hundreds that connect together cost one; who comes in between is found by the next."""
    promptness = Promptness()
    with connection() as (first, _), connection() as (late, _):
        promptness.connected(5.0)
        assert prompt(first)
        late.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        with connection() as (newest, _):
            promptness.connected(5.0 + PAUSE / 2)
            assert not prompt(newest)
            promptness.look(5.0 + PAUSE)
            assert prompt(newest)
            assert not prompt(late)  # known already
