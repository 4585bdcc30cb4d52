"""What a mount is to a client of the RPC: rows that can be told of, paused, added and removed.

Reads what the layers tell of themselves and calls their public verbs. What is in memory only, and so gone after a
restart: what is paused, what was hidden, and what is told of removed ones.
"""

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

import trio
from cachetools import LRUCache

from mountdl.catalog.tree import File, Tree
from mountdl.catalog.watch import Watch
from mountdl.content import Content, ContentKey, Level
from mountdl.control.rpc import settled, structs
from mountdl.control.rpc.adding import Addition
from mountdl.control.rpc.drop import Drop, Mark
from mountdl.control.rpc.faults import Fault
from mountdl.control.rpc.rows import A_TURN, ACTIVE, PAUSED, REMOVED, STOPPED, WAITING, Index, Row, gid_of
from mountdl.control.rpc.structs import Details, Facts, Json
from mountdl.control.rpc.survey import Change, Survey
from mountdl.control.rpc.working import worked
from mountdl.control.text import shown
from mountdl.descriptors.model import TORRENT
from mountdl.engine.engine import Engine
from mountdl.errors import MountdlError, StoreError
from mountdl.extents import Extent
from mountdl.settings import Settings

MOST_TOLD = 50
"""Structs that are made before readers get a turn: 2 to 5 ms."""
MOST_REMOVED = 1000
"""Removed ones that are still told of; aria2's --max-download-result."""
SOON = 60.0
"""Seconds after which what was added and is not shown was taken away again: it shows within 2."""
_KNOWN = 4096
"""Contents whose details are kept: finding them out takes 40 us each, and some clients ask for a thousand a second."""


