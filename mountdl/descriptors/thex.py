"""Tiger trees as Gnutella's servers send them (THEX in DIME), to digests of pieces. Pure.

Law: nothing of a tree is believed that does not lead up to the root that is known already, node by node.
"""

import struct
from collections.abc import Iterator

from mountdl.descriptors.model import PieceDigests
from mountdl.digests import hasher
from mountdl.errors import DescriptorError

THEX = "application/dime"
"""Media type of what leads to such a tree."""

_LEAF, _NODE = 1024, 24
_HEADER = struct.Struct(">BBHHHI")
_LAST, _CHUNKED = 0x02, 0x01
_ALGORITHM = "tth"


def pieces(data: bytes, root: bytes, size: int) -> PieceDigests:
    """Return the lowest whole level of the tree in *data* as digests of pieces of a file of *size* bytes.

    Raises DescriptorError "bad-tree" where *data* is no such tree or does not lead to *root*.
    """
    for body in _records(data):
        if body.startswith(root) and len(body) % _NODE == 0:
            nodes, level = _lowest(body, root, size)
            return PieceDigests(_ALGORITHM, _LEAF << level, nodes)
    raise _bad("holds no tree with the right root")


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the bodies of the records of a DIME message; those of one that comes in parts together."""
    at, parts = 0, b""
    while at + _HEADER.size <= len(data):
        flags, _, options, name, kind, length = _HEADER.unpack_from(data, at)
        if flags >> 3 != 1:
            raise _bad("is no DIME message")
        at += _HEADER.size + sum(_padded(each) for each in (options, name, kind))
        if at + length > len(data):
            raise _bad("is cut off")
        parts += data[at : at + length]
        at += _padded(length)
        if not flags & _CHUNKED:
            yield parts
            parts = b""
        if flags & _LAST:
            return


def _padded(length: int) -> int:
    return -(-length // 4) * 4


def _lowest(body: bytes, root: bytes, size: int) -> tuple[bytes, int]:
    """Return the lowest whole level in *body*, which has them from the root down, and its height above the leaves."""
    leaves = max(1, -(-size // _LEAF))
    level = (leaves - 1).bit_length()
    above, at = root, _NODE
    while level > 0:
        length = _NODE * -(-leaves // (1 << (level - 1)))
        below = body[at : at + length]
        if len(below) < length:
            break
        if _joined(below) != above:
            raise _bad("does not lead to its root")
        above, at, level = below, at + length, level - 1
    return above, level


def _joined(nodes: bytes) -> bytes:
    """Return the level above *nodes*; one without a right neighbour goes up as it is."""
    above = []
    for at in range(0, len(nodes), 2 * _NODE):
        pair = nodes[at : at + 2 * _NODE]
        if len(pair) == 2 * _NODE:
            made = hasher("tiger")
            made.update(b"\1" + pair)
            pair = made.digest()
        above.append(pair)
    return b"".join(above)


def _bad(why: str) -> DescriptorError:
    return DescriptorError("bad-tree", f"the tree of hashes {why}")
