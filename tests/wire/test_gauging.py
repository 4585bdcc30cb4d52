"""Files of which no server tells the length: they are fetched whole, once, and are in the store then."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import trio
import trio.testing

from mountdl.content import Content, content_of
from mountdl.descriptors.learned import Learned, completed
from mountdl.descriptors.model import Entry, MirrorRef
from mountdl.engine.addresses import Transports
from mountdl.engine.gauging import Gauger
from mountdl.engine.rates import Rates
from mountdl.engine.traffic import Traffic
from mountdl.errors import ContentUnavailable, SourceError, StoreFull
from mountdl.extents import Extent
from mountdl.settings import HttpSettings
from mountdl.sources.base import Gauge, Gauged, Sink, Version
from mountdl.sources.http import HttpTransport
from mountdl.store.store import Store
from tests.support.content import pattern
from tests.support.fetches import fetched, names
from tests.support.httpserver import Handler, Request, Stream, answer, computing, saying, serving
from tests.support.mirrors import Mirror, Mirrors
from tests.wire.http import CONTENT, Collected, Full, running

ENDLESS = answer("200 OK", length=None) + CONTENT


def chunks(data: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:7], data[7:]) if part) + b"0\r\n\r\n"


def chunked(data: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return answer(status, "Transfer-Encoding: chunked", *headers, length=None) + chunks(data)


async def on_demand(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Send all, whatever is asked for, and tell no length."""
    if request.method == "HEAD":
        await stream.send_all(answer("200 OK", "Transfer-Encoding: chunked", length=None))
    elif request.headers.get("if-none-match") == '"one"':
        await stream.send_all(answer("304 Not Modified"))
    else:
        await stream.send_all(answer("200 OK", "Transfer-Encoding: chunked", 'ETag: "one"', length=None))
        await mirror.send(stream, chunks(data))
    return True


async def came(handler: Handler, path: str = "a.iso", known: Version | None = None) -> tuple[object, bytes]:
    sink = Collected()
    async with serving(handler) as server, running() as transport:
        assert isinstance(transport, Gauge)
        return await transport.gauge(MirrorRef(f"{server.url}/{path}"), sink, known), sink.data


@pytest.mark.parametrize(
    ("handler", "version"),
    [
        (saying(chunked(CONTENT)), Version()),
        (saying(chunked(CONTENT, 'ETag: "a"', "Last-Modified: yesterday")), Version('"a"', "yesterday")),
        (saying(ENDLESS, close=True), Version()),
        (saying(answer("200 OK", body=CONTENT)), Version()),
    ],
    ids=["chunked", "version", "end", "length"],
)
async def test_all_of_it_comes_however_it_is_framed(handler: Handler, version: Version) -> None:
    """One that tells its length after all is as good."""
    assert await came(handler) == (Gauged(len(CONTENT), version), CONTENT)


async def test_what_its_server_calls_it() -> None:
    """What is made on demand has a name, and its address mostly none."""
    named = chunked(CONTENT, "Content-Disposition: attachment; filename=project-1.2.tar.gz")
    assert (await came(saying(named), "main"))[0] == Gauged(len(CONTENT), Version(), "project-1.2.tar.gz")


async def test_nothing_comes_of_a_version_that_is_here() -> None:
    """The server is told which that is."""
    asked: list[str] = []

    def react(request: Request) -> bytes:
        asked.append(request.headers["if-none-match"])
        return answer("304 Not Modified")

    assert await came(computing(react), known=Version('"a"')) == (None, b"")
    assert asked == ['"a"']


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (chunked(b"<html>", "Content-Type: text/html"), "sent a web page in place of the file"),
        (chunked(CONTENT, "Content-Encoding: gzip"), "sent the file packed"),
        (chunked(CONTENT, "Content-Type: audio/mpeg", "icy-br: 128"), "sends a live stream, which has no end"),
        (chunked(CONTENT, "Content-Type: multipart/x-mixed-replace; boundary=a"), "a live stream"),
        (chunked(b"", status="404 Not Found"), "404"),
        (chunked(CONTENT)[:-200], "closed the connection"),
        (answer("304 Not Modified"), "304"),
    ],
    ids=["page", "packed", "radio", "camera", "gone", "cut", "unasked"],
)
async def test_what_is_no_whole_file_is_none(sent: bytes, reason: str) -> None:
    """Above all one whose end did not come."""
    async with serving(saying(sent, close=True)) as server, running() as transport:
        with pytest.raises(SourceError, match=reason):
            await transport.gauge(MirrorRef(f"{server.url}/a.iso"), Collected(), None)


