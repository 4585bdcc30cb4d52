"""HTTP as a `Transport`: what the application builds and the engine asks for sources."""

from collections.abc import Callable

import trio

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef
from mountdl.settings import CredentialSettings, HttpSettings, ProxySettings
from mountdl.sources.base import Gauged, Loaded, Probe, Sink, Version
from mountdl.sources.http.bulk import origin_of
from mountdl.sources.http.client import Client
from mountdl.sources.http.connection import Origin
from mountdl.sources.http.mirror import Mirror, parsed
from mountdl.sources.http.patience import Patience
from mountdl.sources.http.practice import practise

MOMENT = 0.1
"""Seconds after which nothing seems to be connected to ahead."""


class HttpTransport:
    """The sources behind http and https URLs, over one shared pool; implements `Transport`.

    *patience* overrides the times that follow from *settings*. Raises UsageError for unusable settings.
    """

    def __init__(
        self,
        settings: HttpSettings,
        patience: Patience | None = None,
        proxies: ProxySettings | None = None,
        credentials: CredentialSettings | None = None,
    ) -> None:
        self._client = Client(settings, patience, proxies, credentials)
        self._warmed = trio.Event()

    @property
    def schemes(self) -> frozenset[str]:
        """Those of HTTP, plain and over TLS."""
        return frozenset({"http", "https"})

    @property
    def connects(self) -> int:
        """How many connections were begun so far, for tests."""
        return self._client.bulk.connects

    def source(self, ref: MirrorRef, content: Content) -> Mirror:
        """Return the mirror that *ref* is for *content*. A URL that can't be used refuses when it is fetched from."""
        return Mirror(self._client, ref, content)

    async def probe(self, ref: MirrorRef) -> Probe:
        """Ask what *ref* has. Raises SourceError."""
        from mountdl.sources.http.probing import probe  # with what reads link fields: most descriptors say enough

        return await probe(self._client, ref)

    async def load(
        self, url: str, most: int, *, wanted: Callable[[bytes], bool] | None = None, known: Version | None = None
    ) -> Loaded | None:
        """See `Loader`."""
        from mountdl.sources.http.loading import load

        return await load(self._client, url, most, wanted, known)

    async def gauge(self, ref: MirrorRef, sink: Sink, known: Version | None) -> Gauged | None:
        """See `Gauge`."""
        from mountdl.sources.http.gauging import gauge  # few files need it

        return await gauge(self._client, ref, sink, known)

    def warm(self, ref: MirrorRef) -> None:
        """Open a connection ahead, within the bounds of the pool. Returns at once and never fails."""
        origin = self._warmable(ref)
        if origin is not None:
            self._client.bulk.warm(origin)
            self._warmed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the pool tidy until cancelled; close every connection then."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._practise)
                await self._client.bulk.run(task_status=task_status)
        finally:
            with trio.move_on_after(1, shield=True):
                await self._client.aclose()

    async def _practise(self) -> None:
        """Practise while the first mirror is connected to: not before, for it would come 10 ms later."""
        with trio.move_on_after(MOMENT):
            await self._warmed.wait()
        await practise(self._client, self._client.bulk.keep)

    def _warmable(self, ref: MirrorRef) -> Origin | None:
        url = parsed(ref.url)
        return origin_of(url) if url is not None else None
