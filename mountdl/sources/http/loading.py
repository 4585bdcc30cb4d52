"""Fetch a document over HTTP: of any length that is bearable, and only if it changed.

Unlike a file of a mirror, it is asked for whole: what servers make on demand has no length and no ranges.
"""

import time
import zlib
from collections.abc import Callable, Mapping

import httpx

from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.sources.base import Loaded, Version
from mountdl.sources.http.answers import Refuse, Wait, failure
from mountdl.sources.http.client import Client, Reply, source_error
from mountdl.sources.http.heads import Headers
from mountdl.sources.http.mirror import parsed, shown

SNIFFED = 4096
"""Bytes of a document that tell whether it is wanted."""

_OK, _NOT_MODIFIED = 200, 304
_GZIP = zlib.MAX_WBITS | 16


class _Unwanted(Exception):
    """Its first bytes say that the rest is not wanted."""


class _Page:
    """A sink that keeps at most *most* bytes, and asks *wanted* about the first ones."""

    def __init__(self, source: str, most: int, wanted: Callable[[bytes], bool] | None) -> None:
        self.data = bytearray()
        self._source, self._most, self._wanted = source, most, wanted

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.data[offset : offset + len(data)] = data
        if len(self.data) > self._most:
            raise SourceMismatch(self._source, f"has more than {self._most} bytes, which is too long for a document")
        if len(self.data) >= SNIFFED:
            self.judge()

    def judge(self) -> None:
        """Ask whether this is wanted, if nobody did yet. Raises _Unwanted."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted(bytes(self.data[:SNIFFED])):
            raise _Unwanted

    def room(self, offset: int) -> memoryview | None:
        del offset  # it is not known how much there will be
        return None

    def landed(self, extent: Extent) -> None:
        raise NotImplementedError


async def load(
    client: Client, address: str, most: int, wanted: Callable[[bytes], bool] | None, known: Version | None
) -> Loaded | None:
    """See `Loader`."""
    url = parsed(address)
    name = shown(url)
    if url is None:
        raise SourceRefused(name, "not an http address")
    page = _Page(name, most, wanted)
    try:
        arrival = await client.follow("GET", url, conditions(known))
        try:
            version = await _read(arrival.reply, page, name, most)
        finally:
            await arrival.reply.body.aclose()
    except _Unwanted:
        return None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise source_error(name, error) from error
    return Loaded(None if version is None else bytes(page.data), str(arrival.url), version or known or Version())


def conditions(known: Version | None) -> Headers:
    """Return the header fields by which a server sends nothing where it has the version *known* still."""
    # RFC 9110 section 13.1.3: where both are sent, the entity tag counts.
    given = known or Version()
    conditions = [(b"If-None-Match", given.etag), (b"If-Modified-Since", given.modified)]
    return [(name, value.encode("latin-1", "replace")) for name, value in conditions if value]


async def _read(reply: Reply, page: _Page, name: str, most: int) -> Version | None:
    """Take the document into *page*; return its version, None where it has not changed. Raises SourceError."""
    if reply.status == _NOT_MODIFIED:
        return None
    if reply.status != _OK:
        raise _problem(name, reply)
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        packed = _Page(name, most, None)
        await reply.body.pour(packed, 0, skip=0, limit=most + 1)
        page.write(0, _unpacked(packed.data, most, name))
    elif encoding in {"", "identity"}:
        await reply.body.pour(page, 0, skip=0, limit=most + 1)
    else:
        raise SourceMismatch(name, "sends its documents in an encoding that was not asked for")
    page.judge()
    return version_of(reply.headers)


def version_of(headers: Mapping[str, str]) -> Version:
    """Return what an answer with *headers* says of the version that it has."""
    return Version(_kept(headers, "etag"), _kept(headers, "last-modified"))


def _kept(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    return value if len(value) <= 200 else ""


def _unpacked(packed: bytearray, most: int, name: str) -> bytes:
    try:
        return zlib.decompressobj(_GZIP).decompress(packed, most + 1)
    except zlib.error as error:
        raise SourceMismatch(name, "what it sends is not packed as it says") from error


def _problem(name: str, reply: Reply) -> SourceError:
    verdict = failure(reply.status, reply.headers, time.time())
    if isinstance(verdict, Wait):
        return SourceUnavailable(name, verdict.reason, verdict.retry_after)
    kind = SourceRefused if isinstance(verdict, Refuse) else SourceMismatch
    return kind(name, verdict.reason)
