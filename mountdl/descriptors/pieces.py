"""Gather the piece hashes of one set as they are read, and choose among sets.

Law: a set is taken whole or dropped whole. One bad hash would shift all that follow. An index in the
document is data to check, never a place to allocate. Digests are kept packed: a million are 20 to 64 MB.
"""

from array import array
from collections.abc import Iterable, Mapping

from mountdl import integrity
from mountdl.descriptors import values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import LARGE_ONLY_PIECE, LARGE_PIECE, MAX_PIECES
from mountdl.descriptors.model import PieceDigests

_NO_INDEX = -1
_BAD_INDEX = -2


class PieceCollector:
    """One `pieces` element while it is read; *attributes* are its own.

    With *indexed* (version 3), hashes may come in any order and say their place in @piece.
    """

    def __init__(self, attributes: Mapping[str, str], *, indexed: bool) -> None:
        self._digests = bytearray()
        self._indexes = array("q") if indexed else None
        self._fault: tuple[str, str] | None = None
        kind = attributes.get("type")
        self._algorithm = values.algorithm(kind)
        self._length = values.positive(attributes.get("length"))
        self._width = 0
        if self._algorithm in integrity.PIECE_ALGORITHMS:
            self._width = integrity.digest_length(self._algorithm)
        elif values.stripped(kind):
            self._fault = ("pieces-unknown-type", f"pieces of type {quoted(kind or '')} verify nothing here")
        else:
            self._fault = ("pieces-without-type", "a set of pieces does not say its type")
        if self._length is None and self._fault is None:
            self._fault = ("pieces-bad-length", "a set of pieces has no usable length")

    def add(self, text: str | None, attributes: Mapping[str, str]) -> None:
        """Take the next hash of the document."""
        if self._fault is not None:
            return
        try:
            raw = bytes.fromhex(text or "")
        except ValueError:
            raw = b""
        width = self._width
        if len(raw) != width or (len(text or "") != 2 * width and len(values.stripped(text)) != 2 * width):
            self._drop("pieces-bad-hash", f"piece hash {self._count + 1} is not one")
            return
        self._digests += raw
        if self._indexes is not None:
            self._indexes.append(_index(attributes.get("piece")))
        if len(self._digests) > MAX_PIECES * width:
            self._drop("too-many-pieces", f"a set has more than {MAX_PIECES} piece hashes")

    @property
    def _count(self) -> int:
        return len(self._digests) // self._width

    def _drop(self, code: str, message: str) -> None:
        self._fault = (code, message)
        self._digests = bytearray()
        if self._indexes is not None:
            self._indexes = array("q")

    def finish(self, size: int | None, cautions: Cautions) -> PieceDigests | None:
        """Return the set if it is sound and covers *size* bytes; else note why not."""
        if self._fault is None:
            self._put_in_order()
        if self._fault is None:
            self._check_count(size)
        if self._fault is not None:
            cautions.add(*self._fault)
            return None
        assert self._algorithm is not None and self._length is not None  # noqa: S101, PT018 - no fault says so
        found = PieceDigests(self._algorithm, self._length, bytes(self._digests))
        if found.length >= LARGE_PIECE or (found.count == 1 and min(found.length, size or 0) >= LARGE_ONLY_PIECE):
            cautions.add("large-pieces", f"pieces of {found.length} bytes make each first read fetch that much")
        return found

    def _check_count(self, size: int | None) -> None:
        assert self._length is not None  # noqa: S101 - no fault says so
        if size is None:
            if not self._digests:
                self._drop("pieces-mismatch", "a set of pieces has no hash")
        elif self._count != -(-size // self._length):
            self._drop("pieces-mismatch", f"{self._count} pieces of {self._length} bytes do not cover {size} bytes")

    def _put_in_order(self) -> None:
        """Sort by index if all have one; none at all means document order; anything between is a fault."""
        indexes, count, width = self._indexes, self._count, self._width
        if not indexes or indexes == array("q", range(count)):
            return
        if indexes == array("q", [_NO_INDEX]) * count:
            return
        seen = bytearray(count)
        ordered = bytearray(count * width)
        packed = memoryview(self._digests)
        for place, wanted in enumerate(indexes):
            if not 0 <= wanted < count or seen[wanted]:
                packed.release()
                self._drop("pieces-bad-index", "the indexes of the piece hashes are not 0, 1, 2 and so on")
                return
            seen[wanted] = 1
            ordered[wanted * width : (wanted + 1) * width] = packed[place * width : (place + 1) * width]
        packed.release()
        self._digests = ordered


def _index(text: str | None) -> int:
    if text is None:
        return _NO_INDEX
    value = values.number(text)
    return _BAD_INDEX if value is None else value


def best(sets: Iterable[PieceDigests | None]) -> PieceDigests | None:
    """Return the set of the strongest algorithm, the shortest pieces among equals; None if there is none."""
    sound = [each for each in sets if each is not None]
    return max(sound, key=lambda each: (integrity.strength(each.algorithm), -each.length), default=None)