class Board:
    """One mount, that *settings* made, as clients see it. *drop* is None where nothing can be added, for *reason*."""

    def __init__(self, settings: Settings, watch: Watch, engine: Engine, drop: Drop | None, reason: str = "") -> None:
        self.settings, self._watch, self._engine, self._drop = settings, watch, engine, drop
        self.folder = str(settings.mount.mountpoint)
        self._reason = reason
        self.session = secrets.token_hex(20)
        self.threads = trio.CapacityLimiter(2)
        """Threads of clients: those that hash for readers are others."""
        self._survey = Survey(lambda: watch.built.tree, engine, self._added)
        self.marks: Mapping[str, Mark] = {}
        self.paused_at_first: set[str] = set()
        self._pending: dict[str, Facts] = {}
        self._hidden: set[str] = set()
        self._begun: set[ContentKey] = set()
        self._removed: dict[str, Json] = {}
        self._gone: Mapping[str, str] = {}
        self._told: tuple[Mapping[str, Mark], Mapping[str, str], Mapping[str, str]] = (self.marks, self._gone, {})
        self._changed: dict[str, str] = {}
        self._limits: dict[str, str] = {}
        self._known: LRUCache[str, tuple[object, Details]] = LRUCache(_KNOWN)

    # -- what there is ----------------------------------------------------------------------------------------

    def _added(self) -> Mapping[str, str]:
        """Return the gid of what clients added, by descriptor; of what was removed too, while it is shown."""
        # Both are replaced when they change, so that nothing is made of 5000 marks at each call: that took 8 ms.
        marks, gone, told = self._told
        if marks is not self.marks or gone is not self._gone:
            told = {**self._gone, **{name: mark.gid for name, mark in self.marks.items()}}
            self._told = self.marks, self._gone, told
        return told

    async def refresh(self) -> Index:
        """Look at what may have changed."""
        index = await self._survey.refresh()
        self._pending = {gid: each for gid, each in self._pending.items() if self._awaited(each.descriptor, index)}
        still = {row.node.descriptor for name in self._gone for row in index.added.get(name, ())}
        if self._gone.keys() - still:
            self._gone = {name: each for name, each in self._gone.items() if name in still}
        return index

    def _awaited(self, name: str, index: Index) -> bool:
        """Say whether the descriptor *name*, which was just added, is still to be shown."""
        mark = self.marks.get(name)
        return name not in index.added and mark is not None and time.time() - mark.added < SOON

    def changes(self, *, listening: bool = True) -> list[Change]:
        """Return what became of rows since this was asked before, oldest first; *listening*: it is to be followed."""
        self._survey.listening = listening
        found = list(self._survey.changes)
        self._survey.changes.clear()
        return found

    async def rows(self, statuses: Collection[str]) -> list[Row]:
        """Return the rows of *statuses*, but for those that are hidden."""
        index = await self.refresh()
        return [row for row in index.rows if row.status in statuses and self._visible(row)]

    def _visible(self, row: Row) -> bool:
        if row.gid in self._hidden and row.status not in STOPPED:
            self._hidden.discard(row.gid)  # it is fetched again
        return row.gid not in self._hidden and row.node.descriptor not in self._gone

    async def waiting(self) -> list[Row | Facts]:
        """Return what waits: what was added and is not shown yet, first."""
        rows = await self.rows({WAITING, PAUSED})
        return [*self._pending.values(), *rows]

    async def stopped(self) -> list[Row | Json]:
        """Return what is complete, failed or removed."""
        return [*await self.rows(STOPPED), *self._removed.values()]

    async def statistics(self) -> Json:
        """Return what `getGlobalStat` answers."""
        index = await self.refresh()
        counts = self._survey.counts
        hidden = sum(1 for gid in self._hidden if gid in index.by_gid)
        rows = [row for key in self._engine.active() for row in index.showing(key)[:1]]
        rate = sum(self._rate(row) for row in rows)
        stopped = sum(counts[status] for status in STOPPED) + len(self._removed) - hidden
        return {
            "downloadSpeed": str(int(rate)),
            "uploadSpeed": "0",
            "numActive": str(counts[ACTIVE]),
            "numWaiting": str(counts[WAITING] + counts[PAUSED] + len(self._pending)),
            "numStopped": str(stopped),
            "numStoppedTotal": str(stopped),
        }

    def _rate(self, row: Row) -> float:
        # What is complete brings nothing any more, though its rate is that of the last seconds.
        if not isinstance(row.node, File) or row.status in STOPPED:
            return 0.0
        return self._engine.status(row.node.outline).rate

    async def told(self, rows: Collection["Row | Facts | Json"], keys: Collection[str]) -> list[Json]:
        """Return what is to be told of *rows*, while others get turns."""
        found = []
        for number, row in enumerate(rows):
            if number % MOST_TOLD == 0:
                await trio.lowlevel.checkpoint()
            if isinstance(row, dict):
                found.append(structs.selected(row, keys))
            else:
                found.append(structs.struct(self.facts(row) if isinstance(row, Row) else row, keys))
        return found

    async def find(self, text: str) -> "Row | Facts | Json":
        """Return the one whose gid *text* is, or is the beginning of. Raises Fault."""
        index = await self.refresh()
        gid = self.whole(text)
        if gid in self._pending:
            return self._pending[gid]
        row = index.by_gid.get(gid)
        if row is None or row.node.descriptor in self._gone:
            if gid in self._removed:
                return self._removed[gid]
            raise Fault(f"GID {gid} is not found")
        self._survey.look(row)
        return row

    def whole(self, text: str) -> str:
        """Return the whole gid that *text* is the beginning of. Raises Fault."""
        return self._survey.index.gid(text, [*self._pending, *self._removed])

    async def row(self, text: str) -> Row:
        """Return the row whose gid *text* is, or is the beginning of. Raises Fault."""
        found = await self.find(text)
        if isinstance(found, Row):
            return found
        raise Fault(f"GID {text} is not shown yet" if isinstance(found, Facts) else f"GID {text} was removed")

    def look(self, row: Row) -> str:
        """Return the status of *row* now."""
        return self._survey.look(row)

    # -- one row ----------------------------------------------------------------------------------------------

    def facts(self, row: Row) -> Facts:
        """Return *row* as it is now."""
        node, path = row.node, f"{self.folder}/{row.path}"
        status = self._survey.look(row)
        if not isinstance(node, File):
            reason = node.reason or None
            return Facts(row.gid, status, self.folder, path, error=reason, descriptor=node.descriptor)
        told = self._engine.status(node.outline, brief=True)
        done = told.verified if node.outline.level is Level.CHUNK else told.written
        return Facts(
            row.gid,
            status,
            self.folder,
            path,
            size=told.size,
            done=told.size if told.state == "complete" else done,
            rate=0.0 if status in STOPPED else told.rate,
            error=told.error,
            descriptor=node.descriptor,
            torrent=row.torrent,
            sources=told.sources,
            details=partial(self._details, row, node),
        )

    def _details(self, row: Row, node: File) -> Details:
        known = self._known.get(row.gid)
        if known is None or known[0] is not node.outline:
            known = (node.outline, _details(node))
            self._known[row.gid] = known
        present = self._engine.present(node.outline)
        details = known[1]
        return details if present is None else Details(details.uris, details.chunks, present, details.link)

    # -- what a client does -----------------------------------------------------------------------------------

    async def pause(self, text: str, *, on: bool) -> str:
        """Fetch only what readers wait for, or go on; return the gid. Raises Fault.

        One that goes on without having been paused is fetched whole.
        """
        found = await self.find(text)
        if isinstance(found, Facts):
            return self._pause_pending(found, on=on)
        row = await self.row(text)
        if not isinstance(row.node, File) or row.status in STOPPED or row.status == (PAUSED if on else ACTIVE):
            raise Fault(f"GID {row.gid} can't be {'paused' if on else 'unpaused'} now: it is {row.status}")
        if not on and row.status == WAITING:
            self._begin(row.node)
        self._engine.pause(row.node.outline, on=on)
        self._survey.look(row)
        return row.gid

    def _pause_pending(self, facts: Facts, *, on: bool) -> str:
        """Pause what is not shown yet, once it is."""
        (self.paused_at_first.add if on else self.paused_at_first.discard)(facts.descriptor)
        self._pending[facts.gid] = replace(facts, status=PAUSED if on else WAITING)
        return facts.gid

    def _begin(self, node: File) -> None:
        """Fetch all of *node*, unless that was begun before. Raises Fault."""
        key = node.outline.key
        if key in self._begun and key in self._engine.active():
            return
        try:
            self._engine.prefetch(node.content, Extent(0, node.size))
        except MountdlError as error:
            raise Fault(str(error)) from error
        self._begun.add(key)

    async def pause_all(self, *, on: bool) -> None:
        """Pause all that is not complete, or have all go on."""
        for number, row in enumerate(await self.rows({PAUSED} if not on else {ACTIVE, WAITING})):
            if number % A_TURN == 0:
                await trio.lowlevel.checkpoint()
            if isinstance(row.node, File):
                self._engine.pause(row.node.outline, on=on)
                self._survey.look(row)

    async def hide(self, text: str) -> None:
        """Show a stopped one no more. Raises Fault."""
        found = await self.find(text)
        if isinstance(found, Row) and found.status in STOPPED:
            self._hidden.add(found.gid)
        elif isinstance(found, dict):
            self._removed.pop(str(found["gid"]), None)
        else:
            raise Fault(f"GID {text} can't be removed from the results: it is not stopped")

    async def hide_all(self) -> None:
        """Show no stopped one any more."""
        self._hidden.update(row.gid for row in await self.rows(STOPPED))
        self._removed.clear()

    def gid(self, options: Mapping[str, str]) -> str:
        """Return the gid for what is added with *options*. Raises Fault when the client's own is none or taken."""
        wanted = options.get("gid", "").lower()
        if not wanted:
            return secrets.token_hex(8)
        if len(wanted) != 16 or set(wanted) - set("0123456789abcdef") or wanted == "0" * 16:
            raise Fault(f"Invalid GID {wanted[:40]}")
        if wanted in self._survey.index.by_gid or wanted in self._pending or wanted in self._removed:
            raise Fault(f"GID {wanted} is not unique")
        return wanted

    def taken(self) -> Callable[[str], bool]:
        """Return what says whether the mount shows something at a path now, or is about to. For any thread."""
        tree, soon = self._watch.built.tree, frozenset(facts.path for facts in self._pending.values())
        return lambda path: _there(tree, path) or f"{self.folder}/{path}" in soon

    @property
    def drop(self) -> Drop:
        """Where descriptors are put. Raises Fault where none can be."""
        if self._drop is None:
            raise Fault(self._reason)
        return self._drop

    async def add(self, make: Callable[[], Addition], options: Mapping[str, str]) -> list[str]:
        """Write the descriptor that *make* returns; return the gids of what it will show, the first at least."""
        drop, gid = self.drop, self.gid(options)
        made = await worked(make, self.threads)
        name, mark = await worked(partial(drop.put, made, gid, time.time()), self.threads)
        self._gone = {own: each for own, each in self._gone.items() if own != name}
        self.marks = {**self.marks, name: mark}
        if options.get("pause", "").lower() == "true":
            self.paused_at_first.add(name)
        for number, path in enumerate(made.paths or ("",)):
            own = gid if number == 0 else gid_of(path)
            status = PAUSED if name in self.paused_at_first else WAITING
            self._pending.setdefault(own, Facts(own, status, self.folder, f"{self.folder}/{path}", descriptor=name))
        return [gid, *map(gid_of, made.paths[1:])]

    async def remove(self, text: str) -> str:
        """Remove the descriptor that a row comes from, if a client added it; return the gid. Raises Fault."""
        found = await self.find(text)
        if isinstance(found, dict):
            raise Fault(f"GID {text} was removed already")
        gid = self.whole(text)
        name = found.node.descriptor if isinstance(found, Row) else found.descriptor
        name = next((own for own, mark in self.marks.items() if mark.gid == gid), name)
        where = shown(f"{self.settings.mount.source}/{name}")
        if name not in self.marks:
            raise Fault(f"GID {gid} was not added by RPC: remove its descriptor {where}")
        facts = replace(self.facts(found) if isinstance(found, Row) else found, gid=gid)
        await worked(partial(self.drop.remove, name), self.threads)
        mark = self.marks.get(name)
        self.marks = {own: each for own, each in self.marks.items() if own != name}
        if isinstance(found, Row) and mark is not None and found.node.descriptor == name:
            self._gone = {**self._gone, name: mark.gid}
        else:
            self._survey.changes.append(Change(facts.gid, facts.status, REMOVED, facts.torrent))
        self._forget(name, facts)
        return gid

    def _forget(self, name: str, facts: Facts) -> None:
        """Take in that the descriptor *name* is gone, and with it what has *facts*."""
        self._pending = {gid: each for gid, each in self._pending.items() if each.descriptor != name}
        self._removed[facts.gid] = structs.removed(facts)
        if len(self._removed) > MOST_REMOVED:
            del self._removed[next(iter(self._removed))]

    def limit(self, each: float | None, overall: float | None) -> None:
        """Change the rates of mirrors, in bytes a second; 0 is none, None as it was."""
        self._engine.limit(each, overall)
        rates = {"max-download-limit": each, "max-overall-download-limit": overall}
        self._changed |= {name: str(int(rate)) for name, rate in rates.items() if rate is not None}

    async def limit_one(self, text: str, rate: float | None) -> None:
        """Change the rate of one file from mirrors, in bytes a second; 0 is none, None as it was. Raises Fault."""
        found = await self.find(text)
        if rate is not None and isinstance(found, Row) and found.key is not None:
            self._engine.limit_one(found.key, rate)
            self._limits[found.gid] = str(int(rate))

    def options(self, facts: Facts | None = None) -> dict[str, str]:
        """Return the options of the mount, or those of what has *facts*."""
        told = {**settled.options(self.settings), **self._changed}
        if facts is not None:
            told |= {"gid": facts.gid, "out": facts.path.rpartition("/")[2]}
            told["max-download-limit"] = self._limits.get(facts.gid, told["max-download-limit"])
        return told


def _there(tree: Tree, path: str) -> bool:
    return any(tree.find(PurePosixPath(each)) is not None for each in (path, f"{path}.resolving"))


def _details(node: File) -> Details:
    try:
        content: Content = node.content
    except StoreError:
        return Details()
    link = next((ref.url for ref in content.swarms if ref.mediatype == TORRENT and ref.url[:7] == "magnet:"), "")
    return Details(structs.shown_uris([ref.url for ref in content.mirrors]), content.chunk_map, None, link)
