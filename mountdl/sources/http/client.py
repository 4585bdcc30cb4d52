"""The client that all HTTP mirrors share: httpx over the bulk transport, and what is known of each server.

Law: httpx decides where a request goes on to (redirects, cookies); the bytes of answers pass it by. A redirect
is followed at most ten times, never from https to http, and its body is not read; to another origin goes
nothing that the user gave for the first one. Knows no content and no extent.
"""

import functools
import logging
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cachetools
import httpx

from mountdl.errors import SourceError, SourceRefused, SourceUnavailable, UsageError
from mountdl.settings import CredentialSettings, HttpSettings, ProxySettings
from mountdl.sources.credentials import Credentials, Login
from mountdl.sources.http import cookies
from mountdl.sources.http.authorisation import Authorisation
from mountdl.sources.http.body import Body
from mountdl.sources.http.bulk import ANSWERED, BODY, BulkTransport, origin_of
from mountdl.sources.http.connection import Origin, Untrusted
from mountdl.sources.http.heads import Headers
from mountdl.sources.http.patience import Patience
from mountdl.sources.http.pool import Pool
from mountdl.sources.proxies import Proxy, proxy_for

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
_NO_AUTH = httpx.Auth()


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
    """Where following redirects led: *lasting* if no redirect was temporary.

    *target* is None where each request is signed anew. *first* are the headers of the first answer: RFC 6249 lets
    a redirect name mirrors and digests.
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

    def __init__(
        self,
        settings: HttpSettings,
        patience: Patience | None = None,
        proxies: ProxySettings | None = None,
        credentials: CredentialSettings | None = None,
    ) -> None:
        self.settings = settings
        self.patience = patience if patience is not None else Patience.of(settings)
        context = functools.cache(functools.partial(tls_context, settings))
        if settings.ca_certificate or settings.certificate or settings.private_key:
            context()  # an unreadable file is the user's to know now
        pool = Pool(per_origin=settings.max_connection_per_server)
        self.bulk = BulkTransport(self.patience, context, pool, _chooser(proxies or ProxySettings()))
        logins = Credentials(credentials or CredentialSettings())
        self._authorisation = Authorisation(lambda url, redirected: logins.login(url, redirected=redirected))
        # What the user gave is for the servers he named; how we call ourselves is no secret.
        own = [*settings.headers, *([("Referer", settings.referer)] if settings.referer else [])]
        self._private = frozenset(name.lower() for name, _ in own) - {"user-agent", "accept"}
        self._httpx = httpx.AsyncClient(
            transport=self.bulk,
            trust_env=False,  # the environment is read by `control` alone
            headers=[("User-Agent", settings.user_agent), ("Accept", "*/*"), *own],
        )
        self._httpx.headers["Accept-Encoding"] = "identity"
        for cookie in cookies.load(settings.load_cookies) if settings.load_cookies is not None else ():
            self._httpx.cookies.jar.set_cookie(cookie)
        self._most_cookies = _MOST_COOKIES + len(self._httpx.cookies.jar)
        self._facts: cachetools.LRUCache[Origin, Facts] = cachetools.LRUCache(_MOST_ORIGINS)

    def facts(self, origin: Origin) -> Facts:
        """Return what is known of *origin*."""
        found = self._facts.get(origin)
        if found is None:
            found = self._facts[origin] = Facts()
        return found

    async def ask(self, target: Target, headers: Headers) -> Reply:
        """GET *target* with *headers* besides its own, and follow nothing. Raises httpx.TransportError."""
        answer = await self.bulk.exchange(target.origin, b"GET", target.path, [*target.headers, *headers])
        return Reply(answer.head.status, flat(answer.head.headers), answer.body)

    async def follow(self, method: str, url: httpx.URL, headers: Headers) -> Arrival:
        """Ask *url* and go where it sends us. Raises httpx.HTTPError."""
        request = self._httpx.build_request(method, url, headers=list(headers))
        begun = origin_of(request.url)
        own = "authorization" in request.headers
        lasting = True
        first: Mapping[str, str] | None = None
        for hop in range(_MOST_REDIRECTS + 1):
            abroad = not _same(begun, origin_of(request.url))
            response = await self._send(request) if own else await self._authorised(request, redirected=abroad)
            following = response.next_request
            first = first if first is not None else flat(response.headers.raw)
            if following is None:
                return self._arrived(response, first, redirected=hop > 0, lasting=lasting)
            await response.aclose()
            if request.url.scheme == "https" and following.url.scheme != "https":
                raise httpx.UnsupportedProtocol("redirects from https to http")
            at_home = _same(begun, _redirected(following.url))
            own = own and at_home
            if not own:
                following.headers.pop("Authorization", None)
            if not at_home:
                for name in self._private:
                    following.headers.pop(name, None)
            lasting = lasting and response.status_code in _LASTING
            request = following
        raise httpx.TooManyRedirects(f"redirects more than {_MOST_REDIRECTS} times")

    async def _authorised(self, request: httpx.Request, *, redirected: bool) -> httpx.Response:
        """Send *request*; say who we are where that is asked for and known."""
        origin = origin_of(request.url)
        login: Login | None = self._authorisation.prepare(request, origin, redirected=redirected)
        for _ in range(2):
            response = await self._send(request)
            if response.status_code != 401 or login is None:
                return response
            if not self._authorisation.answer(response, origin, login):
                return response
            await response.aclose()
        return await self._send(request)

    async def aclose(self) -> None:
        """Close every connection; write the cookies where that was asked for."""
        await self._httpx.aclose()
        if self.settings.save_cookies is not None:
            cookies.save(self.settings.save_cookies, self._httpx.cookies.jar)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        if len(self._httpx.cookies.jar) > self._most_cookies:
            self._httpx.cookies.clear()
        try:
            response = await self.bulk.handle_async_request(request)
            response.request = request
            if not (response.has_redirect_location or "set-cookie" in response.headers):
                return response  # httpx has nothing to do: 0.5 ms of the first read of a mount
            request.extensions = {**request.extensions, ANSWERED: response}
            return await self._httpx.send(request, stream=True, follow_redirects=False, auth=_NO_AUTH)
        except (ValueError, httpx.InvalidURL, httpx.CookieConflict) as error:
            raise httpx.RemoteProtocolError("what it sent can't be understood") from error

    def _arrived(
        self, response: httpx.Response, first: Mapping[str, str], *, redirected: bool, lasting: bool
    ) -> Arrival:
        request = response.request
        body: Body = response.extensions[BODY]
        del response.stream  # it names the response, and both would wait for the collector
        # Each digest is good for one request.
        single = request.headers.get("Authorization", "").startswith("Digest ")
        target = None if single else Target.of(request)
        reply = Reply(response.status_code, flat(response.headers.raw), body)
        return Arrival(reply, request.url, target, redirected, lasting, first)


def _chooser(settings: ProxySettings) -> Callable[[Origin], Proxy | None]:
    @functools.lru_cache(_MOST_ORIGINS)
    def choose(origin: Origin) -> Proxy | None:
        return proxy_for(settings, *origin)

    return choose


def _redirected(url: httpx.URL) -> Origin:
    try:
        return origin_of(url)
    except httpx.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol("redirects to what is no http address") from error


def _same(begun: Origin, other: Origin) -> bool:
    """Say whether *other* may hear what was meant for *begun*: the same origin, or the same host by TLS."""
    return other == begun or (begun[0::2] == ("http", 80) and other == ("https", begun.host, 443))


def tls_context(settings: HttpSettings) -> ssl.SSLContext:
    """Return the TLS context that *settings* ask for. Raises UsageError for a bad file of certificates."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if settings.ca_certificate is not None:
        try:
            context.load_verify_locations(settings.ca_certificate)
        except OSError as error:
            raise UsageError(f"{settings.ca_certificate}: no certificates can be read from it") from error
    if settings.certificate is not None or settings.private_key is not None:
        _identify(context, settings)
    if not settings.check_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _identify(context: ssl.SSLContext, settings: HttpSettings) -> None:
    if settings.certificate is None:
        raise UsageError("--private-key: it needs --certificate, whose key it is")
    try:
        # A passphrase would be asked for on the terminal, which a daemon has not.
        context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: b"")
    except OSError as error:
        key = settings.private_key or settings.certificate
        raise UsageError(
            f"{settings.certificate}: it can't be used with the key in {key}: both must be PEM files, they must belong "
            "together, and the key may have no passphrase (openssl pkey -in KEY -out PLAIN removes one)"
        ) from error


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
    refused = (
        Untrusted,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
        httpx.TooManyRedirects,
        httpx.InvalidURL,
        httpx.LocalProtocolError,
    )
    return SourceRefused(source, reason) if isinstance(error, refused) else SourceUnavailable(source, reason)
