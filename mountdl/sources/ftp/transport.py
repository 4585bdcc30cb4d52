"""FTP as a `Transport`: what the application builds and the engine asks for sources."""

import functools
import ssl

import trio

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceRefused, SourceUnavailable
from mountdl.settings import CredentialSettings, HttpSettings, ProxySettings
from mountdl.sources.base import Probe
from mountdl.sources.credentials import Credentials
from mountdl.sources.ftp.address import AddressRefused, Place, place_of, shown
from mountdl.sources.ftp.channel import Broken, Untrusted
from mountdl.sources.ftp.mirror import Mirror
from mountdl.sources.ftp.pool import Pool
from mountdl.sources.ftp.session import Crowded, Means, Refused
from mountdl.sources.ftp.wire import WireError
from mountdl.sources.http.client import tls_context
from mountdl.sources.http.patience import Patience
from mountdl.sources.proxies import proxy_for

_TIDY = 5.0
_FAILURES = (Broken, WireError, Refused, Crowded, Untrusted)


class FtpTransport:
    """The sources behind ftp and ftps URLs, over one set of sessions; implements `Transport`.

    *patience* overrides the times that follow from *settings*, which are those of HTTP.
    """

    def __init__(
        self,
        settings: HttpSettings,
        patience: Patience | None = None,
        proxies: ProxySettings | None = None,
        credentials: CredentialSettings | None = None,
    ) -> None:
        self._most = settings.max_connection_per_server
        context = functools.cache(functools.partial(_context, settings))
        proxy = functools.partial(proxy_for, proxies or ProxySettings())
        login = Credentials(credentials or CredentialSettings()).login
        self._pool = Pool(Means(context, patience or Patience.of(settings), proxy, login))
        self._nursery: trio.Nursery | None = None

    @property
    def schemes(self) -> frozenset[str]:
        """Those of FTP, plain and over TLS."""
        return frozenset({"ftp", "ftps"})

    @property
    def logins(self) -> int:
        """How many sessions were begun so far, for tests."""
        return self._pool.logins

    def source(self, ref: MirrorRef, content: Content) -> Mirror:
        """Return the mirror that *ref* is for *content*. A URL that can't be used refuses when it is fetched from."""
        return Mirror(self._pool, ref, content, self._most)

    async def probe(self, ref: MirrorRef) -> Probe:
        """Ask what *ref* has. Raises SourceError."""
        name = shown(ref.url)
        try:
            place = place_of(ref.url, self._pool.means.login)
            return Probe(await self._size(place, name), ranges=True)
        except (AddressRefused, Refused, Untrusted) as error:
            raise SourceRefused(name, str(error)) from error
        except (Broken, WireError, Crowded) as error:
            raise SourceUnavailable(name, str(error)) from error

    async def _size(self, place: Place, name: str) -> int:
        used = True
        while used:
            session, used = await self._pool.lease(place, 0, self._most)
            try:
                size, _, said = await session.describe(place.path)
            except BaseException as error:
                self._pool.drop(place.login, session)
                if used and isinstance(error, Broken):
                    continue
                raise
            self._pool.give_back(place.login, session)
            break
        if size is None:
            raise SourceRefused(name, f"does not tell the size of the file: {said}")
        return size

    def warm(self, ref: MirrorRef) -> None:
        """Log in ahead, unless somebody is. Returns at once and never fails."""
        try:
            place = place_of(ref.url, self._pool.means.login)
        except AddressRefused:
            return
        if self._nursery is not None and self._pool.facts(place.login).open == 0:
            self._nursery.start_soon(self._warm, place)

    async def _warm(self, place: Place) -> None:
        try:
            self._pool.give_back(place.login, await self._pool.fresh(place.login))
        except _FAILURES:
            return  # a fetch will meet it, and say so

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the sessions tidy until cancelled; close every one that is idle then."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                while True:
                    await trio.sleep(_TIDY)
                    self._pool.tidy(trio.current_time())
        finally:
            self._nursery = None
            self._pool.close()


def _context(settings: HttpSettings) -> ssl.SSLContext:
    context = tls_context(settings)
    context.set_alpn_protocols(["ftp"])  # some servers refuse clients that offer another protocol only
    return context
