"""All downloads of a mount: begun when somebody wants bytes, told what the catalog shows, closed when nobody does."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cachetools
import trio

from mountdl.content import Content, ContentKey, Level, Outline
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Descriptor, Entry, Neighbour
from mountdl.engine import lineup
from mountdl.engine.addresses import Transports
from mountdl.engine.backlog import Backlog, roomy
from mountdl.engine.download import Download
from mountdl.engine.excerpts import Remote
from mountdl.engine.gauging import Gauger
from mountdl.engine.incidents import KEPT, Incident
from mountdl.engine.lineup import Lineup
from mountdl.engine.rates import Rates
from mountdl.engine.reader import Reader
from mountdl.engine.resolving import Prefer, Resolver, anything
from mountdl.engine.roster import ALONE
from mountdl.engine.scoreboard import SECOND_CHANCE
from mountdl.engine.status import DownloadStatus, SourceStatus, status_of
from mountdl.engine.traffic import Traffic
from mountdl.errors import ContentUnavailable, MountdlError, SourceRefused, StoreError
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import strongest
from mountdl.openfiles import share
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from mountdl.sources.base import Swarms, Transport, Version
from mountdl.store.store import Store
from mountdl.store.stored import Stored

log = logging.getLogger(__name__)

LINGER = 60.0
"""Seconds that a download outlives its last use: players close and open again."""
MOST_OPEN = 1000
"""Downloads above which those that nobody uses go sooner: each has two or three files open, beside connections."""
RECALLED = 4
"""Contents that were looked up last, of which all is at hand: 0.2 ms less where they are opened then."""
_REFUSED = "no digest can verify this file, and --require-verified refuses such files"


class Engine:
    """All downloads of one mount.

    *discarded* is called when bytes that readers saw were thrown away; *prefer* orders what
    documents and servers name, in worker threads too.
    """

    def __init__(
        self,
        store: Store,
        transports: Sequence[Transport],
        settings: EngineSettings,
        discarded: Callable[[Content], None],
        prefer: Prefer = anything,
    ) -> None:
        self._store, self._settings, self._discarded = store, settings, discarded
        self._transports = Transports(transports)
        self._resolver = Resolver(self._transports, prefer)
        self._lineup = Lineup(self._transports, settings)
        self._downloads: dict[ContentKey, Download] = {}
        self._known: cachetools.LRUCache[ContentKey, tuple[Outline, Content]] = cachetools.LRUCache(RECALLED)
        self._incidents: dict[ContentKey, tuple[Incident, ...]] = {}
        self._unopened: dict[ContentKey, str] = {}
        self._traffic = Traffic(self._lane_freed, Rates(settings.download_rate, settings.overall_download_rate))
        self._gauger = Gauger(self._transports, store, self._traffic, settings.max_connection_per_server)
        self._put_off: dict[ContentKey, float] = {}
        self._shown: Mapping[ContentKey, Outline] = {}
        self._paused: set[ContentKey] = set()
        self._backlog = Backlog()
        self._nursery: trio.Nursery | None = None
        self._most_open = share(8, MOST_OPEN)

    def equip(self, transports: Sequence[Transport], swarms: Swarms) -> None:
        """Fetch by *transports* and *swarms* too, before anything is asked of it that needs them."""
        self._transports.add(transports)
        self._resolver.swarms = self._lineup.swarms = swarms

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Run downloads until cancelled; close what nobody uses any more."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                nursery.start_soon(self._complete_all)
                while True:
                    self._sweep(trio.current_time())
                    await trio.sleep(1.0)
        finally:
            # They stay: sources that were joined tell of what comes until they end themselves, after us.
            for download in self._downloads.values():
                download.stored.close()

    # -- readers --------------------------------------------------------------------------------------------

    def open(self, shown: Outline) -> Reader:
        """Return a reader of the content *shown*.

        Raises StoreError when the store can't hold it, ContentUnavailable when it may not be served.
        """
        running = None if self._refused(shown) else self._downloads.get(shown.key)
        return Reader(running or self.download(self._recalled(shown)))

    def _recalled(self, shown: Outline) -> Content:
        """Return all that is known of *shown*, which was perhaps asked a moment ago. Raises StoreError."""
        known = self._known.get(shown.key)
        if known is None or known[0] is not shown:
            known = self._known[shown.key] = shown, shown.full
        return known[1]

    def _full(self, shown: Outline) -> Content | None:
        """Return all that is known of *shown*; None while the disk that keeps it fails: who opens it is told."""
        try:
            return self._recalled(shown)
        except StoreError as error:
            log.warning("%s: %s", shown.key, error)
            return None

    def _refused(self, content: Outline) -> bool:
        return self._settings.require_verified and content.level is Level.NONE

    def download(self, content: Content) -> Download:
        """Return the running download of *content*, started if need be.

        Raises StoreError, ContentUnavailable when it may not be served.
        """
        if self._refused(content):
            raise ContentUnavailable(_REFUSED)
        download = self._downloads.get(content.key)
        if download is None:
            if len(self._downloads) >= self._most_open:
                self._close_idle(len(self._downloads) - self._most_open + 1)
            stored = self._stored(content)
            download = Download(content, stored, self._settings, self._traffic, self._discarded, self._foreign)
            download.paused = content.key in self._paused
            self._downloads[content.key] = download
            states = self._lineup.states(content, [])
            download.adopt(content, states)
            lineup.join(states, stored, download.hearing)
            if self._nursery is not None:
                self._nursery.start_soon(self._run, download)
        return download

    async def _foreign(self, url: str, neighbour: Neighbour) -> bytes:
        """Return bytes of another file that shares a piece with one of ours. Raises SourceError."""
        transport = self._transports.of(url)
        if transport is None:
            raise SourceRefused(url.partition(":")[0], "is no protocol that is spoken here")
        return await Remote(transport, url, neighbour.size).read(neighbour.extent)

    def _stored(self, content: Content) -> Stored:
        """Open the store's part of *content*. Raises StoreError, which its status tells until an open succeeds."""
        try:
            stored = self._store.open(content.key, content.size, content.chunk_map.fingerprint)
        except StoreError as error:
            if self._unopened.get(content.key) != str(error):
                log.warning("%s", error)
            self._unopened[content.key] = str(error)
            raise
        self._unopened.pop(content.key, None)
        return stored

    async def _run(self, download: Download) -> None:
        """Run *download*; a defect in it ends it, not the mount: the next reader starts another."""
        try:
            await download.run()
        except Exception:
            log.exception("%s: a defect of mountdl", download.content.key)
            if self._downloads.get(download.content.key) is download:
                self._close(download.content.key)
            download.abandon(ContentUnavailable("a defect of mountdl, see its log"))

    def ask_again(self, key: ContentKey) -> None:
        """Have sources of *key* asked at once that refused or failed too often: somebody begins to wait for it."""
        if key in self._downloads:
            self._downloads[key].roster.ask_again()
            self._downloads[key].poke()

    def trouble(self, key: ContentKey, *, disk: bool = True) -> MountdlError | None:
        """Return why *key*, of which all is wanted, comes from no source any more, or why not now for its *disk*.

        Its status is that of the sources' failures, where they are of one kind.
        """
        download = self._downloads.get(key)
        if download is None:
            return ContentUnavailable("a defect of mountdl ended it: see its log")
        error = download.trouble(disk=disk)
        if error is not None and not isinstance(error, StoreError):
            reasons = [each.reason for each in download.statistics().sources if each.reason]
            error.exit_status = status_of(reasons, error.exit_status)
        return error

    def release(self, key: ContentKey) -> None:
        """Close the download of *key* at once, which nobody uses any more, if there is one."""
        if key in self._downloads:
            self._close(key)

    def _close(self, key: ContentKey) -> None:
        download = self._downloads[key]
        if told := self.incidents(download.content)[-KEPT:]:
            self._incidents[key] = told
        del self._downloads[key]
        download.stop()
        lineup.leave(download.roster.states)
        download.stored.close()
        self._traffic.forget(key)

    def update(self, contents: Mapping[ContentKey, Outline]) -> None:
        """Take in what the catalog shows now: sources of running downloads may have come or gone."""
        if self._settings.background == "all":
            self._backlog.renew(contents.values())
        for gone in (self._incidents.keys() | self._put_off.keys() | self._unopened.keys()) - contents.keys():
            if gone not in self._downloads:
                for kept in (self._incidents, self._put_off, self._unopened):
                    kept.pop(gone, None)
        for key in [key for key in self._put_off if contents.get(key) != self._shown.get(key)]:
            del self._put_off[key]  # it may have other sources now
        self._shown = contents
        for key, download in self._downloads.items():
            shown = contents.get(key)
            content = None if shown is None else self._full(shown)
            if content is not None and content != download.content:
                self._adopt(download, content)

    def _adopt(self, download: Download, content: Content) -> None:
        old = download.roster.states
        states = self._lineup.states(content, old)
        download.adopt(content, states)
        lineup.leave([state for state in old if state not in states])
        new = [state for state in states if state not in old]
        lineup.join(new, download.stored, download.hearing)

    def prefetch(self, content: Content, extent: Extent) -> None:
        """Fetch *extent* of *content* in idle bandwidth though nobody reads it. Raises as `download` does."""
        self.download(content).want(extent)

    def pause(self, content: Outline, *, on: bool) -> None:
        """Fetch of *content* only what a reader waits for, or go on, until the engine ends."""
        (self._paused.add if on else self._paused.discard)(content.key)
        if content.key in self._downloads:
            self._downloads[content.key].paused = on
            self._downloads[content.key].poke()

    def paused(self, content: Outline) -> bool:
        """Say whether *content* is paused."""
        return content.key in self._paused

    def warm(self, shown: Outline) -> None:
        """Connect to the best mirror of a content ahead of a first read."""
        content = None if shown.key in self._downloads else self._full(shown)
        if content is not None and content.mirrors:
            transport = self._transports.of(content.mirrors[0].url)
            if transport is not None:
                transport.warm(content.mirrors[0])

    # -- sources --------------------------------------------------------------------------------------------

    async def resolve(self, entry: Entry) -> Learned | None:
        """See `Resolver.resolve`."""
        return await self._resolver.resolve(entry)

    async def gauge(self, entry: Entry, known: Learned | None, told: Callable[[int], None]) -> Learned | None:
        """See `Gauger.gauge`. What may not be served is not fetched for its length either."""
        if self._settings.require_verified and strongest(entry.digests) is None and entry.pieces is None:
            raise ContentUnavailable(_REFUSED)
        return await self._gauger.gauge(entry, known, told)

    async def reload(self, url: str, known: Version | None) -> tuple[Descriptor | None, Version]:
        """See `Resolver.reload`."""
        return await self._resolver.reload(url, known)

    # -- what nobody waits for --------------------------------------------------------------------------------

    def _lane_freed(self) -> None:
        for download in self._downloads.values():
            if download.starved:
                download.poke()

    def _sweep(self, now: float) -> None:
        for key, download in list(self._downloads.items()):
            if not download.busy and now - download.idle_since > LINGER:
                self._close(key)
            elif self._settings.background == "all" and download.stuck:
                self._put_off[key] = now + min(max(download.roster.rest(now), ALONE), SECOND_CHANCE)
                self._close(key)

    def _close_idle(self, count: int) -> None:
        """Close up to *count* downloads that nobody uses, those that are idle for longest first."""
        idle = [(download.idle_since, key) for key, download in self._downloads.items() if not download.busy]
        for _, key in sorted(idle)[:count]:
            self._close(key)

    async def _complete_all(self) -> None:
        while self._settings.background == "all":
            self._start_background(trio.current_time())
            await trio.sleep(self._backlog.pause)

    def _start_background(self, now: float) -> None:
        if self._store.allowance() < Priority.BACKGROUND:
            return
        running = [download.content.size for download in self._downloads.values() if not download.complete]
        contents = self._backlog.step(now)
        while roomy(running) and (content := next(contents, None)) is not None:
            key = content.key
            if (
                key in self._downloads
                or key in self._paused
                or self._store.evicted(key)
                or self._refused(content)
                or now < self._put_off.get(key, 0.0)
                or self._stored_whole(content)
            ):
                continue
            try:
                self.download(content.full).want(Extent(0, content.size))
                running.append(content.size)
            except StoreError as error:
                log.info("%s is not completed now: %s", key, error)
                self._put_off[key] = now + SECOND_CHANCE

    def _stored_whole(self, content: Outline) -> bool:
        glance = self._store.glance(content.key, content.size)
        if content.level is Level.NONE:
            return glance.written == content.size and glance.verified >= content.judged
        return glance.verified == content.size

    # -- status -----------------------------------------------------------------------------------------------

    def status(self, content: Outline, *, brief: bool = False) -> DownloadStatus:
        """Return what is known of *content*, whether it is running or only stored; asks no source.

        *brief*: without the sources of one that is not running, which take most of the time.
        """
        download = self._downloads.get(content.key)
        if download is not None:
            return download.statistics()
        glance = self._store.glance(content.key, content.size)
        error = _REFUSED if self._refused(content) else self._unopened.get(content.key)
        state = "error" if error else "complete" if self._stored_whole(content) else "idle"
        full = None if brief else self._full(content)
        sources = () if full is None else tuple(map(SourceStatus.unused, self._lineup.names(full)))
        return DownloadStatus(content.size, glance.verified, glance.written, state, 0.0, 0, sources, error)

    @property
    def kept_in(self) -> Path:
        """The directory of the store."""
        return self._store.directory

    @property
    def ailing(self) -> str | None:
        """What the disk of the store ails, and what to do about it; None while it takes bytes."""
        return self._store.frozen

    def incidents(self, content: Outline) -> tuple[Incident, ...]:
        """Return what went wrong with *content*, oldest first."""
        download = self._downloads.get(content.key)
        earlier = self._incidents.get(content.key, ())
        return earlier + tuple(download.incidents) if download is not None else earlier

    def present(self, content: Outline) -> ExtentSet | None:
        """Return what is here of a running download, verified where chunks can be; None if none is. Not to keep."""
        download = self._downloads.get(content.key)
        if download is None:
            return None
        return download.stored.verified if content.level is Level.CHUNK else download.stored.written

    def evicted(self, key: ContentKey) -> bool:
        """Say whether the quota took the content of *key*."""
        return self._store.evicted(key)

    def limit(self, each: float | None, overall: float | None) -> None:
        """Change what mirrors may send of each file and of all, in bytes a second: 0 is no limit, None no change."""
        self._traffic.limit(each, overall)

    def limit_one(self, key: ContentKey, rate: float) -> None:
        """Change what mirrors may send of one content, in bytes a second: 0 is no limit."""
        self._traffic.limit_one(key, rate)

    def complete(self, key: ContentKey) -> bool:
        """Say whether the running download of *key* has all of it on disk, judged; False if none is running."""
        download = self._downloads.get(key)
        return download is not None and download.complete and not download.stored.overflow

    def active(self) -> tuple[ContentKey, ...]:
        """Return the keys of running downloads."""
        return tuple(self._downloads)
