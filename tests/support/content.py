"""Contents for tests: bytes whose every place is recognisable, and what verifies them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mountdl.content import Content, content_of
from mountdl.descriptors.model import Entry, MirrorRef, PieceDigests
from mountdl.integrity import ChunkMap


def pattern(size: int, seed: int = 0) -> bytes:
    """Return *size* bytes that look random, the same for the same *seed*."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def flip(path: Path, *offsets: int) -> None:
    """Have a bit of the bytes at *offsets* in the file *path* rot."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 4]))


def entry(
    data: bytes, *, chunk: int | None = 16, urls: tuple[str, ...] = (), whole: bool = True, name: str = "file.bin"
) -> Entry:
    """Return the entry that describes *data*, with digests of chunks of *chunk* bytes and of the whole."""
    pieces = None
    if chunk is not None:
        digests = b"".join(hashlib.sha256(data[i : i + chunk]).digest() for i in range(0, len(data), chunk))
        pieces = PieceDigests("sha-256", chunk, digests)
    return Entry(
        path=PurePosixPath(name),
        size=len(data),
        digests={"sha-256": hashlib.sha256(data).digest()} if whole else {},
        pieces=pieces,
        mirrors=tuple(MirrorRef(url, priority=i + 1) for i, url in enumerate(urls)),
    )


def content(data: bytes, *, chunk: int | None = 16, urls: tuple[str, ...] = (), whole: bool = True) -> Content:
    """Return the content that *data* is, cut into chunks of *chunk* bytes however short."""
    described = entry(data, chunk=chunk, urls=urls, whole=whole)
    pieces = described.pieces
    found = content_of(described, len(data))
    if pieces is None:
        return found
    return replace(found, chunk_map=ChunkMap(len(data), pieces.length, pieces.algorithm, pieces.digests))
