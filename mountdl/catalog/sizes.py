"""Learn the sizes that descriptors don't give, what else is told with them, and what documents say that they name.

Law: each entry of which something is not known has one task that asks until it is, at most `_AT_ONCE` ask at a
time. What asks is injected: this module knows neither network nor sources.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

import trio

from mountdl.catalog.build import LARGEST, SizeKey
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Entry
from mountdl.errors import MountdlError

log = logging.getLogger(__name__)

Resolve = Callable[[Entry], Awaitable[Learned | None]]
"""Ask sources of an entry for its size; None or a MountdlError when none tells."""

_AT_ONCE = 8
_PATIENCE = 120.0
_FIRST_DELAY = 5.0
_LONGEST_DELAY = 300.0
_LONGEST_IDLE = 6 * 3600.0
"""Seconds between two looks for a document of a file that is shown without it."""


class Sizes:
    """What was learned so far. *changed* is called after each change of `known` or `failures`."""

    def __init__(self, resolve: Resolve, changed: Callable[[], None]) -> None:
        self.known: dict[SizeKey, Learned] = {}
        self.failures: dict[SizeKey, str] = {}
        self._resolve = resolve
        self._changed = changed
        self._asked: dict[SizeKey, tuple[tuple[Entry, ...], trio.CancelScope]] = {}
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Ask for what `ask_for` names until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def ask_for(self, unresolved: Mapping[SizeKey, tuple[Entry, ...]]) -> None:
        """Ask for *unresolved* from now on, and for nothing else; with other sources, at once."""
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
        self.failures.pop(key, None)

    async def _learn(self, key: SizeKey, entries: tuple[Entry, ...], scope: trio.CancelScope) -> None:
        waited_for = entries[0].size is None
        delay, longest = _FIRST_DELAY, _LONGEST_DELAY if waited_for else _LONGEST_IDLE
        with scope:
            while True:
                reason = ""
                for entry in entries:
                    learned, reason = await self._ask(entry)
                    if learned is not None:
                        self.known[key] = learned
                        self.failures.pop(key, None)
                        self._changed()
                        return
                if waited_for and self.failures.get(key) != reason:
                    self.failures[key] = reason
                    self._changed()
                await trio.sleep(delay)
                delay = min(delay * 2, longest)

    async def _ask(self, entry: Entry) -> tuple[Learned | None, str]:
        """Return what is told, or None and why it is not known."""
        async with self._slots:
            try:
                with trio.fail_after(_PATIENCE):
                    learned = await self._resolve(entry)
            except trio.TooSlowError:
                return None, f"no source told the size within {_PATIENCE:.0f} s"
            except MountdlError as error:
                return None, str(error)
            except Exception:
                log.exception("asking for the size of %s failed in a way that is a bug of mountdl", entry.path)
                return None, "asking for the size failed"
        if learned is None:
            return None, "no source tells the size"
        if not 0 <= learned.size <= LARGEST:
            return None, f"a source tells {learned.size} bytes, which no file can have"
        return learned, ""
