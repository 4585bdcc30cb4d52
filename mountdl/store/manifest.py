"""The manifest of one content: what of it was on disk, for certain, at the last checkpoint.

Law: decoding gives exactly what was encoded or raises StoreDamaged; nothing a file says makes it do
anything else. The format is docs/formats.md, section "Manifest". Where it lies is `place`'s matter.
"""

import json
import logging
import struct
import zlib
from dataclasses import dataclass

from mountdl.content import ContentKey
from mountdl.errors import StoreDamaged
from mountdl.extents import Extent, ExtentSet
from mountdl.store.place import MANIFEST, Place

log = logging.getLogger(__name__)

VERSION = 1
HEADER_LIMIT = 2048
"""A header is one line of at most this many bytes."""
LIMIT = 256 << 20
"""A manifest longer than this many bytes is not one: 16 million extents."""

_FORMAT = "mountdl manifest"
_EXTENT_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: totals in bytes, counts of extents, and what the rest must hash to."""

    key: ContentKey
    size: int
    fingerprint: str
    written: int
    verified: int
    written_extents: int
    verified_extents: int
    body_crc: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. *written* holds *verified* too; neither may change once it is in here."""

    key: ContentKey
    size: int
    fingerprint: str
    written: ExtentSet
    verified: ExtentSet


def encode(manifest: Manifest) -> bytes:
    """Return *manifest* as the bytes of its file."""
    body = _pack(manifest.verified) + _pack(manifest.written)
    header = {
        "format": _FORMAT,
        "version": VERSION,
        "key": manifest.key,
        "size": manifest.size,
        "fingerprint": manifest.fingerprint,
        "written": manifest.written.total,
        "verified": manifest.verified.total,
        "written_extents": len(manifest.written),
        "verified_extents": len(manifest.verified),
        "body_crc": zlib.crc32(body),
    }
    text = json.dumps(header).encode()
    return b"%s %08x\n%s" % (text, zlib.crc32(text), body)


def decode_header(data: bytes) -> Header:
    """Read the header of a manifest's first bytes. StoreDamaged says why it can't be used."""
    line, newline, _ = data[:HEADER_LIMIT].partition(b"\n")
    text, _, crc = line.rpartition(b" ")
    if not newline or crc != b"%08x" % zlib.crc32(text):
        raise StoreDamaged("its header is cut short or altered")
    try:
        fields = json.loads(text)
        if fields["format"] != _FORMAT or fields["version"] != VERSION:
            raise StoreDamaged(f"it is of version {fields['version']!r}, not {VERSION}")
        return Header(
            key=ContentKey(str(fields["key"])),
            size=int(fields["size"]),
            fingerprint=str(fields["fingerprint"]),
            written=int(fields["written"]),
            verified=int(fields["verified"]),
            written_extents=int(fields["written_extents"]),
            verified_extents=int(fields["verified_extents"]),
            body_crc=int(fields["body_crc"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreDamaged("its header does not make sense") from error


def decode(data: bytes) -> Manifest:
    """Read a whole manifest. StoreDamaged says why it can't be used."""
    header = decode_header(data)
    body = data[data.index(b"\n") + 1 :]
    if zlib.crc32(body) != header.body_crc:
        raise StoreDamaged("its extents are cut short or altered")
    split = header.verified_extents * _EXTENT_LENGTH
    verified = _unpack(body[:split], header.verified_extents, header.size)
    written = _unpack(body[split:], header.written_extents, header.size)
    if not all(written.covers(extent) for extent in verified):
        raise StoreDamaged("it calls bytes verified that it does not call written")
    return Manifest(header.key, header.size, header.fingerprint, written, verified)


def _pack(extents: ExtentSet) -> bytes:
    numbers = [number for extent in extents for number in (extent.start, extent.stop)]
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def _unpack(data: bytes, count: int, size: int) -> ExtentSet:
    if count < 0 or len(data) != count * _EXTENT_LENGTH:
        raise StoreDamaged("it has fewer or more extents than it says")
    extents = ExtentSet()
    last = -1
    for start, stop in struct.iter_unpack("<QQ", data):
        if not last < start < stop <= size:
            raise StoreDamaged("its extents are out of order")
        extents.add(Extent(start, stop))
        last = stop
    return extents


def load(place: Place) -> tuple[Manifest | None, bool]:
    """Return the manifest that lies in *place*, if there is a sound one, and whether there was an unsound one."""
    data = place.read(MANIFEST, LIMIT)
    if data is None:
        return None, False
    try:
        manifest = decode(data)
        if manifest.key != place.key:
            raise StoreDamaged("it is another content's")
    except StoreDamaged as error:
        log.warning("%s: its manifest can't be used: %s; what is stored is hashed first", place.key, error)
        return None, True
    return manifest, False
