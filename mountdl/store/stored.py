"""One open content: its bytes and what is known of them.

Law: `verified` is part of `written`, `doubted` is apart from both; bytes that are verified never
change, and whatever is in one of the sets is in the data file. It records what it is told is
verified; it does not know chunks, digests or sources. Everything runs on the loop but what says
otherwise.
"""

import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mountdl.content import ContentKey
from mountdl.errors import StoreDamaged, StoreError, StoreFull
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import Hasher, chunk_length_of
from mountdl.priorities import Priority
from mountdl.store import journal as journals
from mountdl.store import manifest as manifests
from mountdl.store.datafile import DataFile
from mountdl.store.journal import Journal, Kind
from mountdl.store.ledger import Checkpoint, Ledger, Outcome
from mountdl.store.manifest import Manifest
from mountdl.store.place import DATA, JOURNAL, MANIFEST, Place, store_errors
from mountdl.store.quota import Spared
from mountdl.store.recovery import reconcile, weigh
from mountdl.store.room import Room
from mountdl.store.sums import Sums, leaf, leaves, whole_leaves
from mountdl.store.uses import Clock, Uses

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Home:
    """What the store is to each of its contents.

    *released* is called at the last close.
    """

    boot: bytes
    clock: Clock
    released: Callable[["Stored"], None]
    room: Room