async def test_what_the_sink_says_passes() -> None:
    """A disk that is full is no fault of the server's."""
    async with serving(saying(chunked(CONTENT))) as server, running() as transport:
        with pytest.raises(StoreFull):
            await transport.gauge(MirrorRef(f"{server.url}/a"), Full(), None)


def nobody() -> None:
    """Nobody waits for a lane."""


def described(*urls: str) -> Entry:
    return Entry(PurePosixPath("a"), None, mirrors=tuple(MirrorRef(url) for url in urls))


def shown(entry: Entry, size: int) -> Content:
    return content_of(completed(entry, Learned(size)), size)


async def gauged(
    transport: HttpTransport, store: Store, entry: Entry, known: Learned | None = None, told: list[int] | None = None
) -> Learned | None:
    gauger = Gauger(Transports([transport]), store, Traffic(nobody), 8)
    return await gauger.gauge(entry, known, ([] if told is None else told).append)


async def test_what_came_is_in_the_store(tmp_path: Path) -> None:
    """From the first mirror that has all of it; what was there of another version goes."""
    told: list[int] = []
    store = Store(tmp_path)
    async with (
        serving(saying(chunked(CONTENT)[:-9], close=True)) as broken,
        serving(saying(chunked(CONTENT, 'ETag: "b"'))) as whole,
        running() as transport,
    ):
        entry = described(f"{broken.url}/a", f"{whole.url}/a")
        what = shown(entry, len(CONTENT))
        stored = store.open(what.key, what.size, what.chunk_map.fingerprint)
        stored.write(5, b"another version")
        stored.close()
        assert await gauged(transport, store, entry, told=told) == Learned(len(CONTENT), version=('"b"', ""))
    stored = store.open(what.key, what.size, what.chunk_map.fingerprint)
    assert CONTENT == bytes(stored.read(Extent(0, what.size)))
    assert len(CONTENT) == stored.written.total == told[-1]
    stored.close()
    store.close()


@pytest.mark.parametrize("rates", [Rates(each=1e6), Rates(overall=1e6)], ids=["each", "overall"])
async def test_it_comes_no_faster_than_the_user_allows(tmp_path: Path, rates: Rates) -> None:
    """It is limited as any file is, and counts as one."""
    data = pattern(400_000)
    store = Store(tmp_path)
    async with serving(saying(chunked(data))) as server, running() as transport:
        gauger = Gauger(Transports([transport]), store, Traffic(nobody, rates), 8)
        began = trio.current_time()
        assert await gauger.gauge(described(f"{server.url}/a"), None, list[int]().append) is not None
    assert trio.current_time() - began > 0.15
    store.close()


async def test_a_mirror_that_has_another_file_tells_no_length(tmp_path: Path) -> None:
    """Where a digest tells so, the next is asked; what all have is shown, and reading it says what is wrong."""
    store, digests = Store(tmp_path), {"sha-256": hashlib.sha256(CONTENT).digest()}
    async with (
        serving(saying(chunked(b"sorry"))) as other,
        serving(saying(chunked(CONTENT))) as right,
        running() as transport,
    ):
        entry = replace(described(f"{other.url}/a", f"{right.url}/a"), digests=digests)
        assert Learned(len(CONTENT), version=("", "")) == await gauged(transport, store, entry)
        alone = replace(described(f"{other.url}/a"), digests=digests)
        assert await gauged(transport, store, alone) == Learned(5, version=("", ""))
    store.close()


class Counting(HttpTransport):
    """Tells nothing, and how many asked it at once."""

    now = most = 0

    async def gauge(self, ref: MirrorRef, sink: Sink, known: Version | None) -> Gauged | None:
        del ref, sink, known
        self.now += 1
        self.most = max(self.most, self.now)
        await trio.testing.wait_all_tasks_blocked()
        self.now -= 1
        return None


