"""Connections: kept, lost, cancelled, warm; TLS; any bytes as an answer."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceError, SourceUnavailable, StoreFull
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import HttpSettings
from mountdl.sources.http import HttpTransport, practice
from mountdl.sources.http.bulk import BODY, BulkTransport
from mountdl.sources.http.connection import Origin
from mountdl.sources.http.patience import Patience
from tests.support import nginx
from tests.support.httpserver import Request, Stream, computing, partial, serving
from tests.support.machine import until
from tests.support.ports import free_port
from tests.support.turns import counting_turns
from tests.wire.http import (
    CALM,
    CONTENT,
    GOOD,
    SHORT,
    Collected,
    Full,
    fetched,
    http,
    mirror,
    needs_nginx,
    running,
)

BIG = bytes((i * 31 + i // 65_521) % 256 for i in range(1 << 20)) * 5


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nginx.Nginx]:
    root, home = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("home")
    (root / "big.bin").write_bytes(BIG)
    (root / "empty.bin").write_bytes(b"")
    with nginx.serving(root, home) as running_nginx:
        yield running_nginx


@needs_nginx
@pytest.mark.parametrize("scheme", ["plain", "tls"])
async def test_real_server(real: nginx.Nginx, scheme: str) -> None:
    """Odd ranges from nginx, plain and over TLS, are right to the byte and come by one connection.

    A second one is kept ready, for the first answer is long.
    """
    url = f"{getattr(real, scheme)}/big.bin"
    async with running(HttpSettings(ca_certificate=real.certificate.authority), CALM) as transport:
        source = mirror(transport, url, BIG)
        for start, stop in [
            (0, len(BIG)),
            (0, 1),
            (1, 70_000),
            (len(BIG) - 1, len(BIG)),
            (12_345, 4_000_001),
            (65_535, 65_537),
        ]:
            assert await fetched(source, start, stop) == BIG[start:stop]
        assert transport.connects == 2
        assert not source.limits.sequential
        assert await transport.probe(MirrorRef(url)) == await transport.probe(MirrorRef(url))
        probe = await transport.probe(MirrorRef(url))
        assert (probe.size, probe.ranges, probe.digests) == (len(BIG), True, {})
        assert transport.connects == 2


@needs_nginx
@pytest.mark.parametrize("scheme", ["plain", "tls"])
async def test_many_at_once(real: nginx.Nginx, scheme: str) -> None:
    """Flights in parallel don't mix their bytes."""
    async with running(HttpSettings(ca_certificate=real.certificate.authority), CALM) as transport:
        source = mirror(transport, f"{getattr(real, scheme)}/big.bin", BIG)

        async def one(start: int) -> None:
            for offset in range(start, len(BIG) - 300_000, 700_001):
                assert await fetched(source, offset, offset + 300_000) == BIG[offset : offset + 300_000]

        async with trio.open_nursery() as nursery:
            for start in range(8):
                nursery.start_soon(one, start * 1000)
        assert transport.connects <= 8


@needs_nginx
async def test_httpx_over_the_transport(real: nginx.Nginx) -> None:
    """The httpx client itself works over it: bodies, HEAD, 404, an empty file; what has a body is not for it."""
    context = ssl.create_default_context(cafile=str(real.certificate.authority))
    bulk = BulkTransport(CALM, lambda: context)
    async with httpx.AsyncClient(transport=bulk) as client:
        assert (await client.get(f"{real.plain}/big.bin")).content == BIG
        assert (await client.get(f"{real.tls}/big.bin")).content == BIG
        assert (await client.head(f"{real.plain}/big.bin")).headers["content-length"] == str(len(BIG))
        assert (await client.get(f"{real.plain}/nothing")).status_code == 404
        assert (await client.get(f"{real.plain}/empty.bin")).content == b""
        async with client.stream("GET", f"{real.plain}/big.bin") as response:
            sink = Collected()
            assert await response.extensions[BODY].pour(sink, 7, skip=5, limit=1000) == 1000
            assert sink.data == BIG[5:1005]
        assert (await client.get(f"{real.plain}/empty.bin")).content == b""
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.post(f"{real.plain}/big.bin", content=b"x")
    assert bulk.connects == 3


@needs_nginx
@pytest.mark.parametrize("scheme", ["plain", "tls"])
async def test_cancelled_bodies(real: nginx.Nginx, scheme: str) -> None:
    """Thirty bodies cancelled at any point: what came is right, and the next request is fine."""
    async with running(HttpSettings(ca_certificate=real.certificate.authority), CALM) as transport:
        source = mirror(transport, f"{getattr(real, scheme)}/big.bin", BIG)
        for number in range(30):
            sink = Collected()
            with trio.move_on_after(number * 0.0003):
                await source.fetch(Extent(number, len(BIG)), sink, priority=Priority.READ)
            assert sink.data == BIG[number : number + len(sink.data)]
            if number % 5 == 0:
                assert await fetched(source, 100, 5000) == BIG[100:5000]
        assert await fetched(source, 0, len(BIG)) == BIG