class Stored:
    """The bytes of a content that are here. `Store.open` makes them; close as often as it was opened."""

    def __init__(self, place: Place, size: int, fingerprint: str, home: Home) -> None:
        """Open the files and find out what they are worth.

        Raises StoreBusy, StoreFull, StoreDamaged or StoreError.
        """
        self.key: ContentKey = place.key
        self.size = size
        self.fingerprint = fingerprint
        self.opens = 0
        self._place = place
        self._home = home
        self._followers: list[Callable[[Extent], None]] = []
        self.spared: Callable[[], Spared] = Spared
        self._data = DataFile(place, size)
        try:
            with store_errors(f"can't read what is known of {place.key}"):
                used_at = home.clock.now if self._data.created else self._data.used_at
                self.uses = Uses(size, chunk_length_of(fingerprint), home.clock, used_at)
                self._sums = Sums(place)
                self._unsummed: set[int] = set()
                self._recover(home.boot)
        except BaseException:
            self._data.close()
            self._sums.close()
            raise

    def _recover(self, boot: bytes) -> None:
        manifest, altered = _load_manifest(self._place)
        if manifest is not None and manifest.size != self.size:
            log.warning("%s: %d bytes were expected, now %d are: starting over", self.key, manifest.size, self.size)
            self._place.unlink(MANIFEST, JOURNAL)
            self._data.clear()
            manifest = None
        header = journals.header_for(boot, self.key, self.size, self.fingerprint)
        reading = journals.parse(self._place.read(JOURNAL, journals.LIMIT) or b"", header, self.size)
        if reading.damaged:
            log.warning("%s: its journal was altered; what is stored is hashed before it is used", self.key)
        claims = weigh(manifest, reading, self.fingerprint)
        claimed = (claims.written.total, claims.verified.total)
        allocated = ExtentSet() if self._data.created else self._data.allocated()
        reconcile(claims, allocated, min(self._data.found_size, self.size), self._data.grain)
        self._data.resize()
        self.written, self.verified, self.doubted = claims.written, claims.verified, claims.doubted
        for extent in claims.discarded:
            self._data.punch(extent)
            self._sums.forget(extent)
        self._unchecked = self.there.copy()
        # What manifest and journal say and does not count must go before bytes come in its place.
        denied = claimed != (self.written.total, self.verified.total)
        renamed = manifest is not None and manifest.fingerprint != self.fingerprint
        if altered or denied or renamed or not reading.current:
            self._ledger = Ledger(self._place, self._data, Journal(self._place, header, 0), ExtentSet())
            self._start_afresh()
        else:
            on_disk = manifest.written.copy() if manifest is not None else ExtentSet()
            self._ledger = Ledger(self._place, self._data, Journal(self._place, header, reading.length), on_disk)

    def _start_afresh(self) -> None:
        """Put a manifest in place that says what counts now, then remove the journal."""
        checkpoint = self._ledger.begin(self._snapshot())
        checkpoint.save()
        if checkpoint.outcome is Outcome.UNSYNCED:
            raise StoreError(f"can't sync {self._place.key}: {checkpoint.failure}")
        if checkpoint.outcome is not Outcome.SAVED:
            # No room even for that. Without manifest and journal everything is doubted after a crash.
            self._place.unlink(MANIFEST)
        self._place.unlink(JOURNAL)
        self._place.sync()
        self._ledger.end()

    def __repr__(self) -> str:
        return f"<Stored {self.key} {self.written.total}/{self.size}>"

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
        return self._ledger.dirty

    @property
    def busy(self) -> bool:
        """Say whether a checkpoint is running in a thread."""
        return self._ledger.busy

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Take *data* as the bytes from *offset* on; bytes that are verified stay as they are.

        Raises StoreFull when the disk has no room, StoreError when it fails or *data* goes beyond the
        end. What is in the data file by then and whole is not counted as written.
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
        self._home.room.taking(extent.length)
        self._ledger.settle(extent)
        try:
            self._data.write(extent.start, data)
        except StoreFull:
            self._home.room.full(extent.length)
            self._data.write(extent.start, data)
        self._note(extent)

    def landed(self, extent: Extent) -> None:
        """Note that *extent* is in the data file, as if `write` had put it there."""
        self._home.room.taking(extent.length)
        self._ledger.settle(extent)
        self._note(extent)

    def _note(self, extent: Extent) -> None:
        self.uses.cover(extent)
        self._unsummed.update(leaves(extent))
        self.written.add(extent)
        self.doubted.remove(extent)
        self._ledger.written(extent)

    def read(self, extent: Extent) -> bytes:
        """Return the bytes of *extent*; zeros where nothing was written.

        StoreDamaged when the disk does not give all of them: discard the extent and fetch it again.
        """
        self.uses.touch(extent.start)
        if self._unchecked:
            self._check(extent)
        return self._data.read(extent)

    def _check(self, extent: Extent) -> None:
        """Compare what an earlier run left there with its sum, once. StoreDamaged when it differs."""
        for part in list(self._unchecked.overlap(extent)):
            for number in leaves(part):
                found, told = leaf(number, self.size), self._sums.recall(number)
                self._unchecked.remove(found)
                if told is not None and self.there.covers(found) and zlib.crc32(self._data.read(found)) != told:
                    log.warning("%s: bytes %s in the store are not what was put there; they go", self.key, found)
                    self.evict(found)
                    raise StoreDamaged(f"{self.key}: bytes {found} are not what was stored")

    def mark_verified(self, extent: Extent) -> None:
        """Record that what is in the data file of *extent* matched its digest; parts that are not there don't count."""
        for part in self._present(extent):
            self.verified.add(part)
            self.written.add(part)
            self.doubted.remove(part)
            self._ledger.record(Kind.VERIFIED, part)

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
        for extents in (self.written, self.verified, self.doubted):
            extents.remove(extent)
        self._unsum(extent)
        self._ledger.discarded(extent)
        self._data.punch(extent)

    def _unsum(self, extent: Extent) -> None:
        self._sums.forget(extent)
        self._unsummed.update(leaves(extent))

    def put(self, offset: int, data: memoryview) -> None:
        """Put *data* into the data file without any record of it: say `landed` on the loop then. For a worker thread.

        Raises StoreFull or StoreError, as when it is closed meanwhile.
        """
        self._data.put(offset, data)

    @property
    def there(self) -> ExtentSet:
        """What takes room: written or doubted."""
        if not self.doubted:
            return self.written
        there = self.written.copy()
        for extent in self.doubted:
            there.add(extent)
        return there

    def evict(self, extent: Extent) -> None:
        """Drop what is here of *extent* for want of room; followers hear of each part that goes.

        Unlike `discard` it waits for no disk: bytes that were sound leave a hole, which claims nothing. StoreError
        when the disk fails.
        """
        for part in list(self.there.overlap(extent)):
            for extents in (self.written, self.verified, self.doubted):
                extents.remove(part)
            self._unsum(part)
            self._ledger.evicted(part)
            for follower in self._followers:
                follower(part)
            hole = self._whole_blocks(part)
            self._data.punch(hole)
            if hole and not self._data.hollow(hole):
                self._ledger.settle(part)  # a file system that does not tell holes: the record must say it

    def _whole_blocks(self, extent: Extent) -> Extent:
        """Return the blocks that held bytes of *extent* and hold no others now: a part of one is never zeroed."""
        grain = self._data.grain
        start = extent.start // grain * grain
        stop = min(-(-extent.stop // grain) * grain, self.size)
        there = self.there
        if any(there.overlap(Extent(start, extent.start))):
            start += grain
        if any(there.overlap(Extent(extent.stop, stop))):
            stop = extent.stop // grain * grain
        return Extent(start, max(start, stop))

    def follow_evictions(self, evicted: Callable[[Extent], None]) -> None:
        """Have *evicted* called with each extent that goes for want of room, when it is gone."""
        self._followers.append(evicted)

    def spare(self, spared: Callable[[], Spared]) -> None:
        """Have *spared* asked what had better stay."""
        self.spared = spared

    def allowance(self) -> Priority:
        """Return the least priority for which bytes may be fetched now: the store's room decides."""
        return self._home.room.allowance()

    @property
    def reach(self) -> float:
        """How many bytes a second a reader may be expected to want: two seconds of it are a quarter of the quota."""
        limit = self._home.room.limit
        return float("inf") if limit is None else limit / 8

    @property
    def cramped(self) -> str | None:
        """Why reading it will be slow: the quota holds hardly a chunk of it; None where it does."""
        limit, chunk = self._home.room.limit, min(chunk_length_of(self.fingerprint), self.size)
        if limit is None or limit >= 2 * chunk:
            return None
        return f"--cache-size {limit} is less than two chunks of {chunk} bytes: each is fetched again and again"

    def hash_extent(self, extent: Extent, hasher: Hasher) -> None:
        """Feed the bytes of *extent* to *hasher*. For a worker thread; touches nothing but the data file.

        StoreDamaged when the disk does not give all of them, StoreError when it is closed meanwhile.
        """
        self._data.hash(extent, hasher)

    def checkpoint(self) -> None:
        """Put all that is known on disk, here and now: two fsyncs, or nothing when nothing changed."""
        if self.dirty and (running := self.begin_checkpoint()) is not None:
            running.save()
            self.end_checkpoint()

    def begin_checkpoint(self) -> Checkpoint | None:
        """Start one, for a thread to `save`; `end_checkpoint` must follow. None while another is running."""
        self.end_checkpoint()
        if self._ledger.busy:
            return None
        begun = self._ledger.begin(self._snapshot())
        begun.unsummed = whole_leaves(self.written, self.size, sorted(self._unsummed))
        self._unsummed.clear()
        return begun

    def end_checkpoint(self) -> None:
        """Draw the conclusions of a checkpoint that has been saved, or failed to be; nothing if there is none."""
        done = self._ledger.end()
        if done is None:
            return
        # Those that were touched meanwhile are summed another time.
        self._sums.keep({number: crc for number, crc in done.sums.items() if number not in self._unsummed})
        if done.outcome is not Outcome.UNSYNCED:
            return
        # After a failed sync the kernel calls pages clean that never reached the disk, and the next sync
        # succeeds: only what an earlier checkpoint holds can still be relied on.
        sound = self._ledger.sound_on_disk()
        lost = [part for extent in self.written for part in sound.missing(extent)]
        try:
            for part in lost:
                self.discard(part)
        except StoreError as error:
            log.warning("%s: %s", self.key, error)

    def close(self) -> None:
        """Undo one open. After the last, `Store` puts it on record and lets the files go."""
        if self.opens > 0:
            self.opens -= 1
            if self.opens == 0:
                self._followers.clear()
                self.spared = Spared
                self._home.released(self)

    def release(self) -> None:
        """Close the files; for `Store`."""
        self._ledger.close()
        self._sums.close()
        self._data.stamp(max(self.uses.latest, self.uses.since))
        # A checkpoint still in a thread's hands ends it; until then no other process may have the files.
        self._data.close(unlock=not self.busy)

    def _present(self, extent: Extent) -> list[Extent]:
        if self.written.covers(extent):
            return [extent] if extent else []
        parts = ExtentSet(self.written.overlap(extent))
        for part in self.doubted.overlap(extent):
            parts.add(part)
        return list(parts)

    def _snapshot(self) -> Manifest:
        return Manifest(self.key, self.size, self.fingerprint, self.written.copy(), self.verified.copy())


def _load_manifest(place: Place) -> tuple[Manifest | None, bool]:
    """Return the manifest, if there is a sound one, and whether there was an unsound one."""
    data = place.read(MANIFEST, manifests.LIMIT)
    if data is None:
        return None, False
    try:
        manifest = manifests.decode(data)
        if manifest.key != place.key:
            raise StoreDamaged("it is another content's")
    except StoreDamaged as error:
        log.warning("%s: its manifest can't be used: %s; what is stored is hashed first", place.key, error)
        return None, True
    return manifest, False
