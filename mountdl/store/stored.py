"""One open content: its bytes and what is known of them.

Law: `verified` is part of `written`, `doubted` is apart from both; bytes that are verified never
change, and whatever is in one of the sets is in the data file, or in memory (`Overflow`) where the disk
is full and somebody waits for it. It records what it is told is
verified; it does not know chunks, digests or sources. Everything runs on the loop but what says
otherwise.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import proxy

from mountdl.content import ContentKey
from mountdl.errors import StoreCrowded, StoreDamaged, StoreError, StoreFrozen, StoreFull
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import Hasher, chunk_length_of
from mountdl.store.datafile import DataFile
from mountdl.store.journal import Kind
from mountdl.store.ledger import Checkpoint, Outcome
from mountdl.store.loan import Loan
from mountdl.store.manifest import Manifest
from mountdl.store.opening import Opening
from mountdl.store.overflow import Overflow
from mountdl.store.place import DATA, Place, store_errors
from mountdl.store.quota import Spared
from mountdl.store.reading import Reading
from mountdl.store.recovery import common
from mountdl.store.room import Room
from mountdl.store.sums import Sums, sums_of
from mountdl.store.trails import Trail, Trails
from mountdl.store.uses import Clock, Uses
from mountdl.weak import weakly

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Home:
    """What the store is to each of its contents; *released* is called at the last close."""

    boot: bytes
    clock: Clock
    released: Callable[["Stored"], None]
    room: Room
    trails: Trails


class Stored:
    """The bytes of a content that are here. `Store.open` makes them; close as often as it was opened."""

    def __init__(self, place: Place, size: int, fingerprint: str, home: Home, *, frozen: bool = False) -> None:
        """Open the files and see what they are worth; *frozen*: on a disk that takes nothing.

        Raises StoreBusy, StoreFull, StoreDamaged or StoreError.
        """
        self.key: ContentKey = place.key
        self.size, self.fingerprint, self.opens = size, fingerprint, 0
        self._place = place
        self._home, self.room = home, home.room
        self._followers: list[Callable[[Extent], None]] = []
        self.overflow = Overflow()
        self.spared: Callable[[], Spared] = Spared
        self._data, me = DataFile(place, size, frozen=frozen), proxy(self)
        self.hand_out, self.handed_back = self._data.hand_out, self._data.handed_back
        self.taken_back = self._data.landed
        try:
            with store_errors(f"can't read what is known of {place.key}"):
                used_at = home.clock.now if self._data.created else home.clock.plausible(self._data.used_at)
                self.uses = Uses(size, chunk_length_of(fingerprint), home.clock, used_at)
                self.sums = Sums(place)
                self.reading = Reading(self._data, self.overflow, self.sums, lambda: me.there, weakly(self._rotten))
                claims, self._ledger = Opening(place, self._data, fingerprint, home.boot).recover()
                self.written, self.verified, self.doubted = claims.written, claims.verified, claims.doubted
                for extent in claims.discarded:
                    self.sums.forget(extent)
                self.reading.unchecked = self.there.copy()
                self.loan = Loan(self._data, self.room, self._ledger)
                self.trail = Trail(self._data, home.trails)
        except BaseException:
            self._data.close()
            self.sums.close()
            raise

    def __repr__(self) -> str:
        return f"<Stored {self.key} {self.written.total}/{self.size}>"

    @property
    def frozen(self) -> bool:
        """Whether the disk took nothing when it was opened: it stays on disk as it is until it is closed."""
        return self._data.frozen

    @property
    def path(self) -> Path:
        """Where the data file lies."""
        return self._place.path(DATA)

    @property
    def blocks(self) -> int:
        """How many blocks of 512 bytes it takes on disk."""
        return self._data.blocks

    @property
    def dirty(self) -> bool:
        """Say whether there is something that the manifest on disk does not say."""
        return self._ledger.dirty and not self.frozen

    @property
    def busy(self) -> bool:
        """Say whether a checkpoint is running in a thread, or it is lent."""
        return self._ledger.busy or self.loan.given

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Take *data* as the bytes from *offset* on; bytes that are verified stay as they are.

        On a disk that is full or takes nothing memory holds what somebody waits for. Raises StoreCrowded when nobody
        does, StoreFull when there is no memory either, StoreError when the disk fails in another way or *data* goes
        beyond the end; nothing is written then.
        """
        extent = Extent(offset, offset + len(data))
        if extent.stop > self.size:
            raise StoreError(f"bytes {extent} do not belong to {self.key} of {self.size}")
        if not any(self.verified.overlap(extent)):
            self._put(extent, data)
            return
        view = memoryview(data)
        for part in list(self.verified.missing(extent)):
            self._put(part, view[part.start - offset : part.stop - offset])

    def _put(self, extent: Extent, data: bytes | bytearray | memoryview) -> None:
        self.room.taking(self._data.cost(extent))
        try:
            try:
                self._file(extent, data)
            except StoreFrozen as error:
                self.room.refused(error)
                raise
            except StoreFull:
                self.room.full(extent.length)
                self._file(extent, data)
        except StoreFull as error:
            self._hold(extent, data, error)

    def _file(self, extent: Extent, data: bytes | bytearray | memoryview) -> None:
        self._ledger.settle(extent)
        self._data.write(extent.start, data)
        self.overflow.remove(extent)
        self._note(extent)

    def _hold(self, extent: Extent, data: bytes | bytearray | memoryview, full: StoreFull) -> None:
        """Take *data* into memory, on no record, if somebody waits for it."""
        if not any(awaited.overlaps(extent) for awaited in self.spared().awaited):
            raise StoreCrowded(str(full)) from full
        if not self.room.hold(extent.length):
            raise StoreFull(f"{full}; and no memory to hold {extent.length} bytes more") from full
        if not self.overflow:
            self.overflow.begun(str(full))
        self.sums.forget(extent)
        self.overflow.add(extent, data)
        self.written.add(extent)
        self.doubted.remove(extent)

    def unload(self) -> None:
        """Put what is in memory on the disk, as much of it as there is room for by now."""
        with suppress(StoreError):
            for scrap in self.overflow.scraps:
                self._file(scrap.extent, scrap.data)
                for part in list(self.verified.overlap(scrap.extent)):
                    self._ledger.record(Kind.VERIFIED, part)

    def landed(self, extent: Extent, sums: dict[int, int]) -> None:
        """Note that *extent* is in the data file, as if `write` had put it there, and the *sums* of it."""
        self.room.taking(extent.length)
        self._ledger.settle(extent)
        self._data.landed(extent)
        self._note(extent)
        self.sums.keep(sums)

    def arrived(self, extent: Extent) -> None:
        """Note that the borrower put *extent* into the data file. Raises StoreError."""
        self._data.landing(extent)
        self.landed(extent, {})

    def strayed(self, extent: Extent) -> None:
        """Take in that `put` brought *extent* when nobody wanted it any more."""
        self._data.landed(extent)
        if not any(self.there.overlap(extent)):
            with suppress(StoreError):
                self._data.vacate(extent, self.there)

    def _note(self, extent: Extent) -> None:
        self.room.took()
        self.uses.cover(extent)
        self.sums.touch(extent)
        self.written.add(extent)
        self.doubted.remove(extent)
        self._ledger.written(extent)

    def read(self, extent: Extent) -> bytes | memoryview:
        """Return the bytes of *extent*; zeros where nothing was written. StoreDamaged: discard and fetch it again."""
        self.uses.touch(extent.start)
        return self.reading.read(extent)

    def _rotten(self, part: Extent) -> None:
        log.warning("%s: bytes %s in the store are not what was put there; they go", self.key, part)
        self.evict(part)
        raise StoreDamaged(f"{self.key}: bytes {part} are not what was stored")

    def mark_verified(self, extent: Extent) -> None:
        """Record that what is in the data file of *extent* matched its digest; parts that are not there don't count."""
        for part in self._present(extent):
            self.verified.add(part)
            self.written.add(part)
            self.doubted.remove(part)
            for filed in self.overflow.beside(ExtentSet([part])):
                self._ledger.record(Kind.VERIFIED, filed)

    def trust(self, extent: Extent) -> None:
        """Take what is doubted of *extent* as written, unhashed.

        For contents that only a digest of the whole can judge, or none. Doubts may be wrong bytes and
        even zeros that nobody sent: where that can't be found out later, `discard` them instead.
        """
        for part in list(self.doubted.overlap(extent)):
            self.doubted.remove(part)
            self.written.add(part)
            self._ledger.record(Kind.WRITTEN, part)

    def discard(self, extent: Extent) -> None:
        """Drop *extent*: not written, verified or doubted any more, its room given back to the disk.

        The disk knows of it before this returns; that takes one fdatasync of a small file when a
        checkpoint called some of it written. StoreError when the disk fails.
        """
        extent = extent.clip(self.size)
        if not extent:
            return
        self._withdraw(extent)
        self.overflow.remove(extent)
        self.sums.forget(extent)
        self._ledger.discarded(extent)
        with suppress(StoreFrozen):  # bytes that nobody claims
            self._data.drop(extent, self.there)

    def _withdraw(self, extent: Extent) -> None:
        self.loan.recall()
        self.room.leaving(self.key)  # who gives it to others must not offer it any more
        self.reading.losses += 1
        for extents in (self.written, self.verified, self.doubted):
            extents.remove(extent)

    def put(self, offset: int, data: memoryview, *, cached: bool = True, awaited: bool = False) -> dict[int, int]:
        """Put *data* into the data file, on no record, in a worker thread: say `landed` or `strayed` on the loop then.

        Return the sums of the whole leaves in it. *cached*, *awaited*: see `DataFile.put`. Raises StoreFull or
        StoreError, as when it is closed meanwhile.
        """
        self._data.put(offset, data, cached=cached, awaited=awaited)
        return sums_of(data, offset, self.size)

    @property
    def there(self) -> ExtentSet:
        """What takes room on disk: written or doubted."""
        if not self.doubted and not self.overflow:
            return self.written
        there = self.overflow.beside(self.written)
        for extent in self.doubted:
            there.add(extent)
        return there

    @property
    def filed(self) -> ExtentSet:
        """What is verified, and in the data file rather than in memory."""
        return self.overflow.beside(self.verified) if self.overflow else self.verified

    def evict(self, extent: Extent) -> None:
        """Drop what is here of *extent* for want of room; followers hear of each part that goes.

        Unlike `discard` it waits for no disk: bytes that were sound leave a hole, which claims nothing. StoreError
        when the disk fails.
        """
        self._data.ask_for_room()  # else bytes would be out of sight that stay
        for part in list(self.there.overlap(extent)):
            self._withdraw(part)
            self.sums.forget(part)
            self._ledger.evicted(part)
            for follower in self._followers:
                follower(part)
            hole = self._data.vacate(part, self.there)
            if hole and not self._data.hollow(hole):
                self._ledger.settle(part)  # a file system that does not tell holes: the record must say it

    def forget(self, extent: Extent) -> None:
        """Drop what memory holds of *extent*, and tell `Overflow.forgotten`."""
        for part in common(ExtentSet([extent]), self.overflow.extents):
            self.overflow.remove(part)
            for extents in (self.written, self.verified):
                extents.remove(part)
            self.overflow.forgotten(part)

    def lost(self, extent: Extent) -> list[Extent]:
        """Return *extent*, which can't be read, and all else that is not in the data file any more: somebody cut it.

        What is written behind a cut makes a hole before it, which reads as zeros.
        """
        found = self._data.allocated()
        return [extent, *(gap for part in self.there if found is not None for gap in found.missing(part))]

    def follow_evictions(self, evicted: Callable[[Extent], None]) -> None:
        """Have *evicted* called with each extent that went for want of room, or because it could not be synced."""
        self._followers.append(evicted)

    def spare(self, spared: Callable[[], Spared]) -> None:
        """Have *spared* asked what had better stay."""
        self.spared = spared

    @property
    def cramped(self) -> str | None:
        """Why reading it will be slow: the quota holds hardly a chunk of it; None where it does."""
        return self.room.too_small_for(min(chunk_length_of(self.fingerprint), self.size))

    def hash_extent(self, extent: Extent, hasher: Hasher) -> dict[int, int]:
        """Feed the bytes of *extent* to *hasher*. For a worker thread. StoreDamaged, or StoreError: it was closed.

        Return the sums of the whole leaves in it, for `sums`; of what memory holds they are of no use.
        """
        found: dict[int, int] = {}
        for part, held in self.overflow.split(extent):
            if held is None:
                found |= self._data.hash(part, hasher)
            else:
                hasher.update(held)
        return found

    def checkpoint(self) -> None:
        """Put all that is known on disk, here and now: two fsyncs, or nothing when nothing changed."""
        self.end_checkpoint()
        if self.dirty and (running := self.begin_checkpoint()) is not None:
            running.save()
            self.end_checkpoint()

    def begin_checkpoint(self) -> Checkpoint | None:
        """Start one, for a thread to `save`; `end_checkpoint` must follow. None while another is running."""
        self.end_checkpoint()
        if self._ledger.busy:
            return None
        begun = self._ledger.begin(self._snapshot())
        begun.unsummed = self.sums.due(begun.manifest.written, self.size)
        return begun

    def end_checkpoint(self) -> None:
        """Draw the conclusions of a checkpoint that has been saved, or failed to be; nothing if there is none."""
        done = self._ledger.end()
        if done is None:
            return
        self.sums.settle(done.sums)
        if done.outcome is not Outcome.UNSYNCED:
            return
        # After a failed sync the kernel calls pages clean that never reached the disk, and the next sync
        # succeeds: only what an earlier checkpoint holds can still be relied on.
        sound = self._ledger.sound_on_disk()
        lost = [part for extent in self.written for part in sound.missing(extent)]
        for part in lost:
            try:
                self.discard(part)
            except StoreError as error:
                log.warning("%s: %s", self.key, error)
            for follower in self._followers:
                follower(part)

    def close(self) -> None:
        """Undo one open. After the last, `Store` puts it on record and lets the files go."""
        if self.opens > 0:
            self.opens -= 1
            if self.opens == 0:
                self.unload()
                self.forget(Extent(0, self.size))
                self._followers.clear()
                self.overflow.unheard()
                self.spared = Spared
                self._home.released(self)

    def release(self) -> None:
        """Close the files; for `Store`."""
        self._ledger.close()
        self.sums.close()
        self._data.relinquish(Extent(0, self.size), self.there)
        self._data.stamp(max(self.uses.latest, self.uses.since))
        # A checkpoint still in a thread's hands ends it; until then no other process may have the files.
        self._data.close(unlock=not self.busy)

    def _present(self, extent: Extent) -> list[Extent]:
        return list(ExtentSet([*self.written.overlap(extent), *self.doubted.overlap(extent)]))

    def _snapshot(self) -> Manifest:
        written, verified = self.overflow.beside(self.written), self.overflow.beside(self.verified)
        return Manifest(self.key, self.size, self.fingerprint, written, verified)
