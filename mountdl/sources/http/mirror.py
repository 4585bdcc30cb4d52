"""A mirror: one http(s) URL as a source of one content.

Law: no byte reaches the sink before `answers.judge` said where it belongs. What the mirror remembers (where
redirects led, the validator of each final URL, whether it serves ranges) lives as long as the source. Knows
no chunk, no digest's value and not who wants the bytes.
"""

import functools
import hashlib
import math
import time
from dataclasses import dataclass

import httpx
import trio

from mountdl.content import Content, Level
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.base import Limits, Sink
from mountdl.sources.http.answers import (
    LONGEST_SKIP,
    Asked,
    Garbled,
    Mismatch,
    Refuse,
    SequentialOnly,
    Take,
    Validator,
    Verdict,
    Wait,
    judge,
    validator_of,
)
from mountdl.sources.http.bulk import origin_of
from mountdl.sources.http.client import Arrival, Client, Facts, Reply, Target, source_error
from mountdl.sources.http.connection import Origin
from mountdl.sources.http.heads import Headers

_TEMPORARY = 300.0
"""Seconds that the end of a temporary redirect is remembered: signed URLs tend to live longer."""

_CRUMB = 4096
"""A server whose answers are shorter on average costs more than it gives."""

_STREAM = 2 << 20
"""Bytes of an answer while which other requests are likely: the next of the same reader, or one for a seek."""

_N2R = "/uri-res/n2r"
_MOST_VALIDATORS = 64
_MOVED = {301, 302, 303, 307, 308, 401}
_EXPIRED = {403, 404, 410}


@dataclass(frozen=True, slots=True)
class _Route:
    """Where the URL led last; good until *expires* (trio time)."""

    url: str
    path: str
    target: Target
    redirected: bool
    expires: float


@dataclass(frozen=True, slots=True)
class _Answered:
    """An answer, and where it came from in the end."""

    url: str
    path: str
    origin: Origin
    reply: Reply


