"""HTTP mirrors by way of real proxies, and of ones that lie."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
import trio

from mountdl.errors import SourceError, SourceRefused, SourceUnavailable
from mountdl.settings import HttpSettings, ProxySettings
from mountdl.sources.proxies import Proxy
from mountdl.sources.tunnel import Unconnected, connect
from tests.support import nginx, proxies
from tests.support.httpserver import answer, computing, partial, saying, serving
from tests.support.ports import free_port
from tests.wire.http import CALM, CONTENT, fetched, http, mirror, needs_nginx, running

Starter = Callable[..., AbstractContextManager[int]]
SERVERS: list[tuple[str, str, Starter]] = [
    ("squid", "http", proxies.squid),
    ("tinyproxy", "http", proxies.tinyproxy),
    ("microsocks", "socks5", proxies.microsocks),
]
each_proxy = pytest.mark.parametrize(("name", "kind", "start"), SERVERS, ids=[name for name, _, _ in SERVERS])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nginx.Nginx]:
    if not nginx.available():
        pytest.skip("nginx or openssl is not installed")
    root = tmp_path_factory.mktemp("root")
    (root / "a").write_bytes(CONTENT)
    with nginx.serving(root, tmp_path_factory.mktemp("nginx")) as running_server:
        yield running_server


def by(kind: str, port: int, login: str = "") -> ProxySettings:
    return ProxySettings(all=f"{kind}://{login}127.0.0.1:{port}")


@each_proxy
async def test_plain_and_tls_by_way_of(
    name: str, kind: str, start: Starter, server: nginx.Nginx, tmp_path: Path
) -> None:
    """Ranges come right by each proxy, for http and https, and connections are kept."""
    if not proxies.available(name):
        pytest.skip(f"{name} is not installed")
    settings = HttpSettings(ca_certificate=server.certificate.authority)
    with start(tmp_path) as port:
        async with running(settings, CALM, by(kind, port)) as transport:
            for url in (server.plain, server.tls):
                source = mirror(transport, f"{url}/a")
                for begin, end in ((0, 10), (1000, 40_000), (49_000, 50_000)):
                    assert await fetched(source, begin, end) == CONTENT[begin:end]
            assert transport.connects == (4 if name == "tinyproxy" else 2)  # it closes after each plain answer


@each_proxy
async def test_a_proxy_with_a_password(
    name: str, kind: str, start: Starter, server: nginx.Nginx, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the right one it works; with a wrong or none the source says so, and nothing shows the password."""
    if not proxies.available(name):
        pytest.skip(f"{name} is not installed")
    caplog.set_level(logging.DEBUG)
    settings = HttpSettings(ca_certificate=server.certificate.authority)
    reasons = []
    with start(tmp_path, login=True) as port:
        for login in ("me:hunter2@", "me:hunter3@", ""):
            async with running(settings, CALM, by(kind, port, login)) as transport:
                for url in (server.plain, server.tls):
                    source = mirror(transport, f"{url}/a")
                    if login == "me:hunter2@":
                        assert await fetched(source, 5, 10) == CONTENT[5:10]
                        continue
                    with pytest.raises(SourceRefused, match="password") as caught:
                        await fetched(source, 5, 10)
                    reasons.append(str(caught.value))
    assert len(reasons) == 4
    assert "hunter" not in caplog.text + "".join(reasons)


@needs_nginx
async def test_a_proxy_that_is_not_there(server: nginx.Nginx) -> None:
    """Nothing listens there, or not what was expected: the reason names the proxy."""
    async with running(proxies=by("http", free_port())) as transport:
        for url in (server.plain, server.tls):
            with pytest.raises(SourceUnavailable, match="the proxy can't be reached: connection refused"):
                await fetched(mirror(transport, f"{url}/a"), 0, 10)


CONNECTS = {
    "403": (b"HTTP/1.1 403 Forbidden\r\n\r\n", SourceRefused, "the proxy answered 403"),
    "407": (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", SourceRefused, "wants a user name"),
    "digest": (
        b'HTTP/1.1 407 Who\r\nproxy-authenticate: Digest realm="a, Basic b", nonce="n"\r\n\r\n',
        SourceRefused,
        "wants Digest (407), only Basic is spoken: put cntlm or px between, or use SOCKS5",
    ),
    "ntlm or basic": (
        b'HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n',
        SourceRefused,
        "the proxy wants a user name and a password (407)",
    ),
    "502": (b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nnope", SourceUnavailable, "the proxy answered 502"),
    "504": (b"HTTP/1.1 504 Late\r\n\r\n", SourceUnavailable, "the proxy answered 504"),
    "garbage": (b"220 FTP here\r\n\r\n", SourceUnavailable, "is not HTTP"),
    "end": (b"", SourceUnavailable, "the proxy"),
    "half": (b"HTTP/1.1 200 OK\r\nX: ", SourceUnavailable, "the proxy closed the connection"),
    "endless": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, SourceUnavailable, "has no end"),
    "plain": (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", SourceUnavailable, "TLS failed"),
}


@pytest.mark.parametrize("case", CONNECTS)
async def test_a_proxy_that_makes_no_tunnel(case: str) -> None:
    """Whatever it answers to CONNECT, the source's reason tells it; nothing is stored."""
    raw, kind, reason = CONNECTS[case]
    error = await by_scripted(raw)
    assert type(error) is kind
    assert reason in error.reason


async def by_scripted(raw: bytes) -> SourceError:
    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(4096)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(raw)
                if raw.endswith(b"\n"):  # all else is an answer that is cut off
                    with trio.move_on_after(0.2):
                        await stream.receive_some(1 << 20)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_here, greet)
        transport = http(proxies=by("http", port))
        with pytest.raises(SourceError) as caught:
            await fetched(mirror(transport, "https://nowhere.invalid/a"), 0, 10)
        nursery.cancel_scope.cancel()
    return caught.value


async def serve_here(
    greet: Callable[[trio.SocketStream], Awaitable[object]],
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(greet, listeners)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (answer("206 Partial Content", "Content-Range: bytes 200-299/50000", body=b"x" * 100), SourceRefused),
        (answer("206 Partial Content", "Content-Range: bytes 100-199/4", body=b"x" * 100), SourceRefused),
        (answer("200 OK", "Content-Type: text/html", body=b"<html>log in</html>"), SourceRefused),
        (answer("407 Proxy Authentication Required"), SourceRefused),
        (answer("407 Who", 'Proxy-Authenticate: Digest realm="a", nonce="n"'), SourceRefused),
        (answer("502 Bad Gateway"), SourceUnavailable),
        (answer("503 Service Unavailable", "Retry-After: 5"), SourceUnavailable),
        (answer("504 Gateway Timeout"), SourceUnavailable),
    ],
)
async def test_a_proxy_that_lies(raw: bytes, kind: type[SourceError]) -> None:
    """Its answers are judged as a mirror's own: other offsets, another file, a login page, its own troubles."""
    async with serving(saying(raw)) as proxy, running(proxies=ProxySettings(http=proxy.url)) as transport:
        with pytest.raises(kind):
            await fetched(mirror(transport, "http://nowhere.invalid/a"), 100, 200)


