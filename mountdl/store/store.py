"""The store: one directory that keeps the bytes of contents between mounts.

Law: a content is open once in all processes together, and as long as anybody writes to it; the number of
open files is bounded by what is open now, plus a few contents that wait for their last checkpoint. Known by
key only; it knows no network, no names and no chunks. Everything runs on the loop but checkpoints and looks at what
all contents take, which go to a thread.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import trio

from mountdl.content import ContentKey, Outline
from mountdl.errors import StoreBusy, StoreError, StoreFrozen, StoreFull, UsageError
from mountdl.openfiles import share
from mountdl.priorities import Priority
from mountdl.settings import Limit
from mountdl.store import census
from mountdl.store import journal as journals
from mountdl.store import manifest as manifests
from mountdl.store.census import Resting
from mountdl.store.datafile import DataFile
from mountdl.store.directory import prepare
from mountdl.store.glances import NOTHING, Glance, Space
from mountdl.store.kernel import BLOCK
from mountdl.store.place import DATA, FILES, PIN, Place, store_errors
from mountdl.store.room import Room
from mountdl.store.stored import Home, Stored
from mountdl.store.summaries import Summaries
from mountdl.store.trails import Trails
from mountdl.store.uses import Clock

log = logging.getLogger(__name__)

CHECKPOINT_INTERVAL = 5.0
"""Seconds between two looks for what is not on record yet: what a power loss may cost."""
TICK = 1.0
"""Seconds between two looks at what open contents take."""
SURVEY_INTERVAL = 30.0
"""Seconds between two looks at what closed contents take, which other processes may have changed."""
CHECKPOINT_PATIENCE = 30.0
"""Seconds that one round of checkpoints may take before the loop goes on without it (a disk that hangs)."""
_A_TURN = 50  # contents that are looked at before others get a turn
_PARKED = 64  # closed contents that may keep their files open until the janitor comes


class Store:
    """The contents kept below *directory*."""

    def __init__(
        self, directory: Path, *, limit: Limit | None = None, boot: bytes | None = None, option: str = "--cache-dir"
    ) -> None:
        """Create the directory if need be, for its owner only, and list what is in it. UsageError has a remedy.

        It takes no more room than *limit*; None: than the disk has. *boot*: the kernel's boot id, but for tests.
        *option* is what names another directory.
        """
        self.directory, self._option = directory, option
        self._contents = directory / "contents"
        self._clock = Clock(time.time(), time.monotonic())
        self._open: dict[ContentKey, Stored] = {}
        self._parked: dict[ContentKey, Stored] = {}
        self._summaries = Summaries()
        prepare(directory, self._contents, option)
        most = None if limit is None else limit.of(self.space().total)
        self._room = Room(most, self._clock, self._tenants, self.pinned, self._roused)
        self._trails = Trails()
        self._home = Home(boot or journals.boot_id(), self._clock, self._released, self._room, self._trails)
        self._keys = set(census.keys(self._contents))
        self._most_parked = share(16, _PARKED)

    def before_evicting(self, told: Callable[[ContentKey], None]) -> None:
        """Have *told* called with the key of each content, open or not, before bytes of it go."""
        self._room.leaving = told

    def open(self, content_key: ContentKey, size: int, fingerprint: str) -> Stored:
        """Return the content of this key; it needs a `close` for each open. All opens share one `Stored`.

        *fingerprint* is its chunk map's: when another one was stored, nothing counts as verified before
        it is hashed again. Raises StoreBusy, StoreFull, StoreDamaged, or StoreError: it is open here as another, too.
        """
        stored = self._open.get(content_key) or self._had_back(content_key)
        if stored is not None and (stored.size, stored.fingerprint) != (size, fingerprint):
            if stored.opens:
                raise StoreError(f"{content_key} is open with another size or other chunks")
            if stored.loan.given:
                raise StoreBusy(f"a swarm has yet to give {content_key} back, which it fetched as another; try again")
            self._let_go(self._parked.pop(content_key))
            stored = None
        if stored is None:
            stored = self._made(content_key, size, fingerprint)
            self._keys.add(content_key)
            self._summaries.forget(content_key)
            self._open[content_key] = stored
            self._room.opened(stored)
        stored.opens += 1
        self._parked.pop(content_key, None)
        self._open[content_key] = stored
        return stored

    def _made(self, key: ContentKey, size: int, fingerprint: str) -> Stored:
        make = partial(Stored, Place(self._contents, key), size, fingerprint, self._home)
        try:
            with store_errors(f"can't use {self._contents}"):
                self._stand()
            return make()
        except StoreFrozen as error:
            self._room.refused(error)
            return make(frozen=True)
        except StoreFull:  # a folder or a file needs a block, too
            self._room.full(0)
            return make()

    def _had_back(self, key: ContentKey) -> Stored | None:
        """Return the content of *key* if it is parked, and have it given back by whom it may be lent to."""
        stored = self._parked.get(key)
        if stored is not None:
            stored.loan.recall()
        return stored

    def reopen(self, key: ContentKey) -> Stored:
        """Return the content of this key as it is on record; it needs a `close`.

        StoreError when nothing is on record of it, else as for `open`.
        """
        place = Place(self._contents, key)
        header = self._summaries.of(place) if key in self._keys else None
        if header is None:
            if key in self._keys:
                DataFile(place, 0).close()  # StoreBusy, where another process will put it on record in a moment
            raise StoreError(f"{key}: nothing is on record of it in the cache")
        return self.open(key, header.size, header.fingerprint)

    def recorded(self, key: ContentKey) -> manifests.Header | None:
        """Return what the last checkpoint said of *key*; None where nothing is on record."""
        return self._summaries.of(Place(self._contents, key))

    def unnoticed(self) -> None:
        """Have what is done from now on not count as a use."""
        self._clock.stop()

    def census(self) -> dict[ContentKey, Resting]:
        """Return what each content takes, and when it was last used. For a worker thread where there are many."""
        return census.take(self._contents)

    def remove(self, key: ContentKey) -> None:
        """Remove all of *key* that is here. StoreBusy when a process has it open."""
        with store_errors(f"can't remove {key}"):
            self._remove(Place(self._contents, key))

    def shrink(self, limit: int) -> None:
        """Evict until no more than *limit* bytes are taken, or nothing is left but pins and what others have open."""
        room, before = self._room, None
        room.limit, room.pins_go = limit, False
        room.surveyed(census.at_rest(self._contents, self._clock.plausible))
        while room.used > limit and room.used != before:
            before = room.used
            room.free(before - limit)
            for key in list(self._parked):  # those that were opened for that, a few at a time
                self._let_go(self._parked.pop(key))
            room.measure()

    def glance(self, key: ContentKey, size: int) -> Glance:
        """Say how much of a content is here, without opening it. Never fails.

        Of one that is not open it is what the last checkpoint said; nothing if that was of another size.
        """
        stored = self._open.get(key) or self._parked.get(key)
        if stored is not None:
            return Glance(stored.written.total, stored.verified.total, stored.blocks)
        if key not in self._keys:
            return NOTHING
        place = Place(self._contents, key)
        try:
            blocks = place.path(DATA).lstat().st_blocks
        except OSError:
            return NOTHING
        header = self._summaries.of(place)
        if header is None or header.size != size:
            return Glance(0, 0, blocks)
        return Glance(header.written, header.verified, blocks)

    async def written(self, contents: Mapping[ContentKey, Outline]) -> int:
        """Return how many bytes of *contents* are here. Others get turns meanwhile: each content takes 16 to 37 us."""
        total = 0
        for number, key in enumerate(self._keys & contents.keys()):
            if number % _A_TURN == 0:
                await trio.lowlevel.checkpoint()
            total += self.glance(key, contents[key].size).written
        return total

    def pin(self, key: ContentKey, *, on: bool) -> None:
        """Keep *key*'s bytes, or no longer, whatever room is wanted for others; it may have none yet.

        Raises StoreError.
        """
        self._stand()
        place = Place(self._contents, key)
        with store_errors(f"can't {'pin' if on else 'unpin'} {key}"):
            place.make_folder()
            if on:
                os.close(place.open(PIN, os.O_WRONLY | os.O_CREAT))
            else:
                place.unlink(PIN)

    def pinned(self, key: ContentKey) -> bool:
        """Say whether *key* is pinned."""
        return Place(self._contents, key).path(PIN).exists()

    @property
    def limit(self) -> int | None:
        """How many bytes of disk it may take; None: as many as there are."""
        return self._room.limit

    @property
    def used(self) -> int:
        """How many bytes of disk it takes, as far as is known by now."""
        return self._room.used

    @property
    def frozen(self) -> str | None:
        """That the disk takes nothing, why, and what to do about it; None where it does, as far as is known."""
        return self._room.frozen

    def allowance(self) -> Priority:
        """Return the least priority for which bytes may be fetched now."""
        return self._room.allowance()

    def evicted(self, key: ContentKey) -> bool:
        """Say whether any of *key*'s bytes had to make room since the store was made."""
        return key in self._room.evicted

    def space(self) -> Space:
        """Say how much room the disk has. StoreError when it does not tell."""
        with store_errors(f"can't ask for the room in {self.directory}"):
            self._stand()
            found = os.statvfs(self._contents)
        return Space(found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize, found.f_bavail * found.f_frsize)

    def keys(self) -> frozenset[ContentKey]:
        """Return the keys of all contents that were here when the store was made or were opened since."""
        return frozenset(self._keys)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the janitor: put on record every few seconds what is not, until cancelled, and once more then."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._trails.run)
            await self._keep_record()

    async def _keep_record(self) -> None:
        try:
            survey = checkpoint = trio.current_time()
            while True:
                self._tick()
                if trio.current_time() >= survey or (self._room.watched and self._room.resting is None):
                    await self._survey()
                    survey = trio.current_time() + SURVEY_INTERVAL
                await trio.sleep(min(TICK, CHECKPOINT_INTERVAL))
                if trio.current_time() >= checkpoint + CHECKPOINT_INTERVAL:
                    await self._checkpoint_all()
                    checkpoint = trio.current_time()
        finally:
            await self._checkpoint_all()

    def _tick(self) -> None:
        """Keep the time that uses are stamped with, and hold the quota against what the disk says."""
        self._clock.follow(time.time(), time.monotonic())
        for stored in self._tenants():
            stored.unload()
        if self._room.limit is not None:
            self._room.measure()
            self._room.taking(0)
        self._room.relax()

    async def _survey(self) -> None:
        """Look what all contents take, those of other processes too."""
        if self._room.watched:
            look = partial(census.at_rest, self._contents, self._clock.plausible)
            self._room.surveyed(await trio.to_thread.run_sync(look, abandon_on_cancel=True))

    def _stand(self) -> None:
        """See to it that the directory is there: somebody may have removed it under us. StoreError when it can't be."""
        if self._contents.is_dir():
            return
        try:
            prepare(self.directory, self._contents, self._option)
        except UsageError as error:
            raise StoreError(str(error)) from error
        log.warning("%s was removed under us; it is made anew, and what it held is fetched again", self.directory)

    def _tenants(self) -> list[Stored]:
        return [*self._open.values(), *self._parked.values()]

    def _roused(self, key: ContentKey) -> Stored | None:
        """Open a closed content to evict from it; None when it can't be, or was removed as of no worth."""
        place = Place(self._contents, key)
        try:
            header = self._summaries.of(place)
            if header is None:
                self._remove(place)
                return None
            stored = Stored(place, header.size, header.fingerprint, self._home)
        except (StoreError, OSError) as error:
            log.info("%s can't make room: %s", key, error)
            return None
        self._parked[key] = stored
        return stored

    def _remove(self, place: Place) -> None:
        """Remove a content of which nothing is on record, unless another process has it open."""
        data = DataFile(place, 0)
        try:
            place.unlink(*FILES)
            self._keys.discard(place.key)
        finally:
            data.close()

    def close(self) -> None:
        """Put all on record and let all files go, whatever is still open."""
        for stored in self._tenants():
            stored.loan.end(stored.there)  # whoever writes files of ours has ended by now
            self._let_go(stored)
        self._open.clear()
        self._parked.clear()

    async def _checkpoint_all(self) -> None:
        # Shielded, so that a cancelled janitor does not leave a thread with half a checkpoint behind.
        with trio.move_on_after(CHECKPOINT_PATIENCE, shield=True) as scope:
            for stored in self._tenants():
                if stored in (self._open.get(stored.key), self._parked.get(stored.key)):  # else closed meanwhile
                    await self._record(stored)
        if scope.cancelled_caught:
            log.warning("the disk of the cache did not sync within %g s", CHECKPOINT_PATIENCE)

    async def put_away(self, key: ContentKey) -> None:
        """Have *key*, which is closed, on record, and let its files go, unless it is lent."""
        while (stored := self._parked.get(key)) is not None and not stored.loan.given:
            await self._record(stored)
            await trio.sleep(0.02 if stored.busy else 0)  # the janitor's thread may be at it

    async def _record(self, stored: Stored) -> None:
        closed = self._parked.get(stored.key) is stored  # else what is written until then is in no checkpoint
        if stored.dirty and (running := stored.begin_checkpoint()) is not None:
            await trio.to_thread.run_sync(running.save, abandon_on_cancel=True)
        stored.end_checkpoint()  # also another's, whose thread has ended and who has yet to hear of it
        if closed and self._parked.get(stored.key) is stored and not stored.busy:
            del self._parked[stored.key]
            self._release(stored)

    def _released(self, stored: Stored) -> None:
        """Take note of a content's last close: clean ones go, others wait for the janitor."""
        if self._open.get(stored.key) is not stored:
            return
        del self._open[stored.key]
        stored.end_checkpoint()
        if not stored.dirty and not stored.busy:
            self._release(stored)
            return
        self._parked[stored.key] = stored
        free = [key for key, each in self._parked.items() if not each.busy]
        if len(free) > self._most_parked:
            self._let_go(self._parked.pop(free[0]))

    def _let_go(self, stored: Stored) -> None:
        stored.checkpoint()
        self._release(stored)

    def _release(self, stored: Stored) -> None:
        if self.evicted(stored.key) and not (stored.there or stored.frozen or self.pinned(stored.key)):
            try:
                Place(self._contents, stored.key).unlink(*FILES)
            except OSError as error:
                log.warning("%s: the files of what was evicted can't be removed: %s", stored.key, error.strerror)
            self._keys.discard(stored.key)
            self._summaries.forget(stored.key)
        else:
            pinned = self._room.limit is not None and self.pinned(stored.key)
            self._room.left(Resting(stored.key, stored.blocks * BLOCK, stored.uses.latest, pinned))
        stored.release()
