"""Servers as they are: what a mirror makes of each misbehaviour, over real sockets."""

from __future__ import annotations

import email.utils
import time

import pytest
import trio

from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.http.patience import Patience
from tests.support.httpserver import Handler, Request, Stream, answer, computing, partial, saying, serving
from tests.wire.http import CALM, CONTENT, GOOD, SHORT, Collected, fetched, mirror, running, success

SIZE = len(CONTENT)


async def reaction(
    handler: Handler, patience: Patience = CALM, start: int = 1000, stop: int = 2000
) -> tuple[SourceError, bytes]:
    """Fetch once from *handler*; return what was raised and what was stored before that."""
    sink = Collected()
    async with serving(handler) as server, running(patience=patience) as transport:
        source = mirror(transport, f"{server.url}/a.iso")
        with pytest.raises(SourceError) as caught:
            await source.fetch(Extent(start, stop), sink, priority=Priority.READ)
    assert caught.value.source == f"{server.url}/a.iso"
    return caught.value, sink.data


async def test_good_server_keeps_one_connection() -> None:
    """Ranges come from one connection, one after another."""
    assert await success(GOOD) == 1


async def test_whole_answer_near_the_start() -> None:
    """200 to a range: the gap is read over, the mirror is known to be sequential."""
    async with serving(computing(lambda _: answer("200 OK", body=CONTENT))) as server, running() as transport:
        source = mirror(transport, server.url)
        assert await fetched(source, 1000, 2000) == CONTENT[1000:2000]
        assert source.limits.sequential
        assert await fetched(source, 0, SIZE) == CONTENT
        assert source.limits.sequential


async def test_whole_answer_far_in() -> None:
    """200 to a range far in: nothing is stored, and nothing is asked again."""
    big = bytes(3 << 20)
    async with serving(computing(lambda _: answer("200 OK", body=big))) as server, running() as transport:
        source = mirror(transport, server.url, big)
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match="serves no ranges"):
                await fetched(source, 2 << 20, (2 << 20) + 10)
        assert len(server.requests) == 1
        assert source.limits.sequential


async def test_wrong_content_range() -> None:
    """206 from elsewhere is never stored."""
    raw = answer("206 Partial Content", f"Content-Range: bytes 5000-5999/{SIZE}", body=CONTENT[5000:6000])
    error, stored = await reaction(saying(raw))
    assert isinstance(error, SourceRefused)
    assert stored == b""


async def test_missing_content_range_is_tried_once_more() -> None:
    """206 without Content-Range: one more try on its own connection, then it counts."""
    raw = answer("206 Partial Content", body=CONTENT[1000:2000])
    error, stored = await reaction(saying(raw))
    assert isinstance(error, SourceRefused)
    assert stored == b""
    seen: list[Request] = []

    def second_right(request: Request) -> bytes:
        seen.append(request)
        return raw if request.number == 0 else partial(request, CONTENT)

    await success(computing(second_right))
    assert [request.headers.get("connection") == "close" for request in seen] == [False, True, False]


@pytest.mark.parametrize(
    "raw",
    [
        answer("206 P", "Content-Range: bytes 1000-1999/77777", body=CONTENT[1000:2000]),
        answer("200 OK", "Content-Type: text/plain", body=b"another file"),
        answer("416 Range Not Satisfiable", "Content-Range: bytes */10"),
    ],
)
async def test_other_bytes_than_described(raw: bytes) -> None:
    """Another total, however it is told: another file, and nothing stored."""
    error, stored = await reaction(saying(raw))
    assert isinstance(error, SourceMismatch)
    assert stored == b""


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            answer("206 P", "Content-Type: multipart/byteranges; boundary=x", body=b"--x\r\n\r\nabc--x--"),
            "several parts (multipart/byteranges)",
        ),
        (
            answer(
                "206 P", f"Content-Range: bytes 1000-1999/{SIZE}", "Content-Encoding: gzip", body=CONTENT[1000:2000]
            ),
            "packed (Content-Encoding: 'gzip')",
        ),
        (answer("200 OK", "Content-Encoding: br", body=b"packed"), "packed (Content-Encoding: 'br')"),
        (answer("200 OK", "Content-Type: text/html", body=b"<html>please log in</html>"), "web page"),
        (
            answer(
                "200 OK",
                "Content-Type: text/html",
                "Transfer-Encoding: chunked",
                length=None,
                body=b"3\r\nabc\r\n0\r\n\r\n",
            ),
            "web page",
        ),
        (answer("204 No Content", length=None), "answered 204"),
    ],
)
async def test_answers_that_tell_nothing_of_the_file(raw: bytes, words: str) -> None:
    """Multipart, packed, login pages, 204: dropped, and nothing stored. But it may be the same file still."""
    error, stored = await reaction(saying(raw))
    assert isinstance(error, SourceRefused)
    assert words in error.reason
    assert stored == b""


