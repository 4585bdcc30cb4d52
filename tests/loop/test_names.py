"""Names of hosts where the server of names does not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import trio

from mountdl.sources import names


class Silent:
    """A system that answers for no name with "silent" in it before `answers` is set."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[object] = []

    def __call__(self, host: bytes, port: object, *rest: int) -> list[object]:
        if rest[-1:] and rest[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        self.asked.append(host)
        if b"silent" in host:
            self.answers.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [host]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    made = Silent()
    monkeypatch.setattr(names.socket, "getaddrinfo", made)
    yield made
    made.answers.set()


async def test_a_silent_server_of_names_holds_up_nobody_else(silent: Silent) -> None:
    """Neither other work in threads nor names that are known, however many ask and give up."""
    resolver = names.Names()
    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(resolver.getaddrinfo, b"silent%d.example" % (number % 50), 80)
        while len(silent.asked) < 100:
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    with trio.fail_after(30):
        assert await trio.to_thread.run_sync(lambda: "done") == "done"
        assert await resolver.getaddrinfo(b"known.example", 80) == [b"known.example"]
    assert len(silent.asked) == 50 * names.AT_A_HOST + 1


async def test_threads_are_bounded_whatever_is_asked(silent: Silent) -> None:
    """And names that nobody waits for any more are forgotten."""
    resolver = names.Names()
    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(resolver.getaddrinfo, b"silent%d.example" % number, 80)
        while len(silent.asked) < names.HOSTS + names.AT_A_HOST:
            await trio.sleep(0.01)
        await trio.sleep(0.1)
        assert len(silent.asked) == names.HOSTS + names.AT_A_HOST
        nursery.cancel_scope.cancel()
    silent.answers.set()
    with trio.fail_after(30):
        while any(limiter.borrowed_tokens for limiter in resolver._limiters.values()):
            await trio.sleep(0.01)
    await resolver.getaddrinfo(b"known.example", 80)
    assert [b"known.example"] == list(resolver._limiters)


async def test_connections_ask_so(silent: Silent) -> None:
    names.install()
    silent.answers.set()
    with pytest.raises(OSError, match="name resolution"):
        await trio.open_tcp_stream("silent.example", 80)
    assert silent.asked == [b"silent.example"]
