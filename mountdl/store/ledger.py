"""What the disk is told of a content's bytes, and when: journal records at once, a manifest now and then.

Law: at no moment, a power loss included, does the disk say more than what is in the data file. So a
manifest is written only after the data it speaks of is synced, and a discard of what a manifest says
(or one being written may say) is on disk before it returns. The formats and the proof are in
docs/formats.md. It does not know what the bytes are.
"""

import logging
import threading
from contextlib import suppress
from enum import Enum, auto

from mountdl.errors import StoreError, StoreFrozen
from mountdl.extents import Extent, ExtentSet
from mountdl.store import sums
from mountdl.store.datafile import DataFile
from mountdl.store.journal import HEADER_LENGTH, Journal, Kind
from mountdl.store.manifest import Manifest, encode
from mountdl.store.place import JOURNAL, MANIFEST, Place, store_errors

log = logging.getLogger(__name__)

RUN_LENGTH = 1 << 20
"""Bytes that must have grown in one run before the journal hears of it: what a `kill -9` may cost per flight."""


class Outcome(Enum):
    """How a checkpoint went."""

    RUNNING = auto()
    SAVED = auto()
    VOID = auto()
    """Called off; the manifest on disk is not it."""
    UNSAVED = auto()
    """The manifest could not be put on disk; the data is there."""
    UNSYNCED = auto()
    """The disk failed to take the data: what no earlier checkpoint holds is of unknown worth."""


class Checkpoint:
    """One manifest on its way to the disk. `save` is for a worker thread; all else is the loop's."""

    __slots__ = ("_data", "_guard", "_place", "failure", "journal_length", "manifest", "outcome", "sums", "unsummed")

    def __init__(self, place: Place, data: DataFile, manifest: Manifest, journal_length: int) -> None:
        self.unsummed: list[int] = []
        self.sums: dict[int, int] = {}
        self._place = place
        self._data = data
        self._guard = threading.Lock()
        self.manifest = manifest
        self.journal_length = journal_length
        self.outcome = Outcome.RUNNING
        self.failure = ""

    def save(self) -> None:
        """Sync the data, then put the manifest in place. Never raises: see `outcome`."""
        try:
            self._data.sync()
        except OSError as error:
            self._finish(Outcome.UNSYNCED, str(error))
            return
        except StoreError as error:  # closed before the thread came to it
            self._finish(Outcome.VOID, str(error))
            return
        try:
            if not self._data.linked:
                self._finish(Outcome.VOID, "the data file was deleted while it was open")
                return
            self._sum()
            self._place.prepare(MANIFEST, encode(self.manifest), durable=True)
            with self._guard:
                if self.outcome is Outcome.VOID:
                    return
                self._place.replace(MANIFEST)
            self._place.sync()
        except (OSError, StoreError) as error:
            self._finish(Outcome.UNSAVED, str(error))
            return
        self._finish(Outcome.SAVED)

    def _sum(self) -> None:
        for number in self.unsummed:
            with suppress(StoreError):
                self.sums |= self._data.hash(sums.leaf(number, self.manifest.size))

    def call_off(self) -> None:
        """See to it that the manifest is not put in place after this returns."""
        self._finish(Outcome.VOID)

    def _finish(self, outcome: Outcome, failure: str = "") -> None:
        with self._guard:
            if self.outcome is Outcome.RUNNING:
                self.outcome = outcome
                self.failure = failure


