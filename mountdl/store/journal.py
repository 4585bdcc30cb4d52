"""The journal of one content: what happened to it since the last checkpoint, a record each.

Law: a record is one write(2), so after a `kill -9` the page cache holds all that was appended; after a
power loss it may not, which the boot id in the header tells. Records say for themselves if they are
sound. The format is docs/formats.md, section "Journal".
"""

import hashlib
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from mountdl.content import ContentKey
from mountdl.errors import StoreFrozen
from mountdl.extents import Extent
from mountdl.store.place import JOURNAL, Place, write_all

VERSION = 1
LIMIT = 256 << 20
"""A journal longer than this many bytes is not one; a checkpoint every few seconds keeps it to kilobytes."""

_MAGIC = b"mdlj"
_HEADER = struct.Struct("<4sHH16s8sI")  # magic, version, record length, boot id, binding, crc of these
_BODY = struct.Struct("<B7xQQ")  # kind, start, stop
_CRC = struct.Struct("<I")
RECORD_LENGTH = _BODY.size + _CRC.size
HEADER_LENGTH = _HEADER.size


class Kind(IntEnum):
    """What a record says of its extent."""

    VERIFIED = 1
    WRITTEN = 2
    DISCARDED = 3


Record = tuple[Kind, Extent]


@dataclass(frozen=True, slots=True)
class Reading:
    """A journal as found, up to *length* bytes of it.

    *current*: of this boot and of the same size and chunk map, so that it can be taken at its word.
    *damaged*: something in it was altered, so that a discard may be among what was lost.
    """

    records: tuple[Record, ...] = ()
    current: bool = True
    damaged: bool = False
    length: int = 0


def boot_id() -> bytes:
    """Return 16 bytes that are the same exactly as long as the kernel runs; random where it does not tell."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))[:16]
    except (OSError, ValueError):
        return os.urandom(16)


def header_for(boot: bytes, key: ContentKey, size: int, fingerprint: str) -> bytes:
    """Return the header of a journal of this boot and content."""
    binding = hashlib.sha256(f"{key}\n{size}\n{fingerprint}".encode()).digest()[:8]
    start = _HEADER.pack(_MAGIC, VERSION, RECORD_LENGTH, boot, binding, 0)[: -_CRC.size]
    return start + _CRC.pack(zlib.crc32(start))


def own_header(data: bytes, boot: bytes) -> bytes:
    """Return the header of the journal *data*, whatever it was opened as, if it is of this *boot*; else none."""
    found = data[:HEADER_LENGTH]
    return found if len(found) == HEADER_LENGTH and _HEADER.unpack(found)[3] == boot else b""


def parse(data: bytes, header: bytes, size: int) -> Reading:
    """Read a journal. *header* is what one of this boot and content starts with; *size* is the content's."""
    found = data[:HEADER_LENGTH]
    if len(found) < HEADER_LENGTH or not any(found):
        # Made but never filled: nothing is appended before the header is whole.
        return Reading(current=not data)
    if found[:4] != _MAGIC or zlib.crc32(found[: -_CRC.size]) != _CRC.unpack(found[-_CRC.size :])[0]:
        return Reading(current=False, damaged=True)
    if _HEADER.unpack(found)[1:3] != (VERSION, RECORD_LENGTH):
        return Reading(current=False, damaged=True)
    current = found == header
    seed = zlib.crc32(found)
    records: list[Record] = []
    for at in range(HEADER_LENGTH, len(data) - RECORD_LENGTH + 1, RECORD_LENGTH):
        record = data[at : at + RECORD_LENGTH]
        parsed = _parse_record(record, seed, size)
        # A file system may know a file's new length before its bytes when power goes: they read as zeros, from
        # anywhere in a record on. What is lost so was never synced, as a record that is cut off was not.
        if parsed is None and not current and len(data[at:].rstrip(b"\0")) < RECORD_LENGTH:
            break
        if parsed is None:
            return Reading(tuple(records), current=False, damaged=True)
        records.append(parsed)
    length = HEADER_LENGTH + len(records) * RECORD_LENGTH
    return Reading(tuple(records), current, damaged=False, length=length)


