"""What a mount answers to the commands: `Control` over the tree that is shown and the engine behind it.

Reads what the layers tell of themselves and calls their public verbs; reaches into no state of theirs.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import PurePosixPath

import trio

from mountdl import __version__
from mountdl.catalog.tree import Directory, File, Node, Note, Tree
from mountdl.catalog.watch import Watch
from mountdl.control.messages import A_TURN, PLAYABLE_HEAD, PLAYABLE_RATE, PLAYABLE_TAIL, Json
from mountdl.engine.download import Download
from mountdl.engine.engine import Engine
from mountdl.engine.incidents import Incident
from mountdl.engine.status import DownloadStatus, SourceStatus
from mountdl.errors import ExitStatus, UsageError
from mountdl.extents import Extent
from mountdl.settings import MountSettings

_LOOK = 0.1
"""Seconds between two looks at what is waited for."""


class Desk:
    """Implements `Control` for one mount. *end* begins to end it."""

    def __init__(self, mount: MountSettings, pid: int, watch: Watch, engine: Engine, end: Callable[[], None]) -> None:
        self._mount, self._pid, self._watch, self._engine, self._end = mount, pid, watch, engine, end

    @property
    def _tree(self) -> Tree:
        return self._watch.built.tree

    async def status(self, path: str | None, *, brief: bool = False) -> Json:
        """See `Control`."""
        files = []
        for number, node in enumerate(self._shown() if path is None else self._below(path)):
            if number % (A_TURN if brief else A_TURN // 4) == 0:
                await trio.lowlevel.checkpoint()
            files.append(self._file(node, brief=brief))
        watch = self._watch.statistics()
        cautions = dict.fromkeys([*self._watch.built.cautions, *watch.cautions])
        return {
            "mountpoint": str(self._mount.mountpoint),
            "source": self._mount.source,
            "pid": self._pid,
            "version": __version__,
            "cache": str(self._engine.kept_in),
            "reachable": watch.reachable,
            "files": files,
            "cautions": [asdict(caution) for caution in cautions]
            + _trouble("source-unreachable", watch.error)
            + _trouble("cache-takes-nothing", self._engine.ailing),
        }

    def why(self, path: str) -> Json:
        """See `Control`."""
        node = self._found(path)
        incidents = self._engine.incidents(node.outline) if isinstance(node, File) else ()
        return {**self._file(node), "incidents": [_incident(each) for each in incidents]}

    async def want(self, path: str, what: str, timeout: float) -> None:  # noqa: ASYNC109  # see Control
        """See `Control`."""
        node = self._found(path)
        if isinstance(node, Note):
            await self._resolved(path, node, timeout)
            return
        download = self._engine.download(node.content)
        if self._engine.paused(node.outline) and not download.complete:
            raise UsageError(f"{path} is paused: setfattr -n user.mountdl.pause -v 0 has it go on", ExitStatus.UNKNOWN)
        self._engine.ask_again(node.outline.key)
        everything = Extent(0, node.size)
        extents = [everything]
        if what == "playable":
            tail = Extent(max(0, node.size - PLAYABLE_TAIL), node.size)
            extents = [Extent(0, PLAYABLE_HEAD).clip(node.size), tail, everything]
        wants = [download.want(extent) for extent in extents]
        try:
            with trio.move_on_after(timeout):
                while not _fulfilled(download, what, extents):
                    if (error := self._engine.trouble(node.outline.key, disk=False)) is not None:
                        raise UsageError(f"{path} does not come: {error}", error.exit_status)
                    await trio.sleep(_LOOK)
                return
        finally:
            for want in wants:
                download.unwant(want)
        raise UsageError(f"{path} was not there in time", ExitStatus.TIMEOUT)

    async def _resolved(self, path: str, note: Note, timeout: float) -> None:  # noqa: ASYNC109  # see Control
        """Wait until *note* has given way to what it stands for."""
        if note.state == "error":
            raise UsageError(f"{path} stands for no file: {note.reason}", ExitStatus.IO)
        with trio.move_on_after(timeout):
            while self._waits(path):  # noqa: ASYNC110  # the catalog publishes trees, not events
                await trio.sleep(_LOOK)
            return
        raise UsageError(f"{path} was not resolved in time", ExitStatus.TIMEOUT)

    def _waits(self, path: str) -> bool:
        node = self._tree.find(PurePosixPath(path))
        return isinstance(node, Note) and node.state == "resolving"

    def shutdown(self) -> None:
        """See `Control`."""
        self._end()

    # -- from values of the layers to documents ---------------------------------------------------------------

    def _shown(self) -> list[File | Note]:
        return [node for node in self._tree.nodes() if not isinstance(node, Directory)]

    def _node(self, path: str) -> Node:
        node = self._tree.find(PurePosixPath(path))
        if node is None:
            raise UsageError(f"{path} is not in the mount", ExitStatus.NOT_FOUND)
        return node

    def _below(self, path: str) -> list[File | Note]:
        """Return the file at *path*, or all in that folder and the folders in it."""
        found, due = list[File | Note](), [self._node(path)]
        while due:
            node = due.pop()
            if isinstance(node, Directory):
                due += [child for inode in node.children.values() if (child := self._tree.node(inode)) is not None]
            else:
                found.append(node)
        return found

    def _found(self, path: str) -> File | Note:
        node = self._node(path)
        if isinstance(node, Directory):
            raise UsageError(f"{path} is a directory; name a file in it")
        return node

    def _file(self, node: File | Note, *, brief: bool = False) -> Json:
        if isinstance(node, Note):
            return {**_NOTHING, "path": self._path(node), "state": node.state, "error": node.reason or None}
        told = _file(self._engine.status(node.outline, brief=brief))
        paused = self._engine.paused(node.outline)
        told.update(path=node.path, level=node.outline.level.value, key=node.outline.key, paused=paused)
        return told

    def _path(self, node: Node) -> str:
        names = [node.name]
        while (parent := self._tree.node(node.parent)) is not None and parent.inode != node.inode:
            names.append(parent.name)
            node = parent
        return "/".join(name for name in reversed(names) if name)


_NOTHING: Json = {
    "size": None, "verified": 0, "written": 0, "level": "none", "rate": 0.0, "readers": 0, "sources": [],
    "paused": False
}  # fmt: skip


def _fulfilled(download: Download, what: str, extents: list[Extent]) -> bool:
    if download.complete:
        return True
    if what == "all" or not all(download.readable(extent) for extent in extents[:2]):
        return False
    return download.statistics().rate >= PLAYABLE_RATE


def _file(status: DownloadStatus) -> Json:
    return {
        "size": status.size,
        "verified": status.verified,
        "written": status.written,
        "state": status.state,
        "rate": status.rate,
        "readers": status.readers,
        "sources": [_source(source) for source in status.sources],
        "error": status.error,
    }


def _source(source: SourceStatus) -> Json:
    return {
        "name": source.name,
        "state": source.state,
        "flights": source.flights,
        "rate": source.rate,
        "bytes": source.delivered,
        "failures": source.failures,
        "bad_chunks": source.bad_chunks,
        "reason": source.reason,
    }


def _incident(incident: Incident) -> Json:
    extent = None if incident.extent is None else [incident.extent.start, incident.extent.stop]
    return {
        "at": incident.at, "source": incident.source, "what": incident.what, "extent": extent, "times": incident.times
    }  # fmt: skip


def _trouble(code: str, message: str | None) -> list[Json]:
    return [] if message is None else [{"code": code, "message": message, "file": None}]
