"""The room that the store may take: what is counted, what is evicted, and what may still be fetched.

Law: bytes are counted before they are written, and what is too much goes in the same step of the loop, so that the
quota holds at every moment, but for what is locked (chunks that are judged or waited for) and what other processes
write between two looks. It knows contents as keys and open `Stored`s; what to evict is `quota`'s choice.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from mountdl.content import ContentKey
from mountdl.errors import StoreError, StoreFrozen
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.store import quota
from mountdl.store.census import AtRest, Resting
from mountdl.store.kernel import BLOCK
from mountdl.store.overflow import MEMORY, Overflow
from mountdl.store.quota import Candidate, Keep, Spared
from mountdl.store.uses import Clock, Uses

log = logging.getLogger(__name__)

STALE = 3600.0
"""Seconds without a use after which a closed content may go for what nobody waits for; and after which a disk that was
full may be filled again by what nobody waits for."""
PAUSE = 30.0
"""Seconds without background work after the disk was full."""
LEAST_ROOM = 1 << 20
"""Bytes that are made free at least on a full disk."""
MARGIN = 64 << 20
"""Bytes of disk that others are left when a content is fetched without asking for room piece by piece."""
REMEDY = (
    "what is stored is read on, and what readers wait for goes by way of memory and is not kept;"
    " see the kernel's log, then repair its file system or mount it read-write again"
)
"""What to do about a disk that takes nothing."""
MOST_AT_ONCE = 16
"""Closed contents opened in one search for room."""


class Tenant(Protocol):
    """An open content, as the room sees it."""

    key: ContentKey
    size: int
    uses: Uses
    overflow: Overflow

    @property
    def blocks(self) -> int:
        """How many blocks of 512 bytes it takes on disk."""

    @property
    def there(self) -> ExtentSet:
        """What is stored of it."""

    @property
    def spared(self) -> Callable[[], Spared]:
        """What tells what somebody needs of it."""

    def evict(self, extent: Extent) -> None:
        """Give the room of *extent* back."""

    def forget(self, extent: Extent) -> None:
        """Give the memory of *extent* back."""


class Room:
    """The room of one store. *limit* is in bytes; None: as much as the disk has.

    *tenants* tells which contents are open, *pinned* says of one whether it is pinned, and *rouse* opens a closed
    one so that it can be evicted from, or returns None when that can't be done.
    """

    def __init__(
        self,
        limit: int | None,
        clock: Clock,
        tenants: Callable[[], Iterable[Tenant]],
        pinned: Callable[[ContentKey], bool],
        rouse: Callable[[ContentKey], Tenant | None],
    ) -> None:
        self.limit = limit
        self.resting: AtRest | None = None
        self.evicted: set[ContentKey] = set()
        self.pins_go = True
        """Whether what is pinned goes, too, where nothing else is left."""
        self.leaving: Callable[[ContentKey], None] = _nobody
        self._clock, self._tenants, self._pinned, self._rouse = clock, tenants, pinned, rouse
        self._used = 0
        self._busy = False
        self._tight = False
        self._full_at = self._told_at = float("-inf")
        self.frozen: str | None = None
        """That the disk takes nothing, why, and what to do about it; None where it does, as far as is known."""

    @property
    def watched(self) -> bool:
        """Say whether what closed contents take has to be known: there is a quota, or the disk was full lately."""
        return self.limit is not None or self._clock.now - self._full_at <= PAUSE

    @property
    def used(self) -> int:
        """How many bytes of disk all contents take, as far as is known."""
        return self._used

    def surveyed(self, resting: AtRest) -> None:
        """Take a census in; of contents that are open here it is not asked."""
        self.resting = resting
        self.measure()

    def measure(self) -> None:
        """Count anew: ask the disk about what is open, and the last census about the rest."""
        tenants = list(self._tenants())
        self._used = sum(tenant.blocks for tenant in tenants) * BLOCK
        if self.resting is not None:
            for tenant in tenants:
                self.resting.remove(tenant.key)
            self._used += self.resting.taken

    def opened(self, tenant: Tenant) -> None:
        """Take in that *tenant* is open by now."""
        self._used += tenant.blocks * BLOCK
        if self.resting is not None:
            self._used -= self.resting.remove(tenant.key)

    def left(self, rest: Resting) -> None:
        """Take in that a content was closed, or is there without ever having been open."""
        if self.resting is not None:
            self.resting.add(rest)

    def taking(self, count: int) -> None:
        """Say that *count* bytes are about to be written: others make room if need be."""
        self._used += count
        if self.limit is not None and self._used > self.limit and not self._busy:
            self.measure()
            over = self._used + count - self.limit
            if over > 0:
                self.free(over + quota.gap(self.limit))
            self._used += count

    def full(self, wanted: int) -> None:
        """Take in that the disk had no room for *wanted* bytes: evict, and let background work wait."""
        if self._clock.now - self._full_at > PAUSE:
            log.warning("the disk of the cache is full: what was not used for longest makes room")
        self._full_at = self._clock.now
        self.free(max(wanted, LEAST_ROOM))

    def refused(self, why: StoreFrozen) -> None:
        """Take in that the disk took nothing: nothing goes for room any more, and background work waits."""
        told, self.frozen = self.frozen is not None, f"the disk of the cache takes nothing ({why}): {REMEDY}"
        self._full_at = self._clock.now
        if not told and self._full_at - self._told_at > STALE:
            self._told_at = self._full_at
            log.warning("%s", self.frozen)

    def took(self) -> None:
        """Take in that the disk took bytes."""
        if self.frozen is not None:
            log.info("the disk of the cache takes bytes again")
            self.frozen = None

    def holds(self, count: int, free: int) -> bool:
        """Say whether *count* bytes more find room on a disk with *free* bytes, without anything having to go."""
        if self.frozen is not None or self._clock.now - self._full_at <= PAUSE or count + MARGIN > free:
            return False
        if self.limit is None:
            return True
        self.measure()
        return self.resting is not None and self._used + count + quota.gap(self.limit) <= self.limit

    def hold(self, count: int) -> bool:
        """Say whether memory may hold *count* bytes more; what was held longest and nobody waits for goes for them."""
        tenants = list(self._tenants())
        over = sum(tenant.overflow.total for tenant in tenants) + count - MEMORY
        held = [(scrap.number, scrap.extent, tenant) for tenant in tenants for scrap in tenant.overflow.scraps]
        for _, extent, tenant in sorted(held, key=lambda each: each[0]):
            if over > 0 and not any(locked.overlaps(extent) for locked in tenant.spared().locked):
                tenant.forget(extent)
                over -= extent.length
        return over <= 0

    def free(self, wanted: int) -> int:
        """Evict *wanted* bytes, or as many as may go; return how many blocks' bytes that gave back."""
        if self._busy or self.frozen is not None:
            return 0
        self._busy = True
        before = self._used
        try:
            last = self._evict(wanted)
        finally:
            self._busy = False
        self.measure()
        freed = max(0, before - self._used)
        self._tight = last is None or last >= Keep.AHEAD
        return freed

    def _evict(self, wanted: int) -> Keep | None:
        """Evict; return how dear the last chunk was that went, None when there was not enough."""
        tenants = list(self._tenants())
        found = self._candidates(tenants, 0)
        roused = self._roused(list(quota.choose(found, wanted)), wanted)
        found += self._candidates(roused, len(tenants))
        tenants += roused
        keep: Keep | None = None
        for chosen in quota.choose(found, wanted):
            tenant, keep = tenants[chosen.owner], chosen.keep
            wanted -= chosen.length
            self.evicted.add(tenant.key)
            try:
                tenant.evict(Extent(chosen.start, chosen.stop))
            except StoreFrozen as error:
                self.refused(error)
                return None
            except StoreError as error:
                log.warning("%s: %s", tenant.key, error)
        return keep if wanted <= 0 else None

    def _candidates(self, tenants: list[Tenant], first: int) -> list[Candidate]:
        found: list[Candidate] = []
        for number, tenant in enumerate(tenants, first):
            pinned = self._pinned(tenant.key)
            if pinned and not self.pins_go:
                continue
            found += quota.candidates(number, tenant.there, tenant.uses, tenant.spared(), tenant.size, pinned=pinned)
        return found

    def _roused(self, chosen: list[Candidate], wanted: int) -> list[Tenant]:
        """Open closed contents that were not used for longer than what is *chosen*, or where that is not enough."""
        enough = sum(each.length for each in chosen) >= wanted and all(each.keep is Keep.NORMAL for each in chosen)
        before = max(each.used_at for each in chosen) if enough else float("inf")
        roused: list[Tenant] = []
        age = self._clock.plausible
        while self.resting is not None and wanted > 0 and len(roused) < MOST_AT_ONCE:
            pinned = not enough and self.pins_go
            rest = self.resting.oldest(pinned=False) or (self.resting.oldest(pinned=True) if pinned else None)
            if rest is None or age(rest.used_at) >= before:
                break
            self.resting.remove(rest.key)
            tenant = self._rouse(rest.key)
            if tenant is not None:
                roused.append(tenant)
                wanted -= rest.taken
        return roused

    def allowance(self) -> Priority:
        """Return the least priority for which bytes may be fetched now: what nobody waits for ends first."""
        if self._clock.now - self._full_at <= PAUSE:
            return Priority.READ if self._tight or self.frozen is not None else Priority.READAHEAD
        if self.limit is None:
            return Priority.BACKGROUND
        if self._used + quota.gap(self.limit) < self.limit:
            self._tight = False
            return Priority.BACKGROUND if self.resting is not None else Priority.READAHEAD
        if self._tight:
            return Priority.READ
        return Priority.BACKGROUND if self._stale() else Priority.READAHEAD

    @property
    def reach(self) -> float:
        """How many bytes a second a reader may be expected to want: two seconds of it are a quarter of the quota."""
        return float("inf") if self.limit is None else self.limit / 8

    def too_small_for(self, chunk: int) -> str | None:
        """Say that the quota holds hardly a chunk of *chunk* bytes; None where it does."""
        if self.limit is None or self.limit >= 2 * chunk:
            return None
        return f"--cache-size {self.limit} is less than two chunks of {chunk} bytes: each is fetched again and again"

    def relax(self) -> None:
        """Let readers ahead try again: what was tight a moment ago may not be now.

        Without a quota it was the disk that was full, and somebody has made room on it since: what went may come again.
        """
        self._tight = False
        if self.limit is None and self._clock.now - self._full_at > STALE:
            self.evicted.clear()

    def _stale(self) -> bool:
        rest = self.resting.oldest(pinned=False) if self.resting is not None else None
        return rest is not None and self._clock.plausible(rest.used_at) < self._clock.now - STALE


def _nobody(key: ContentKey) -> None:
    """Nobody minds that bytes of *key* go."""
