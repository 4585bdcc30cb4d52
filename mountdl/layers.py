"""What a mount and a fetch are both built of: store, transports, engine and the watch of a source, wired. No logic.

Order of going: what is run inside `Layers.running` ends first, then the transports close, then the store is flushed.
"""

import ctypes
import resource
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import trio

from mountdl import remote
from mountdl.catalog.build import Built
from mountdl.catalog.watch import Helpers, Watch, WatchSettings
from mountdl.content import Content
from mountdl.descriptors import SUFFIXES, parse, prefer
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Descriptor, Entry
from mountdl.engine.addresses import Transports, suffice
from mountdl.engine.crew import CREW
from mountdl.engine.documents import torrent_at
from mountdl.engine.engine import Engine
from mountdl.errors import MountdlError, SourceRefused
from mountdl.settings import PreferenceSettings, Settings, is_remote
from mountdl.sources import names
from mountdl.sources.base import Transport, Version
from mountdl.sources.http.transport import HttpTransport
from mountdl.sources.swarm.kept import Kept
from mountdl.sources.swarm.metadata import Library
from mountdl.store.remembered import Remembered
from mountdl.store.shelf import Shelf
from mountdl.store.store import Store

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

MOST_FILES = 1 << 16
"""Files and connections that the process may have open, where the system allows that many."""
RARER = ("mountdl.sources.ftp.transport", "mountdl.sources.sftp.transport", "mountdl.sources.swarm.transport")
"""What is loaded where something needs it: 30 ms that the start of a mount of plain HTTP mirrors is spared."""
LATE = (
    *(f"mountdl.descriptors.{name}" for name in ("document", "linkheader", "links", "magnet", "torrent", "urilist")),
    *(f"mountdl.digests.{name}" for name in ("librhash", "md4", "tiger", "trees")),
    *(f"mountdl.sources.http.{name}" for name in ("gauging", "loading", "probing")),
    *RARER,
)
"""All of ours that a mount may need some day. Libraries that few need (libtorrent, asyncssh) come with the need."""
AFTER = 5.0
"""Seconds from the start of a mount, in which its first readers come, until these are loaded."""


