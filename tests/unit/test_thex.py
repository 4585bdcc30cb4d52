"""Trees of hashes as Gnutella's servers send them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.descriptors import thex
from mountdl.descriptors.model import PieceDigests
from mountdl.digests import hasher
from mountdl.errors import DescriptorError


def tth(data: bytes) -> bytes:
    made = hasher("tth")
    made.update(data)
    return made.digest()


def tree(data: bytes, least: int) -> bytes:
    """Return the nodes of all levels, from the root down to that of pieces of *least* bytes."""
    levels, length = [], least
    while True:
        levels.append(b"".join(tth(data[at : at + length]) for at in range(0, max(1, len(data)), length)))
        if length >= len(data):
            return b"".join(reversed(levels))
        length *= 2


def dime(*bodies: bytes, kind: bytes = b"text/xml") -> bytes:
    message = b""
    for place, body in enumerate(bodies):
        flags = 8 | (4 if place == 0 else 0) | (2 if place == len(bodies) - 1 else 0)
        head = struct.pack(">BBHHHI", flags, 0x10, 0, 3, len(kind), len(body))
        for part in (b"uri", kind, body):
            head += part + bytes(-len(part) % 4)
        message += head
    return message


@pytest.mark.parametrize("size", [1, 1024, 1025, 5000, 65_536, 100_000])
def test_pieces_of_a_tree(size: int) -> None:
    """The lowest level that is whole verifies pieces of its length, as does hashing them."""
    data = bytes(i * 7 % 251 for i in range(size))
    got = thex.pieces(dime(b"<xml/>", tree(data, 2048)), tth(data), size)
    length = got.length
    assert length == (1024 if size <= 1024 else 2048)
    parts = [tth(data[at : at + length]) for at in range(0, size, length)]
    assert got == PieceDigests("tth", length, b"".join(parts))


def test_a_level_that_is_cut_is_left_out() -> None:
    """What is above it counts still."""
    data = bytes(100_000)
    whole = tree(data, 1024)
    assert thex.pieces(dime(b"<x/>", whole[:-24]), tth(data), len(data)).length == 2048


@given(st.integers(0, 2000), st.integers(1, 255))
def test_a_tree_that_lies_is_refused(place: int, change: int) -> None:
    """Any byte of any node: it does not lead to the root."""
    data = bytes(50_000)
    nodes = bytearray(tree(data, 1024))
    nodes[place % len(nodes)] ^= change
    with pytest.raises(DescriptorError) as caught:
        thex.pieces(dime(b"<x/>", bytes(nodes)), tth(data), len(data))
    assert caught.value.kind == "bad-tree"


@given(st.binary(max_size=200), st.integers(0, 1 << 40))
def test_anything_is_a_tree_or_refused(data: bytes, size: int) -> None:
    """Nothing else comes of it."""
    for text in (data, dime(data), dime(data)[: len(data)]):
        with pytest.raises(DescriptorError):
            thex.pieces(text, b"r" * 24, size)
