"""Entries as bytes and back, for setting aside in memory's stead.

Law: `unpacked(packed(entry)) == entry`. The form is that of this run alone, as marshal's is: never for what
comes from elsewhere or stays. Pure.
"""

import marshal
from pathlib import PurePosixPath
from typing import Any

from mountdl.descriptors.model import Entry, MirrorRef, Neighbour, PieceDigests, Signature, SwarmRef
from mountdl.extents import Extent


def packed(entry: Entry) -> bytes:
    """Return *entry* as bytes: digests, addresses and little else."""
    pieces, signature = entry.pieces, entry.signature
    values: tuple[Any, ...] = (
        str(entry.path),
        entry.size,
        dict(entry.digests),
        None if pieces is None else _of_pieces(pieces),
        tuple((ref.url, ref.priority, ref.location, ref.max_connections) for ref in entry.mirrors),
        tuple((ref.url, ref.mediatype, ref.name, ref.priority) for ref in entry.swarms),
        None if signature is None else (signature.mediatype, signature.text, signature.name),
        entry.languages,
        entry.os,
        entry.version,
        entry.max_connections,
        entry.named,
    )
    return marshal.dumps(values)


def unpacked(data: bytes) -> Entry:
    """Return the entry that `packed` made *data* of."""
    # Not a stranger's bytes: this process wrote them, into a file that has no name.
    path, size, digests, pieces, mirrors, swarms, signature, *rest = marshal.loads(data)  # noqa: S302
    return Entry(
        PurePosixPath(path),
        size,
        digests,
        None if pieces is None else _pieces(pieces),
        tuple(MirrorRef(*each) for each in mirrors),
        tuple(SwarmRef(*each) for each in swarms),
        None if signature is None else Signature(*signature),
        *rest,
    )


def _of_pieces(pieces: PieceDigests) -> tuple[object, ...]:
    sides = tuple(
        tuple((each.size, each.extent.start, each.extent.stop, each.urls) for each in side)
        for side in (pieces.before, pieces.after)
    )
    return pieces.algorithm, pieces.length, pieces.digests, pieces.lead, pieces.open_end, *sides


def _pieces(values: tuple[Any, ...]) -> PieceDigests:
    *own, before, after = values
    return PieceDigests(*own, *(
        tuple(Neighbour(size, Extent(start, stop), urls) for size, start, stop, urls in side)
        for side in (before, after)
    ))  # fmt: skip
