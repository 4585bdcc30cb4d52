"""Learn the sizes that descriptors don't give, what else is told with them, and what documents say that they name.

Law: each entry of which something is not known has one task that asks until it is, at most `_AT_ONCE` ask at a
time. What asks is injected: this module knows neither network nor sources.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import replace
from typing import Protocol

import trio

from mountdl.catalog.build import SizeKey
from mountdl.content import LARGEST
from mountdl.descriptors.learned import Learned, Pending, awaited, poorer
from mountdl.descriptors.model import Entry
from mountdl.errors import ContentUnreachable, ContentUntold, MountdlError, StoreError

log = logging.getLogger(__name__)

Resolve = Callable[[Entry], Awaitable[Learned | None]]
"""Ask sources of an entry for its size; None or a MountdlError when none tells."""

Gauge = Callable[[Entry, Learned | None, Callable[[int], None]], Awaitable[Learned | None]]
"""Fetch all of an entry to learn its size, telling how much is here; None where it is as it was known."""

HEAD_START = 3.0
"""Seconds that sources have to tell a size before what an earlier mount learned is shown."""

_UNTOLD = Pending("no source tells the size")
_GAUGED = "fetched whole, as no server tells its length"
_FIRST_MARK = 16 << 20
"""Bytes of a file that is fetched to learn its size at which that is told first, and again with twice as many."""
_AT_ONCE = 8
_PATIENCE = 120.0
_FIRST_DELAY = 5.0
_LONGEST_DELAY = 300.0
_FEW_DELAY = 30.0
"""The longest delay where nobody answers for few: a network that is back should not be missed for minutes."""
_SPACE = 0.3
"""Seconds between two questions in the mean, of many that nobody answers."""
_OUTAGE = 30.0
"""Seconds without any answer after which the first one has all others asked at once."""
_LONGEST_IDLE = 6 * 3600.0
"""Seconds between two looks for a document of a file that is shown without it."""


class Memory(Protocol):
    """Keeps what was learned for other mounts. Blocking; never fails."""

    def recall(self, key: str) -> Learned | None:
        """Return what was kept of *key*, marked as remembered, or None."""

    def keep(self, key: str, learned: Learned) -> None:
        """Keep what was *learned* of *key*."""


class Sizes:
    """What was learned so far. *changed* is called after each change of `known` or `pending`."""

    def __init__(
        self,
        resolve: Resolve,
        changed: Callable[[], None],
        memory: Memory | None = None,
        gauge: Gauge | None = None,
    ) -> None:
        self.known: dict[SizeKey, Learned] = {}
        self.pending: dict[SizeKey, Pending] = {}
        self._resolve = resolve
        self._changed = changed
        self._memory, self._gauge = memory, gauge
        self._kept: dict[SizeKey, Learned] = {}
        self._asked: dict[SizeKey, tuple[tuple[Entry, ...], trio.CancelScope]] = {}
        self._answered_at = -math.inf
        self._back = trio.Event()
        self._unreached: set[SizeKey] = set()
        self._boundless: dict[SizeKey, Pending] = {}
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self._threads = trio.CapacityLimiter(1)
        self._nursery: trio.Nursery | None = None

    @property
    def unreached(self) -> int:
        """Of how many that are asked for nobody answered at all when they were asked last."""
        return len(self._unreached)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Ask for what `ask_for` names until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def ask_for(self, unresolved: Mapping[SizeKey, tuple[Entry, ...]], learned: Set[SizeKey] = frozenset()) -> None:
        """Ask for *unresolved* from now on, and for nothing else; with other sources, at once.

        What is known of others than those and *learned* is forgotten: no descriptor names them any more.
        """
        for key in self.known.keys() - learned - unresolved.keys():
            del self.known[key]
        for key in self._asked.keys() - unresolved.keys():
            self._forget(key)
        for key, entries in unresolved.items():
            asked = self._asked.get(key)
            if asked is not None and asked[0] == entries:
                continue
            if asked is not None:
                asked[1].cancel()
            scope = trio.CancelScope()
            self._asked[key] = (entries, scope)
            if self._nursery is not None:
                self._nursery.start_soon(self._learn, key, entries, scope)

    def _forget(self, key: SizeKey) -> None:
        _, scope = self._asked.pop(key)
        scope.cancel()
        self.pending.pop(key, None)
        self._kept.pop(key, None)
        self._unreached.discard(key)
        self._boundless.pop(key, None)

    async def _learn(self, key: SizeKey, entries: tuple[Entry, ...], scope: trio.CancelScope) -> None:
        delay = _FIRST_DELAY
        with scope:
            await self._ask_remembering(key, entries)
            while not self._settled(key):
                with trio.move_on_after(delay):
                    await self._back.wait()
                delay = min(delay * 2, self._longest(key, entries[0]))
                await self._ask_all(key, entries)

    def _longest(self, key: SizeKey, entry: Entry) -> float:
        """Return the longest time between two questions for *entry*, which is *key*."""
        if not awaited(entry):
            return _LONGEST_IDLE
        # Who answers, if not what we want, is asked seldom; and so are peers, who are asked for a minute each time.
        if key not in self._unreached:
            return _LONGEST_DELAY
        return min(max(_FEW_DELAY, _SPACE * len(self._asked)), _LONGEST_DELAY)

    def _settled(self, key: SizeKey) -> bool:
        learned = self.known.get(key)
        return learned is not None and not learned.remembered

    async def _ask_remembering(self, key: SizeKey, entries: tuple[Entry, ...]) -> None:
        """Ask for the first time; what an earlier mount learned is shown if that fails or takes long."""
        kept = None
        if self._memory is not None:
            kept = await trio.to_thread.run_sync(self._memory.recall, key, limiter=self._threads)
        if kept is None or key in self.known:
            await self._ask_all(key, entries)
            return
        self._kept[key] = kept
        async with trio.open_nursery() as nursery:
            # A file that is shown already is better shown as it was: what is stored of it was judged so.
            nursery.start_soon(self._show_kept, key, kept, HEAD_START if awaited(entries[0]) else 0.0)
            await self._ask_all(key, entries)
            nursery.cancel_scope.cancel()
        if key not in self.known:
            await self._show_kept(key, kept, 0.0)

    async def _show_kept(self, key: SizeKey, kept: Learned, delay: float) -> None:
        await trio.sleep(delay)
        self.known[key] = kept
        self.pending.pop(key, None)
        self._changed()

    async def _ask_all(self, key: SizeKey, entries: tuple[Entry, ...]) -> None:
        """Ask for each of *entries* until something is told, and take note of that, or of why nothing is."""
        pending = Pending("")
        for entry in entries:
            found = await self._ask(key, entry)
            if found is _UNTOLD and key in self._boundless:
                found = self._boundless[key]
            elif found is _UNTOLD and self._gauge is not None:
                found = await self._gauged(self._gauge, key, entry)
            if isinstance(found, Learned):
                await self._take(key, found)
                return
            pending = found
        if awaited(entries[0]) and key not in self.known and self.pending.get(key) != pending:
            self.pending[key] = pending
            self._changed()

    async def _take(self, key: SizeKey, learned: Learned) -> None:
        before, kept = self.known.get(key), self._kept.get(key)
        if kept is not None and poorer(learned, kept):
            # The document can't be had today: what it said is better than nothing, and it is asked for again.
            if before != kept:
                await self._show_kept(key, kept, 0.0)
            return
        self.known[key] = learned
        self.pending.pop(key, None)
        self._changed()
        if self._memory is not None and (before is None or replace(before, remembered=False) != learned):
            # Shielded, for what is known is asked for no longer, which cancels this.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._memory.keep, key, learned, limiter=self._threads)

    async def _ask(self, key: SizeKey, entry: Entry) -> Learned | Pending:
        """Return what is told, or why it is not known."""
        self._unreached.discard(key)
        async with self._slots:
            try:
                with trio.fail_after(_PATIENCE):
                    learned = await self._resolve(entry)
            except trio.TooSlowError:
                return Pending(f"no source told the size within {_PATIENCE:.0f} s")
            except MountdlError as error:
                if isinstance(error, ContentUnreachable):
                    self._unreached.add(key)
                return Pending(str(error), hopeless=isinstance(error, ContentUntold))
            except Exception:
                log.exception("asking for the size of %s failed in a way that is a bug of mountdl", entry.path)
                return Pending("asking for the size failed")
        if learned is None:
            return _UNTOLD
        self._note_answer()
        if not 0 <= learned.size <= LARGEST:
            return Pending(f"a source tells {learned.size} bytes, which no file can have")
        return learned

    async def _gauged(self, gauge: Gauge, key: SizeKey, entry: Entry) -> Learned | Pending:
        """Have all of *entry* fetched; return what that told, or why it told nothing."""
        mark = _FIRST_MARK

        def say(reason: str) -> None:
            self.pending[key] = Pending(reason, coming=True)
            self._changed()

        def told(count: int) -> None:
            nonlocal mark
            if count >= mark:
                mark *= 2
                say(f"{_GAUGED}, {count >> 20} MiB so far")

        kept = self._kept.get(key)
        if kept is None:
            say(_GAUGED)
        try:
            found = await gauge(entry, kept, told)
        except MountdlError as error:
            failed = Pending(f"no server tells how long it is, and it could not be fetched to find out: {error}")
            if isinstance(error, StoreError):
                self._boundless[key] = failed  # else what has no end would fill half of the disk every five minutes
            return failed
        if found is None:
            return _UNTOLD if kept is None else replace(kept, remembered=False)
        return found

    def _note_answer(self) -> None:
        """Take in that somebody answered: after a while in which nobody did, all who failed may do so again."""
        now = trio.current_time()
        if now - self._answered_at > _OUTAGE:
            self._back.set()
            self._back = trio.Event()
        self._answered_at = now
