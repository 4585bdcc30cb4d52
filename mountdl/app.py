"""The composition root: builds the layers, wires them, owns the root nursery. No logic.

Order of going: the file system stops first, then the engine, then the store is flushed, then the
transports close. The mount is taken away only on a clean exit: after a crash it stays, dead, so that
nothing that mirrors it takes its emptiness for the truth.
"""

import ctypes
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import trio

from mountdl import remote
from mountdl.catalog.build import Built
from mountdl.catalog.tree import File, Tree
from mountdl.catalog.watch import Helpers, Watch, WatchSettings
from mountdl.content import Content, ContentKey, Outline
from mountdl.control import server
from mountdl.control.desk import Desk
from mountdl.control.logs import NOTICE
from mountdl.control.text import counted
from mountdl.descriptors import SUFFIXES, parse, prefer
from mountdl.descriptors.model import Descriptor
from mountdl.engine.addresses import scheme
from mountdl.engine.documents import torrent_at
from mountdl.engine.engine import Engine
from mountdl.engine.reader import Reader
from mountdl.engine.status import DownloadStatus
from mountdl.errors import MountdlError, SourceRefused
from mountdl.extents import Extent
from mountdl.settings import PreferenceSettings, Settings, is_remote
from mountdl.sources import names
from mountdl.sources.base import Transport
from mountdl.sources.ftp.transport import FtpTransport
from mountdl.sources.http.transport import HttpTransport
from mountdl.sources.sftp.transport import SftpTransport
from mountdl.sources.swarm.transport import ASIDE, SwarmTransport
from mountdl.store.remembered import Remembered
from mountdl.store.shelf import Shelf
from mountdl.store.store import Store

log = logging.getLogger(__name__)

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

MOST_FILES = 1 << 16
"""Files and connections that the daemon may have open, where the system allows that many."""
WARMED = 4
"""Contents whose best mirror is connected to at the start: a mount of one file reads without delay."""


def serve(settings: Settings, ready: Callable[[], None]) -> None:
    """Mount and serve until unmounted or told to end; *ready* is called once reads work.

    Raises MountdlError when it can't start.
    """
    _keep_freed_memory()
    _allow_files()
    try:
        trio.run(_Mounted(settings).run, ready)
    except* MountdlError as group:
        raise _first(group) from group