class Layers:
    """Those of one process, over the store that *settings* name.

    *discarded* is called when bytes that readers may have seen were thrown away.
    """

    def __init__(self, settings: Settings, discarded: Callable[[Content], None]) -> None:
        self.settings = settings
        self.store = Store(settings.store.directory, limit=settings.store.limit, option=settings.store.option)
        self._shelf = Shelf(settings.store.directory)
        kept = Kept(settings.store.directory)
        self._library = Library(kept)
        http = HttpTransport(settings.http, proxies=settings.proxies, credentials=settings.credentials)
        self._transports: list[Transport] = [http]
        self._plain = http.schemes
        preferred = partial(prefer, settings=settings.preferences)
        self.engine = Engine(self.store, self._transports, settings.engine, discarded, preferred)
        # What swarms have left in the store is theirs to look after.
        self._needs_rarer = kept.folder.is_dir() or (settings.store.directory / "swarms").is_dir()
        self._late, self._equipping, self._equipped = False, False, trio.Event()
        self._stack = ExitStack()
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have store and transports run inside; the engine is whoever's who enters."""
        names.install()
        with self._stack:
            self._stack.callback(self.store.close)
            self._stack.callback(self._shelf.close)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for transport in self._transports:
                    await nursery.start(transport.run)
                await nursery.start(self.store.run)
                await nursery.start(CREW.run)
                yield
                nursery.cancel_scope.cancel()

    async def equip(self) -> None:
        """Have the engine use what the rarer protocols need too, if anything does that was read so far.

        HTTP mirrors are connected to meanwhile: a read that follows at once waits 30 ms less than if what is loaded
        now were loaded then. What is read later, and needs it, is not shown before it is there.
        """
        self._late = True  # first: a thread that finds that it is needed looks at the two in the other order
        if self._needs_rarer:
            await self._equip()

    async def _equip(self) -> None:
        if not self._equipping:
            assert self._nursery is not None  # noqa: S101  # they run
            self._equipping = True
            # Not by who happens to be the first to ask, who may be cancelled.
            self._nursery.start_soon(self._load_rarer, self._nursery)
        await self._equipped.wait()

    async def _load_rarer(self, nursery: trio.Nursery) -> None:
        for name in RARER:
            await trio.to_thread.run_sync(import_module, name)
        from mountdl.sources.ftp.transport import FtpTransport
        from mountdl.sources.sftp.transport import SftpTransport
        from mountdl.sources.swarm.transport import ASIDE, SwarmTransport

        settings = self.settings
        rarer: list[Transport] = [
            FtpTransport(settings.http, proxies=settings.proxies, credentials=settings.credentials),
            SftpTransport(settings.sftp, settings.proxies),
        ]
        self._transports += rarer
        limit = self.store.limit
        aside = ASIDE if limit is None else min(ASIDE, limit // 4)
        load = partial(_load_torrent, Transports(self._transports))
        swarms = SwarmTransport(settings.swarm, settings.store.directory, self._library, load, aside)
        self.store.before_evicting(swarms.forget)
        self.engine.equip(rarer, swarms)
        for run in (*(each.run for each in rarer), swarms.run):
            await nursery.start(run)
        self._equipped.set()

    async def watch(
        self, source: str, publish: Callable[[Built], None], excluded: tuple[Path, ...] = (), *, once: bool = False
    ) -> Watch:
        """Return what watches *source*, a path or what `remote.place` takes, but for the folders *excluded*.

        *once*: it is as it is, and nobody is writing to it. What a URL leads to is put into a folder that goes at the
        end. Raises UsageError, whose text begins with what can't be had.
        """
        folder, found_at = Path(source), None
        if is_remote(source):
            if not remote.plain(source):
                await self._equip()
            folder = Path(self._stack.enter_context(remote.scratch(source)))
            found_at = await remote.place(source, folder, self._transports)
        preferences = self.settings.preferences
        if preferences.base_uri is None:
            preferences = replace(preferences, base_uri=found_at)
        directory = self.settings.store.directory
        watched = WatchSettings(SUFFIXES, (*excluded, directory))
        # What nobody has asked for yet is not fetched where nothing is to be.
        gauge = self.engine.gauge if once or self.settings.engine.background != "off" else None
        if once:
            # Without the kernel's reports, which cost 20 ms when they end.
            watched = replace(watched, settle=0.0, reports=False, poll=watched.net)
        return Watch(
            folder,
            parse=partial(self._parse, preferences=preferences),
            resolve=self._resolve,
            publish=publish,
            settings=watched,
            helpers=Helpers(Remembered(directory / "learned"), self._reload, self._shelf, gauge),
        )

    async def _resolve(self, entry: Entry) -> Learned | None:
        await self._equip()
        return await self.engine.resolve(entry)

    async def _reload(self, url: str, known: Version | None) -> tuple[Descriptor | None, Version]:
        await self._equip()
        return await self.engine.reload(url, known)

    def _parse(self, name: str, data: bytes, *, preferences: PreferenceSettings) -> Descriptor:
        """In a thread: read a descriptor, and have what it needs be there before it is shown."""
        said = prefer(parse(name, data, base_url=preferences.base_uri), preferences)
        if said.torrent is not None:
            self._library.learn(said.torrent)
        if not self._equipped.is_set() and not suffice(self._plain, said):
            self._needs_rarer = True
            if self._late:
                with suppress(RuntimeError):  # all has ended meanwhile, and nobody waits for what is read
                    trio.from_thread.run(self._equip)
        return said


async def load_late() -> None:
    """Have all of ours in memory soon, when nobody waits for it.

    An upgrade gives no mount that has run for months one half of each version then.
    """
    await trio.sleep(AFTER)
    for name in LATE:
        await trio.to_thread.run_sync(import_module, name, abandon_on_cancel=True)


def prepare_process() -> None:
    """Have this process use memory, and open as many files, as `Layers` like it."""
    _keep_freed_memory()
    _allow_files()


def run(main: Callable[..., object], *arguments: object) -> None:
    """Run the coroutine function *main* by trio. Raises MountdlError, the first of several."""
    try:
        trio.run(main, *arguments)  # type: ignore[arg-type]
    except BaseExceptionGroup as group:
        # Not except*: what it raises comes in a group again, in Python 3.11.2.
        known, defects = group.split(MountdlError)
        if known is None or defects is not None:
            raise
        raise _first(known) from group


def _keep_freed_memory() -> None:
    """Have the C library reuse the memory of large buffers instead of giving it back after each.

    A reply of 256 KiB else costs an mmap, its page faults and an munmap: a cold copy over loopback took
    0.93 s of processor time for 300 MB, and takes 0.79 so. A C library without mallopt(3) does as it likes.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _allow_files() -> None:
    """Have as many files open as the system lets us raise it to: of 1024, 400 files read in a minute took all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _first(group: BaseExceptionGroup[MountdlError]) -> MountdlError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MountdlError)  # noqa: S101  # the caller's split chose it
    return error


async def _load_torrent(transports: Transports, url: str, wanted: Iterable[bytes | None]) -> Descriptor:
    transport = transports.of(url)
    if transport is None:
        raise SourceRefused(url.partition(":")[0], "is no protocol that torrents can be fetched by here")
    return await torrent_at(transport, url, wanted)