@needs_nginx
async def test_full_store(real: nginx.Nginx) -> None:
    """What the sink raises passes as it is, and the pool stays sound."""
    async with running(patience=CALM) as transport:
        source = mirror(transport, f"{real.plain}/big.bin", BIG)
        with pytest.raises(StoreFull):
            await source.fetch(Extent(0, len(BIG)), Full(), priority=Priority.READ)
        assert await fetched(source, 0, len(BIG)) == BIG


async def test_others_get_their_turn() -> None:
    """A body that comes as fast as it is taken leaves the loop to others at least every few MiB."""

    class Slow(Collected):
        def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
            pass

    from mountdl.sources.http.body import PlainBody, Reader

    class Ever:
        def fill_now(self, view: memoryview) -> int:
            return len(view)

    reader = Reader(Ever(), bytearray(1 << 18), SHORT)  # type: ignore[arg-type]

    def done(sound: bool) -> None:
        assert sound

    body = PlainBody(reader, 64 << 20, done)
    async with counting_turns() as turns:
        await body.pour(Slow(), 0, skip=0, limit=64 << 20)
    assert turns.taken >= 60


async def test_server_that_closes_each_time() -> None:
    """With and without saying so, a closing server costs a connection each and nothing else."""
    for header in ((), ("Connection: close",)):

        def right(request: Request, header: tuple[str, ...] = header) -> bytes:
            return partial(request, CONTENT, *header)

        handler = computing(right, close=True)
        async with serving(handler) as server, running() as transport:
            source = mirror(transport, server.url)
            for _ in range(5):
                assert await fetched(source, 10, 2000) == CONTENT[10:2000]
            assert server.connections == 5


async def test_kept_connection_that_closes_on_the_next_request() -> None:
    """A kept connection lost just as it is used again is replaced once, unseen; a fresh one is not."""
    seen = 0

    async def closing(request: Request, stream: Stream) -> bool:
        nonlocal seen
        seen += 1
        if seen % 2 == 0:
            return False
        await stream.send_all(partial(request, CONTENT))
        return True

    async with serving(closing) as server, running() as transport:
        source = mirror(transport, server.url)
        for _ in range(4):
            assert await fetched(source, 0, 100) == CONTENT[:100]
        assert (server.connections, len(server.requests)) == (4, 7)

    async def never(request: Request, stream: Stream) -> bool:
        return False

    async with serving(never) as server, running() as transport:
        with pytest.raises(SourceUnavailable, match="closed the connection without an answer"):
            await fetched(mirror(transport, server.url), 0, 100)
        assert len(server.requests) == 1


async def test_reset() -> None:
    """A reset in the middle is told as such."""

    async def reset(request: Request, stream: Stream) -> bool:
        await stream.send_all(partial(request, CONTENT)[:-10])
        assert isinstance(stream, trio.SocketStream)
        await trio.sleep(0.02)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        return False

    async with serving(reset) as server, running() as transport:
        sink = Collected()
        with pytest.raises(SourceUnavailable, match="connection reset"):
            await fetched(mirror(transport, server.url), 0, 100, sink)
        assert sink.data == CONTENT[:90]


async def test_nobody_listens() -> None:
    """A refused connection says so."""
    async with running() as transport:
        with pytest.raises(SourceUnavailable) as caught:
            await fetched(mirror(transport, f"http://127.0.0.1:{free_port()}/"), 0, 10)
    assert caught.value.reason == "connection refused"


async def test_second_address_is_tried() -> None:
    """A name with several addresses works if one does (here: only IPv4 listens)."""
    async with serving(GOOD) as server, running() as transport:
        source = mirror(transport, f"http://localhost:{server.port}/")
        assert await fetched(source, 0, 10) == CONTENT[:10]


async def test_connection_that_never_opens() -> None:
    """A listener with a full backlog: connecting gives up in time."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with running(patience=SHORT) as transport:
            with pytest.raises(SourceUnavailable, match=r"no connection within 1.5 s|no answer within 2 s"):
                await fetched(mirror(transport, f"http://127.0.0.1:{port}/"), 0, 10)
        for filler in fillers:
            filler.close()


async def test_warm_connections() -> None:
    """One is opened ahead, once, and used by the first fetch, also one that comes while it is being opened."""
    async with serving(GOOD) as server, running() as transport:
        ref = MirrorRef(f"{server.url}/a")
        for _ in range(3):
            transport.warm(ref)
        source = mirror(transport, ref.url)
        assert await fetched(source, 0, 10) == CONTENT[:10]
        transport.warm(ref)
        await trio.sleep(0.01)
        assert (transport.connects, server.connections) == (1, 1)


async def test_warm_connections_are_few_and_never_fail() -> None:
    """Eight unused ones altogether; a server that is not there is nobody's concern yet."""
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(14)]
        ports = [free_port(), *(one.getsockname()[1] for one in listening)]
        refs = [MirrorRef(f"http://127.0.0.1:{port}/") for port in ports]
        async with running() as transport:
            transport.warm(refs[0])
            transport.warm(MirrorRef("http://[bad/"))

            def connects() -> int:
                for ref in refs[1:]:
                    transport.warm(ref)
                return transport.connects

            await until(lambda: connects() >= 9)  # the one that nobody answers counts until it has failed
            await trio.sleep(0.05)
            assert connects() == 9
        http().warm(refs[1])  # not running: nothing happens


