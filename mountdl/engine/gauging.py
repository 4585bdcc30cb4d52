"""Find out how long a file is that no server tells the length of: by fetching it whole, once.

What is made on demand has none: an archive of a repository, a page's export. What came is put into the store, so that
it is not fetched a second time.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

import cachetools
import trio

from mountdl.content import Content, content_of
from mountdl.descriptors import learned
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Entry, MirrorRef
from mountdl.engine.addresses import Transports
from mountdl.engine.traffic import Traffic
from mountdl.errors import ContentUnavailable, SourceError, StoreError
from mountdl.extents import Extent
from mountdl.integrity import WholeCheck, strongest
from mountdl.sources.base import Gauge, Version
from mountdl.store.spool import Spool
from mountdl.store.store import Store

log = logging.getLogger(__name__)

MIRRORS = 4
"""Of one file that are tried."""
AT_ONCE = 8
"""Files that are fetched like this; more than a few, for some never end: what a radio sends has no length either."""
SPARED = 64 << 20
"""Bytes of disk that are left for what somebody reads meanwhile."""
_STEP = 1 << 20
_HASHED = 8 << 20
"""Bytes that a thread hashes in one hop: short enough to stop soon when the mount goes away."""

in_thread = trio.to_thread.run_sync
_MOST_SERVERS = 4096


class _Inflow:
    """The sink before *spool*: it takes only so fast as *traffic* lets what no reader waits for."""

    def __init__(self, spool: Spool, traffic: Traffic) -> None:
        self._spool, self._traffic = spool, traffic
        self.room, self.landed = spool.room, spool.landed

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """See `Spool.write`."""
        self._spool.write(offset, data)
        self._traffic.received(self, len(data), trio.current_time())

    def pause(self) -> float:
        """See `Paced`."""
        return self._traffic.pause(self, trio.current_time(), lambda: False, awaited=False)

    def close(self) -> None:
        """Let the others have its share."""
        self._traffic.forget(self)


class Gauger:
    """Fetches by *transports* into *store*, as fast as *traffic* lets it."""

    def __init__(self, transports: Transports, store: Store, traffic: Traffic, each: int) -> None:
        """*each*: files that are fetched of one server at a time, at most."""
        self._transports, self._store, self._traffic, self._each = transports, store, traffic, each
        self._servers: cachetools.LRUCache[str, trio.CapacityLimiter] = cachetools.LRUCache(_MOST_SERVERS)
        self._slots = trio.CapacityLimiter(AT_ONCE)

    async def gauge(self, entry: Entry, known: Learned | None, told: Callable[[int], None]) -> Learned | None:
        """Return how long *entry* is; None where its servers have the version still that is *known*.

        *told* is called with how many bytes are here, again and again. Raises ContentUnavailable, StoreError.
        """
        version = None if known is None else known.version
        if version is not None and not any(version):
            return None  # nothing would tell whether it is another
        before = None if version is None else Version(*version)
        reasons: list[str] = []
        wrong: Learned | None = None
        for ref in entry.mirrors[:MIRRORS]:
            transport = self._transports.of(ref.url)
            if not isinstance(transport, Gauge):
                continue
            try:
                async with self._server(ref.url), self._slots:
                    with closing(Spool(self._store.directory, self._room, told)) as spool:
                        found = await self._spooled(transport, ref, spool, before)
                        if found is None:
                            return None
                        if await _sound(entry, found.size, spool):
                            await self._put_away(content_of(learned.completed(entry, found), found.size), spool)
                            return found
            except SourceError as error:
                reasons.append(str(error))
            else:
                wrong = wrong or found  # as good as any, where no other mirror has the right one
        if wrong is not None:
            return wrong
        raise ContentUnavailable("; ".join(reasons) or "it names no mirror that could be asked for all of it")

    async def _spooled(self, transport: Gauge, ref: MirrorRef, spool: Spool, before: Version | None) -> Learned | None:
        """Fetch all that *ref* has into *spool*; None where it has the version *before* still. Raises SourceError."""
        with closing(_Inflow(spool, self._traffic)) as inflow:
            came = await transport.gauge(ref, inflow, before)
        if came is None:
            return None
        return Learned(came.size, version=(came.version.etag, came.version.modified), name=came.name)

    def _server(self, url: str) -> trio.CapacityLimiter:
        server = urlsplit(url).netloc.rpartition("@")[2].lower()
        return self._servers.setdefault(server, trio.CapacityLimiter(self._each))

    def _room(self, count: int) -> int:
        """Return how many bytes may come beside *count*, of which the store will take a copy: half of what is free."""
        limit = self._store.limit
        left = self._store.space().available - SPARED - count
        return left if limit is None else min(left, limit - count)

    async def _put_away(self, content: Content, spool: Spool) -> None:
        """Put what came into the store, unless somebody reads an earlier version of it now."""
        try:
            stored = self._store.open(content.key, content.size, content.chunk_map.fingerprint)
            try:
                if stored.opens > 1:
                    return
                stored.discard(Extent(0, content.size))
                for start in range(0, content.size, _STEP):
                    stored.write(start, spool.read(Extent(start, start + _STEP).clip(content.size)))
                    await trio.lowlevel.checkpoint()
            finally:
                stored.close()
        except StoreError as error:
            log.info("%s is fetched again when it is read: %s", content.key, error)


async def _sound(entry: Entry, size: int, spool: Spool) -> bool:
    """Say whether the *size* bytes of *spool* are *entry*'s, as far as a digest of the whole tells."""
    digest = strongest(entry.digests)
    if digest is None:
        return True
    check = WholeCheck(digest, size)
    for start in range(0, size, _HASHED):
        await in_thread(_hash, check, spool, Extent(start, start + _HASHED).clip(size))
    return check.verified


def _hash(check: WholeCheck, spool: Spool, extent: Extent) -> None:
    check.update(spool.read(extent))
