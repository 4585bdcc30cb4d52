"""Tiger/192 (Anderson and Biham 1996), in which tiger trees are made. Pure Python: about 4 MB a second.

The S-boxes are made at first use by their authors' procedure instead of being listed: 1024 numbers.
"""

import struct
from functools import lru_cache
from itertools import pairwise

_MASK = (1 << 64) - 1
_START = (0x0123456789ABCDEF, 0xFEDCBA9876543210, 0xF096A5B4C3B2E187)
_SEED = b"Tiger - A Fast New Hash Function, by Ross Anderson and Eli Biham"
_SEED_PASSES = 5

_State = tuple[int, int, int]
_Boxes = tuple[list[int], list[int], list[int], list[int]]


def _round(state: _State, word: int, factor: int, boxes: _Boxes) -> _State:
    a, b, c = state
    c ^= word
    one, two, three, four = boxes
    a = (a - (one[c & 255] ^ two[c >> 16 & 255] ^ three[c >> 32 & 255] ^ four[c >> 48 & 255])) & _MASK
    b = (b + (four[c >> 8 & 255] ^ three[c >> 24 & 255] ^ two[c >> 40 & 255] ^ one[c >> 56])) & _MASK
    return b * factor & _MASK, c, a


def _schedule(x: list[int]) -> None:
    """Change the eight words for the next pass, as the authors' key schedule does."""
    x[0] = (x[0] - (x[7] ^ 0xA5A5A5A5A5A5A5A5)) & _MASK
    x[1] ^= x[0]
    x[2] = (x[2] + x[1]) & _MASK
    x[3] = (x[3] - (x[2] ^ (~x[1] << 19 & _MASK))) & _MASK
    x[4] ^= x[3]
    x[5] = (x[5] + x[4]) & _MASK
    x[6] = (x[6] - (x[5] ^ ((~x[4] & _MASK) >> 23))) & _MASK
    x[7] ^= x[6]
    x[0] = (x[0] + x[7]) & _MASK
    x[1] = (x[1] - (x[0] ^ (~x[7] << 19 & _MASK))) & _MASK
    x[2] ^= x[1]
    x[3] = (x[3] + x[2]) & _MASK
    x[4] = (x[4] - (x[3] ^ ((~x[2] & _MASK) >> 23))) & _MASK
    x[5] ^= x[4]
    x[6] = (x[6] + x[5]) & _MASK
    x[7] = (x[7] - (x[6] ^ 0x0123456789ABCDEF)) & _MASK


def _compress(state: _State, portion: bytes, boxes: _Boxes) -> _State:
    words = list(struct.unpack("<8Q", portion))
    mixed = state
    for number, factor in enumerate((5, 7, 9)):
        if number:
            _schedule(words)
        for word in words:
            mixed = _round(mixed, word, factor, boxes)
    # Each round leaves the registers turned by one place, so that after 24 they are where they began.
    a, b, c = mixed
    return a ^ state[0], (b - state[1]) & _MASK, (c + state[2]) & _MASK


@lru_cache(maxsize=1)
def _boxes() -> _Boxes:
    """Return the S-boxes, made by swapping the bytes of identity tables as Tiger itself says."""
    columns = [[bytearray(range(256)) for _ in range(8)] for _ in range(4)]
    boxes = _numbers(columns)
    state = _START
    place = 2
    for _ in range(_SEED_PASSES):
        for row in range(256):
            for number in range(4):
                place = (place + 1) % 3
                if place == 0:
                    state = _compress(state, _SEED, boxes)
                _swap(columns[number], boxes[number], row, state[place])
    return boxes


def _swap(columns: list[bytearray], box: list[int], row: int, word: int) -> None:
    """Swap each byte of *row* with that of the row which the same byte of *word* names."""
    for number, column in enumerate(columns):
        other = word >> (8 * number) & 255
        column[row], column[other] = column[other], column[row]
        for changed in (row, other):
            box[changed] = int.from_bytes(bytes(each[changed] for each in columns), "little")


def _numbers(columns: list[list[bytearray]]) -> _Boxes:
    one, two, three, four = (
        [int.from_bytes(bytes(column[row] for column in box), "little") for row in range(256)] for box in columns
    )
    return one, two, three, four


class Tiger:
    """A hasher like those of hashlib."""

    def __init__(self) -> None:
        self._state: _State = _START
        self._rest = b""
        self._count = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        self._count += len(data)
        data = self._rest + bytes(data)
        stop = len(data) // 64 * 64
        boxes = _boxes()
        for start, end in pairwise(range(0, stop + 64, 64)):
            self._state = _compress(self._state, data[start:end], boxes)
        self._rest = data[stop:]

    def digest(self) -> bytes:
        """Return the digest of all taken in so far."""
        state = self._state
        tail = self._rest + b"\x01" + bytes(-(len(self._rest) + 9) % 64) + struct.pack("<Q", self._count * 8 & _MASK)
        for at in range(0, len(tail), 64):
            state = _compress(state, tail[at : at + 64], _boxes())
        return struct.pack("<3Q", *state)