class Mirror:
    """The source that *ref* is for *content*; implements `Source`."""

    def __init__(self, client: Client, ref: MirrorRef, content: Content) -> None:
        self._client = client
        self._size = content.size
        self._proof = content.level is not Level.NONE
        self._url = parsed(ref.url)
        self._name = shown(self._url)
        own = client.settings.max_connection_per_server
        self._most = min(own, ref.max_connections) if ref.max_connections else own
        self._least = 0
        if self._url is not None and _N2R in self._url.path.lower():
            self._most = 1  # a Gnutella server bans who opens a second one, for minutes
            self._least = 1 << 20  # and who asks often, for little
        self._origin = origin_of(self._url) if self._url is not None else None
        self._route: _Route | None = None
        self._validators: dict[str, Validator] = {}
        self._sequential = False
        self._parked_until = -math.inf

    @property
    def name(self) -> str:
        """For logs and status: the URL without credentials and query."""
        return self._name

    @property
    def limits(self) -> Limits:
        """How it likes to be used. *host* is the one that redirects led to."""
        origin = self._route.target.origin if self._route is not None else self._origin
        if origin is None:
            return Limits(1, "", sequential=False)
        return Limits(self._client.facts(origin).parallel(self._most), str(origin), self._sequential, self._least)

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        """Deliver *extent* to *sink* in order, or raise SourceError.

        What the sink raises passes. Answers shorter than asked are taken and the rest is asked for.
        """
        del priority  # a mirror has one speed
        offset, parts = extent.start, 0
        while offset < extent.stop:
            offset += await self._part(Extent(offset, extent.stop), sink)
            parts += 1
            if offset < extent.stop and offset - extent.start < parts * _CRUMB:
                raise SourceUnavailable(self._name, "sends only crumbs of what is asked")

    async def _part(self, extent: Extent, sink: Sink) -> int:
        if self._sequential and extent.start > LONGEST_SKIP:
            raise SourceUnavailable(self._name, SequentialOnly().reason)
        try:
            return await self._one(extent, sink, last=False)
        except _Again:
            return await self._one(extent, sink, last=True)

    async def _one(self, extent: Extent, sink: Sink, *, last: bool) -> int:
        try:
            answered = await self._answered(extent, last=last)
            try:
                verdict = self._judged(answered, extent)
                if isinstance(verdict, Garbled) and verdict.again and not last:
                    raise _Again
                take = self._accepted(verdict, answered)
                self._remember(answered)
                if take.extent.length >= _STREAM:
                    self._keep_a_spare()
                return await self._poured(take, answered.reply, sink)
            finally:
                await answered.reply.body.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._route = None
            raise source_error(self._name, error) from error

    def _judged(self, answered: _Answered, extent: Extent) -> Verdict:
        validator = self._validators.get(answered.url, Validator())
        asked = Asked(extent, self._size, answered.path, validator, self._proof)
        return judge(answered.reply.status, answered.reply.headers, asked, time.time())

    async def _poured(self, take: Take, reply: Reply, sink: Sink) -> int:
        length = take.extent.length
        came = await reply.body.pour(sink, take.extent.start, skip=take.skip, limit=length)
        if came < length:
            raise SourceUnavailable(self._name, f"the answer ended {length - came} bytes early")
        return came

    async def _answered(self, extent: Extent, *, last: bool) -> _Answered:
        headers: list[tuple[bytes, bytes]] = [(b"Range", b"bytes=%d-%d" % (extent.start, extent.stop - 1))]
        if last:
            headers.append((b"Connection", b"close"))
        route = self._route
        if route is not None and trio.current_time() < route.expires:
            self._check_parked(self._client.facts(route.target.origin))
            reply = await self._client.ask(route.target, [*headers, *self._if_range(route.url)])
            if not (reply.status in _MOVED or (route.redirected and reply.status in _EXPIRED)):
                return _Answered(route.url, route.path, route.target.origin, reply)
            await reply.body.aclose()
        self._route = None
        return await self._by_front_door(headers)

    async def _by_front_door(self, headers: Headers) -> _Answered:
        if self._url is None or self._origin is None:
            raise SourceRefused(self._name, "not an http address")
        self._check_parked(self._client.facts(self._origin))
        arrival = await self._client.follow("GET", self._url, headers)
        self._route = _route(arrival)
        return _Answered(str(arrival.url), arrival.url.path, origin_of(arrival.url), arrival.reply)

    def _if_range(self, url: str) -> Headers:
        tag = self._validators[url].if_range if url in self._validators else None
        return [] if tag is None else [(b"If-Range", tag.encode("latin-1"))]

    def _keep_a_spare(self) -> None:
        """Have a connection ready for a second request: a new one costs a round trip more, at each seek or gap.

        (Sequential reading over 40 ms lost two of them, 46.7 MB/s where the link has 50.)
        """
        route = self._route
        if route is not None and not self._sequential and self.limits.parallel > 1:
            self._client.bulk.warm(route.target.origin)

    def _check_parked(self, facts: Facts) -> None:
        rest = max(facts.parked_until, self._parked_until) - trio.current_time()
        if rest > 0:
            raise SourceUnavailable(self._name, "asked us to wait", rest)

    def _remember(self, answered: _Answered) -> None:
        if answered.url not in self._validators and len(self._validators) < _MOST_VALIDATORS:
            self._validators[answered.url] = validator_of(answered.reply.headers)

    def _accepted(self, verdict: Verdict, answered: _Answered) -> Take:
        """Return what may be taken; note what the verdict tells of the server, raise for the rest."""
        facts = self._client.facts(answered.origin)
        if not isinstance(verdict, Take):
            self._route = None  # a redirector may know a better place by now
        match verdict:
            case Take():
                facts.answered()
                if answered.reply.status == 206 or verdict.sequential:
                    self._sequential = verdict.sequential
                return verdict
            case Wait(reason, retry_after, crowded, everywhere):
                if crowded:
                    now, wait = trio.current_time(), retry_after or 0.0
                    facts.crowded(now, wait if everywhere else 0.0)
                    self._parked_until = now + wait
                raise SourceUnavailable(self._name, reason, retry_after)
            case SequentialOnly(reason):
                self._sequential = True
                raise SourceUnavailable(self._name, reason)
            case Refuse(reason) | Garbled(reason):
                raise SourceRefused(self._name, reason)
            case Mismatch(reason):
                raise SourceMismatch(self._name, reason)


class _Again(Exception):
    """The answer made no sense, but one more try may tell."""


def _route(arrival: Arrival) -> _Route | None:
    if arrival.target is None or arrival.reply.status not in {200, 206}:
        return None
    keep = float("inf") if arrival.lasting else _TEMPORARY
    return _Route(
        url=str(arrival.url),
        path=arrival.url.path,
        target=arrival.target,
        redirected=arrival.redirected,
        expires=trio.current_time() + keep,
    )


@functools.lru_cache(256)
def parsed(text: str) -> httpx.URL | None:
    """Return *text* as the address of an HTTP server, or None when it is none."""
    try:
        url = httpx.URL(text)
        origin_of(url)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
        return None
    return url


def shown(url: httpx.URL | None) -> str:
    """Return *url* as it may be shown: no user name or password, and of a query only what tells two apart."""
    if url is None:
        return "not an http address"
    path, _, query = url.raw_path.partition(b"?")
    mark = f"?..{hashlib.sha256(query).hexdigest()[:8]}" if query else ""
    # The path stays percent-encoded: decoded, it could hold line breaks and terminal codes.
    return f"{url.scheme}://{url.netloc.decode('ascii')}{path.decode('ascii')}{mark}"
