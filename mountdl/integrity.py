"""What bytes should hash to: digests, their strength, and the chunks of a content.

Pure: nothing here reads a file or a clock. Algorithm names are those of IANA's registry of hash
functions ("sha-256", "sha-1", "md5"), as RFC 5854 section 4.2.6 asks.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from mountdl import digests as own
from mountdl.digests import Hasher
from mountdl.digests.padded import Merkle, Sha1WithZeros
from mountdl.extents import Extent

__all__ = [
    "ALGORITHMS",
    "DEFAULT_CHUNK_LENGTH",
    "LEAST_CHUNK_LENGTH",
    "MERKLE",
    "PIECE_ALGORITHMS",
    "ZEROS",
    "ChunkCheck",
    "ChunkMap",
    "Digest",
    "Hasher",
    "WholeCheck",
    "canonical",
    "digest_length",
    "hasher",
    "strength",
    "strongest",
]

DEFAULT_CHUNK_LENGTH = 1 << 20
"""Chunk length in bytes where no descriptor gives one: what one request fetches at no visible cost."""

LEAST_CHUNK_LENGTH = 64 << 10
"""Bytes of a chunk at least, where digests are of fewer: half of what the kernel reads at once."""


MERKLE = "merkle-sha-256"
"""BitTorrent's tree of a whole file (BEP 52); with a number behind it, of a piece of so many leaves."""

ZEROS = "sha-1-zeros"
"""With a number behind it: SHA-1 of a piece of so many bytes that zeros fill up (BEP 47)."""

_SIZED = re.compile(rf"({MERKLE}|{ZEROS})-(\d{{1,12}})")


def _own(name: str) -> tuple[int, Callable[[], Hasher]]:
    return own.LENGTHS[name], partial(own.hasher, name)


# Strongest first: the order in which reference formats rank them; a digest not listed verifies nothing.
_HASHERS: dict[str, tuple[int, Callable[[], Hasher]]] = {
    "sha-512": (64, hashlib.sha512),
    "sha-384": (48, hashlib.sha384),
    "sha-256": (32, hashlib.sha256),
    "sha-224": (28, hashlib.sha224),
    "sha3-512": (64, hashlib.sha3_512),
    "sha3-384": (48, hashlib.sha3_384),
    "sha3-256": (32, hashlib.sha3_256),
    "sha3-224": (28, hashlib.sha3_224),
    MERKLE: (32, Merkle),
    "sha-1": (20, lambda: hashlib.sha1(usedforsecurity=False)),
    "tth": _own("tth"),
    "aich": _own("aich"),
    "tiger": _own("tiger"),
    "md5": (16, lambda: hashlib.md5(usedforsecurity=False)),
    "ed2k": _own("ed2k"),
    "md4": _own("md4"),
}
ALGORITHMS: tuple[str, ...] = tuple(_HASHERS)
"""Algorithms that verify, strongest first."""

PIECE_ALGORITHMS = frozenset(ALGORITHMS) - own.LENGTHS.keys() - {MERKLE}
"""Those that metalinks hash pieces by: others are of whole files, and too slow for what a reader waits for."""

_STRENGTH = {name: -place for place, name in enumerate(ALGORITHMS)}


def digest_length(algorithm: str) -> int:
    """Return the bytes of a digest of *algorithm*. KeyError for one that is not in `ALGORITHMS` nor sized."""
    sized = _SIZED.fullmatch(algorithm)
    return _HASHERS[_plain(sized[1]) if sized else algorithm][0]


def hasher(algorithm: str) -> Hasher:
    """Return a fresh hasher of *algorithm*. KeyError for one that is not in `ALGORITHMS` nor sized."""
    return _maker(algorithm)()


def _maker(algorithm: str) -> Callable[[], Hasher]:
    """Return what makes hashers of *algorithm*, for where many are made."""
    sized = _SIZED.fullmatch(algorithm)
    if sized:
        return partial(Merkle if sized[1] == MERKLE else Sha1WithZeros, int(sized[2]))
    return _HASHERS[algorithm][1]


def _plain(name: str) -> str:
    """Return the algorithm that ranks as sized *name* does."""
    return MERKLE if name == MERKLE else "sha-1"