class Ledger:
    """The record of one open content. Every method runs on the loop."""

    def __init__(self, place: Place, data: DataFile, journal: Journal, on_disk: ExtentSet) -> None:
        """*on_disk* is what the manifest on disk calls written, at most; it becomes the ledger's own."""
        self._place = place
        self._data = data
        self._journal = journal
        # Invariant: no manifest that is on disk, or may get there, says more than these two.
        self._on_disk = on_disk
        self._coming = ExtentSet()
        self._running: Checkpoint | None = None
        self._runs: dict[int, int] = {}  # stop -> start of what was written and not told to the journal
        # What was evicted: its holes are on disk in place of a record that is.
        self._owed = ExtentSet()
        self._unrecorded = ExtentSet()  # part of it, whose record the journal did not take either
        self._complained = False
        self._latest = Extent(0, 0)  # of the latest record, unless that is a discard
        self.dirty = journal.length > HEADER_LENGTH

    def start_afresh(self, manifest: Manifest) -> None:
        """Put *manifest* in place of what is on disk, then remove the journal. StoreError when the disk fails."""
        checkpoint = self.begin(manifest)
        checkpoint.save()
        if checkpoint.outcome is Outcome.UNSYNCED:
            raise StoreError(f"can't sync {self._place.key}: {checkpoint.failure}")
        if checkpoint.outcome is not Outcome.SAVED:
            # No room even for that. Without manifest and journal everything is doubted after a crash.
            self._place.unlink(MANIFEST)
        self._place.unlink(JOURNAL)
        self._place.sync()
        self.end()

    @property
    def busy(self) -> bool:
        """Say whether a checkpoint is in the hands of a thread."""
        return self._running is not None and self._running.outcome is Outcome.RUNNING

    def written(self, extent: Extent) -> None:
        """Note bytes written; the journal hears of it a `RUN_LENGTH` at a time."""
        self.dirty = True
        start = self._runs.pop(extent.start, extent.start)
        if extent.stop - start < RUN_LENGTH:
            self._runs[extent.stop] = min(start, self._runs.get(extent.stop, start))
        else:
            self._append(Kind.WRITTEN, Extent(start, extent.stop))

    def record(self, kind: Kind, extent: Extent) -> None:
        """Journal that *extent* is verified, or to be taken as written, unless the latest record did.

        Replayed, one says as much as the other: what came in one piece of a chunk's length needs one record, not two.
        """
        self.dirty = True
        if not self._latest.covers(extent):
            self._append(kind, extent)

    def discarded(self, extent: Extent) -> None:
        """Return once no crash can bring *extent* back. Only then may its bytes change.

        A disk that takes nothing is told when it takes something again, by `settle`. StoreError when it can be told in
        no way.
        """
        self.dirty = True
        self._latest = Extent(0, 0)
        self._forget_runs(extent)
        told = any(self._on_disk.overlap(extent)) or any(self._coming.overlap(extent))
        try:
            self._journal.append(Kind.DISCARDED, extent)
            # Only a manifest outlives the boot; what only the journal calls sound is doubted after it anyway.
            if told:
                self._journal.sync()
        except (OSError, StoreError):
            try:
                self._forget_all()
            except StoreFrozen:
                self._owed.add(extent)
                self._unrecorded.add(extent)
                return
        self._on_disk.remove(extent)
        self._coming.remove(extent)

    def evicted(self, extent: Extent) -> None:
        """Note that *extent* is about to become a hole: `settle` must be called before new bytes come there.

        A hole speaks for itself, for claims in holes don't count; so nothing is synced, and nothing fails.
        """
        self.dirty = True
        self._latest = Extent(0, 0)
        self._forget_runs(extent)
        self._owed.add(extent)
        try:
            self._journal.append(Kind.DISCARDED, extent)
        except (OSError, StoreError):
            self._unrecorded.add(extent)

    def settle(self, extent: Extent) -> None:
        """Return once bytes may come to *extent*, which may have been evicted: no crash brings the old claim back.

        Costs one fdatasync of a small file when that was since the last checkpoint. StoreError when the disk fails.
        """
        if not self._owed or not any(self._owed.overlap(extent)):
            return
        told = any(any(said.overlap(part)) for said in (self._on_disk, self._coming) for part in self._owed)
        try:
            for part in self._unrecorded:
                self._journal.append(Kind.DISCARDED, part)
            if told:
                self._journal.sync()
        except (OSError, StoreError):
            self._forget_all()
        for part in self._owed:
            self._on_disk.remove(part)
            self._coming.remove(part)
        self._owed, self._unrecorded = ExtentSet(), ExtentSet()

    def begin(self, manifest: Manifest) -> Checkpoint:
        """Start a checkpoint that says *manifest*; none may be running. Ask for its `save`, then for `end`."""
        self.dirty = False
        self._runs.clear()
        self._coming = manifest.written.copy()
        self._running = Checkpoint(self._place, self._data, manifest, self._journal.length)
        return self._running

    def end(self) -> Checkpoint | None:
        """Draw the conclusions of a checkpoint whose `save` has returned; None if there is none."""
        done = self._running
        if done is None or self.busy:
            return None
        self._running = None
        if done.outcome is Outcome.SAVED:
            self._on_disk = self._coming
            self._forget_records(done.journal_length)
            self._complained = False
        elif done.outcome is Outcome.UNSAVED:
            for extent in self._coming:  # it may have got there all the same
                self._on_disk.add(extent)
        self._coming = ExtentSet()
        if done.outcome is not Outcome.SAVED:
            self.dirty = True
            self._complain(done.failure)
        return done

    def sound_on_disk(self) -> ExtentSet:
        """Return what the last good checkpoint calls written and no discard took back."""
        return self._on_disk.copy()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _append(self, kind: Kind, extent: Extent) -> None:
        try:
            self._journal.append(kind, extent)
            self._latest = extent
        except (OSError, StoreError) as error:
            # Nothing wrong is on record, only less than could be: the next checkpoint makes up for it.
            self._complain(str(error))

    def _forget_records(self, length: int) -> None:
        try:
            self._journal.forget(length)
        except (OSError, StoreError) as error:
            self._complain(str(error))  # replaying them over the new manifest gives the same

    def _forget_all(self) -> None:
        """Remove manifest and journal: a full disk takes no record but lets go of files.

        Until the next checkpoint a crash leaves everything doubted.
        """
        if self._running is not None:
            self._running.call_off()
        self._latest = Extent(0, 0)
        if self._journal.frozen:
            raise StoreFrozen(f"can't record a discard of {self._place.key}")
        with store_errors("can't record a discard"):
            self._place.unlink(MANIFEST)
            self._journal.drop()
            with suppress(FileNotFoundError):  # no folder holds no record
                self._place.sync()
        self._on_disk = ExtentSet()
        self._coming = ExtentSet()

    def _forget_runs(self, extent: Extent) -> None:
        runs = ExtentSet(Extent(start, stop) for stop, start in self._runs.items())
        runs.remove(extent)
        self._runs = {run.stop: run.start for run in runs}

    def _complain(self, reason: str) -> None:
        """Warn once until a checkpoint succeeds: a full disk must not fill the log too."""
        if reason and not self._complained and not self._journal.frozen:
            self._complained = True
            log.warning("%s: what is stored is not on record: %s", self._place.path(JOURNAL).stem, reason)
