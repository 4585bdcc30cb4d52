"""Digests of pieces that BitTorrent fills up: Merkle trees of SHA-256 (BEP 52), SHA-1 with zeros behind (BEP 47).

A piece at the end of a file is shorter than it was hashed as; these know how long it was then.
"""

import hashlib

LEAF = 16 << 10
"""Bytes that a leaf of a tree covers: BitTorrent's block."""

WIDTH = 32
"""Bytes of a node of a tree."""


def parent(left: bytes, right: bytes) -> bytes:
    """Return the node above two."""
    return hashlib.sha256(left + right).digest()


class Merkle:
    """The root of a tree over blocks of 16 KiB, missing leaves zero.

    It has *leaves*, a power of two, or as many as the next power of two says. Joined up as it grows.
    """

    def __init__(self, leaves: int | None = None) -> None:
        self._leaves = leaves
        self._count = 0
        self._levels: list[bytes | None] = []  # at each height the left node that waits for its right one
        self._leaf = hashlib.sha256()
        self._filled = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        view = memoryview(data)
        while view:
            taken = view[: LEAF - self._filled]
            self._leaf.update(taken)
            self._filled += len(taken)
            view = view[len(taken) :]
            if self._filled == LEAF:
                self._count += 1
                _add(self._levels, self._leaf.digest())
                self._leaf = hashlib.sha256()
                self._filled = 0

    def digest(self) -> bytes:
        """Return the root of all taken in so far."""
        levels, count = list(self._levels), self._count
        if self._filled or not count:
            count += 1
            _add(levels, self._leaf.digest() if self._filled else bytes(WIDTH))
        node: bytes | None = None
        pad = bytes(WIDTH)
        height = (max(count, self._leaves or 1) - 1).bit_length()
        levels += [None] * (height + 1 - len(levels))
        for waiting in levels[:height]:
            if waiting is not None:
                node = parent(waiting, pad if node is None else node)
            elif node is not None:
                node = parent(node, pad)
            pad = parent(pad, pad)
        return levels[height] or node or pad


def _add(levels: list[bytes | None], node: bytes) -> None:
    for height, waiting in enumerate(levels):
        if waiting is None:
            levels[height] = node
            return
        node = parent(waiting, node)
        levels[height] = None
    levels.append(node)


class Sha1WithZeros:
    """SHA-1 of what is taken in and of zeros behind it, up to a multiple of *length* bytes."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._hasher = hashlib.sha1(usedforsecurity=False)
        self._count = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        self._hasher.update(data)
        self._count += len(data)

    def digest(self) -> bytes:
        """Return the digest of all taken in so far."""
        filled = self._hasher.copy()
        missing = -self._count % self._length
        while missing:
            portion = min(missing, 1 << 20)
            filled.update(bytes(portion))
            missing -= portion
        return filled.digest()