async def test_capped_answers_are_continued() -> None:
    """206 shorter than asked: the rest is asked for."""

    def capped(request: Request) -> bytes:
        first, last = request.span
        last = min(last, first + 8191)
        return answer("206 P", f"Content-Range: bytes {first}-{last}/{SIZE}", body=CONTENT[first : last + 1])

    assert await success(computing(capped), 100, 40_100) == 1


async def test_crumbs_are_not_worth_it() -> None:
    """A server that gives one byte a request is left."""

    def crumb(request: Request) -> bytes:
        first, _ = request.span
        return answer("206 P", f"Content-Range: bytes {first}-{first}/{SIZE}", body=CONTENT[first : first + 1])

    error, stored = await reaction(computing(crumb))
    assert isinstance(error, SourceUnavailable)
    assert stored == CONTENT[1000:1001]


async def test_too_long_body_is_cut() -> None:
    """More than asked is cut at the end asked for, whatever the framing says."""

    def longer(request: Request) -> bytes:
        first, last = request.span
        body = CONTENT[first : last + 501]
        return answer("206 P", f"Content-Range: bytes {first}-{last + 500}/{SIZE}", body=body)

    def beyond_its_length(request: Request) -> bytes:
        return partial(request, CONTENT) + b"extra"

    await success(computing(longer))
    assert await success(computing(beyond_its_length)) == 2


async def test_early_close_keeps_the_prefix() -> None:
    """A body that ends early: what came is good, the rest is somebody else's."""

    async def cut(request: Request, stream: Stream) -> bool:
        await stream.send_all(partial(request, CONTENT)[:-400])
        return False

    error, stored = await reaction(cut)
    assert isinstance(error, SourceUnavailable)
    assert error.reason == "closed the connection 400 bytes early"
    assert stored == CONTENT[1000:1600]


async def test_chunked_range() -> None:
    """A chunked 206 is right, and the connection is kept; a cut one keeps its prefix."""

    def chunked(request: Request) -> bytes:
        first, last = request.span
        body = CONTENT[first : last + 1]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:300], body[300:])) + b"0\r\n\r\n"
        head = (f"Content-Range: bytes {first}-{last}/{SIZE}", "Transfer-Encoding: chunked")
        return answer("206 P", *head, length=None, body=chunks)

    assert await success(computing(chunked)) == 1
    error, stored = await reaction(computing(lambda request: chunked(request)[:-500], close=True))
    assert isinstance(error, SourceUnavailable)
    assert CONTENT[1000:2000].startswith(stored)
    assert len(stored) >= 300


@pytest.mark.parametrize("status", ["HTTP/1.0 206 P", "HTTP/1.1 206 P"])
async def test_close_delimited_range(status: str) -> None:
    """A 206 that ends with the connection is complete when all that it announced came."""

    def until_close(request: Request, rest: int = 0) -> bytes:
        first, last = request.span
        head = f"{status}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n"
        return head.encode() + CONTENT[first : last + 1 - rest]

    assert await success(computing(until_close, close=True)) == 2
    error, stored = await reaction(computing(lambda request: until_close(request, 300), close=True))
    assert error.reason == "the answer ended 300 bytes early"
    assert stored == CONTENT[1000:1700]


async def test_asked_to_wait_everywhere() -> None:
    """429 parks the server for all its contents and halves the connections to it."""
    raw = answer("429 Busy", "Retry-After: 30")
    async with serving(saying(raw)) as server, running() as transport:
        source, other = mirror(transport, f"{server.url}/a"), mirror(transport, f"{server.url}/b")
        for each in (source, source, other):
            with pytest.raises(SourceUnavailable) as caught:
                await fetched(each, 0, 10)
            assert 29 < (caught.value.retry_after or 0) <= 30
        assert len(server.requests) == 1
        assert source.limits.parallel == 4


async def test_asked_to_wait_for_one_file() -> None:
    """503 parks the file that said it, with half the connections; the server's other files go on."""

    def react(request: Request) -> bytes:
        return answer("503 Busy", "Retry-After: 30") if request.path == "/a" else partial(request, CONTENT)

    async with serving(computing(react)) as server, running() as transport:
        source, other = mirror(transport, f"{server.url}/a"), mirror(transport, f"{server.url}/b")
        for _ in range(2):
            with pytest.raises(SourceUnavailable) as caught:
                await fetched(source, 0, 10)
            assert 29 < (caught.value.retry_after or 0) <= 30
        assert await fetched(other, 0, 10) == CONTENT[:10]
        assert [request.path for request in server.requests] == ["/a", "/b"]
        assert source.limits.parallel == 4


