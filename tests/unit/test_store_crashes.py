"""A content in the store, against a model, through kills, power losses and damage at any moment.

A kill keeps the page cache: files stay as they are, the object is just abandoned. A power loss keeps
what was synced, and of the rest whatever it likes: each block of the data file is the synced or the
later one, the journal is cut anywhere behind what was synced, directory entries may be old.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mountdl.content import ContentKey
from mountdl.errors import StoreFull
from mountdl.extents import Extent, ExtentSet
from mountdl.store import Store, Stored
from mountdl.store.datafile import DataFile
from mountdl.store.ledger import Checkpoint
from mountdl.store.place import prefix_of
from mountdl.store.quota import Spared

BLOCK = 4096
UNIT = 1024  # writes are not aligned to blocks
SIZE = 6 * BLOCK + 500
KEY = ContentKey("sha-256-0123-abc")
GOOD = random.Random(1).randbytes(SIZE)
WRONG = bytes(byte ^ 0x55 for byte in GOOD)

extents = st.tuples(st.integers(0, 24), st.integers(1, 9)).map(
    lambda pair: Extent(min(pair[0] * UNIT, SIZE), min((pair[0] + pair[1]) * UNIT, SIZE))
)


def members(extents: ExtentSet) -> set[int]:
    return {offset for extent in extents for offset in range(extent.start, extent.stop)}


class Disk:
    """Remembers what each file was when it was last synced, and which names its folder had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[int, bytes] = {}
        self.names: dict[str, int] = {}
        self._held: dict[int, int] = {}
        self._fsync, self._fdatasync = os.fsync, os.fdatasync

    def _hold(self, path: Path, inode: int) -> None:
        """Keep a file open: no other gets its inode, by which it is known, when it goes."""
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        for fd in self._held.values():
            os.close(fd)

    def fsync(self, fd: int) -> None:
        self._remember(fd)

    fdatasync = fsync

    def _remember(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path.is_dir():
            if path == self.folder:
                self.names = {entry.name: entry.inode() for entry in os.scandir(path)}
            return
        self._hold(path, os.fstat(fd).st_ino)
        self.files[os.fstat(fd).st_ino] = path.read_bytes()  # the descriptor may be for writing only

    def lose_power(self, choice: random.Random) -> None:
        """Put on disk one of the states that a power loss now may leave."""
        # Renames and unlinks not synced yet: all done or none, in the order of the file system's own journal.
        if choice.random() < 0.5:
            now = {entry.name: (entry.inode(), Path(entry.path).read_bytes()) for entry in os.scandir(self.folder)}
            kept = {name: inode for name, inode in self.names.items() if inode in self.files}
            for name, (inode, data) in now.items():
                if name.endswith(".data"):
                    kept[name] = inode
                    self.files.setdefault(inode, b"")
                if kept.get(name) == inode and not name.endswith(".data"):
                    (self.folder / name).write_bytes(self._torn(self.files[inode], data, choice))
                elif name not in kept:
                    (self.folder / name).unlink()
            for name, inode in kept.items():
                if now.get(name, (None,))[0] != inode:
                    (self.folder / name).write_bytes(self.files[inode])
        else:
            for entry in list(os.scandir(self.folder)):
                if not entry.name.endswith(".data"):
                    data = Path(entry.path).read_bytes()
                    Path(entry.path).write_bytes(self._torn(self.files.get(entry.inode(), b""), data, choice))
        self._tear_data(choice)
        self.files.clear()
        self._remember_all()

    def _torn(self, synced: bytes, now: bytes, choice: random.Random) -> bytes:
        """Return a file that was only appended to since it was synced, cut there or later; or its end not filled."""
        if not now.startswith(synced):
            return now if choice.random() < 0.5 else synced
        cut = choice.randint(len(synced), len(now))
        return now[:cut] + bytes(len(now) - cut if choice.random() < 0.3 else 0)

    def _tear_data(self, choice: random.Random) -> None:
        path = next(self.folder.glob("*.data"), None)
        if path is None:
            return
        now, synced = path.read_bytes(), self.files.get(path.stat().st_ino, b"")
        with path.open("r+b") as file:
            file.truncate(0)
            file.truncate(len(now))
            for at in range(0, len(now), BLOCK):
                block = choice.choice([now, synced])[at : at + BLOCK]
                if any(block):
                    file.seek(at)
                    file.write(block)

    def _remember_all(self) -> None:
        for entry in os.scandir(self.folder):
            self._hold(Path(entry.path), entry.inode())
            self.files[entry.inode()] = Path(entry.path).read_bytes()
        self.names = {entry.name: entry.inode() for entry in os.scandir(self.folder)}


class StoreMachine(RuleBasedStateMachine):
    """What is on disk never counts for more than it is."""

    @initialize()
    def start(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="store-"))
        self.folder = self.home / "contents" / prefix_of(KEY)
        self.disk = Disk(self.folder)
        self.patches = [
            patch("os.fsync", self.disk.fsync),
            patch("os.fdatasync", self.disk.fdatasync),
            patch("mountdl.store.ledger.RUN_LENGTH", 3 * UNIT),
        ]
        for each in self.patches:
            each.start()
        self.boot = 0
        self.fingerprint = "one"
        self.sent: dict[bool, set[int]] = {True: set(), False: set()}  # the bytes that were ever sent right, and wrong
        self.verified: set[int] = set()
        self.on_record: set[int] = set()  # verified, checkpointed and not discarded since
        self.abandoned: list[Stored] = []
        self.running: tuple[Checkpoint, set[int]] | None = None
        self.reopen()

    def reopen(self) -> None:
        self.store = Store(self.home, boot=self.boot.to_bytes(16, "big"))
        self.stored = self.store.open(KEY, SIZE, self.fingerprint)

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.store.close()
            for each in self.patches:
                each.stop()
            self.disk.close()
            shutil.rmtree(self.home)

    # -- what the engine does -------------------------------------------------------------------------------

    @rule(extent=extents, good=st.booleans())
    def write(self, extent: Extent, good: bool) -> None:
        self._write(extent, good)

    def _write(self, extent: Extent, good: bool) -> None:
        before = members(self.stored.verified)
        self.stored.write(extent.start, (GOOD if good else WRONG)[extent.start : extent.stop])
        self.sent[good] |= set(range(extent.start, extent.stop)) - before
        assert self.stored.written.covers(extent)

    @rule(extent=extents, good=st.booleans(), taken=st.integers(0, 9 * UNIT))
    def write_on_a_full_disk(self, extent: Extent, good: bool, taken: int) -> None:
        """Readers wait for it, so memory holds it; of each write the disk takes *taken* bytes before it fails."""

        def full(data_file: DataFile, offset: int, data: memoryview) -> None:
            os.pwrite(data_file._fd, data[:taken], offset)
            raise StoreFull("full")

        everything = (Extent(0, SIZE),)
        self.stored.spare(lambda: Spared(everything, awaited=everything))
        with patch.object(DataFile, "write", full):
            self._write(extent, good)

    @rule()
    def find_room_again(self) -> None:
        self.stored.unload()
        assert not self.stored.overflow

    @property
    def in_memory(self) -> set[int]:
        return members(self.stored.overflow.extents)

    @rule(extent=extents)
    def judge(self, extent: Extent) -> None:
        """Hash what is there: sound bytes are marked, others discarded, as the engine would."""
        there = self.stored.written.copy()
        for each in self.stored.doubted:
            there.add(each)
        for part in list(there.overlap(extent)):
            if self.stored.read(part) == GOOD[part.start : part.stop]:
                self.stored.mark_verified(part)
                self.verified |= set(range(part.start, part.stop))
            else:
                self._discard(part)

    @rule(extent=extents)
    def discard(self, extent: Extent) -> None:
        self._discard(extent)

    @rule(extent=extents)
    def evict_for_want_of_room(self, extent: Extent) -> None:
        held = self.in_memory & set(range(extent.start, extent.stop)) & self.verified  # takes no room on the disk
        self._drop(extent, self.stored.evict)
        self.verified |= held

    def _discard(self, extent: Extent) -> None:
        self._drop(extent, self.stored.discard)

    def _drop(self, extent: Extent, drop: Callable[[Extent], None]) -> None:
        drop(extent)
        gone = set(range(extent.start, extent.stop))
        self.verified -= gone
        self.on_record -= gone
        if self.running is not None:
            self.running[1].difference_update(gone)

    # -- checkpoints, whole or half done --------------------------------------------------------------------

    @precondition(lambda self: self.running is None)
    @rule()
    def begin_checkpoint(self) -> None:
        checkpoint = self.stored.begin_checkpoint()
        assert checkpoint is not None
        self.running = (checkpoint, self.verified - self.in_memory)

    @precondition(lambda self: self.running is not None)
    @rule()
    def save_checkpoint(self) -> None:
        checkpoint, verified = self.running
        checkpoint.save()
        self.on_record |= verified

    @precondition(lambda self: self.running is not None)
    @rule()
    def end_checkpoint(self) -> None:
        checkpoint, verified = self.running
        checkpoint.save()
        self.on_record |= verified
        self.stored.end_checkpoint()
        assert not self.stored.busy
        self.running = None

    # -- accidents ------------------------------------------------------------------------------------------

    def _abandon(self) -> None:
        """Let the files go as a dying process does: nothing is flushed, the lock is gone."""
        self.verified -= self.in_memory
        self.stored.release()
        self.running = None

    @rule()
    def kill(self) -> None:
        self._abandon()
        self.reopen()
        assert self.on_record <= members(self.stored.verified), "what was on record is still"
        assert self.verified <= members(self.stored.written), "a kill loses no byte that was verified"
        self.verified = members(self.stored.verified)

    @rule(seed=st.integers(0, 1 << 30))
    def lose_power(self, seed: int) -> None:
        self._abandon()
        self.disk.lose_power(random.Random(seed))
        self.boot += 1
        self.reopen()
        assert self.on_record <= members(self.stored.verified), "what was on record is still"
        self.verified = members(self.stored.verified)
        self.on_record = set()

    @precondition(lambda self: self.running is None)  # the janitor ends what it began before it goes
    @rule()
    def close_and_open(self) -> None:
        self.verified -= self.in_memory
        self.store.close()
        self.running = None
        self.boot += 1
        self.reopen()
        assert self.verified == members(self.stored.verified), "what was closed in order is on record"
        self.on_record = set(self.verified)

    @rule()
    def change_chunk_map(self) -> None:
        self._abandon()
        self.fingerprint = "two" if self.fingerprint == "one" else "one"
        self.reopen()
        assert not self.stored.verified
        self.verified, self.on_record = set(), set()

    @rule(seed=st.integers(0, 1 << 30), name=st.sampled_from(["manifest", "journal"]), reboot=st.booleans())
    def flip_a_bit(self, seed: int, name: str, reboot: bool) -> None:
        self._abandon()
        path = self.folder / f"{KEY}.{name}"
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        if data:
            bit = random.Random(seed).randrange(len(data) * 8)
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
        self.boot += reboot
        self._reopen_after_damage()

    @rule(seed=st.integers(0, 1 << 30), reboot=st.booleans())
    def cut_the_manifest(self, seed: int, reboot: bool) -> None:
        self._abandon()
        path = self.folder / f"{KEY}.manifest"
        if path.exists():
            os.truncate(path, random.Random(seed).randrange(path.stat().st_size))
        self.boot += reboot
        self._reopen_after_damage()

    @rule(at=st.integers(0, SIZE))
    def cut_the_data_file(self, at: int) -> None:
        self._abandon()
        os.truncate(self.folder / f"{KEY}.data", at)
        self._reopen_after_damage()
        assert max(members(self.stored.written), default=-1) < at

    @rule()
    def delete_the_data_file(self) -> None:
        self._abandon()
        (self.folder / f"{KEY}.data").unlink()
        self._reopen_after_damage()
        assert not self.stored.written
        assert not self.stored.doubted

    def _reopen_after_damage(self) -> None:
        self.reopen()
        found = members(self.stored.verified)
        assert found <= self.verified, "damage adds nothing"
        self.verified = found
        self.on_record = set()

    # -- the laws -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_counts_for_more_than_it_is(self) -> None:
        if not hasattr(self, "stored"):
            return
        written, verified, doubted = map(members, (self.stored.written, self.stored.verified, self.stored.doubted))
        assert verified == self.verified
        assert verified <= written
        assert not written & doubted
        held = self.stored.read(Extent(0, SIZE))
        assert all(held[offset] == GOOD[offset] for offset in verified), "verified bytes are the right ones"
        right = {offset for offset in written if held[offset] == GOOD[offset]}
        wrong = {offset for offset in written - right if held[offset] == WRONG[offset]}
        assert right <= self.sent[True], "written bytes were sent by someone"
        assert wrong <= self.sent[False], "written bytes were sent by someone"
        assert written == right | wrong


StoreMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStore = StoreMachine.TestCase