def strength(algorithm: str) -> int:
    """Return a number that is greater for a stronger algorithm; the least for one that verifies nothing."""
    sized = _SIZED.fullmatch(algorithm)
    return _STRENGTH.get(_plain(sized[1]) if sized else algorithm, -len(ALGORITHMS))


def canonical(name: str) -> str:
    """Return the registered spelling of an algorithm's name as descriptors write it ("SHA1" is "sha-1").

    Names that are not known come back in lower case.
    """
    name = name.strip().lower()
    for digits in ("1", "224", "256", "384", "512"):
        if name in {f"sha{digits}", f"sha-{digits}", f"sha_{digits}"}:
            return f"sha-{digits}"
    return name


@dataclass(frozen=True, slots=True)
class Digest:
    """What an algorithm gives for some bytes; *value* is raw."""

    algorithm: str
    value: bytes

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value.hex()}"


def strongest(digests: Mapping[str, bytes]) -> Digest | None:
    """Return the strongest of *digests* (algorithm to raw value) that can verify, or None."""
    usable = [name for name in digests if name in _HASHERS]
    if not usable:
        return None
    name = max(usable, key=strength)
    return Digest(name, digests[name])


class WholeCheck:
    """A hasher that finds out whether *size* bytes are those of *digest*. KeyError for an unknown algorithm.

    Some links write either of two values for the same bytes (eD2k, where the size is a multiple of its
    part; "tiger" for the tree of it): both are computed then, and either will do.
    """

    def __init__(self, digest: Digest, size: int) -> None:
        other = own.alternative(digest.algorithm, size)
        self._expected = digest.value
        self._hashers = [hasher(digest.algorithm), *([other] if other is not None else [])]

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        for each in self._hashers:
            each.update(data)

    def digest(self) -> bytes:
        """Return the expected digest if the bytes taken in have it, else the one that they have."""
        found = [each.digest() for each in self._hashers]
        return self._expected if self._expected in found else found[0]

    @property
    def verified(self) -> bool:
        """Whether the bytes taken in are the expected ones."""
        return self.digest() == self._expected


