"""Documents over HTTP: of unknown length, packed, unchanged, too long; and what follows from those that are named."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import PurePosixPath as P

import pytest
import trio
from trio.testing import MockClock

from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Entry, MirrorRef, SwarmRef
from mountdl.engine import documents
from mountdl.engine.addresses import Transports
from mountdl.engine.resolving import Resolver
from mountdl.errors import ContentUnavailable, DescriptorError, SourceError
from mountdl.sources.base import Loader, Version
from tests.support import torrents
from tests.support.fakes import FakeSource, FakeTransport
from tests.support.httpserver import Request, answer, computing, partial, saying, serving
from tests.support.samples import metalink3, metalink4
from tests.wire.http import CONTENT, running

TEXT = metalink4("a.bin", CONTENT, ["http://127.0.0.1:9/a.bin"], chunk=1 << 14).encode()
PACKED = b"".join(hashlib.sha256(CONTENT[at : at + (1 << 14)]).digest() for at in range(0, len(CONTENT), 1 << 14))
METALINK = "application/metalink4+xml"


def chunked(data: bytes) -> bytes:
    parts = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return answer("200 OK", "Transfer-Encoding: chunked", length=None) + body


@pytest.mark.parametrize(
    "sent",
    [
        answer("200 OK", body=TEXT),
        chunked(TEXT),
        answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(TEXT)),
    ],
    ids=["length", "chunked", "gzip"],
)
async def test_a_document_however_it_is_framed(sent: bytes) -> None:
    """What servers make on demand has no length; some pack it unasked."""
    async with serving(saying(sent)) as server, running() as transport:
        assert isinstance(transport, Loader)
        loaded = await documents.load(transport, f"{server.url}/a.meta4")

    assert (loaded.data, loaded.url) == (TEXT, f"{server.url}/a.meta4")


async def test_a_source_of_unknown_length_is_looked_at() -> None:
    """A metalink made on demand is one; of a file without a length only the beginning is asked for."""
    for sent, expected in ((chunked(TEXT), TEXT), (chunked(CONTENT), None)):

        def react(request: Request, sent: bytes = sent) -> bytes:
            return answer("405 Method Not Allowed") if request.method == "HEAD" else sent

        async with serving(computing(react)) as server, running() as transport:
            probe, document = await documents.look(transport, f"{server.url}/x")
        assert (probe.size, None if document is None else document.data) == (None, expected)


async def test_an_unchanged_document_is_not_sent_again() -> None:
    """Its entity tag and date are told; the server says so, or sends the new one."""
    first = answer("200 OK", 'ETag: "one"', "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT", body=TEXT)
    again = answer("304 Not Modified", length=None)
    async with serving(saying(first, again, answer("200 OK", body=b"new"))) as server, running() as transport:
        loaded = await documents.load(transport, server.url)
        assert loaded.version == Version('"one"', "Sat, 01 Jan 2022 00:00:00 GMT")
        same = await documents.load(transport, server.url, loaded.version)
        assert (same.data, same.version) == (None, loaded.version)
        assert (await documents.load(transport, server.url, loaded.version)).data == b"new"
        asked = server.requests[1].headers
        assert (asked["if-none-match"], asked["if-modified-since"]) == ('"one"', loaded.version.modified)


@pytest.mark.parametrize(
    "sent",
    [
        answer("404 Not Found"),
        answer("503 Service Unavailable"),
        answer("200 OK", "Content-Encoding: br", body=b"x"),
        answer("200 OK", "Content-Encoding: gzip", body=b"no gzip"),
        answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(bytes(1 << 20))),
        answer("200 OK", body=bytes(1001)),
        chunked(bytes(1001)),
        answer("200 OK", body=b"short", length=50),
    ],
)
async def test_what_is_no_document_is_an_error_of_the_source(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is too long, by its length or as it comes, unpacked or not; and one that breaks off."""
    monkeypatch.setattr(documents, "LARGEST_NAMED", 1000)
    async with serving(saying(sent, close=True)) as server, running() as transport:
        with pytest.raises(SourceError):
            await documents.load(transport, server.url)


async def test_a_document_does_not_take_for_ever(clock: MockClock) -> None:
    """Half a minute, for its file may have mirrors."""
    endless = FakeSource(bytes(1000), latency=1e6)
    with pytest.raises(SourceError, match="within 30 s"):
        await documents.load(FakeTransport({"fake://a": endless}), "fake://a")


async def test_a_transport_that_can_not_load_is_asked_for_extents() -> None:
    """As FTP and SFTP are; a document that is too long is refused before it is fetched."""
    transport = FakeTransport({"fake://a": FakeSource(TEXT), "fake://b": FakeSource(bytes(20 << 20))})
    assert (await documents.load(transport, "fake://a")).data == TEXT
    with pytest.raises(SourceError, match="too great"):
        await documents.load(transport, "fake://b")


async def test_a_torrent_must_be_the_one_that_is_meant() -> None:
    """By either of its info-hashes."""
    data = torrents.torrent(torrents.single(CONTENT, 1 << 14, "a"))
    transport = FakeTransport({"fake://t": FakeSource(data), "fake://m": FakeSource(TEXT)})
    found = await documents.torrent_at(transport, "fake://t")
    assert found.torrent is not None
    one = found.torrent.info_hash_v1
    assert await documents.torrent_at(transport, "fake://t", [None, one]) == found
    with pytest.raises(DescriptorError, match="another info-hash"):
        await documents.torrent_at(transport, "fake://t", [None, bytes(20)])
    with pytest.raises(DescriptorError):
        await documents.torrent_at(transport, "fake://m")


