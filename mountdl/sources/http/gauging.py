"""Fetch a file over HTTP whose length its server does not tell (RFC 9112 section 6.3): what is made on demand.

That it came whole is known by the last chunk of a chunked body, and else by the end of the connection.
"""

import time
from collections.abc import Mapping

import httpx

from mountdl.content import LARGEST
from mountdl.descriptors.disposition import filename
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.sources.base import Gauged, Sink, Version
from mountdl.sources.http.answers import Asked, Mismatch, Take, Wait, judge, length_of
from mountdl.sources.http.client import Client, Reply, source_error
from mountdl.sources.http.loading import conditions, version_of
from mountdl.sources.http.mirror import parsed, shown

_LIVE = frozenset({"multipart/x-mixed-replace", "text/event-stream"})
_STATION = frozenset({"icy-name", "icy-br", "icy-metaint", "icy-genre", "icy-url", "icy-pub"})


async def gauge(client: Client, ref: MirrorRef, sink: Sink, known: Version | None) -> Gauged | None:
    """See `Gauge`."""
    url = parsed(ref.url)
    name = shown(url)
    if url is None:
        raise SourceRefused(name, "not an http address")
    try:
        arrival = await client.follow("GET", url, conditions(known))
        try:
            if arrival.reply.status == 304 and known is not None:
                return None
            length = _checked(name, arrival.reply, arrival.url.path)
            fields = arrival.reply.headers
            came = await arrival.reply.body.pour(sink, 0, skip=0, limit=length)
            return Gauged(came, version_of(fields), filename(fields.get("content-disposition", "")))
        finally:
            await arrival.reply.body.aclose()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise source_error(name, error) from error


def _checked(name: str, reply: Reply, path: str) -> int:
    """Return how many bytes may come, if *reply* is the file as it is. Raises SourceError."""
    if _live(reply.headers):
        raise SourceRefused(name, "sends a live stream, which has no end")
    length = length_of(reply.headers)
    size = LARGEST if length is None else length
    verdict = judge(reply.status, reply.headers, Asked(Extent(0, size), size, path), time.time())
    match verdict:
        case Take():
            return size
        case Wait(reason, retry_after):
            raise SourceUnavailable(name, reason, retry_after)
        case Mismatch(reason):
            raise SourceMismatch(name, reason)
    raise SourceRefused(name, verdict.reason)


def _live(headers: Mapping[str, str]) -> bool:
    """Say whether what comes goes on for ever: a radio station (as SHOUTcast and Icecast tell), a camera, a feed."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in _LIVE or not _STATION.isdisjoint(headers)