async def test_one_server_is_asked_for_no_more_at_once_than_it_may_be(tmp_path: Path) -> None:
    """--max-connection-per-server holds for it, and those of others do not wait for that."""
    for called, most in [("aaaa", 2), ("abcd", 4)]:
        store, transport = Store(tmp_path), Counting(HttpSettings())
        gauger = Gauger(Transports([transport]), store, Traffic(nobody), 2)
        async with trio.open_nursery() as nursery:
            for name in called:
                nursery.start_soon(gauger.gauge, described(f"http://{name}.example/a"), None, list[int]().append)
        assert most == transport.most
        store.close()


async def test_what_somebody_reads_stays_as_it_is(tmp_path: Path) -> None:
    """Two versions of the same length are never mixed."""
    store = Store(tmp_path)
    async with serving(saying(chunked(CONTENT))) as server, running() as transport:
        entry = described(f"{server.url}/a")
        what = shown(entry, len(CONTENT))
        stored = store.open(what.key, what.size, what.chunk_map.fingerprint)
        stored.write(0, b"before")
        assert await gauged(transport, store, entry) == Learned(len(CONTENT), version=("", ""))
        assert (6, b"before") == (stored.written.total, bytes(stored.read(Extent(0, 6))))
        stored.close()
    store.close()


async def test_what_would_not_fit_is_given_up(tmp_path: Path) -> None:
    """Before the disk is full, or the quota; what names no version is not fetched again to find out about one."""
    store = Store(tmp_path, limit=None)
    async with serving(saying(chunked(CONTENT))) as server, running() as transport:
        entry = described(f"{server.url}/a")
        gauger = Gauger(Transports([transport]), store, Traffic(nobody), 8)
        gauger._room = lambda count: 1000 - count  # type: ignore[method-assign]
        with pytest.raises(StoreFull, match="no room"):
            await gauger.gauge(entry, None, list[int]().append)
        asked = len(server.requests)
        assert await gauged(transport, store, entry, Learned(7, remembered=True, version=("", ""))) is None
        assert asked == len(server.requests)
    with pytest.raises(ContentUnavailable, match="names no mirror"):
        await Gauger(Transports([]), store, Traffic(nobody), 8).gauge(entry, None, list[int]().append)
    store.close()


def test_such_a_file_is_fetched_once(mirrors: Mirrors, tmp_path: Path) -> None:
    """By its address, and from a list."""
    data = pattern(300_000)
    mirror = mirrors.add("maker", {"main.tar": data, "other.tar": data[1:]}, on_demand)
    done = fetched("-d", tmp_path, "-i", "-", mirror.of("main.tar"), text=f"{mirror.of('other.tar')}\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert (data, data[1:]) == ((tmp_path / "main.tar").read_bytes(), (tmp_path / "other.tar").read_bytes())
    listed = [each for each in mirror.asked if each.method == "GET" and each.path.endswith("other.tar")]
    assert 1 == sum("range" not in each.headers for each in listed)


def test_a_second_fetch_leaves_nothing(mirrors: Mirrors, tmp_path: Path) -> None:
    """The length is found out by fetching it once more; that copy stayed in the store of the fetch."""
    mirror = mirrors.add("maker", {"main.tar": CONTENT}, on_demand)
    for _ in range(2):
        done = fetched("-d", tmp_path, mirror.of("main.tar"))
        assert (done.returncode, done.stderr) == (0, "")
        assert ["main.tar"] == names(tmp_path)


def test_why_such_a_file_can_not_be_had(mirrors: Mirrors, tmp_path: Path) -> None:
    """The sentence names what is wrong with it."""

    async def paging(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        kind = "Content-Type: text/html"
        await stream.send_all(answer("200 OK", "Transfer-Encoding: chunked", kind, length=None))
        if request.method != "HEAD":
            await mirror.send(stream, chunks(data))
        return True

    mirror = mirrors.add("pages", {"a.iso": b"<html>"}, paging)
    done = fetched("-d", tmp_path, "-i", "-", text=f"{mirror.of('a.iso')}\n")
    assert done.returncode != 0
    assert "a.iso: no server tells how long it is, and it could not be fetched to find out: " in done.stderr
    assert "sent a web page in place of the file" in done.stderr
