"""Metalink/HTTP (RFC 6249): what the first answer for a plain URL says of mirrors and digests."""

from __future__ import annotations

import base64
import hashlib
from functools import partial as partial_of
from pathlib import Path, PurePosixPath

import pytest

from mountdl import remote
from mountdl.descriptors import parse, prefer
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Entry, MirrorRef
from mountdl.engine.engine import Engine
from mountdl.errors import ContentUnavailable, UsageError
from mountdl.settings import EngineSettings, PreferenceSettings
from mountdl.store.store import Store
from tests.support.httpserver import Handler, Request, answer, computing, partial, serving
from tests.wire.http import CONTENT, running

SHA256 = hashlib.sha256(CONTENT).digest()
DIGEST = f"Digest: SHA-256={base64.b64encode(SHA256).decode()}"
LINKS = (
    "Link: <http://one.example/f>; rel=duplicate; pri=3; geo=de, <http://two.example/f>; rel=duplicate; pri=2",
    "Link: <http://pref.example/f>; rel=duplicate; pri=9; pref",
    "Link: </f.meta4>; rel=describedby; type=application/metalink4+xml",
)
NAMED = (
    MirrorRef("http://pref.example/f", 1),
    MirrorRef("http://two.example/f", 2),
    MirrorRef("http://one.example/f", 3, "de"),
)


def saying(*fields: str) -> Handler:
    """Serve the content, with *fields* on every answer."""

    def react(request: Request) -> bytes:
        if request.method == "HEAD":
            return answer("200 OK", "Accept-Ranges: bytes", *fields, length=len(CONTENT))
        return partial(request, CONTENT, *fields) if "range" in request.headers else answer("200 OK", body=CONTENT)

    return computing(react)


def sending_to(url: str, *fields: str) -> Handler:
    """Send everybody to *url*, with *fields*."""
    return computing(lambda request: answer("302 Found", f"Location: {url}", *fields, length=0))


async def test_mirrors_and_digests_of_the_first_answer() -> None:
    """All Link fields are read, the preferred mirror is first; what can be said is asked for."""
    async with serving(saying(DIGEST, *LINKS)) as server, running() as transport:
        probe = await transport.probe(MirrorRef(server.url))

        assert (probe.size, probe.mirrors, dict(probe.digests)) == (len(CONTENT), NAMED, {"sha-256": SHA256})
        assert "sha-256" in server.requests[0].headers["want-repr-digest"]
        assert "metalink" not in server.requests[0].headers.get("accept", "")


async def test_a_redirect_names_them() -> None:
    """MirrorBrain puts them on the 302; what the mirror says there of its own mirrors is nothing to us."""
    other = "Link: <http://evil.example/f>; rel=duplicate"
    async with serving(saying(other)) as mirror, serving(sending_to(mirror.url, DIGEST, *LINKS)) as server:
        async with running() as transport:
            probe = await transport.probe(MirrorRef(server.url))

    assert (probe.size, probe.mirrors, dict(probe.digests)) == (len(CONTENT), NAMED, {"sha-256": SHA256})


async def test_quirk_32_links_without_a_digest_are_ignored() -> None:
    """A mirrorbits server names mirrors on its 302 without a digest: nothing could check what they send."""
    async with serving(saying(DIGEST)) as mirror, serving(sending_to(mirror.url, *LINKS)) as server:
        async with running() as transport:
            probe = await transport.probe(MirrorRef(server.url))

    assert probe.mirrors == ()
    assert dict(probe.digests) == {"sha-256": SHA256}


@pytest.mark.parametrize(
    "fields", [LINKS, ("Digest: ADLER32=AAAAAA==", *LINKS), (DIGEST, "Content-Encoding: gzip", *LINKS)]
)
async def test_no_usable_digest_no_mirrors(fields: tuple[str, ...]) -> None:
    """Neither a checksum that verifies nothing nor the digest of encoded bytes counts."""
    async with serving(saying(*fields)) as server, running() as transport:
        assert (await transport.probe(MirrorRef(server.url))).mirrors == ()


async def test_a_head_without_fields_and_a_get_with() -> None:
    """Some servers speak of digests only where they send bytes; and some only where they don't."""

    def only(method: str, request: Request) -> bytes:
        fields = (DIGEST, *LINKS) if request.method == method else ()
        if request.method == "HEAD":
            return answer("200 OK", *fields, length=len(CONTENT))
        return partial(request, CONTENT, *fields)

    for method in ("HEAD", "GET"):
        async with serving(computing(partial_of(only, method))) as server, running() as transport:
            assert (await transport.probe(MirrorRef(server.url))).mirrors == NAMED


async def test_resolving_learns_them(tmp_path: Path) -> None:
    """The engine hands size, digests and mirrors on; where no mirror answers it says why."""
    async with serving(saying(DIGEST, *LINKS)) as server, running() as transport:
        engine = Engine(Store(tmp_path), [transport], EngineSettings(), lambda content: None)
        entry = Entry(PurePosixPath("f"), mirrors=(MirrorRef(server.url),))

        assert await engine.resolve(entry) == Learned(len(CONTENT), {"sha-256": SHA256}, NAMED)
        with pytest.raises(ContentUnavailable, match="names no mirror that can be asked"):
            await engine.resolve(Entry(PurePosixPath("f")))
    async with serving(computing(lambda request: answer("404 No", length=0))) as server, running() as transport:
        engine = Engine(Store(tmp_path), [transport], EngineSettings(), lambda content: None)
        with pytest.raises(ContentUnavailable, match="404"):
            await engine.resolve(Entry(PurePosixPath("f"), mirrors=(MirrorRef(server.url),)))


