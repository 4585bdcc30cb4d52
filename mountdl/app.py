"""A mount: the layers, with the file system and the control server on top. No logic.

Order of going: the file system stops first, then the engine, then what is below. The mount is taken away only on a
clean exit: after a crash it stays, dead, so that nothing that mirrors it takes its emptiness for the truth.
"""

import faulthandler
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import PurePosixPath

import trio

from mountdl import layers, remote
from mountdl.catalog.build import Built
from mountdl.catalog.tree import File, Tree
from mountdl.catalog.watch import Watch
from mountdl.content import Content, ContentKey, Outline
from mountdl.control import server, systemd
from mountdl.control.desk import Desk
from mountdl.control.logs import NOTICE
from mountdl.control.text import counted
from mountdl.engine.reader import Reader
from mountdl.engine.status import DownloadStatus
from mountdl.errors import UsageError
from mountdl.extents import Extent
from mountdl.layers import Layers
from mountdl.settings import Settings

log = logging.getLogger(__name__)

WARMED = 4
"""Contents whose best mirror is connected to at the start: a mount of one file reads without delay."""
AT_HAND = 2.0
"""Seconds that a mount waits at most, before it says that it is there, for mirrors to say how long their files are.

Most say it within 0.3 s, and before that a file has no name to be opened by. Not in `lookup`: one that waits makes all
wait that look at its folder.
"""


def serve(settings: Settings, ready: Callable[[], None], ending: Callable[[], None]) -> None:
    """Mount and serve until unmounted or told to end.

    *ready* is called once reads work, *ending* when the end begins, perhaps more than once. Raises MountdlError when it
    can't start.
    """
    layers.prepare_process()
    if systemd.watchdog() is not None:
        faulthandler.enable()  # it says what hung, when systemd ends it by SIGABRT
    layers.run(_Mounted(settings, ending).run, ready)


class _Mounted:
    """One mount: implements what the file system and the control server ask of the layers."""

    def __init__(self, settings: Settings, ending: Callable[[], None]) -> None:
        self.settings, self._ending = settings, ending
        self._layers = Layers(settings, self._discarded)
        self._store, self._engine = self._layers.store, self._layers.engine
        self._watch: Watch
        self._shown: Callable[[Tree], None] = _ignore
        self._bad: set[ContentKey] = set()
        self._forget = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Build up, serve, take down."""
        async with self._layers.running(), trio.open_nursery() as nursery:
            mount = self.settings.mount
            nursery.start_soon(_tell_alive)
            try:
                self._watch = await self._layers.watch(mount.source, self._publish, (mount.mountpoint,))
            except UsageError as error:
                raise UsageError(f"can't mount {error}", error.exit_status) from error
            await nursery.start(self._watch.run)
            await self._layers.equip()
            self._warm(self._watch.built)  # once more: some may be reached by the rarer protocols only
            await nursery.start(self._engine.run)
            async with self._graduating():
                await self._serve(nursery, ready)
            nursery.cancel_scope.cancel()

    def _graduating(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which finished files are handed out, if anybody wants that."""
        target = self.settings.store.graduate
        if target is None:
            return nullcontext()
        from mountdl.control import graduation

        return graduation.running(self.settings.store.directory, target, self._finished)

    def _finished(self) -> list[tuple[PurePosixPath, Outline]]:
        active = {key for key in self._engine.active() if self._engine.complete(key)}
        nodes = self._watch.built.tree.nodes() if active else ()
        shown = [node for node in nodes if isinstance(node, File) and node.outline.key in active]
        return [(PurePosixPath(node.path), node.outline) for node in shown]

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

        def end() -> None:
            self._ending()
            fuse.terminate(operations)

        await nursery.start(_on_signals, end)
        if self.settings.rpc.enabled:
            await trio.to_thread.run_sync(import_module, "mountdl.control.rpc.serving")
            from mountdl.control.rpc import serving

            # Before the mount: where it can't listen, nothing is mounted.
            await nursery.start(serving.serve, self.settings, self._watch, self._engine)
        name = fuse.name(source, by_mount8=mount.by_mount8)
        detach = fuse.attach(operations, name, mount.mountpoint, allow_other=mount.allow_other)
        nursery.start_soon(self._forget_pages, fuse.forget_pages)
        if mount.control_socket is not None:
            desk = Desk(replace(mount, source=source), os.getpid(), self._watch, self._engine, end)
            await nursery.start(server.serve, desk, mount.control_socket)
        async with trio.open_nursery() as served:
            served.start_soon(fuse.serve, operations)
            await fuse.answers(mount.mountpoint)
            with trio.move_on_after(AT_HAND):
                await self._watch.named()
            ready()
            nursery.start_soon(layers.load_late)
            files = self._watch.built.tree.files
            log.log(NOTICE, "%s is mounted on %s: %s", source, mount.mountpoint, counted(files, "file"))
        self._ending()
        detach()
        log.log(NOTICE, "%s is unmounted", mount.mountpoint)

    def _publish(self, built: Built) -> None:
        self._engine.update(built.contents)
        self._shown(built.tree)
        self._warm(built)

    def _warm(self, built: Built) -> None:
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

    def open(self, content: Outline) -> Reader:
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

    def pause(self, content: Outline, *, on: bool) -> None:
        """See `Files`."""
        self._engine.pause(content, on=on)

    def paused(self, content: Outline) -> bool:
        """See `Files`."""
        return self._engine.paused(content)


def _ignore(tree: Tree) -> None:
    """Before there is a mount, nobody is shown *tree*."""


async def _tell_alive() -> None:
    """Tell systemd that this loop runs, as long as it does, where that asks for it (WatchdogSec=)."""
    patience = systemd.watchdog()
    while patience is not None:
        systemd.notify("WATCHDOG=1")
        await trio.sleep(patience / 3)


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