def _parse_record(record: bytes, seed: int, size: int) -> Record | None:
    body = record[: _BODY.size]
    if zlib.crc32(body, seed) != _CRC.unpack(record[_BODY.size :])[0]:
        return None
    kind, start, stop = _BODY.unpack(body)
    if kind not in set(Kind) or not start <= stop <= size:
        return None
    return Kind(kind), Extent(start, stop)


class Journal:
    """A journal to append to. Its file is made at the first record: most opens only read."""

    __slots__ = ("_fd", "_header", "_last_discard", "_named", "_place", "_seed", "frozen", "length")

    def __init__(self, place: Place, header: bytes, length: int, *, frozen: bool = False) -> None:
        """Go on with the *length* bytes that `parse` found to be sound; 0 if there is no journal.

        *frozen*: on a disk that took nothing; it stays as it is then, though the disk may take something later.
        """
        self._place, self.frozen = place, frozen
        self._header = header
        self._seed = zlib.crc32(header)
        self._fd: int | None = None
        self._named = False  # whether the file's name is known to survive a power loss
        # Not known for what an earlier process appended: as if the last record were one.
        self._last_discard = length - RECORD_LENGTH
        self.length = length

    def append(self, kind: Kind, extent: Extent) -> None:
        """Add a record. OSError when the disk does not take all of it; then none of it is left."""
        body = _BODY.pack(kind, extent.start, extent.stop)
        record = body + _CRC.pack(zlib.crc32(body, self._seed))
        fd = self._fd if self._fd is not None else self._open()
        try:
            write_all(fd, record, self.length)
        except OSError:
            with suppress(OSError):
                os.ftruncate(fd, self.length)
            raise
        if kind is Kind.DISCARDED:
            self._last_discard = self.length
        self.length += RECORD_LENGTH

    def sync(self) -> None:
        """Return once every record survives a power loss."""
        if self._fd is not None:
            os.fdatasync(self._fd)
            if not self._named:
                self._place.sync()
                self._named = True

    def forget(self, length: int) -> None:
        """Drop what was there when the journal had *length* bytes: a checkpoint on disk says it now.

        Records appended since stay, and discards among them stay through a power loss too. OSError
        leaves all as it was.
        """
        if length <= HEADER_LENGTH:
            return
        if length < self.length:
            self._keep_from(length)
            return
        fd = self._open()
        found = os.fstat(fd)
        intact = found.st_nlink > 0 and found.st_size == self.length
        if not intact or os.pread(fd, HEADER_LENGTH, 0) != self._header:  # somebody cut or deleted it
            self.drop()
            return
        os.ftruncate(fd, HEADER_LENGTH)
        self.length = HEADER_LENGTH

    def _keep_from(self, start: int) -> None:
        tail = os.pread(self._open(), self.length - start, start)
        durable = self._last_discard >= start
        self._place.prepare(JOURNAL, self._header + tail, durable=durable)
        self._place.replace(JOURNAL)
        self.close()
        self.length = HEADER_LENGTH + len(tail)
        self._last_discard += HEADER_LENGTH - start
        self._named = False
        if durable:
            self._place.sync()
            self._named = True

    def drop(self) -> None:
        """Remove the file and go on with an empty journal, whose file is made at the next record."""
        self.close()
        self._place.unlink(JOURNAL)
        self.length = 0
        self._named = False
        self._last_discard = -1

    def close(self) -> None:
        """Close the file, for now."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        if self.frozen:
            raise StoreFrozen(f"{self._place.path(JOURNAL)}: the disk took nothing when it was opened")
        if self._fd is None:
            self._fd = self._place.open(JOURNAL, os.O_RDWR | os.O_CREAT)
            if self.length < HEADER_LENGTH:
                self._start(self._fd)
            elif os.fstat(self._fd).st_size > self.length:
                os.ftruncate(self._fd, self.length)  # a record that a kill left half written
        return self._fd

    def _start(self, fd: int) -> None:
        try:
            os.ftruncate(fd, 0)
            write_all(fd, self._header, 0)
        except OSError:
            self.close()
            raise
        self.length = HEADER_LENGTH
