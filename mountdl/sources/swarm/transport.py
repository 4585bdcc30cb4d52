"""What all swarms of a mount share: the session, the torrents that are in use, and how metadata is learned."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import trio

from mountdl.content import Content
from mountdl.descriptors import torrent as torrents
from mountdl.descriptors import urls
from mountdl.descriptors.cautions import Cautions
from mountdl.descriptors.magnet import of_link
from mountdl.descriptors.model import TORRENT, Descriptor, Magnet, SwarmRef, Torrent
from mountdl.errors import DescriptorError, MountdlError, SourceError, SourceRefused, SourceUnavailable
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm import adding, alerts
from mountdl.sources.swarm.alerts import Alert
from mountdl.sources.swarm.binding import Binding
from mountdl.sources.swarm.kept import FIRST_LOOK, LOOK
from mountdl.sources.swarm.metadata import Library, hashes, of_info
from mountdl.sources.swarm.scratch import Scratch, discard
from mountdl.sources.swarm.session import Session
from mountdl.sources.swarm.source import SwarmSource
from mountdl.sources.swarm.swarm import Swarm

log = logging.getLogger(__name__)

Load = Callable[[str, Iterable[bytes | None]], Awaitable[Descriptor]]
"""Fetch the torrent at a URL, one of whose info-hashes must be as given if any are. Raises MountdlError."""

ASIDE = 1 << 30
"""Bytes of one torrent that lie in the folder it is fetched into, before it starts with an empty one."""
RHYTHM = 0.5
"""Seconds between two questions to libtorrent how joined torrents stand."""
AGAIN = 30.0
"""Seconds after which a torrent that nobody had is asked for again."""


class _Inquiry:
    """The metadata of a magnet, asked of peers."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.waiting = 0
        self.info = b""
        self.peers: dict[str, None] = {}
        self.handle: alerts.Handle | None = None
        self.folder = ""

    def means(self, alert: Alert) -> bool:
        """Say whether *alert* is of what was added to ask."""
        if isinstance(alert, alerts.Added):
            return alert.folder == self.folder
        return self.handle is not None and alert.handle == self.handle


