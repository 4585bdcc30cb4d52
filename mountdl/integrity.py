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
    "MERKLE",
    "PIECE_ALGORITHMS",
    "ZEROS",
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
    sized = _SIZED.fullmatch(algorithm)
    if sized:
        return Merkle(int(sized[2])) if sized[1] == MERKLE else Sha1WithZeros(int(sized[2]))
    return _HASHERS[algorithm][1]()


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

    With an *algorithm*, *digests* holds the expected raw digest of each chunk, packed in order;
    without, chunks have no digest and only say in what units bytes are fetched.
    """

    size: int
    length: int
    algorithm: str | None = None
    digests: bytes = b""

    def __post_init__(self) -> None:
        if self.length < 1 or self.size < 0:
            raise ValueError(f"no chunk map has size {self.size} and chunk length {self.length}")
        if self.algorithm is not None and len(self.digests) != self.count * digest_length(self.algorithm):
            raise ValueError("the digests do not cover the size")

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return -(-self.size // self.length)

    def extent(self, index: int) -> Extent:
        """Return the extent of chunk *index*."""
        start = index * self.length
        return Extent(start, min(start + self.length, self.size))

    def touching(self, extent: Extent) -> range:
        """Return the indexes of the chunks that hold at least one byte of *extent*."""
        if not extent:
            return range(0)
        return range(extent.start // self.length, -(-min(extent.stop, self.size) // self.length))

    def within(self, extent: Extent) -> range:
        """Return the indexes of the chunks that lie wholly in *extent*."""
        stop = self.count if extent.stop >= self.size else extent.stop // self.length
        return range(-(-extent.start // self.length), stop)

    def cover(self, extent: Extent) -> Extent:
        """Return the smallest extent of whole chunks that covers *extent*; an empty one stays as it is."""
        if not extent:
            return extent
        start = extent.start // self.length * self.length
        stop = min(-(-extent.stop // self.length) * self.length, self.size)
        return Extent(min(start, stop), stop)

    def expected(self, index: int) -> Digest | None:
        """Return the digest that chunk *index* must have, or None when it is not known."""
        if self.algorithm is None:
            return None
        width = digest_length(self.algorithm)
        return Digest(self.algorithm, self.digests[index * width : (index + 1) * width])

    def matches(self, index: int, data: bytes | bytearray | memoryview) -> bool:
        """Say whether *data* is chunk *index*; True where no digest is known."""
        if self.algorithm is None:
            return True
        check = hasher(self.algorithm)
        check.update(data)
        width = digest_length(self.algorithm)
        return check.digest() == self.digests[index * width : (index + 1) * width]

    @property
    def fingerprint(self) -> str:
        """A short text that two maps share exactly when they cut and verify alike."""
        body = hashlib.sha256(self.digests).hexdigest()[:32]
        return f"{self.algorithm or 'none'}/{self.length}/{self.size}/{body}"
