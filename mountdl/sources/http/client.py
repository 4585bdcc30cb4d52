"""The client that all HTTP mirrors share: httpx over the bulk transport, and what is known of each server.

Law: httpx decides where a request goes on to (redirects, credentials, cookies, proxies); the bytes of direct
answers pass it by. A redirect is followed at most ten times, never from https to http, and its body is not
read. Knows no content and no extent.
"""

import functools
import logging
import math
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import cachetools
import httpx
import trio

from mountdl.errors import SourceError, SourceRefused, SourceUnavailable, UsageError
from mountdl.settings import HttpSettings
from mountdl.sources.base import Sink
from mountdl.sources.http.body import Body
from mountdl.sources.http.bulk import BODY, BulkTransport, origin_of
from mountdl.sources.http.connection import Origin, Untrusted
from mountdl.sources.http.heads import Headers
from mountdl.sources.http.patience import Pace, Patience
from mountdl.sources.http.pool import Pool

# httpx writes whole URLs into its log at INFO, with the tokens that may be in their queries.
logging.getLogger("httpx").setLevel(logging.WARNING)

_MOST_REDIRECTS = 10
_MOST_COOKIES = 500
_MOST_ORIGINS = 4096
_RECOVERY = 32
"""Good answers after which a server that was crowded is trusted with twice the connections again."""

_BURST = 1.0
"""Seconds within which refusals count once."""

_LASTING = {301, 308}


@dataclass(frozen=True, slots=True)
class Target:
    """A request but for its range: enough to ask again without httpx."""

    origin: Origin
    path: bytes
    headers: Headers

    @classmethod
    def of(cls, request: httpx.Request) -> "Target":
        """Return what *request* asks, with the credentials and cookies that httpx chose for it."""
        mine = {b"range", b"if-range", b"connection"}
        headers = [(name, value) for name, value in request.headers.raw if name.lower() not in mine]
        return cls(origin_of(request.url), request.url.raw_path, headers)


@dataclass(frozen=True, slots=True)
class Reply:
    """What answered: *headers* with lower-case names. Whoever gets it closes the body."""

    status: int
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where following redirects led: *target* is None behind a proxy, *lasting* if no redirect was temporary.

    *first* are the headers of the first answer: RFC 6249 lets a redirect name mirrors and digests.
    """

    reply: Reply
    url: httpx.URL
    target: Target | None
    redirected: bool
    lasting: bool
    first: Mapping[str, str]


class Facts:
    """What is known of one server, for all contents on it."""

    __slots__ = ("_burst_ends", "_good", "_halvings", "parked_until")

    def __init__(self) -> None:
        self.parked_until = -math.inf
        self._burst_ends = -math.inf
        self._halvings = 0
        self._good = 0

    def parallel(self, most: int) -> int:
        """How many flights it bears, of *most* that are allowed."""
        return max(1, most >> self._halvings)

    def crowded(self, now: float, wait: float) -> None:
        """Note that it has too many requests and wants none for *wait* seconds from *now*."""
        self.parked_until = max(self.parked_until, now + wait)
        self._good = 0
        # Flights that were refused together are one sign, not many.
        if now >= self._burst_ends:
            self._burst_ends = now + max(wait, _BURST)
            self._halvings = min(self._halvings + 1, 6)

    def answered(self) -> None:
        """Note a good answer."""
        self._good += 1
        if self._good >= _RECOVERY and self._halvings:
            self._halvings -= 1
            self._good = 0


class Client:
    """Asks servers. `run` must be running for `warm` to work and for idle connections to close in time."""

    def __init__(self, settings: HttpSettings, patience: Patience | None = None) -> None:
        self.settings = settings
        self.patience = patience if patience is not None else Patience.of(settings)
        context = functools.cache(functools.partial(tls_context, settings))
        if settings.ca_certificate is not None:
            context()  # an unreadable file is the user's to know now
        pool = Pool(per_origin=settings.max_connection_per_server)
        self.bulk = BulkTransport(self.patience, context, pool)
        self._ways = _Ways(self.bulk, self.patience, context)
        self._httpx = httpx.AsyncClient(
            transport=self._ways,
            trust_env=False,  # proxies are chosen by _Ways, netrc by whoever makes the URLs
            headers=[("User-Agent", settings.user_agent), ("Accept", "*/*"), *settings.headers],
        )
        self._httpx.headers["Accept-Encoding"] = "identity"
        self._facts: cachetools.LRUCache[Origin, Facts] = cachetools.LRUCache(_MOST_ORIGINS)

    def facts(self, origin: Origin) -> Facts:
        """Return what is known of *origin*."""
        found = self._facts.get(origin)
        if found is None:
            found = self._facts[origin] = Facts()
        return found

    def origin_if_direct(self, url: httpx.URL) -> Origin | None:
        """Return where *url* leads, None when a proxy stands between."""
        origin = origin_of(url)
        return origin if _proxy_of(origin) is None else None

    async def ask(self, target: Target, headers: Headers) -> Reply:
        """GET *target* with *headers* besides its own, and follow nothing. Raises httpx.TransportError."""
        answer = await self.bulk.exchange(target.origin, b"GET", target.path, [*target.headers, *headers])
        return Reply(answer.head.status, flat(answer.head.headers), answer.body)

    async def follow(self, method: str, url: httpx.URL, headers: Headers) -> Arrival:
        """Ask *url* and go where it sends us. Raises httpx.HTTPError."""
        request = self._httpx.build_request(method, url, headers=list(headers))
        lasting = True
        first: Mapping[str, str] | None = None
        for hop in range(_MOST_REDIRECTS + 1):
            response = await self._send(request)
            following = response.next_request
            first = first if first is not None else flat(response.headers.raw)
            if following is None:
                return self._arrived(response, first, redirected=hop > 0, lasting=lasting)
            await response.aclose()
            if request.url.scheme == "https" and following.url.scheme != "https":
                raise httpx.UnsupportedProtocol("redirects from https to http")
            lasting = lasting and response.status_code in _LASTING
            request = following
        raise httpx.TooManyRedirects(f"redirects more than {_MOST_REDIRECTS} times")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._httpx.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        if len(self._httpx.cookies.jar) > _MOST_COOKIES:
            self._httpx.cookies.clear()
        try:
            return await self._httpx.send(request, stream=True, follow_redirects=False)
        except (ValueError, httpx.InvalidURL, httpx.CookieConflict) as error:
            raise httpx.RemoteProtocolError("what it sent can't be understood") from error

    def _arrived(
        self, response: httpx.Response, first: Mapping[str, str], *, redirected: bool, lasting: bool
    ) -> Arrival:
        request = response.request
        body: Body | None = response.extensions.get(BODY)
        target = Target.of(request) if body is not None else None
        if body is None:
            body = _StreamedBody(response, self.patience)
        reply = Reply(response.status_code, flat(response.headers.raw), body)
        return Arrival(reply, request.url, target, redirected, lasting, first)


class _Ways(httpx.AsyncBaseTransport):
    """Sends a request directly, or by httpx's own transport where the environment names a proxy."""

    def __init__(self, bulk: BulkTransport, patience: Patience, context: Callable[[], ssl.SSLContext]) -> None:
        self._bulk = bulk
        self._patience = patience
        self._context = context
        self._proxied: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = _proxy_of(origin_of(request.url))
        if proxy is None:
            return await self._bulk.handle_async_request(request)
        patience = self._patience
        request.extensions["timeout"] = httpx.Timeout(patience.silence, connect=patience.connect).as_dict()
        # httpcore's own time-outs start again at each byte of a head; this one does not.
        with trio.move_on_after(2 * patience.connect + patience.head):
            return await self._transport(proxy).handle_async_request(request)
        raise httpx.ReadTimeout("no answer by way of the proxy")

    def _transport(self, proxy: str) -> httpx.AsyncHTTPTransport:
        if proxy not in self._proxied:
            try:
                self._proxied[proxy] = httpx.AsyncHTTPTransport(verify=self._context(), proxy=proxy, trust_env=False)
            except (ImportError, ValueError, httpx.InvalidURL) as error:
                raise httpx.UnsupportedProtocol("the proxy that the environment names can't be used") from error
        return self._proxied[proxy]

    async def aclose(self) -> None:
        await self._bulk.aclose()
        for transport in self._proxied.values():
            await transport.aclose()


