"""Requests and where they lead: redirects, credentials, names."""

from __future__ import annotations

import pytest

from mountdl.errors import SourceError, SourceRefused
from tests.support.httpserver import Request, Stream, answer, computing, partial, saying, serving
from tests.wire.http import CONTENT, GOOD, fetched, mirror, running, success

SIZE = len(CONTENT)


async def test_redirects_are_followed_and_remembered() -> None:
    """The final URL is asked directly from the second time on; its host is what counts."""
    async with serving(GOOD) as final, running() as transport:
        hop = answer("302 Found", f"Location: {final.url}/real.iso", body=b"moved")
        async with serving(saying(hop)) as first:
            source = mirror(transport, f"{first.url}/a.iso")
            for _ in range(3):
                assert await fetched(source, 5, 500) == CONTENT[5:500]
            assert len(first.requests) == 1
            assert source.limits.host == f"127.0.0.1:{final.port}"
            assert [request.path for request in final.requests] == ["/real.iso"] * 3
            assert source.name == f"{first.url}/a.iso"


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_expired_target_is_asked_for_again(status: int) -> None:
    """A signed URL that expired: the front door knows a new one, in the same fetch."""
    paths = iter(["/one", "/two"])

    def target(request: Request) -> bytes:
        if request.path == "/front":
            return answer("302 Found", f"Location: {next(paths)}")
        expired = request.path == "/one" and request.number > 1
        return answer(f"{status} Expired") if expired else partial(request, CONTENT)

    async with serving(computing(target)) as server, running() as transport:
        source = mirror(transport, f"{server.url}/front")
        for _ in range(3):
            assert await fetched(source, 0, 100) == CONTENT[:100]
        assert [r.path for r in server.requests] == ["/front", "/one", "/one", "/front", "/two", "/two"]


@pytest.mark.parametrize(
    "location", ["/again", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[bad/", "http://\x80:99999/"]
)
async def test_redirects_that_lead_nowhere(location: str) -> None:
    """Loops and other schemes end in an error, soon."""
    async with serving(saying(answer("302 Found", f"Location: {location}"))) as server, running() as transport:
        with pytest.raises(SourceError):
            await fetched(mirror(transport, f"{server.url}/a"), 0, 10)
        assert len(server.requests) <= 11


async def test_redirect_with_an_endless_body() -> None:
    """The body of a redirect is not waited for."""

    async def endless(request: Request, stream: Stream) -> bool:
        if request.path == "/real":
            await stream.send_all(partial(request, CONTENT))
            return True
        await stream.send_all(answer("302 Found", "Location: /real", length=10**12))
        while True:
            await stream.send_all(bytes(65536))

    await success(endless)


async def test_headers_of_a_request() -> None:
    """Every request asks for identity and an inclusive range, and says who we are."""
    async with serving(GOOD) as server, running() as transport:
        source = mirror(transport, server.url)
        for _ in range(2):
            await fetched(source, 10, 20)
        for request in server.requests:
            assert request.headers["range"] == "bytes=10-19"
            assert request.headers["accept-encoding"] == "identity"
            assert request.headers["user-agent"].startswith("mountdl/")
            assert request.headers["host"] == f"127.0.0.1:{server.port}"


async def test_credentials_stay_with_their_origin() -> None:
    """User and password become Basic for its own origin; no redirect takes it elsewhere; no name shows it."""
    async with serving(GOOD) as elsewhere, running() as transport:
        plan = {"/away": answer("302 Found", f"Location: {elsewhere.url}/b")}
        async with serving(computing(lambda r: plan.get(r.path) or partial(r, CONTENT))) as server:
            base = f"http://user:s%40cret@127.0.0.1:{server.port}"
            for path in ("/stay", "/away"):
                source = mirror(transport, base + path)
                for _ in range(2):
                    assert await fetched(source, 0, 10) == CONTENT[:10]
                assert source.name == f"{server.url}{path}"
            assert {"Basic dXNlcjpzQGNyZXQ="} == {r.headers.get("authorization") for r in server.requests}
            assert {None} == {r.headers.get("authorization") for r in elsewhere.requests}


async def test_query_is_not_shown() -> None:
    """Tokens in queries are sent but not shown; names still tell two queries apart."""
    async with serving(GOOD) as server, running() as transport:
        one, two = (mirror(transport, f"{server.url}/a?token={t}") for t in ("s3cret", "other"))
        await fetched(one, 0, 10)
        assert server.requests[0].path == "/a?token=s3cret"
        assert "s3cret" not in one.name
        assert one.name != two.name


@pytest.mark.parametrize(
    "url",
    ["http://", "http://127.0.0.1:99999/", "http://[::1/", "ftp://127.0.0.1/", "http://a b/", "http://" + "a" * 70_000],
)
async def test_unusable_addresses(url: str) -> None:
    """An address that can't be asked is refused when asked, not before."""
    async with running() as transport:
        with pytest.raises(SourceRefused, match="not an http address"):
            await fetched(mirror(transport, url), 0, 10)


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[::1]:99999/"])
async def test_redirects_to_other_protocols_are_not_followed(place: str) -> None:
    """And it is said that the redirect is to blame, not the mirror's own address."""
    async with serving(saying(answer("302 Found", f"Location: {place}"))) as server, running() as transport:
        with pytest.raises(SourceRefused, match="redirects to what is no http address"):
            await fetched(mirror(transport, server.url), 0, 10)
