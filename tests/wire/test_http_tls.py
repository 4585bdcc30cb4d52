"""TLS: who is trusted, and what is said when nobody is."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trio

from mountdl.errors import SourceRefused, SourceUnavailable, UsageError
from mountdl.settings import HttpSettings
from tests.support import nginx
from tests.support.httpserver import answer, computing, serving
from tests.wire.http import CONTENT, GOOD, SHORT, fetched, http, mirror, needs_nginx, running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> nginx.Certificate:
    return nginx.certificate(tmp_path_factory.mktemp("certificate"))


def server_context(made: nginx.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.pem, made.key)
    return context


@needs_nginx
async def test_tls_that_is_not_trusted(certificate: nginx.Certificate) -> None:
    """An unknown authority drops the mirror with a clear reason; switched off, it is let in."""
    async with serving(GOOD, server_context(certificate)) as server:
        async with running() as transport:
            with pytest.raises(SourceRefused) as caught:
                await fetched(mirror(transport, server.url), 0, 10)
            assert caught.value.reason.startswith("certificate is not trusted: ")
        async with running(HttpSettings(check_certificate=False)) as transport:
            assert await fetched(mirror(transport, server.url), 0, 10) == CONTENT[:10]


@needs_nginx
async def test_tls_for_another_name(tmp_path: Path) -> None:
    """A trusted certificate of another name is not trusted."""
    made = nginx.certificate(tmp_path, "DNS:other.example")
    async with serving(GOOD, server_context(made)) as server:
        async with running(HttpSettings(ca_certificate=made.authority)) as transport:
            with pytest.raises(SourceRefused, match="certificate is not trusted: .*mismatch"):
                await fetched(mirror(transport, server.url), 0, 10)


async def test_tls_with_something_else() -> None:
    """A server that speaks plain HTTP, and one that says nothing, where TLS is expected."""
    async with running(patience=SHORT) as transport:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            with pytest.raises(SourceUnavailable, match=r"no TLS within 1.5 s"):
                await fetched(mirror(transport, f"https://127.0.0.1:{mute.getsockname()[1]}/"), 0, 10)
    async with running() as transport:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

            async def greet(stream: trio.SocketStream) -> None:
                await stream.send_all(b"220 welcome to something else\r\n")

            nursery.start_soon(trio.serve_listeners, greet, listeners)
            with pytest.raises(SourceUnavailable, match="TLS failed: "):
                await fetched(mirror(transport, f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"), 0, 10)
            nursery.cancel_scope.cancel()


@needs_nginx
async def test_no_way_from_https_to_http(certificate: nginx.Certificate) -> None:
    """A redirect that would give up TLS is refused."""
    async with serving(GOOD) as plain:
        away = computing(lambda _: answer("302 Found", f"Location: {plain.url}/a"))
        async with serving(away, server_context(certificate)) as server:
            async with running(HttpSettings(ca_certificate=certificate.authority)) as transport:
                with pytest.raises(SourceRefused, match="redirects from https to http"):
                    await fetched(mirror(transport, server.url), 0, 10)
        assert plain.requests == []


def test_unreadable_authorities(tmp_path: Path) -> None:
    """A bad file of certificates is the user's to know at once."""
    (tmp_path / "bad").write_text("nothing")
    for name in ("bad", "missing"):
        with pytest.raises(UsageError):
            http(HttpSettings(ca_certificate=tmp_path / name))
