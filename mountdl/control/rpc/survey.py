"""What becomes of all rows: their statuses as of now, for those who ask each second.

Law: a content that nobody fetches changes rarely, so it is looked at when the tree changed and each `STALE` seconds,
all in turns; those that are open are looked at each time. Looking asks the engine and changes nothing.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import trio

from mountdl.catalog.tree import Expected, Note, Tree
from mountdl.content import ContentKey
from mountdl.control.rpc.rows import (
    A_TURN,
    ACTIVE,
    COMPLETE,
    ERROR,
    PAUSED,
    REMOVED,
    WAITING,
    Index,
    Row,
    indexed,
)
from mountdl.engine.engine import Engine

STALE = 10.0
"""Seconds for which what was seen of files that are not open is good."""
MOST_CHANGES = 1000
"""Changes that wait to be told; older ones are forgotten."""


class Change(NamedTuple):
    """The status of a row *before*, None when it was not there, and *after*."""

    gid: str
    before: str | None
    after: str
    torrent: bool


class Survey:
    """Keeps `index` in step with what *tree* returns; *added* returns descriptors that clients added, by name.

    Trees are compared, to have `changes`, only while somebody is *listening*.
    """

    def __init__(self, tree: Callable[[], Tree], engine: Engine, added: Callable[[], Mapping[str, str]]) -> None:
        self._current, self._engine, self._added = tree, engine, added
        self._tree: Tree | None = None
        self._told: Mapping[str, str] = {}
        self._open: frozenset[ContentKey] = frozenset()
        self._looked = 0.0
        self.index = Index()
        self.counts: Counter[str] = Counter()
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self.listening = True

    async def refresh(self) -> Index:
        """Look at what may have changed, and return the index."""
        tree, told = self._current(), self._added()
        if tree is not self._tree or (told is not self._told and told != self._told):
            await self._renew(tree, told)
        elif trio.current_time() - self._looked > STALE:
            await self._look_at(self.index.rows)
            self._looked = trio.current_time()
        else:
            active = frozenset(self._engine.active())
            keys, self._open = active | self._open, active
            await self._look_at([row for key in keys for row in self.index.showing(key)])
        return self.index

    async def _renew(self, tree: Tree, told: Mapping[str, str]) -> None:
        index = await indexed(tree, told)
        before = self.index.by_gid
        for number, row in enumerate(index.rows):
            if number % A_TURN == 0:
                await trio.lowlevel.checkpoint()
            row.status = self._status(row)
        if tree is self._tree and told == self._told:
            return  # somebody else who asked was faster
        first = self._tree is None
        self._tree, self._told, self._looked = tree, told, trio.current_time()
        self._open = frozenset(self._engine.active())
        self.index, self.counts = index, Counter(row.status or WAITING for row in index.rows)
        if self.listening and not first:
            self._compare(before, index)

    def _compare(self, before: Mapping[str, Row], index: Index) -> None:
        for gid, row in index.by_gid.items():
            old = before[gid].status if gid in before else None
            if old != row.status and row.status is not None:
                self.changes.append(Change(gid, old, row.status, row.torrent))
        for gid in before.keys() - index.by_gid.keys():
            self.changes.append(Change(gid, before[gid].status, REMOVED, before[gid].torrent))

    async def _look_at(self, rows: list[Row]) -> None:
        for number, row in enumerate(rows):
            if number % A_TURN == 0:
                await trio.lowlevel.checkpoint()
            self.look(row)

    def look(self, row: Row) -> str:
        """Return the status of *row* now."""
        status = self._status(row)
        if status != row.status and self.index.by_gid.get(row.gid) is row:
            self.counts[row.status or WAITING] -= 1
            self.counts[status] += 1
            self.changes.append(Change(row.gid, row.status, status, row.torrent))
            row.status = status
        return status

    def _status(self, row: Row) -> str:
        if isinstance(row.node, Note):
            return status_of_note(row.node)
        state = self._engine.status(row.node.outline, brief=True).state
        if state == "complete":
            return COMPLETE
        if self._engine.paused(row.node.outline):
            return PAUSED
        return {"active": ACTIVE, "error": ERROR}.get(state, WAITING)


def status_of_note(note: Note) -> str:
    """Return the status of what *note* stands for: an error where it will not come by itself.

    That is what was refused, or what no mirror tells the length of and none gives all of.
    """
    return ERROR if note.expected is Expected.NOTHING else WAITING