class SwarmTransport:
    """Torrents as sources.

    *directory* is the store's, *library* what is known of torrents; *load* fetches .torrent files; *aside* bytes of a
    torrent may lie there twice.
    """

    def __init__(
        self, settings: SwarmSettings, directory: Path, library: Library, load: Load, aside: int = ASIDE
    ) -> None:
        self._settings, self._load, self._aside = settings, load, aside
        self._scratch = Scratch(directory / "swarms")
        self._library = library
        self._session = Session(settings, directory, self._heard)
        self._swarms: dict[str, Swarm] = {}
        self._inquiries: dict[str, _Inquiry] = {}
        self._met: dict[bytes, tuple[dict[str, None], dict[str, None]]] = {}
        self._nursery: trio.Nursery | None = None
        self._binding = Binding()

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Hand alerts on, keep time, until cancelled; then leave all swarms."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(trio.to_thread.run_sync, self._scratch.sweep)
                nursery.start_soon(self._session.run)
                nursery.start_soon(self._tend)
                task_status.started()
                while True:
                    await trio.sleep(RHYTHM)
                    self._tick()
        finally:
            self._nursery = None
            self._scratch.close()

    async def _tend(self) -> None:
        await trio.sleep(FIRST_LOOK)
        while True:
            await trio.to_thread.run_sync(self._library.kept.tend, abandon_on_cancel=True)
            await trio.sleep(LOOK)

    def forget(self, key: str) -> None:
        """Offer content *key* to nobody any more: its bytes are about to go."""
        for swarm in self._swarms.values():
            swarm.forget(key)

    # -- sources --------------------------------------------------------------------------------------------

    def source(self, ref: SwarmRef, content: Content) -> SwarmSource | None:
        """See `Swarms`."""
        if ref.mediatype != TORRENT:
            return None
        link = _magnet(ref.url)
        if link is None:
            return SwarmSource(ref, content, f"torrent {urls.shown(ref.url)}", self)
        known = link.btih or link.btmh
        return SwarmSource(ref, content, f"swarm {known.hex()}", self) if known else None

    def learn_for(self, source: SwarmSource) -> trio.CancelScope | None:
        """See `Hub`."""
        link = _magnet(source.ref.url)
        if link is not None and self._binding.loaded and self._teach_known(source, link):
            return None
        if self._nursery is None:
            return None
        scope = trio.CancelScope()
        self._nursery.start_soon(self._teach, source, scope)
        return scope

    def _teach_known(self, source: SwarmSource, link: Magnet) -> bool:
        found = self._library.find((link.btih, link.btmh))
        if found is not None:
            self._meet(found, link)
            source.taught(found)
        return found is not None

    async def _teach(self, source: SwarmSource, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    await self._learn(source)
                    return
                except SourceUnavailable as error:
                    source.delayed(error.reason)
                except SourceError as error:
                    source.refused(SourceRefused(source.name, error.reason))
                    return
                except MountdlError as error:
                    source.refused(SourceRefused(source.name, str(error)))
                    return
                await trio.sleep(AGAIN)

    async def _learn(self, source: SwarmSource) -> None:
        await self._binding.load()
        link = _magnet(source.ref.url)
        if link is not None and self._teach_known(source, link):
            return
        descriptor = await self.resolve(source.ref)
        if descriptor.torrent is not None:
            source.taught(descriptor.torrent)

    def swarm(self, torrent: Torrent) -> Swarm:
        """See `Hub`."""
        known = _keys(torrent)
        swarm = next((self._swarms[key] for key in known if key in self._swarms), None)
        if swarm is None:
            swarm = Swarm(torrent, self._session, self._settings, self._scratch.fresh, self._work, self._aside)
            for key in known:
                self._swarms[key] = swarm
                self._answer(key, torrent)
        peers, trackers = self._met.pop(hashes(torrent)[0], ({}, {}))
        swarm.peers.update(peers)
        swarm.trackers.update(trackers)
        return swarm

    def _meet(self, torrent: Torrent, link: Magnet | None, peers: Iterable[str] = ()) -> None:
        """Keep what *link* says of where *torrent*'s peers are, and *peers* that were met, for when it is joined."""
        known = self._met.setdefault(hashes(torrent)[0], ({}, {}))
        known[0].update(dict.fromkeys(peers))
        if link is not None:
            known[0].update(dict.fromkeys(link.peers))
            known[1].update(dict.fromkeys(link.trackers))

    def _work(self, act: Callable[[], None]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(trio.to_thread.run_sync, act)

    # -- metadata -------------------------------------------------------------------------------------------

    async def resolve(self, ref: SwarmRef) -> Descriptor:
        """See `Swarms`; also of a torrent's URL."""
        link = _magnet(ref.url)
        if link is None:
            descriptor = await self._load(ref.url, ())
            if descriptor.torrent is not None:
                self._library.learn(descriptor.torrent)
            return descriptor
        found = self._library.find((link.btih, link.btmh))
        if found is not None:
            return torrents.parse(adding.document(found), bare=True)
        return await self._resolve(link)

    async def _resolve(self, link: Magnet) -> Descriptor:
        if not (link.btih or link.btmh):
            raise SourceRefused("magnet", "it names no torrent that can be asked for")
        found: list[Descriptor] = []
        failures: list[MountdlError] = []
        with trio.move_on_after(self._settings.metadata_timeout) as scope:
            async with trio.open_nursery() as nursery:

                async def attempt(ask: Callable[[], Awaitable[Descriptor]]) -> None:
                    try:
                        found.append(await ask())
                        nursery.cancel_scope.cancel()
                    except MountdlError as error:
                        failures.append(error)

                for url in link.torrent_urls[:4]:
                    nursery.start_soon(attempt, partial(self._load, url, (link.btih, link.btmh)))
                nursery.start_soon(attempt, partial(self._ask_peers, link))
        if not found:
            raise self._untold(failures, late=scope.cancelled_caught)
        torrent = found[0].torrent
        if torrent is not None:
            self._library.keep(torrent)
            self._meet(torrent, link)
        return found[0]

    def _untold(self, failures: Sequence[MountdlError], *, late: bool) -> SourceError:
        """Return what *failures* to learn of a torrent come to; *late*: those that did not fail took too long."""
        reasons = [f"no peer told what is in it within {self._settings.metadata_timeout:.0f} s"] if late else []
        reasons += [str(each).removeprefix("swarm: ") for each in failures]
        refused = not late and all(isinstance(each, SourceRefused) for each in failures)
        return (SourceRefused if refused else SourceUnavailable)("swarm", "; ".join(reasons))

    async def _ask_peers(self, link: Magnet) -> Descriptor:
        await self._binding.load()
        keys = tuple(each.hex()[:40] for each in (link.btih, link.btmh) if each)
        inquiry = next((self._inquiries[key] for key in keys if key in self._inquiries), None)
        if inquiry is None:
            inquiry = self._inquire(link)
        self._inquiries.update(dict.fromkeys(keys, inquiry))
        inquiry.waiting += 1
        try:
            await inquiry.answered.wait()
        finally:
            inquiry.waiting -= 1
            if not inquiry.waiting:
                self._end(inquiry)
        try:
            descriptor = of_info(inquiry.info)
        except DescriptorError as error:
            raise SourceRefused("swarm", f"what its peers say is in it is of no use: {error}") from error
        if descriptor.torrent is not None:
            self._meet(descriptor.torrent, None, inquiry.peers)
        return descriptor

    def _inquire(self, link: Magnet) -> _Inquiry:
        inquiry = _Inquiry()
        try:
            atp = adding.inquiry(link, self._settings)
            atp.save_path = inquiry.folder = str(self._scratch.fresh())
        except (RuntimeError, OSError) as error:
            raise SourceRefused("swarm", f"it can't be joined: {getattr(error, 'strerror', None) or error}") from error
        self._session.start().async_add_torrent(atp)
        return inquiry

    def _answer(self, key: str, torrent: Torrent) -> None:
        """End the inquiry for *key*, if there is one, with *torrent*: the session takes it once only."""
        inquiry = self._inquiries.get(key)
        if inquiry is not None:
            self._end(inquiry)
            inquiry.info = torrent.info
            inquiry.answered.set()

    def _end(self, inquiry: _Inquiry) -> None:
        for key in [key for key, each in self._inquiries.items() if each is inquiry]:
            del self._inquiries[key]
        if inquiry.handle is not None and self._session.started:
            self._session.start().remove_torrent(inquiry.handle)
            inquiry.handle = None
        if inquiry.folder:
            self._work(partial(discard, Path(inquiry.folder)))

    # -- what libtorrent tells ------------------------------------------------------------------------------

    def _heard(self, alert: Alert) -> None:
        if isinstance(alert, alerts.PeerBanned):
            self._session.strike(alert.peer)
        inquiry = next((each for each in self._inquiries.values() if each.means(alert)), None)
        swarm = next((self._swarms[key] for key in alert.keys if key in self._swarms), None)
        if inquiry is not None:
            self._heard_of_inquiry(inquiry, alert)
        elif swarm is not None and swarm.heard(alert):
            return
        elif isinstance(alert, alerts.Added) and not alert.error:
            self._session.start().remove_torrent(alert.handle)  # nobody wants it any more

    def _heard_of_inquiry(self, inquiry: _Inquiry, alert: Alert) -> None:
        if isinstance(alert, alerts.Added):
            inquiry.handle = None if alert.error else alert.handle
        elif isinstance(alert, alerts.Metadata):
            inquiry.info = alert.info
            inquiry.answered.set()
        elif isinstance(alert, alerts.PeerConnected):
            inquiry.peers[alert.peer] = None

    def _tick(self) -> None:
        now = trio.current_time()
        for key, swarm in list(self._swarms.items()):
            swarm.tick(now)
            if swarm.idle and not swarm.lasting:
                del self._swarms[key]
        if self._swarms and self._session.started:
            self._session.start().post_torrent_updates()
            self._session.promptness.look(now)


def _keys(torrent: Torrent) -> tuple[str, ...]:
    return tuple(each.hex()[:40] for each in hashes(torrent))


def _magnet(url: str) -> Magnet | None:
    """Return the link that *url* is; None for an address, or a link that can't be read."""
    if not url.lower().startswith("magnet:"):
        return None
    try:
        return of_link(url, Cautions())[0]
    except DescriptorError:
        return None