async def test_asked_to_wait_until_a_date() -> None:
    """Retry-After may be a date."""
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    error, _ = await reaction(saying(answer("503 Busy", f"Retry-After: {date}")))
    assert isinstance(error, SourceUnavailable)
    assert 50 < (error.retry_after or 0) <= 60


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, SourceUnavailable),
        (404, SourceRefused),
        (410, SourceRefused),
        (401, SourceRefused),
        (500, SourceUnavailable),
    ],
)
async def test_failures(status: int, kind: type[SourceError]) -> None:
    """404, 410, 401: never; 403 and 5xx: later perhaps."""
    error, _ = await reaction(saying(answer(f"{status} No", body=b"sorry")))
    assert type(error) is kind
    assert error.reason.startswith(f"answered {status}")


async def test_403_after_a_while_keeps_what_came() -> None:
    """A server that refuses in the middle of a download: a fetch before is not undone."""
    handler = computing(lambda r: partial(r, CONTENT) if r.number < 2 else answer("403 Forbidden"))
    async with serving(handler) as server, running() as transport:
        source = mirror(transport, server.url)
        for _ in range(2):
            assert await fetched(source, 0, 10) == CONTENT[:10]
        with pytest.raises(SourceUnavailable, match="answered 403"):
            await fetched(source, 0, 10)


async def test_changed_etag() -> None:
    """The ETag goes into If-Range; another one in an answer means another file, for both ways to answer."""

    def changing(request: Request) -> bytes:
        tag = '"one"' if request.number == 0 else '"two"'
        if request.headers.get("if-range", tag) != tag and request.number < 2:
            return answer("200 OK", f"ETag: {tag}", body=CONTENT)
        return partial(request, CONTENT, f"ETag: {tag}")

    async with serving(computing(changing)) as server, running() as transport:
        source = mirror(transport, server.url)
        assert await fetched(source, 0, 100) == CONTENT[:100]
        for _ in range(2):
            with pytest.raises(SourceMismatch, match="changed at the mirror"):
                await fetched(source, 0, 100)
        assert server.requests[1].headers["if-range"] == '"one"'


async def test_weak_etag_is_not_sent() -> None:
    """RFC 9110 section 13.1.5: no weak ETag in If-Range."""
    async with serving(computing(lambda r: partial(r, CONTENT, 'ETag: W/"x"'))) as server, running() as transport:
        source = mirror(transport, server.url)
        for _ in range(2):
            await fetched(source, 0, 100)
        assert "if-range" not in server.requests[1].headers


async def test_early_hints() -> None:
    """103 and 100 before the answer are passed over."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    assert await success(computing(lambda request: hints + partial(request, CONTENT))) == 1


async def test_repeated_content_range() -> None:
    """Two Content-Range headers are no Content-Range."""
    extra = f"Content-Range: bytes 0-1/{SIZE}"
    error, stored = await reaction(computing(lambda request: partial(request, CONTENT, extra)))
    assert isinstance(error, SourceRefused)
    assert stored == b""


async def test_stall_in_the_body() -> None:
    """Silence after a part of the body: the part is kept, the wait is bounded."""

    async def stall(request: Request, stream: Stream) -> bool:
        await stream.send_all(partial(request, CONTENT)[:-500])
        await trio.sleep(60)
        return False

    error, stored = await reaction(stall, SHORT)
    assert isinstance(error, SourceUnavailable)
    assert error.reason == "silent for 2 s"
    assert stored == CONTENT[1000:1500]


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 206 P\r\nX-A: b"])
async def test_stall_in_the_head(drip: bytes) -> None:
    """No head, or one that comes byte by byte, is not waited for."""

    async def slow(request: Request, stream: Stream) -> bool:
        for i in range(1000):
            await stream.send_all(drip[i : i + 1] if i < len(drip) else b"x" if drip else b"")
            await trio.sleep(0.02)
        return False

    error, _ = await reaction(slow, SHORT)
    assert error.reason == "no answer within 2 s"


async def test_trickle() -> None:
    """A body that never pauses but hardly moves is left."""

    async def trickle(request: Request, stream: Stream) -> bool:
        head, _, body = partial(request, CONTENT).partition(b"\r\n\r\n")
        await stream.send_all(head + b"\r\n\r\n")
        for i in range(len(body)):
            await stream.send_all(body[i : i + 1])
            await trio.sleep(0.02)
        return True

    error, stored = await reaction(trickle, SHORT)
    assert error.reason == "slower than 1000 bytes a second"
    assert CONTENT[1000:2000].startswith(stored)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 206 P\r\n" + b"X-Long: " + b"a" * 300_000,
        b"HTTP/1.1 206 P\r\n" + b"X-Many: b\r\n" * 30_000 + b"\r\n",
        b"HTTP/1.1 103 Hints\r\n\r\n" * 50_000,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 206",
        b"",
    ],
)
async def test_no_head_at_all(raw: bytes) -> None:
    """Huge heads, garbage and nothing at all: the server is backed off from."""
    error, stored = await reaction(saying(raw or b" ", close=True))
    assert isinstance(error, SourceUnavailable)
    assert stored == b""
    assert len(error.reason) < 80