class _Mounted:
    """One mount: implements what the file system and the control server ask of the layers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = Store(settings.store.directory, limit=settings.store.limit)
        self._shelf = Shelf(settings.store.directory)
        self._transports: list[Transport] = [
            HttpTransport(settings.http, proxies=settings.proxies, credentials=settings.credentials),
            FtpTransport(settings.http, proxies=settings.proxies, credentials=settings.credentials),
            SftpTransport(settings.sftp, settings.proxies),
        ]
        preferred = partial(prefer, settings=settings.preferences)
        self._swarms = _swarms(settings, self._transports, self._store)
        self._engine = Engine(self._store, self._transports, settings.engine, self._discarded, preferred, self._swarms)
        self._watch: Watch
        self._shown: Callable[[Tree], None] = _ignore
        self._bad: set[ContentKey] = set()
        self._forget = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Build up, serve, take down."""
        names.install()
        with ExitStack() as stack:
            stack.callback(self._store.close)
            stack.callback(self._shelf.close)
            async with trio.open_nursery() as lower:
                for transport in self._transports:
                    await lower.start(transport.run)
                await lower.start(self._swarms.run)
                await lower.start(self._store.run)
                async with trio.open_nursery() as upper:
                    await upper.start(self._engine.run)
                    self._watch = self._new_watch(*await self._local(stack))
                    await upper.start(self._watch.run)
                    self._start_graduation(upper)
                    await self._serve(upper, ready)
                    upper.cancel_scope.cancel()
                lower.cancel_scope.cancel()

    def _start_graduation(self, nursery: trio.Nursery) -> None:
        target = self.settings.store.graduate
        if target is not None:
            from mountdl.control import graduation

            nursery.start_soon(graduation.run, self.settings.store.directory, target, self._finished)

    def _finished(self) -> list[tuple[PurePosixPath, Outline]]:
        active = {key for key in self._engine.active() if self._engine.complete(key)}
        nodes = self._watch.built.tree.nodes() if active else ()
        shown = [node for node in nodes if isinstance(node, File) and node.outline.key in active]
        return [(PurePosixPath(node.path), node.outline) for node in shown]

    async def _local(self, stack: ExitStack) -> tuple[Path, str | None]:
        """Return the source as a path, and what relative URLs in it are relative to.

        What a URL leads to is put into a folder that goes with the mount.
        """
        source = self.settings.mount.source
        if not is_remote(source):
            return Path(source), None
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="mountdl-")))
        return folder, await remote.place(source, folder, self._transports)

    def _new_watch(self, source: Path, found_at: str | None) -> Watch:
        mount, preferences = self.settings.mount, self.settings.preferences
        if preferences.base_uri is None:
            preferences = replace(preferences, base_uri=found_at)
        return Watch(
            source,
            parse=partial(_parse, preferences=preferences, swarms=self._swarms),
            resolve=self._engine.resolve,
            publish=self._publish,
            settings=WatchSettings(suffixes=SUFFIXES, excluded=(mount.mountpoint, self.settings.store.directory)),
            helpers=Helpers(
                Remembered(self.settings.store.directory / "learned"),
                self._engine.reload,
                self._shelf,
            ),
        )

    async def _serve(self, nursery: trio.Nursery, ready: Callable[[], None]) -> None:
        # Only here: importing it loads libfuse, which a machine without a mount need not have. In a thread, as it takes
        # 15 ms, in which the best mirrors are connected to: what is read as soon as it is mounted waits so much less.
        await trio.to_thread.run_sync(import_module, "mountdl.filesystem.mount")
        from mountdl.filesystem import mount as fuse
        from mountdl.filesystem.operations import Operations

        mount = self.settings.mount
        source = remote.shown(mount.source)
        operations = Operations(self._watch.built.tree, self)
        self._shown = operations.publish
        end = partial(fuse.terminate, operations)
        await nursery.start(_on_signals, end)
        detach = fuse.attach(operations, source, mount.mountpoint, allow_other=mount.allow_other)
        nursery.start_soon(self._forget_pages, fuse.forget_pages)
        if mount.control_socket is not None:
            desk = Desk(replace(mount, source=source), os.getpid(), self._watch, self._engine, end)
            await nursery.start(server.serve, desk, mount.control_socket)
        async with trio.open_nursery() as served:
            served.start_soon(fuse.serve, operations)
            await fuse.answers(mount.mountpoint)
            ready()
            files = self._watch.built.tree.files
            log.log(NOTICE, "%s is mounted on %s: %s", source, mount.mountpoint, counted(files, "file"))
        detach()

    def _publish(self, built: Built) -> None:
        self._engine.update(built.contents)
        self._shown(built.tree)
        if len(built.contents) <= WARMED:
            for content in built.contents.values():
                self._engine.warm(content)

    def _discarded(self, content: Content) -> None:
        self._bad.add(content.key)
        self._forget.set()

    async def _forget_pages(self, forget: Callable[..., object]) -> None:
        while True:
            await self._forget.wait()
            self._forget = trio.Event()
            bad, self._bad = self._bad, set()
            for node in self._watch.built.tree.nodes():
                if isinstance(node, File) and node.outline.key in bad:
                    await forget(node.inode)  # type: ignore[misc]

    # -- what the file system asks ----------------------------------------------------------------------------

    def open(self, content: Content) -> Reader:
        """See `Files`."""
        return self._engine.open(content)

    def warm(self, content: Outline) -> None:
        """See `Files`."""
        self._engine.warm(content)

    def blocks(self, content: Outline) -> int:
        """See `Files`."""
        return -(-self._store.glance(content.key, content.size).written // 512)

    async def stored(self, tree: Tree) -> int:
        """See `Files`."""
        return await self._store.written(tree.contents())

    def space(self) -> int:
        """See `Files`."""
        return self._store.space().available

    def status(self, content: Outline) -> DownloadStatus:
        """See `Files`."""
        return self._engine.status(content)

    def prefetch(self, content: Content, extent: Extent) -> None:
        """See `Files`."""
        self._engine.prefetch(content, extent)

    def pin(self, content: Outline, *, on: bool) -> None:
        """See `Files`."""
        self._store.pin(content.key, on=on)

    def pinned(self, content: Outline) -> bool:
        """See `Files`."""
        return self._store.pinned(content.key)

    def pause(self, content: Content, *, on: bool) -> None:
        """See `Files`."""
        self._engine.pause(content, on=on)

    def paused(self, content: Outline) -> bool:
        """See `Files`."""
        return self._engine.paused(content)


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
    assert isinstance(error, MountdlError)  # noqa: S101  # the caller's except* chose it
    return error


def _ignore(tree: Tree) -> None:
    """Before there is a mount, nobody is shown *tree*."""


def _swarms(settings: Settings, transports: Sequence[Transport], store: Store) -> SwarmTransport:
    """Return what fetches from swarms, with *transports* for what leads to them."""
    known = {scheme: transport for transport in transports for scheme in transport.schemes}

    async def load(url: str, wanted: Iterable[bytes | None]) -> Descriptor:
        transport = known.get(scheme(url))
        if transport is None:
            raise SourceRefused(url.partition(":")[0], "is no protocol that torrents can be fetched by here")
        return await torrent_at(transport, url, wanted)

    aside = ASIDE if store.limit is None else min(ASIDE, store.limit // 4)
    swarms = SwarmTransport(settings.swarm, settings.store.directory, load, aside)
    store.before_evicting(swarms.forget)
    return swarms


def _parse(name: str, data: bytes, *, preferences: PreferenceSettings, swarms: SwarmTransport) -> Descriptor:
    said = prefer(parse(name, data, base_url=preferences.base_uri), preferences)
    if said.torrent is not None:
        swarms.learn(said.torrent)
    return said


async def _on_signals(
    end: Callable[[], None], *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # what other daemons reopen their logs at would kill this one
        signal.signal(number, signal.SIG_IGN)
    # So they are again once the receiver below is gone: what has been told to end puts away what it holds, and at a
    # shutdown everybody is told once more.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for came in received:
            log.log(NOTICE, "ended by %s", signal.Signals(came).name)
            end()
