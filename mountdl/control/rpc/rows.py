"""What clients see as downloads: a row for each file that the mount shows, and for each note in place of one. Pure.

Law: a row's gid is made of its path in the mount, so it is the same after a restart; the first file of what a client
added has the gid that the client was told. A `.resolving` note has that of the file that it stands for.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import trio

from mountdl.catalog.tree import File, Node, Note, Tree
from mountdl.content import ContentKey
from mountdl.control.rpc.faults import Fault

ACTIVE, WAITING, PAUSED, COMPLETE, ERROR, REMOVED = "active", "waiting", "paused", "complete", "error", "removed"
STOPPED = frozenset({COMPLETE, ERROR, REMOVED})
A_TURN = 200
"""Rows that are made, or looked at, before readers get a turn: some 2 ms."""
_GID = re.compile(r"[0-9a-f]{1,16}")
_RESOLVING = ".resolving"


@dataclass(slots=True, eq=False)
class Row:
    """One file or note; *path* is in the mount. *status* is aria2's word as of the last look, None before the first."""

    gid: str
    path: str
    node: File | Note
    status: str | None = None

    @property
    def key(self) -> ContentKey | None:
        """The key of its content; None for a note."""
        return self.node.outline.key if isinstance(self.node, File) else None

    @property
    def torrent(self) -> bool:
        """Whether it comes out of a torrent or magnet link, as its descriptor is called."""
        return self.node.descriptor.lower().endswith((".torrent", ".magnet"))


def gid_of(path: str) -> str:
    """Return the gid of the file at *path* in the mount: 16 hexadecimal digits."""
    return hashlib.sha256(path.encode(errors="backslashreplace")).hexdigest()[:16]


class Index:
    """All rows of one tree, in its order; those of descriptors that were *added*, by descriptor too.

    *added* are descriptors that clients added, by name: the gid that they were told of the first file.

    Where another descriptor shows the same file, one that was added leads to that: its gid is a second one of the row.
    """

    def __init__(self, added: Mapping[str, str] | None = None) -> None:
        self._told = added or {}
        self._gids: list[str] | None = None
        self.rows: list[Row] = []
        self.added: dict[str, list[Row]] = {}
        self._second: dict[str, list[Row]] = {}
        self.by_gid: dict[str, Row] = {}
        self._by_key: dict[ContentKey, Row] = {}
        self._same: dict[ContentKey, list[Row]] = {}  # a list for each content would be one more for the collector

    def add(self, row: Row) -> None:
        """Take *row* in."""
        self.rows.append(row)
        self.by_gid[row.gid] = row
        if row.key is not None and self._by_key.setdefault(row.key, row) is not row:
            self._same.setdefault(row.key, []).append(row)
        if row.node.descriptor in self._told:
            self.added.setdefault(row.node.descriptor, []).append(row)
        if isinstance(row.node, File) and row.node.also:
            for name in self._told.keys() & set(row.node.also) - {row.node.descriptor}:
                self._second.setdefault(name, []).append(row)

    def showing(self, key: ContentKey) -> list[Row]:
        """Return the rows whose content is that of *key*."""
        first = self._by_key.get(key)
        return [] if first is None else [first, *self._same.get(key, ())]

    def finish(self) -> None:
        """Give what clients added the gids that they were told, once all rows are there."""
        for name, mine in self.added.items():
            mine.sort(key=lambda row: row.path.split("/"))
            self.by_gid.pop(mine[0].gid, None)
            mine[0].gid = self._told[name]
            self.by_gid[mine[0].gid] = mine[0]
        for name, mine in self._second.items():
            if name not in self.added:
                mine.sort(key=lambda row: row.path.split("/"))
                self.by_gid.setdefault(self._told[name], mine[0])
            self.added.setdefault(name, []).extend(mine)

    def gid(self, text: str, more: Iterable[str] = ()) -> str:
        """Return the whole gid that *text* is the beginning of, among the rows' and *more*. Raises Fault."""
        wanted = text.lower()
        if _GID.fullmatch(wanted) is None:
            raise Fault(f"Invalid GID {text[:40]}")
        others = frozenset(more)
        if wanted in self.by_gid or wanted in others:
            return wanted
        if self._gids is None:
            self._gids = sorted(self.by_gid)
        at = bisect_left(self._gids, wanted)
        found = {gid for gid in self._gids[at : at + 2] if gid.startswith(wanted)}
        found |= {gid for gid in others if gid.startswith(wanted)}
        if len(found) > 1:
            raise Fault(f"GID {wanted} is not unique")
        if not found:
            raise Fault(f"GID {wanted} is not found")
        return found.pop()


async def indexed(tree: Tree, added: Mapping[str, str]) -> Index:
    """Return the index of *tree*, while others get turns; *added* is as there."""
    index = Index(added)
    for number, node in enumerate(tree.nodes()):
        if number % A_TURN == 0:
            await trio.lowlevel.checkpoint()
        if isinstance(node, File):
            index.add(Row(gid_of(node.path), node.path, node))
        elif isinstance(node, Note) and node.state in {"error", "resolving"}:
            path = _path(tree, node)
            index.add(Row(gid_of(path.removesuffix(_RESOLVING)), path, node))
    index.finish()
    return index


def _path(tree: Tree, node: Node) -> str:
    names = [node.name]
    while (parent := tree.node(node.parent)) is not None and parent.inode != node.inode:
        names.append(parent.name)
        node = parent
    return "/".join(name for name in reversed(names) if name)