@dataclass(frozen=True, slots=True)
class ChunkMap:
    """How a content of *size* bytes is cut into chunks of *length* (the last may be shorter).

    With an *algorithm*, *digests* holds the expected raw digests, packed in order: of each chunk, or, where
    *piece* is not 0, of each that many bytes, of which a chunk is a multiple. Without, chunks have no digest
    and only say in what units bytes are fetched.

    A file of a torrent may begin *lead* bytes after a boundary, so that the first chunk is shorter by them and
    its first digest is also of bytes that are not here; with *open_end* so is the last one. `sure` is what
    remains: what the digests can tell.
    """

    size: int
    length: int
    algorithm: str | None = None
    digests: bytes = b""
    piece: int = 0
    lead: int = 0
    open_end: bool = False

    def __post_init__(self) -> None:
        piece = self._piece
        if self.length < 1 or self.size < 0 or self.length % piece or not 0 <= self.lead < piece:
            raise ValueError(f"no chunk map has size {self.size}, chunk length {self.length} and lead {self.lead}")
        wanted = -(-(self.size + self.lead) // piece) if self.size else 0
        if self.algorithm is not None and len(self.digests) != wanted * digest_length(self.algorithm):
            raise ValueError("the digests do not cover the size")

    @property
    def _piece(self) -> int:
        return self.piece or self.length

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return -(-(self.size + self.lead) // self.length) if self.size else 0

    @property
    def sure(self) -> Extent:
        """Return the bytes that the digests are of, and of nothing else; an empty extent where there are none."""
        if self.algorithm is None:
            return Extent(0, 0)
        piece = self._piece
        start = -self.lead % piece
        stop = (self.size + self.lead) // piece * piece - self.lead if self.open_end else self.size
        return Extent(start, stop) if start < stop else Extent(0, 0)

    @property
    def complete(self) -> bool:
        """Whether every byte has a digest that can tell."""
        return self.algorithm is not None and self.sure.length == self.size

    def floor(self, offset: int) -> int:
        """Return where the chunk that holds *offset* begins."""
        return max(0, (offset + self.lead) // self.length * self.length - self.lead)

    def extent(self, index: int) -> Extent:
        """Return the extent of chunk *index*."""
        start = index * self.length - self.lead
        return Extent(max(0, start), min(start + self.length, self.size))

    def judged(self, index: int) -> Extent:
        """Return the part of chunk *index* that its digests can tell; all of it nearly always."""
        return self.extent(index).intersection(self.sure)

    def touching(self, extent: Extent) -> range:
        """Return the indexes of the chunks that hold at least one byte of *extent*."""
        if not extent:
            return range(0)
        stop = -(-(min(extent.stop, self.size) + self.lead) // self.length)
        return range((extent.start + self.lead) // self.length, stop)

    def within(self, extent: Extent) -> Extent:
        """Return the bytes of the chunks whose `judged` part lies wholly in *extent*; empty where there are none."""
        sure = self.sure
        inner = extent.intersection(sure)
        if not inner:
            return inner
        start = sure.start if inner.start == sure.start else self.cover(Extent(inner.start - 1, inner.start)).stop
        stop = sure.stop if inner.stop == sure.stop else self.floor(inner.stop)
        return Extent(start, max(start, stop))

    def cover(self, extent: Extent) -> Extent:
        """Return the smallest extent of whole chunks that covers *extent*; an empty one stays as it is."""
        if not extent:
            return extent
        stop = min(-(-(extent.stop + self.lead) // self.length) * self.length - self.lead, self.size)
        return Extent(min(self.floor(extent.start), stop), stop)

    def check(self, index: int) -> "ChunkCheck":
        """Return what finds out whether the bytes of `judged` of chunk *index* are the expected ones."""
        judged = self.judged(index)
        if self.algorithm is None or not judged:
            return ChunkCheck(None, 1, b"")
        piece, width = self._piece, digest_length(self.algorithm)
        first, last = ((at + self.lead) // piece for at in (judged.start, judged.stop + piece - 1))
        return ChunkCheck(self.algorithm, piece, self.digests[first * width : last * width])

    def matches(self, index: int, data: bytes | bytearray | memoryview) -> bool:
        """Say whether *data* is `judged` of chunk *index*; True where no digest is known."""
        check = self.check(index)
        check.update(data)
        return check.verified

    @property
    def fingerprint(self) -> str:
        """A short text that two maps share exactly when they cut and verify alike."""
        body = hashlib.sha256(self.digests).hexdigest()[:32]
        text = f"{self.algorithm or 'none'}/{self.length}/{self.size}/{body}"
        if (self.piece, self.lead, self.open_end) == (0, 0, False):
            return text
        return f"{text}/{self._piece}+{self.lead}{'+' * self.open_end}"


def chunk_length_of(fingerprint: str) -> int:
    """Return the length of the chunks of the map with this fingerprint; a usual one where it does not tell."""
    parts = fingerprint.split("/")
    told = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() and len(parts[1]) < 16 else 0
    return told or DEFAULT_CHUNK_LENGTH


class ChunkCheck:
    """A hasher that finds out whether the bytes of a chunk hash to *expected*, one digest for each *piece* bytes.

    Without an *algorithm* any bytes do.
    """

    def __init__(self, algorithm: str | None, piece: int, expected: bytes) -> None:
        self._make = None if algorithm is None else _maker(algorithm)
        self.algorithm, self.piece, self.expected = algorithm, piece, expected
        self._found = bytearray()
        self._open = None if self._make is None else self._make()
        self._filled = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        if self._make is None or self._open is None:
            return
        view, at = memoryview(data), 0
        while at < len(view):
            stop = min(at + self.piece - self._filled, len(view))
            self._open.update(view[at:stop])
            self._filled += stop - at
            at = stop
            if self._filled == self.piece:
                self._found += self._open.digest()
                self._open, self._filled = self._make(), 0

    def digest(self) -> bytes:
        """Return the digests of what was taken in, packed."""
        rest = self._open.digest() if self._open is not None and self._filled else b""
        return bytes(self._found) + rest

    @property
    def verified(self) -> bool:
        """Whether the bytes taken in are the expected ones."""
        return self._make is None or self.digest() == self.expected