class _StreamedBody:
    """The body of an answer that came by httpx's own transport."""

    def __init__(self, response: httpx.Response, patience: Patience) -> None:
        self._response = response
        self._patience = patience

    async def pour(self, sink: Sink, offset: int, *, skip: int, limit: int) -> int:
        """See `body.Body`."""
        chunks = self._response.aiter_raw()
        try:
            return await self._poured(chunks, sink, offset, skip, limit)
        finally:
            # httpx's generators are nested; only an exception from the innermost one closes them all in order.
            with trio.CancelScope() as scope, suppress(httpx.HTTPError):
                scope.cancel()
                async for _ in chunks:
                    pass

    async def _poured(self, chunks: AsyncIterator[bytes], sink: Sink, offset: int, skip: int, limit: int) -> int:
        written = 0
        pace = Pace(self._patience, trio.current_time())
        async for data in chunks:
            pace.came(len(data))
            if pace.too_slow(trio.current_time()):
                raise httpx.ReadTimeout(f"slower than {self._patience.rate:g} bytes a second")
            part = data[skip : skip + limit - written]
            skip = max(0, skip - len(data))
            if part:
                sink.write(offset + written, part)
                written += len(part)
            if written == limit:
                break
        return written

    async def aclose(self) -> None:
        """See `body.Body`."""
        with trio.move_on_after(1, shield=True):
            await self._response.aclose()


def _proxy_of(origin: Origin) -> str | None:
    proxies = urllib.request.getproxies()
    proxy = proxies.get(origin.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(str(origin)):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def tls_context(settings: HttpSettings) -> ssl.SSLContext:
    """Return the TLS context that *settings* ask for. Raises UsageError for a bad file of certificates."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if settings.ca_certificate is not None:
        try:
            context.load_verify_locations(settings.ca_certificate)
        except OSError as error:
            raise UsageError(f"{settings.ca_certificate}: no certificates can be read from it") from error
    if not settings.check_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def flat(headers: Headers) -> dict[str, str]:
    """Return headers as text, names in lower case, values of one name joined (RFC 9110 section 5.3)."""
    result: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        result[name] = f"{result[name]}, {value}" if name in result else value
    return result


def source_error(source: str, error: httpx.HTTPError | httpx.InvalidURL) -> SourceError:
    """Return what *error* means for the engine. Its reason is short, printable and holds no URL."""
    # Texts of our own transport are that already; httpx's own may quote what a server sent.
    reason = "".join(c if c.isprintable() else "?" for c in str(error)[:100]) or "the connection failed"
    refused = (Untrusted, httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL, httpx.LocalProtocolError)
    return SourceRefused(source, reason) if isinstance(error, refused) else SourceUnavailable(source, reason)
