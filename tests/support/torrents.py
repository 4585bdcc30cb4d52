"""Make torrents of all versions in memory, independent of the reader."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

BLOCK = 16384


def encode(value: object) -> bytes:
    """Bencode *value*, the keys of dictionaries in the order given."""
    if isinstance(value, bool):
        raise TypeError("no truth in bencode")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, Mapping):
        return b"d" + b"".join(encode(key) + encode(each) for key, each in value.items()) + b"e"
    if isinstance(value, Sequence):
        return b"l" + b"".join(map(encode, value)) + b"e"
    raise TypeError(type(value))


def tidy(value: object) -> object:
    """Return *value* with all keys as bytes in order."""
    if isinstance(value, Mapping):
        pairs = [(key.encode() if isinstance(key, str) else key, tidy(each)) for key, each in value.items()]
        return dict(sorted(pairs))
    if isinstance(value, list):
        return [tidy(each) for each in value]
    return value


def pieces(data: bytes, length: int) -> bytes:
    """Return the version 1 piece hashes of *data*."""
    return b"".join(hashlib.sha1(data[at : at + length]).digest() for at in range(0, len(data), length))


def single(data: bytes, length: int = 4, name: str = "a.bin", **more: object) -> dict[str, object]:
    """Return the info dictionary of one file."""
    return {"length": len(data), "name": name, "piece length": length, "pieces": pieces(data, length), **more}


def several(files: Mapping[str, bytes], length: int = 4, name: str = "top", **more: object) -> dict[str, object]:
    """Return the info dictionary of several files; one whose path starts with ".pad" is padding."""
    listed = []
    for path, data in files.items():
        item: dict[str, object] = {"length": len(data), "path": path.split("/")}
        if path.startswith(".pad"):
            item["attr"] = "p"
        listed.append(item)
    return {
        "files": listed,
        "name": name,
        "piece length": length,
        "pieces": pieces(b"".join(files.values()), length),
        **more,
    }


def tree_root(leaves: list[bytes], count: int) -> bytes:
    """Return the Merkle root of *count* leaves, a power of two, of which *leaves* are not zero."""
    nodes = leaves + [bytes(32)] * (count - len(leaves))
    while len(nodes) > 1:
        nodes = [hashlib.sha256(nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]
    return nodes[0]


def _power(count: int) -> int:
    return 1 << (count - 1).bit_length() if count > 1 else 1


def file_2(data: bytes, length: int) -> tuple[dict[str, object], bytes, bytes]:
    """Return a version 2 leaf of the file tree, its root and its piece layer."""
    if not data:
        return {"": {"length": 0}}, b"", b""
    leaves = [hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, len(data), BLOCK)]
    per_piece = length // BLOCK
    layer = [tree_root(leaves[at : at + per_piece], per_piece) for at in range(0, len(leaves), per_piece)]
    root = tree_root(leaves, _power(max(len(leaves), per_piece) if len(data) > length else len(leaves)))
    return {"": {"length": len(data), "pieces root": root}}, root, b"".join(layer) if len(data) > length else b""


def version_2(files: Mapping[str, bytes], length: int = BLOCK, name: str = "top", **more: object) -> dict[str, object]:
    """Return a whole version 2 torrent."""
    tree: dict[str, object] = {}
    layers: dict[bytes, object] = {}
    for path, data in files.items():
        leaf, root, layer = file_2(data, length)
        node = tree
        *directories, last = path.split("/")
        for part in directories:
            node = node.setdefault(part, {})  # type: ignore[assignment]
        node[last] = leaf
        if layer:
            layers[root] = layer
    info = {"file tree": tree, "meta version": 2, "name": name, "piece length": length, **more}
    return {"info": info, "piece layers": layers}


def torrent(info: Mapping[str, object], **root: object) -> bytes:
    """Return a torrent file of *info*, with underscores in other keys for hyphens."""
    return encode(tidy({**{key.replace("_", "-"): value for key, value in root.items()}, "info": info}))
