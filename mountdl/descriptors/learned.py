"""What sources told of an entry that its descriptor says too little of. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mountdl.descriptors.limits import MAX_URLS_KEPT
from mountdl.descriptors.model import Entry, MirrorRef


@dataclass(frozen=True, slots=True)
class Learned:
    """A size in bytes, and what the fields of an answer said of the file (RFC 6249)."""

    size: int
    digests: Mapping[str, bytes] = field(default_factory=dict)
    mirrors: tuple[MirrorRef, ...] = ()


def completed(entry: Entry, learned: Learned) -> Entry:
    """Return *entry* with the size learned, unless it has one.

    Digests and mirrors are taken too where a descriptor gave nothing but addresses: what a mirror says of
    itself counts for nothing beside a descriptor's own digests.
    """
    size = learned.size if entry.size is None else entry.size
    if entry.digests or entry.pieces is not None or not learned.digests:
        return replace(entry, size=size)
    known = {mirror.url for mirror in entry.mirrors}
    mirrors = [*entry.mirrors, *(mirror for mirror in learned.mirrors if mirror.url not in known)]
    kept = tuple(sorted(mirrors, key=lambda mirror: mirror.priority)[:MAX_URLS_KEPT])
    return replace(entry, size=size, digests=learned.digests, mirrors=kept)
