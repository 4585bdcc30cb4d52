"""Merkle trees of version 2 torrents (BEP 52). Pure.

Leaves are SHA-256 of 16 KiB blocks; a missing leaf is 32 zero bytes, so that every tree has a power of two
of them.
"""

from mountdl.digests.padded import LEAF, WIDTH, parent

__all__ = ["BLOCK", "WIDTH", "root_of_layer"]

BLOCK = LEAF
"""Bytes of a block, the unit of the leaves."""


def root_of_layer(layer: bytes, piece_length: int) -> bytes:
    """Return the root above the packed nodes *layer*, each of which covers *piece_length* bytes."""
    pad = bytes(WIDTH)
    for _ in range((piece_length // BLOCK).bit_length() - 1):
        pad = parent(pad, pad)
    nodes = [layer[at : at + WIDTH] for at in range(0, len(layer), WIDTH)]
    while len(nodes) > 1:
        if len(nodes) % 2:
            nodes.append(pad)
        nodes = [parent(nodes[at], nodes[at + 1]) for at in range(0, len(nodes), 2)]
        pad = parent(pad, pad)
    return nodes[0] if nodes else bytes(WIDTH)
