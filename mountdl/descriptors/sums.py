"""Digests for descriptors that are made: of whole files and of their pieces, as the bytes come. Pure."""

from collections.abc import Sequence

from mountdl.descriptors.model import PieceDigests
from mountdl.integrity import Hasher, hasher

_LEAST_LENGTH = 256 << 10
_LARGEST_LENGTH = 16 << 20
_MOST_PIECES = 4096


def piece_length(size: int) -> int:
    """Return a good piece length in bytes for *size* bytes: a power of two that a reader waits for gladly.

    At most 4096 pieces, so that a descriptor stays below half a megabyte, as long as they have at most 16 MiB.
    """
    length = _LEAST_LENGTH
    while length < _LARGEST_LENGTH and size > _MOST_PIECES * length:
        length *= 2
    return length


class PieceSums:
    """Digests of consecutive pieces of *length* bytes; for a torrent, of several files in a row."""

    def __init__(self, algorithm: str, length: int) -> None:
        self._algorithm, self._length = algorithm, length
        self._digests = bytearray()
        self._hasher = hasher(algorithm)
        self._filled = 0

    def update(self, data: memoryview) -> None:
        """Take *data* in."""
        while data:
            part = data[: self._length - self._filled]
            self._hasher.update(part)
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == self._length:
                self._end_piece()

    def _end_piece(self) -> None:
        self._digests += self._hasher.digest()
        self._hasher = hasher(self._algorithm)
        self._filled = 0

    def finish(self) -> PieceDigests:
        """Return the digests; the last piece may be shorter. Nothing can be taken in afterwards."""
        if self._filled:
            self._end_piece()
        return PieceDigests(self._algorithm, self._length, bytes(self._digests))


class Sums:
    """Digests of a whole file by *algorithms*; what *pieces* takes in is the same."""

    def __init__(self, algorithms: Sequence[str], pieces: PieceSums | None) -> None:
        self._hashers: dict[str, Hasher] = {name: hasher(name) for name in algorithms}
        self._pieces = pieces

    def update(self, data: memoryview) -> None:
        """Take *data* in."""
        for each in self._hashers.values():
            each.update(data)
        if self._pieces is not None:
            self._pieces.update(data)

    def digests(self) -> dict[str, bytes]:
        """Return the digests of all taken in."""
        return {name: each.digest() for name, each in self._hashers.items()}
