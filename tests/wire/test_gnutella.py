"""Gnutella's servers as mirrors: one connection, waits, and a tree of hashes that verifies everybody."""

from __future__ import annotations

from base64 import b32encode

import pytest

from mountdl.content import Level, content_of
from mountdl.descriptors import learned, magnet
from mountdl.descriptors.model import MirrorRef
from mountdl.engine.addresses import Transports
from mountdl.engine.resolving import Resolver
from mountdl.errors import ContentUnavailable, SourceUnavailable
from tests.support.httpserver import Request, answer, computing, partial, saying, serving
from tests.unit.test_thex import dime, tree, tth
from tests.wire.http import CALM, CONTENT, fetched, mirror, running

ROOT = tth(CONTENT)


def link(url: str) -> str:
    urn = f"urn:tree:tiger:{b32encode(ROOT).decode().rstrip('=')}"
    return f"magnet:?xt={urn}&xl={len(CONTENT)}&dn=a.bin&xs={url}/uri-res/N2R%3F{urn}&as=http://other.invalid/a.bin"


def serving_tree(request: Request, nodes: bytes) -> bytes:
    if "N2X" in request.path:
        return answer("200 OK", "Content-Type: application/dime", body=dime(b"<xml/>", nodes))
    told = "X-Thex-URI: /uri-res/N2X?urn:tree;ROOT"
    if request.method == "HEAD":
        return answer("200 OK", told, "Accept-Ranges: bytes", length=len(CONTENT))
    return partial(request, CONTENT, told)


async def test_a_tree_verifies_every_source() -> None:
    """A magnet link with a tiger root, a Gnutella source and a plain mirror: every chunk has its digest then."""
    async with serving(computing(lambda r: serving_tree(r, tree(CONTENT, 1024)))) as server:
        entry = magnet.parse(link(server.url).encode()).entries[0]
        assert content_of(entry, len(CONTENT)).level is Level.WHOLE
        async with running(patience=CALM) as transport:
            told = await Resolver(Transports([transport])).resolve(entry)
            assert told is not None
            content = content_of(learned.completed(entry, told), len(CONTENT))
            assert content.level is Level.CHUNK
            assert [ref.url for ref in content.mirrors if "N2R" not in ref.url] == ["http://other.invalid/a.bin"]
            assert content.chunk_map.matches(0, CONTENT[: content.chunk_map.length])
            gnutella = next(ref.url for ref in content.mirrors if "N2R" in ref.url)
            source = mirror(transport, gnutella)
            assert (source.limits.parallel, source.limits.least) == (1, 1 << 20)
            assert await fetched(source, 100, 5000) == CONTENT[100:5000]


async def test_a_tree_that_lies_is_passed_over() -> None:
    """It does not lead to the link's root: the file stays as it was, to be verified as a whole."""
    wrong = tree(CONTENT[:-1] + b"x", 1024)
    async with serving(computing(lambda r: serving_tree(r, wrong))) as server:
        entry = magnet.parse(link(server.url).encode()).entries[0]
        async with running(patience=CALM) as transport:
            with pytest.raises(ContentUnavailable, match="no tree with the right root"):
                await Resolver(Transports([transport])).resolve(entry)


async def test_a_queue_is_waited_in() -> None:
    """503 with X-Queue says when to ask again; nobody asks that file before."""
    busy = answer("503 Queued", "X-Queue: position=2,length=5,limit=4,pollMin=45,pollMax=120")
    async with serving(saying(busy)) as server, running(patience=CALM) as transport:
        source = mirror(transport, MirrorRef(f"{server.url}/uri-res/N2R?urn:sha1:X").url)
        for _ in range(2):
            with pytest.raises(SourceUnavailable) as caught:
                await fetched(source, 0, 10)
            assert 44 < (caught.value.retry_after or 0) <= 45
        assert len(server.requests) == 1