async def test_a_proxy_that_speaks_digest_only() -> None:
    """Plain requests, which it forwards, tell the way out as tunnels do; nothing of the login is told."""
    raw = answer("407 Who", 'Proxy-Authenticate: Digest realm="a", nonce="n"')
    async with serving(saying(raw)) as proxy:
        named = ProxySettings(http=f"http://me:hunter2@127.0.0.1:{proxy.port}")
        async with running(proxies=named) as transport:
            with pytest.raises(
                SourceRefused, match="wants Digest .407., only Basic is spoken: .* or use SOCKS5"
            ) as caught:
                await fetched(mirror(transport, "http://nowhere.invalid/a"), 100, 200)
    assert "hunter2" not in str(caught.value)


async def test_the_proxys_login_is_the_proxys_alone() -> None:
    """It is not said to a server that is asked directly, nor is the server's own lost on the way."""
    good = computing(lambda request: partial(request, CONTENT))
    async with serving(good) as proxy, serving(good) as direct:
        named = ProxySettings(http=f"http://me:hunter2@127.0.0.1:{proxy.port}", none=("127.0.0.1",))
        async with running(proxies=named) as transport:
            await fetched(mirror(transport, "http://you:secret@nowhere.invalid/a"), 0, 10)
            await fetched(mirror(transport, direct.url), 0, 10)
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6aHVudGVyMg=="
        assert proxy.requests[0].headers["authorization"] == "Basic eW91OnNlY3JldA=="
        assert "proxy-authorization" not in direct.requests[0].headers


SOCKS = {
    "not socks": (b"HTTP/1.1 400 Bad\r\n\r\n", "is not SOCKS5"),
    "no method": (b"\x05\xff", "wants a user name"),
    "not allowed": (b"\x05\x00\x05\x02\x00\x01" + bytes(6), "does not allow this"),
    "refused": (b"\x05\x00\x05\x05\x00\x01" + bytes(6), "connection refused"),
    "no route": (b"\x05\x00\x05\x04\x00\x01" + bytes(6), "no route to host"),
    "cut": (b"\x05\x00\x05", "closed the connection|connection reset"),
    "unknown": (b"\x05\x00\x05\x63\x00\x01" + bytes(6), "the proxy answered 99"),
}


@pytest.mark.parametrize("case", SOCKS)
async def test_socks_that_fails(case: str) -> None:
    """Each refusal has its words."""
    raw, reason = SOCKS[case]

    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(raw)
            await stream.receive_some(4096)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_here, greet)
        with pytest.raises(Unconnected, match=reason):
            await connect("nowhere.invalid", 80, Proxy("socks5", "127.0.0.1", port), patience=20)
        nursery.cancel_scope.cancel()


async def test_a_proxy_that_says_nothing() -> None:
    """The time to connect bounds the proxy's part too."""

    async def mute(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_here, mute)
        for kind in ("http", "socks5"):
            with pytest.raises(Unconnected, match="within 0.2 s by way of the proxy"):
                await connect("nowhere.invalid", 80, Proxy(kind, "127.0.0.1", port), patience=0.2)
        nursery.cancel_scope.cancel()


async def test_what_follows_a_proxys_answer_is_not_lost() -> None:
    """A server that speaks first (SSH, FTP) may do so in the packet of the proxy's answer."""

    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(4096)
            await stream.send_all(b"HTTP/1.1 200 OK\r\nVia: x\r\n")
            await stream.send_all(b"\r\nSSH-2.0-test\r\n")

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_here, greet)
        with await connect("nowhere.invalid", 22, Proxy("http", "127.0.0.1", port)) as connected:
            assert (
                await trio.SocketStream(trio.socket.from_stdlib_socket(connected)).receive_some() == b"SSH-2.0-test\r\n"
            )
        nursery.cancel_scope.cancel()


async def test_a_dead_address_family_costs_no_delay() -> None:
    """A host with an IPv6 address that nothing listens on is reached over IPv4 at once, and the other way round."""
    good = computing(lambda request: partial(request, CONTENT))
    async with serving(good) as server, running() as transport:
        began = trio.current_time()
        # localhost is ::1 and 127.0.0.1 on machines with IPv6.
        assert await fetched(mirror(transport, f"http://localhost:{server.port}/a"), 0, 10) == CONTENT[:10]
        assert trio.current_time() - began < 1
