"""Contents: byte sequences known by what they hash to, independent of names and places.

Pure. Two entries that name the same strongest digest are one content with the sources of both; its
bytes are stored once.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NewType, Protocol, TypeVar

from mountdl.descriptors.model import Entry, MirrorRef, Neighbour, SwarmRef
from mountdl.extents import Extent
from mountdl.integrity import (
    ALGORITHMS,
    DEFAULT_CHUNK_LENGTH,
    LEAST_CHUNK_LENGTH,
    ChunkMap,
    Digest,
    digest_length,
    strength,
    strongest,
)

_Ref = TypeVar("_Ref", MirrorRef, SwarmRef)

ContentKey = NewType("ContentKey", str)
"""Stable id of a content: file-name safe, at most 150 characters of [0-9a-z-]."""

LARGEST = (1 << 63) - 1
"""Bytes of the largest file that Linux can show."""


class Level(Enum):
    """How well a content can be verified."""

    CHUNK = "chunk"
    """Every chunk has a digest: no byte is served before its chunk matched."""
    WHOLE = "whole"
    """Only the whole has one: bytes are served as written and judged when all are here."""
    NONE = "none"
    """Nothing can ever verify it."""


class Outline(Protocol):
    """What must be at hand of every content that is shown, of however many: a `Content`, or what leads to one."""

    @property
    def key(self) -> ContentKey:
        """Its key."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    @property
    def level(self) -> Level:
        """How well it can be verified."""

    @property
    def judged(self) -> int:
        """How many of its bytes digests of chunks can tell."""

    @property
    def full(self) -> "Content":
        """All that is known of it. Raises StoreError where that is kept on a disk that fails."""


@dataclass(frozen=True, slots=True)
class Border:
    """The end *own* of a content, in a piece that it shares: *digest* is of *before*, *own* and *after* in a row."""

    own: Extent
    digest: Digest
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """A byte sequence of *size* bytes, what verifies it and the references to places that have it."""

    key: ContentKey
    size: int
    digests: Mapping[str, bytes]
    chunk_map: ChunkMap
    mirrors: tuple[MirrorRef, ...] = ()
    swarms: tuple[SwarmRef, ...] = ()
    max_connections: int | None = None
    borders: tuple[Border, ...] = ()

    @property
    def level(self) -> Level:
        """How well it can be verified."""
        if self.chunk_map.complete:
            return Level.CHUNK
        return Level.WHOLE if self.digest is not None else Level.NONE

    @property
    def judged(self) -> int:
        """How many of its bytes digests of chunks can tell."""
        return self.chunk_map.sure.length

    @property
    def full(self) -> "Content":
        """Itself, as every `Outline` has it."""
        return self

    @property
    def digest(self) -> Digest | None:
        """The strongest digest of the whole, or None."""
        return strongest(self.digests)


def content_key(entry: Entry, size: int) -> ContentKey:
    """Return the key of what *entry* describes, whose size is known to be *size*.

    The strongest whole digest; without one the piece digests; without those the URLs.
    """
    digest = strongest(entry.digests)
    if digest is not None:
        return ContentKey(f"{digest.algorithm}-{digest.value.hex()}-{size:x}")
    if entry.pieces is not None:
        pieces = entry.pieces
        body = hashlib.sha256(pieces.digests).hexdigest()
        # Digests that are of neighbours too tell the ends of two files apart, however they lie in them.
        place = f"-{pieces.lead:x}" if pieces.lead or pieces.open_end else ""
        return ContentKey(f"pieces-{pieces.algorithm}-{pieces.length:x}{place}-{body}-{size:x}")
    urls = "\n".join(sorted({mirror.url for mirror in entry.mirrors} | {swarm.url for swarm in entry.swarms}))
    return ContentKey(f"urls-{hashlib.sha256(urls.encode()).hexdigest()}-{size:x}")


def digest_of(key: ContentKey) -> Digest | None:
    """Return the digest of the whole that *key* is made of; None for one that is made of something else."""
    match = re.fullmatch(r"([a-z0-9-]+?)-([0-9a-f]+)-[0-9a-f]+(?:-[0-9a-f]{16})?", key)
    if match is None or match[1] not in ALGORITHMS or len(match[2]) != 2 * digest_length(match[1]):
        return None
    return Digest(match[1], bytes.fromhex(match[2]))


