"""Probes, and requests by way of a proxy."""

from __future__ import annotations

import pytest

from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceError, SourceRefused, SourceUnavailable, StoreFull
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import ProxySettings
from tests.support.httpserver import Request, answer, computing, partial, serving
from tests.wire.http import CONTENT, GOOD, Full, fetched, mirror, running


async def test_digests_in_headers() -> None:
    """A probe reads Repr-Digest and Digest; a server that refuses HEAD is asked for a byte."""
    digests = [
        "Repr-Digest: sha-256=:" + "A" * 43 + "=:, unknown=:AAAAAAAAAAAAAAAAAAAAAA==:",
        "Digest: SHA=" + "A" * 27 + "=, md5=tooshort",
    ]
    expected = {"sha-256": bytes(32), "sha-1": bytes(20)}

    def head_refused(request: Request) -> bytes:
        return answer("405 No") if request.method == "HEAD" else partial(request, CONTENT, *digests)

    def head_answered(request: Request) -> bytes:
        return answer("200 OK", "Accept-Ranges: bytes", *digests, length=len(CONTENT))

    def whole(request: Request) -> bytes:
        raw = answer("200 OK", *digests, body=CONTENT)
        return raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == "HEAD" else raw

    for react, ranges in ((head_refused, True), (head_answered, True), (whole, False)):
        async with serving(computing(react)) as server, running() as transport:
            probe = await transport.probe(MirrorRef(server.url))
            assert (probe.size, probe.ranges, dict(probe.digests)) == (len(CONTENT), ranges, expected)


@pytest.mark.parametrize(("said", "mtime"), [("Sun, 13 Sep 2020 12:26:40 GMT", 1.6e9), ("yesterday", None), ("", None)])
async def test_the_date_of_a_file(said: str, mtime: float | None) -> None:
    """A probe reads Last-Modified (RFC 9110 section 8.8.2)."""
    fields = ("Accept-Ranges: bytes", f"Last-Modified: {said}")
    async with serving(computing(lambda _: answer("200 OK", *fields, length=len(CONTENT)))) as server:
        async with running() as transport:
            assert (await transport.probe(MirrorRef(server.url))).mtime == mtime


async def test_the_name_of_a_file() -> None:
    """A probe reads Content-Disposition (RFC 6266), of the answer that is the file."""

    def react(request: Request) -> bytes:
        said = f'Content-Disposition: attachment; filename="{request.path.rpartition("/")[2]}.iso"'
        if request.path == "/first":
            return answer("302 Found", "Location: /second", said)
        return answer("200 OK", "Accept-Ranges: bytes", said, length=len(CONTENT))

    async with serving(computing(react)) as server, running() as transport:
        assert (await transport.probe(MirrorRef(f"{server.url}/first"))).name == "second.iso"


@pytest.mark.parametrize("ranged", [True, False])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_name_that_one_method_tells(method: str, ranged: bool) -> None:
    """Where both are asked, as HEAD does not tell of ranges, the name of either counts."""

    def react(request: Request) -> bytes:
        said = ["Content-Disposition: attachment; filename=film.mkv"] if request.method == method else []
        if request.method == "GET" and ranged:
            said.append(f"Content-Range: bytes 0-0/{len(CONTENT)}")
            return answer("206 Partial Content", *said, body=CONTENT[:1])
        return answer("200 OK", *said, length=len(CONTENT))

    async with serving(computing(react)) as server, running() as transport:
        told = await transport.probe(MirrorRef(server.url))
    assert (told.name, told.size, told.ranges) == ("film.mkv", len(CONTENT), ranged)


@pytest.mark.parametrize(("status", "kind"), [(404, SourceRefused), (503, SourceUnavailable), (204, SourceRefused)])
async def test_probe_that_fails(status: int, kind: type[SourceError]) -> None:
    """A probe raises as a fetch would."""
    async with serving(computing(lambda _: answer(f"{status} No", length=None if status == 204 else 0))) as server:
        async with running() as transport:
            with pytest.raises(kind):
                await transport.probe(MirrorRef(server.url))


async def test_plain_requests_by_way_of_a_proxy() -> None:
    """An HTTP proxy is told whole URLs, at each request; hosts that need none are asked directly."""
    async with serving(GOOD) as proxy, serving(GOOD) as direct:
        async with running(proxies=ProxySettings(http=proxy.url, none=("127.0.0.1",))) as transport:
            source = mirror(transport, "http://nowhere.invalid/a")
            for _ in range(2):
                assert await fetched(source, 10, 2000) == CONTENT[10:2000]
            assert [r.path for r in proxy.requests] == ["http://nowhere.invalid:80/a"] * 2
            assert proxy.connections == 1
            small = mirror(transport, "http://nowhere.invalid/a", CONTENT)
            with pytest.raises(StoreFull):
                await small.fetch(Extent(0, 40_000), Full(), priority=Priority.READ)
            assert await fetched(mirror(transport, direct.url), 0, 10) == CONTENT[:10]
            assert len(direct.requests) == 1
