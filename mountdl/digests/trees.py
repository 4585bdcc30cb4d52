"""Digests of whole files that are trees or lists of digests: tiger tree, eD2k and AICH.

Each takes its bytes in any portions. A tiger tree is joined up as it grows; eD2k keeps 16 bytes for each
part and AICH 20 for each leaf of 180 KiB, for its shape is known only at the end: 120 MB for a terabyte.
"""

import hashlib
from collections.abc import Callable

from mountdl.digests.hashers import Hasher

_TIGER_LEAF = 1024
PART = 9_728_000
"""Bytes of a part of eDonkey."""

_AICH_LEAF = 184_320


class _Portions:
    """Cut what comes into portions of one length and hand each to *take*; the last may be shorter."""

    def __init__(self, length: int, take: Callable[[bytes], None]) -> None:
        self._length = length
        self._take = take
        self._rest = bytearray()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._rest += data
        stop = len(self._rest) // self._length * self._length
        for at in range(0, stop, self._length):
            self._take(bytes(self._rest[at : at + self._length]))
        del self._rest[:stop]

    @property
    def rest(self) -> bytes:
        return bytes(self._rest)


class TigerTree:
    """The root of a Merkle tree of Tiger over leaves of 1024 bytes (THEX): leaves and nodes are told apart.

    *new* makes a hasher of Tiger.
    """

    def __init__(self, new: Callable[[], Hasher]) -> None:
        self._new = new
        self._portions = _Portions(_TIGER_LEAF, self._add)
        self._levels: list[bytes | None] = []  # at each height the left node that waits for its right one
        self._leaves = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        self._portions.update(data)

    def _hash(self, mark: bytes, data: bytes) -> bytes:
        made = self._new()
        made.update(mark + data)
        return made.digest()

    def _add(self, leaf: bytes) -> None:
        self._leaves += 1
        node = self._hash(b"\0", leaf)
        for height, waiting in enumerate(self._levels):
            if waiting is None:
                self._levels[height] = node
                return
            node = self._hash(b"\1", waiting + node)
            self._levels[height] = None
        self._levels.append(node)

    def digest(self) -> bytes:
        """Return the root of all taken in so far; a node without a right neighbour goes up as it is."""
        rest = self._portions.rest
        node = self._hash(b"\0", rest) if rest or not self._leaves else None
        for waiting in self._levels:
            if waiting is not None:
                node = waiting if node is None else self._hash(b"\1", waiting + node)
        return node or b""


class Ed2k:
    """The eD2k hash: MD4 of the MD4s of all parts, or the MD4 of the only part. *new* makes a hasher of MD4.

    Of a file that ends with a whole part there are two: eMule's, which counts an empty part behind it,
    and, with *plain*, the older one without.
    """

    def __init__(self, new: Callable[[], Hasher], *, plain: bool = False) -> None:
        self._new = new
        self._plain = plain
        self._part = new()
        self._filled = 0
        self._digests: list[bytes] = []

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        view = memoryview(data)
        while view:
            taken = view[: PART - self._filled]
            self._part.update(taken)
            self._filled += len(taken)
            view = view[len(taken) :]
            if self._filled == PART:
                self._digests.append(self._part.digest())
                self._part = self._new()
                self._filled = 0

    def digest(self) -> bytes:
        """Return the hash of all taken in so far."""
        digests = list(self._digests)
        if self._filled or not digests or not self._plain:
            digests.append(self._part.digest())
        if len(digests) == 1:
            return digests[0]
        whole = self._new()
        whole.update(b"".join(digests))
        return whole.digest()


class Aich:
    """The root of eMule's tree of SHA-1 over leaves of 180 KiB, which begin anew in each part."""

    def __init__(self) -> None:
        self._part = 0
        self._leaf = hashlib.sha1(usedforsecurity=False)
        self._filled = 0
        self._leaves: list[bytes] = []

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        view = memoryview(data)
        while view:
            taken = view[: min(_AICH_LEAF - self._filled, PART - self._part)]
            self._leaf.update(taken)
            self._filled += len(taken)
            self._part += len(taken)
            view = view[len(taken) :]
            if self._filled == _AICH_LEAF or self._part == PART:
                self._end_leaf()

    def _end_leaf(self) -> None:
        self._leaves.append(self._leaf.digest())
        self._leaf = hashlib.sha1(usedforsecurity=False)
        self._filled = 0
        self._part %= PART

    def digest(self) -> bytes:
        """Return the root of all taken in so far."""
        leaves = list(self._leaves)
        if self._filled or not leaves:
            leaves.append(self._leaf.digest())
        per_part = -(-PART // _AICH_LEAF)
        parts = [leaves[at : at + per_part] for at in range(0, len(leaves), per_part)]
        # A part is a left branch where eMule's division makes it one: that decides where its own middle is.
        return _above(parts, left=True)


def _above(nodes: list[list[bytes]], *, left: bool) -> bytes:
    """Return the node above the parts *nodes*; below a single part, above its leaves."""
    if len(nodes) == 1:
        leaves = nodes[0]
        if len(leaves) == 1:
            return leaves[0]
        middle = (len(leaves) + left) // 2
        return _join(_above([leaves[:middle]], left=True), _above([leaves[middle:]], left=False))
    middle = (len(nodes) + left) // 2
    return _join(_above(nodes[:middle], left=True), _above(nodes[middle:], left=False))


def _join(one: bytes, two: bytes) -> bytes:
    return hashlib.sha1(one + two, usedforsecurity=False).digest()