def content_of(entry: Entry, size: int) -> Content:
    """Return the content that *entry* describes. *size* is the entry's own or what a probe learned."""
    return Content(
        key=content_key(entry, size),
        size=size,
        digests=dict(entry.digests),
        chunk_map=chunk_map_of(entry, size),
        mirrors=entry.mirrors,
        swarms=entry.swarms,
        max_connections=entry.max_connections,
        borders=borders_of(entry, size),
    )


def chunk_map_of(entry: Entry, size: int) -> ChunkMap:
    """Cut *size* bytes as the entry's piece digests do, or by default where it has none that fit.

    Several short pieces make a chunk: each chunk costs some 0.1 ms, of which a map of single bytes takes hours.
    """
    pieces = entry.pieces
    if pieces is None or pieces.count != (-(-(size + pieces.lead) // pieces.length) if size else 0):
        return ChunkMap(size, DEFAULT_CHUNK_LENGTH)
    several = -(-LEAST_CHUNK_LENGTH // pieces.length)
    piece = pieces.length if several > 1 else 0
    return ChunkMap(
        size, several * pieces.length, pieces.algorithm, pieces.digests, piece, pieces.lead, pieces.open_end
    )


def borders_of(entry: Entry, size: int) -> tuple[Border, ...]:
    """Return the ends of *entry* that can be judged together with bytes of other files."""
    pieces = entry.pieces
    if pieces is None or not (pieces.before or pieces.after) or not size:
        return ()
    width, length = digest_length(pieces.algorithm), pieces.length
    found = []
    for index in {0, pieces.count - 1}:
        own = Extent(max(0, index * length - pieces.lead), min((index + 1) * length - pieces.lead, size))
        first, last = index == 0 and pieces.lead > 0, own.stop == size and pieces.open_end
        # Where one side is missing, what there is of the other does not help.
        if (first or last) and (pieces.before or not first) and (pieces.after or not last):
            digest = Digest(pieces.algorithm, pieces.digests[index * width : (index + 1) * width])
            found.append(Border(own, digest, pieces.before if first else (), pieces.after if last else ()))
    return tuple(found)


def compatible(one: Content, other: Content) -> bool:
    """Say whether two contents of one key can be served as one: nothing that both state differs."""
    if one.size != other.size:
        return False
    if any(other.digests.get(name, value) != value for name, value in one.digests.items()):
        return False
    a, b = one.chunk_map, other.chunk_map
    same_cut = a.complete and b.complete and (a.algorithm, a.length, a.piece) == (b.algorithm, b.length, b.piece)
    return not same_cut or (a.lead, a.digests) == (b.lead, b.digests)


def merge(one: Content, other: Content) -> Content:
    """Return one content with the sources of both and the better chunk map. They must be `compatible`."""
    better = min((one, other), key=_worth)
    limits = [limit for limit in (one.max_connections, other.max_connections) if limit is not None]
    return replace(
        one,
        digests={**other.digests, **one.digests},
        chunk_map=better.chunk_map,
        borders=better.borders,
        mirrors=_united(one.mirrors + other.mirrors),
        swarms=_united(one.swarms + other.swarms),
        max_connections=min(limits, default=None),
    )


def _worth(content: Content) -> tuple[bool, int, int]:
    chunk_map = content.chunk_map
    return not chunk_map.complete, -strength(chunk_map.algorithm or ""), chunk_map.length


def _united(refs: tuple[_Ref, ...]) -> tuple[_Ref, ...]:
    by_url: dict[str, _Ref] = {}
    for ref in refs:
        by_url.setdefault(ref.url, ref)
    return tuple(sorted(by_url.values(), key=lambda ref: ref.priority))


def distinct(content: Content) -> Content:
    """Return *content* under a key that also names its chunk map and every digest.

    For one that carries another content's key but contradicts it, so that both are kept apart.
    """
    digests = ",".join(f"{name}:{value.hex()}" for name, value in sorted(content.digests.items()))
    suffix = hashlib.sha256(f"{content.chunk_map.fingerprint} {digests}".encode()).hexdigest()[:16]
    return replace(content, key=ContentKey(f"{content.key}-{suffix}"))