# What an entry learns


def naming(url: str, *, size: int | None = None, digest: bool = False, mirror: str = "fake://file") -> Entry:
    digests = {"sha-256": hashlib.sha256(CONTENT).digest()} if digest else {}
    return Entry(P("a.bin"), size, digests, mirrors=(MirrorRef(mirror),), swarms=(SwarmRef(url, METALINK, None, 1),))


def resolver(**sources: bytes) -> Resolver:
    transport = FakeTransport({f"fake://{name}": FakeSource(data) for name, data in sources.items()})
    return Resolver(Transports([transport]))


async def test_a_named_metalink_tells_size_pieces_and_mirrors() -> None:
    """A link in a list, or a metaurl: what was an address becomes a file verified chunk by chunk."""
    told = await resolver(m=TEXT).resolve(naming("fake://m"))

    assert told is not None
    assert (told.size, told.described) == (len(CONTENT), True)
    assert told.pieces is not None
    assert told.pieces.digests == PACKED
    assert {ref.url for ref in told.mirrors} == {"fake://file", "http://127.0.0.1:9/a.bin"}


@pytest.mark.parametrize(
    "document", [None, b"<html>", b"", metalink4("a.bin", b"other", []).encode(), b"magnet:?xt=urn:md5:" + b"0" * 32]
)
async def test_without_a_good_document_the_plain_address_will_do(document: bytes | None) -> None:
    """One that is gone, no metalink, empty, or names no source."""
    sources = {"file": CONTENT} if document is None else {"file": CONTENT, "m": document}
    assert await resolver(**sources).resolve(naming("fake://m")) == Learned(len(CONTENT))


@pytest.mark.parametrize("url", ["ftp://h/m", "gopher://h/m"])
async def test_a_document_that_no_transport_can_fetch(url: str) -> None:
    """The plain address again."""
    assert await resolver(file=CONTENT).resolve(naming(url)) == Learned(len(CONTENT))


async def test_a_document_about_another_file_is_passed_over() -> None:
    """A file that is shown already is left as it is, and the reason told."""
    other = metalink4("a.bin", b"other", ["http://127.0.0.1:9/x"]).encode()
    with pytest.raises(ContentUnavailable, match="about a file of 5 bytes"):
        await resolver(m=other).resolve(naming("fake://m", size=len(CONTENT), digest=True))
    same_size = metalink4("a.bin", b"x" * len(CONTENT), ["http://127.0.0.1:9/x"]).encode()
    with pytest.raises(ContentUnavailable, match="another sha-256 digest"):
        await resolver(m=same_size).resolve(naming("fake://m", size=len(CONTENT), digest=True))


async def test_documents_that_documents_name_are_not_followed() -> None:
    """No loop, no chain: one level."""
    more = f'<metaurl mediatype="{METALINK}">fake://loop</metaurl><metaurl mediatype="torrent">http://h/t</metaurl>'
    text = metalink4("a.bin", CONTENT, ["http://127.0.0.1:9/x"], chunk=None, more=more).encode()
    told = await resolver(m=text.replace(b"fake://loop", b"http://127.0.0.1:9/loop")).resolve(naming("fake://m"))

    assert told is not None
    assert [ref.url for ref in told.swarms] == ["fake://m", "http://h/t"]


def described(fields: Callable[[str], tuple[str, ...]], served: dict[str, bytes]) -> Callable[[Request], bytes]:
    """Serve *served*, with *fields* for the host on every answer for the file."""

    def react(request: Request) -> bytes:
        data = served[request.path]
        more = fields(request.headers["host"]) if request.path == "/a.bin" else ()
        if "range" in request.headers:
            return partial(request, data, *more)
        if request.method == "HEAD":
            return answer("200 OK", "Accept-Ranges: bytes", *more, length=len(data))
        return answer("200 OK", *more, body=data)

    return react


@pytest.mark.parametrize("version", [3, 4])
async def test_a_plain_address_described_by_a_metalink(version: int) -> None:
    """RFC 6249: a Link "describedby" brings the pieces that its digest can't."""
    text = TEXT if version == 4 else metalink3("a.bin", CONTENT, ["http://127.0.0.1:9/a.bin"], chunk=1 << 14).encode()
    kind = METALINK if version == 4 else "application/metalink+xml"
    react = described(
        lambda _: (f'Link: </a.meta>; rel=describedby; type="{kind}"',), {"/a.bin": CONTENT, "/a.meta": text}
    )
    async with serving(computing(react)) as server, running() as transport:
        entry = Entry(P("a.bin"), mirrors=(MirrorRef(f"{server.url}/a.bin"),))
        told = await Resolver(Transports([transport])).resolve(entry)
        assert "metalink" not in server.requests[0].headers["accept"]

    assert told is not None
    assert (told.size, told.described) == (len(CONTENT), True)
    assert told.pieces is not None
    assert told.pieces.length == 1 << 14


async def test_a_descriptor_that_says_more_is_not_overruled_by_a_server() -> None:
    """Where it has a digest of its own, what the server says of itself is not asked for."""
    react = described(lambda _: (f"Link: </gone>; rel=describedby; type={METALINK}",), {"/a.bin": CONTENT})
    async with serving(computing(react)) as server, running() as transport:
        entry = Entry(P("a.bin"), None, {"md5": bytes(16)}, mirrors=(MirrorRef(f"{server.url}/a.bin"),))
        assert await Resolver(Transports([transport])).resolve(entry) == Learned(len(CONTENT))
        assert "/gone" not in {request.path for request in server.requests}
    await trio.lowlevel.checkpoint()