async def test_the_mirrors_near_by_are_preferred(tmp_path: Path) -> None:
    """Of those that a server names, too: geo says where they are."""
    preferred = partial_of(prefer, settings=PreferenceSettings(locations=("DE",)))
    async with serving(saying(DIGEST, *LINKS)) as server, running() as transport:
        engine = Engine(Store(tmp_path), [transport], EngineSettings(), lambda content: None, preferred)
        learned = await engine.resolve(Entry(PurePosixPath("f"), mirrors=(MirrorRef(server.url),)))

    assert learned is not None
    assert [mirror.url for mirror in learned.mirrors] == [NAMED[2].url, NAMED[0].url, NAMED[1].url]


async def test_a_source_that_is_a_url_has_all_its_mirrors(tmp_path: Path) -> None:
    """What is mounted is one file with the server's digest and everybody who has it."""
    async with serving(saying(DIGEST, *LINKS)) as server, running() as transport:
        await remote.place(f"{server.url}/f.iso", tmp_path, [transport])
        [path] = tmp_path.iterdir()
        [entry] = parse(path.name, path.read_bytes()).entries

        assert (str(entry.path), entry.size, dict(entry.digests)) == ("f.iso", len(CONTENT), {"sha-256": SHA256})
        assert [mirror.url for mirror in entry.mirrors] == [*(ref.url for ref in NAMED), f"{server.url}/f.iso"]


def whole_or_part(request: Request, data: bytes) -> bytes:
    return partial(request, data) if "range" in request.headers else answer("200 OK", body=data)


METALINK = b"""<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="b.iso"><size>3</size>
<url>http://h.example/b.iso</url></file></metalink>"""


async def test_a_source_that_is_a_link_with_a_metalink(tmp_path: Path) -> None:
    """The metalink is taken; where it is none or not there, the plain address; a bad scheme says so."""

    def react(request: Request) -> bytes:
        if request.path.endswith("gone"):
            return answer("404 No", length=0)
        data = METALINK if request.path.endswith("meta4") else CONTENT
        if request.method == "HEAD":
            return answer("200 OK", "Accept-Ranges: bytes", length=len(data))
        return whole_or_part(request, data)

    async with serving(computing(react)) as server, running() as transport:
        for number, (marked, names) in enumerate({"meta4": ["b.iso"], "gone": ["f.iso"], "other": ["f.iso"]}.items()):
            folder = tmp_path / str(number)
            folder.mkdir()
            await remote.place(f"{server.url}/f.iso#!metalink3!{server.url}/{marked}", folder, [transport])
            [path] = folder.iterdir()
            assert [str(entry.path) for entry in parse(path.name, path.read_bytes()).entries] == names
        with pytest.raises(UsageError, match="gopher"):
            await remote.place("gopher://h/x", tmp_path, [transport])


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
async def test_where_a_document_was_found_is_what_its_relative_addresses_are_relative_to(
    tmp_path: Path, *, length: bool
) -> None:
    """Where redirects led (RFC 3986 section 5.1.3); for a link, where its metalink is."""

    def react(request: Request) -> bytes:
        if request.path.endswith("latest"):
            return answer("302 Found", "Location: /d/real.meta4", length=0)
        if request.method == "HEAD":
            return answer("200 OK", "Accept-Ranges: bytes", length=len(METALINK)) if length else answer("405 No")
        if not length:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(METALINK), METALINK)
            return answer("200 OK", "Transfer-Encoding: chunked", length=None) + body
        return whole_or_part(request, METALINK)

    async with serving(computing(react)) as server, running() as transport:
        for number, asked in enumerate(("latest", "f.iso#!metalink3!{}/latest")):
            folder = tmp_path / str(number)
            folder.mkdir()
            found = await remote.place(f"{server.url}/{asked.format(server.url)}", folder, [transport])
            assert found == f"{server.url}/d/real.meta4"


async def test_an_address_without_fields_is_itself() -> None:
    """Nothing is made up."""
    async with serving(saying()) as server, running() as transport:
        probe = await transport.probe(MirrorRef(server.url))

    assert (probe.digests, probe.mirrors) == ({}, ())


async def test_quirk_31_a_metalink_for_the_plain_url(tmp_path: Path) -> None:
    """A document that comes for a file's address is taken for what it is, and is never asked for."""

    def react(request: Request) -> bytes:
        assert "metalink" not in request.headers.get("accept", "")
        if request.method == "HEAD":
            return answer("200 OK", "Accept-Ranges: bytes", length=len(METALINK))
        return whole_or_part(request, METALINK)

    async with serving(computing(react)) as server, running() as transport:
        await remote.place(f"{server.url}/f.iso", tmp_path, [transport])
        [path] = tmp_path.iterdir()

    assert [(str(entry.path), entry.size) for entry in parse(path.name, path.read_bytes()).entries] == [("b.iso", 3)]
