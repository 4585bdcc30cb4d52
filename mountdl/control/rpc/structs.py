"""From what mountdl knows of a file to aria2's words. Pure.

Law: every value is a text, as aria2's clients expect, and what says nothing is left out. What takes long to find out is
asked for only where a client wants it. No text has a user name, password or query of a URL in it.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from mountdl.control.rpc.rows import ACTIVE, ERROR, REMOVED, STOPPED
from mountdl.descriptors import urls
from mountdl.engine.status import SourceStatus, status_of
from mountdl.errors import ExitStatus
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap

Json = dict[str, object]

_CODES = {
    "torrent": ExitStatus.BAD_TORRENT,
    "magnet": ExitStatus.BAD_MAGNET,
    "metalink": ExitStatus.BAD_METALINK,
    "meta4": ExitStatus.BAD_METALINK,
}
REMOVED_BY_USER = "31"
"""aria2's manual, EXIT STATUS."""
MOST_URIS = 100
"""Mirrors of a file that are told."""
_V1 = re.compile(r"urn:btih:([0-9a-f]{40})", re.IGNORECASE)
_V2 = re.compile(r"urn:btmh:1220([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a content beyond what `ls` shows: *uris* of mirrors and *chunks*; *present* of what is open.

    *link* is the magnet link of its torrent.
    """

    uris: tuple[str, ...] = ()
    chunks: ChunkMap | None = None
    present: ExtentSet | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """A row as it is now; bytes, and bytes a second. *folder* is the mount point, *path* absolute.

    *details* finds out the rest.
    """

    gid: str
    status: str
    folder: str
    path: str
    size: int = 0
    done: int = 0
    rate: float = 0.0
    error: str | None = None
    descriptor: str = ""
    torrent: bool = False
    sources: tuple[SourceStatus, ...] = ()
    details: Callable[[], Details] = field(default=Details)


def struct(facts: Facts, keys: Collection[str] = ()) -> Json:
    """Return what `tellStatus` answers: *keys* of it, all if there are none."""
    wanted = _KEYS.keys() & keys if keys else _KEYS.keys()
    told = {}
    for key, tell in _KEYS.items():
        if key in wanted and (value := tell(facts)) is not None:
            told[key] = value
    return told


def removed(facts: Facts) -> Json:
    """Return what stays to be told of a row that was removed."""
    told = struct(facts)
    told.update(status=REMOVED, errorCode=REMOVED_BY_USER, errorMessage="", downloadSpeed="0", connections="0")
    return told


def selected(told: Json, keys: Collection[str]) -> Json:
    """Return *keys* of what was *told* already, all if there are none."""
    return {key: value for key, value in told.items() if not keys or key in keys}


def files(facts: Facts) -> list[Json]:
    """Return what `getFiles` answers."""
    return [
        {
            "index": "1",
            "path": facts.path,
            "length": str(facts.size),
            "completedLength": str(facts.done),
            "selected": "true",
            "uris": uris(facts),
        }
    ]


def uris(facts: Facts) -> list[Json]:
    """Return what `getUris` answers."""
    status = "used" if facts.status == ACTIVE else "waiting"
    return [{"uri": uri, "status": status} for uri in facts.details().uris]


def servers(facts: Facts) -> list[Json]:
    """Return what `getServers` answers: sources that bytes come from now."""
    used = [each for each in facts.sources if each.flights]
    told = [
        {"uri": each.name, "currentUri": each.name, "downloadSpeed": str(int(each.rate * each.flights))}
        for each in used
    ]
    return [{"index": "1", "servers": told}]


def shown_uris(mirrors: Sequence[str]) -> tuple[str, ...]:
    """Return *mirrors* as they may be told."""
    return tuple(urls.shown(url) for url in mirrors[:MOST_URIS])


def bitfield(chunks: ChunkMap, present: ExtentSet) -> str:
    """Return which of *chunks* are *present* as hexadecimal digits, the first in the highest bit; "" for none."""
    bits = bytearray(-(-chunks.count // 8))
    for extent in present:
        touched = chunks.touching(extent.clip(chunks.size))
        first, last = touched.start, touched.stop
        while first < last and not extent.covers(chunks.extent(first)):
            first += 1
        while last > first and not extent.covers(chunks.extent(last - 1)):
            last -= 1
        _fill(bits, first, last)
    return bits.hex()


def _fill(bits: bytearray, first: int, last: int) -> None:
    """Set the bits from *first* up to *last*, whole bytes at once."""
    while first < last and first % 8:
        bits[first // 8] |= 0x80 >> first % 8
        first += 1
    whole = (last - first) // 8
    if whole > 0:
        bits[first // 8 : first // 8 + whole] = b"\xff" * whole
        first += 8 * whole
    for place in range(first, last):
        bits[place // 8] |= 0x80 >> place % 8


def _bitfield(facts: Facts) -> str | None:
    details = facts.details()
    if details.chunks is None or not details.chunks.count:
        return None
    if facts.done == facts.size:
        return bitfield(details.chunks, ExtentSet([Extent(0, facts.size)]))
    return None if details.present is None else bitfield(details.chunks, details.present)


def _chunk_length(facts: Facts) -> str:
    chunks = facts.details().chunks
    return str(1 << 20 if chunks is None else chunks.length)


def _chunk_count(facts: Facts) -> str:
    chunks = facts.details().chunks
    return str(0 if chunks is None else chunks.count)


def _info_hash(facts: Facts) -> str | None:
    link = facts.details().link
    found = _V1.search(link) or _V2.search(link)
    return None if found is None else found[1].lower()


def _torrent(facts: Facts) -> Json | None:
    link = facts.details().link
    if not link:
        return None
    given = parse_qsl(link.partition("?")[2], max_num_fields=None)
    name = next((value for key, value in given if key == "dn"), facts.path.rpartition("/")[2])
    trackers = [[urls.shown(value)] for key, value in given if key == "tr"][:MOST_URIS]
    return {"announceList": trackers, "mode": "single", "info": {"name": name}}


def _swarms_only(tell: Callable[[Facts], object]) -> Callable[[Facts], object]:
    """Return *tell* for what only a torrent has."""
    return lambda facts: tell(facts) if facts.details().link else None


def _connections(facts: Facts) -> str:
    return str(sum(each.flights for each in facts.sources))


def _code(facts: Facts) -> str | None:
    if facts.status not in STOPPED:
        return None
    if facts.status != ERROR:
        return "0"
    refused = ExitStatus.UNKNOWN if facts.size else _CODES.get(facts.descriptor.rpartition(".")[2].lower())
    otherwise = ExitStatus.CHECKSUM if "did not match" in (facts.error or "") else refused or ExitStatus.UNKNOWN
    reasons = [each.reason for each in facts.sources if each.reason] or [(facts.error or "").rpartition(": ")[2]]
    return str(int(status_of(reasons, otherwise)))


_KEYS: Mapping[str, Callable[[Facts], object]] = {
    "gid": lambda facts: facts.gid,
    "status": lambda facts: facts.status,
    "totalLength": lambda facts: str(facts.size),
    "completedLength": lambda facts: str(facts.done),
    "uploadLength": lambda _: "0",
    "bitfield": _bitfield,
    "downloadSpeed": lambda facts: str(int(facts.rate)),
    "uploadSpeed": lambda _: "0",
    "infoHash": _info_hash,
    "numSeeders": _swarms_only(lambda _: "0"),
    "seeder": _swarms_only(lambda facts: None if facts.status in STOPPED else "false"),
    "pieceLength": _chunk_length,
    "numPieces": _chunk_count,
    "connections": _connections,
    "errorCode": _code,
    "errorMessage": lambda facts: None if facts.status not in STOPPED else facts.error or "",
    "dir": lambda facts: facts.folder,
    "files": files,
    "bittorrent": _torrent,
}