async def test_idle_connections_close(clock: trio.testing.MockClock) -> None:
    """An idle connection is closed after half a minute."""
    del clock
    from mountdl.sources.http.connection import Connection
    from mountdl.sources.http.pool import Pool

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pool = Pool()
    bulk = BulkTransport(SHORT, ssl.create_default_context, pool)
    async with trio.open_nursery() as nursery:
        await nursery.start(bulk.run)
        pool.give(Connection(Origin("http", "a", 80), ours), trio.current_time())
        await trio.sleep(29)
        assert len(pool) == 1
        await trio.sleep(6)
        assert len(pool) == 0
        nursery.cancel_scope.cancel()
    assert theirs.recv(1) == b""
    theirs.close()


LINES = st.sampled_from(
    [b"HTTP/1.1 206 P", b"HTTP/1.1 200 OK", b"HTTP/1.1 302 F", b"HTTP/1.0 206 P", b"HTTP/1.1 100 C", b"HTTP/1.1 429 T",
     b"Content-Length: 10", b"Content-Length: 0", b"Content-Length: 99999999999999999999999", b"Transfer-Encoding: chunked",
     b"Content-Range: bytes 0-9/50000", b"Content-Range: bytes 0-9/*", b"Content-Range: bytes */5", b"Location: /x", b"Location: //",
     b"Set-Cookie: a=b; expires=x; domain=\xff", b"Retry-After: x", b"ETag: \xff", b"Content-Encoding: gzip", b"Connection: close",
     b"", b"", b"5", b"hello", b"0", b"ffffffffffffffffff", b"0123456789"]
)  # fmt: skip
RAW = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(LINES, LINES, st.binary(max_size=20)), max_size=12).map(b"\r\n".join),
    st.lists(LINES, max_size=8).map(lambda lines: b"\r\n".join([b"HTTP/1.1 206 P", *lines, b"", b"0123456789"])),
)


HASTY = Patience(connect=20, head=0.2, silence=0.2)
"""For answers that end nowhere. Who gives one up too soon has an error, which is as good here."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raws=st.lists(RAW, min_size=20, max_size=20), tail=st.booleans())
def test_any_bytes_are_an_answer_or_an_error(raws: list[bytes], tail: bool) -> None:
    """Whatever a server sends, a fetch delivers what was asked or raises SourceError."""

    async def check() -> None:
        current = b""

        async def garbage(request: Request, stream: Stream) -> bool:
            await stream.send_all(current or b" ")
            return tail and current.endswith(b"9")

        async with serving(garbage) as server, running(patience=HASTY) as transport:
            for raw in raws:
                current = raw
                await one(transport, server.url)

    async def one(transport: HttpTransport, url: str) -> None:
        sink = Collected()
        reason: str | None = None
        try:
            await mirror(transport, url).fetch(Extent(0, 10), sink, priority=Priority.READ)
        except SourceError as error:
            reason = error.reason
        assert (reason is None) == (len(sink.data) == 10)
        assert len(reason or "") < 120

    trio.run(check)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def test_practice_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round brings its byte; no connection was made or stays, and the first real request is like any other."""
    came: list[tuple[int, bytes]] = []
    monkeypatch.setattr(practice._Pupil, "write", lambda _, offset, data: came.append((offset, bytes(data))))
    async with serving(GOOD) as server:
        before = descriptors()
        async with running() as transport:
            await until(lambda: len(came) == practice.ROUNDS)
            await until(lambda: before == descriptors())
            assert [(0, b"\0")] * practice.ROUNDS == came
            assert 0 == transport.connects
            assert CONTENT[5:500] == await fetched(mirror(transport, f"{server.url}/a"), 5, 500)
            assert 1 == transport.connects


async def test_practice_that_fails_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that makes no sense, none at all, no descriptors left: real requests go on."""

    def none_left() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for name, value in (("_ANSWER", b"nonsense\r\n\r\n"), ("_ANSWER", b""), ("_pair", none_left)):
        monkeypatch.setattr(practice, name, value)
        async with serving(GOOD) as server, running() as transport:
            assert CONTENT[5:500] == await fetched(mirror(transport, f"{server.url}/a"), 5, 500)
