"""What sources and documents told of an entry that its descriptor says too little of. Pure.

Law: what a descriptor says itself stands. A document that it names adds to that what contradicts none of it;
what a mirror says of itself counts only where the descriptor gave nothing but addresses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mountdl.descriptors.limits import MAX_URLS_KEPT
from mountdl.descriptors.model import METALINKS, Descriptor, Entry, MirrorRef, PieceDigests, SwarmRef
from mountdl.descriptors.thex import THEX
from mountdl.errors import DescriptorError
from mountdl.integrity import strongest


@dataclass(frozen=True, slots=True)
class Learned:
    """A size in bytes, and what else was told of a file; *described*: by a document that its descriptor named.

    The others are fields of an answer (RFC 6249). *remembered*: of an earlier mount, and still to be asked for.
    *torrent* is what a magnet link turned out to lead to. *version*, entity tag and date as its server sent them, only
    where no server tells the size, and all was fetched to find out. *name* is what a server calls the file.
    """

    size: int
    digests: Mapping[str, bytes] = field(default_factory=dict)
    mirrors: tuple[MirrorRef, ...] = ()
    pieces: PieceDigests | None = None
    swarms: tuple[SwarmRef, ...] = ()
    described: bool = False
    remembered: bool = False
    torrent: Descriptor | None = None
    version: tuple[str, str] | None = None
    name: str | None = None


class Pending(NamedTuple):
    """Why a size is not known, for the user.

    *coming*: all of the file is being fetched, which will tell it; *hopeless*: only peers know, and none can be asked.
    """

    reason: str
    coming: bool = False
    hopeless: bool = False


def documents(entry: Entry) -> tuple[SwarmRef, ...]:
    """Return the metalinks that *entry* names, best first, where they may tell what it leaves open, and trees."""
    if entry.size is not None and entry.pieces is not None and entry.mirrors:
        return ()
    wanted = METALINKS | ({THEX} if entry.pieces is None and entry.size and "tth" in entry.digests else set())
    return tuple(ref for ref in entry.swarms if ref.mediatype in wanted)


def awaited(entry: Entry) -> bool:
    """Say whether *entry* can't be shown before more is known: its size, or any place but documents."""
    if entry.size is None:
        return True
    return bool(entry.swarms) and not entry.mirrors and all(ref.mediatype in METALINKS for ref in entry.swarms)


def completed(entry: Entry, learned: Learned) -> Entry:
    """Return *entry* with what was *learned* of it."""
    size = learned.size if entry.size is None else entry.size
    if learned.name is not None and not entry.named:
        entry = replace(entry, path=entry.path.with_name(learned.name))
    if learned.described:
        return _united(replace(entry, size=size), learned)
    if entry.digests or entry.pieces is not None or not learned.digests:
        return replace(entry, size=size)
    return _united(replace(entry, size=size), learned)


def _united(entry: Entry, learned: "Learned | Entry") -> Entry:
    known = {ref.url for ref in entry.mirrors} | {ref.url for ref in entry.swarms}
    mirrors = [*entry.mirrors, *(ref for ref in learned.mirrors if ref.url not in known)]
    swarms = [*entry.swarms, *(ref for ref in learned.swarms if ref.url not in known)]
    return replace(
        entry,
        digests={**learned.digests, **entry.digests},
        pieces=entry.pieces or learned.pieces,
        mirrors=tuple(sorted(mirrors, key=lambda ref: ref.priority)[:MAX_URLS_KEPT]),
        swarms=tuple(sorted(swarms, key=lambda ref: ref.priority)[:MAX_URLS_KEPT]),
    )


def poorer(fresh: Learned, before: Learned) -> bool:
    """Say whether *fresh* lacks the document that *before* was told by, and says nothing else against it."""
    if fresh.described or not before.described or fresh.size != before.size:
        return False
    return all(before.digests.get(name, value) == value for name, value in fresh.digests.items())


def taught(entry: Entry, said: Descriptor, inside: str | None) -> Entry:
    """Return *entry* with what a document *said* of it; *inside* is its path there, where that is known.

    Raises DescriptorError "no-files" when the document is not about it, "inconsistent" when it contradicts it.
    """
    found = _found(entry, said.entries, inside)
    if found is None:
        raise DescriptorError("no-files", "the document does not describe the file")
    if None not in {entry.size, found.size} and entry.size != found.size:
        raise DescriptorError("inconsistent", f"the document is about a file of {found.size} bytes")
    wrong = [name for name, value in found.digests.items() if entry.digests.get(name, value) != value]
    if wrong:
        raise DescriptorError("inconsistent", f"the document names another {wrong[0]} digest")
    size = found.size if entry.size is None else entry.size
    return _united(replace(entry, size=size, signature=entry.signature or found.signature), found)


def renewed(old: Descriptor, fresh: Descriptor) -> Descriptor:
    """Return the descriptor to show in place of *old* now that its origin says *fresh* (RFC 5854 section 4.2.7).

    What verifies the same bytes is not given up because the new one lacks it. The origin stays the old one's,
    so that no document leads its readers on and on. Raises DescriptorError where *fresh* is not about its files.
    """
    if not fresh.kind.startswith("metalink") or not fresh.entries:
        raise DescriptorError("no-files", "its origin describes no file")
    before = {each.path: each for each in old.entries}
    digests = {digest for each in old.entries for digest in each.digests.items()}
    if not any(each.path in before or digests & set(each.digests.items()) for each in fresh.entries):
        raise DescriptorError("inconsistent", "its origin describes other files")
    entries = tuple(_verified_as(before.get(each.path), each) for each in fresh.entries)
    return replace(fresh, entries=entries, origin=old.origin, dynamic=old.dynamic)


def _verified_as(old: Entry | None, fresh: Entry) -> Entry:
    """Return *fresh* with what verified *old*, where that was the same bytes."""
    if old is None or old.size != fresh.size or not _same_digest(old, fresh):
        return fresh
    return replace(fresh, digests={**old.digests, **fresh.digests}, pieces=fresh.pieces or old.pieces)


def _same_digest(one: Entry, other: Entry) -> bool:
    """Say whether both have the strongest digest of one, and agree in all that they share."""
    best = strongest(one.digests)
    if best is None or other.digests.get(best.algorithm) != best.value:
        return False
    return all(other.digests.get(name, value) == value for name, value in one.digests.items())


def _found(entry: Entry, candidates: tuple[Entry, ...], inside: str | None) -> Entry | None:
    """Return the one of *candidates* that is *entry*: by path, digest, name or size, if that is of one alone."""
    if inside is None and len(candidates) == 1:
        return candidates[0]
    # A torrent's paths begin with its own name, which some metalinks leave out.
    named = (each for each in candidates if inside in {str(each.path), "/".join(each.path.parts[1:])})
    if inside is not None and (found := next(named, None)) is not None:
        return found
    digests = set(entry.digests.items())
    return (
        _single(each for each in candidates if digests & set(each.digests.items()))
        or _single(each for each in candidates if inside is None and each.path.name == entry.path.name)
        or _single(each for each in candidates if entry.size is not None and each.size == entry.size)
    )


def _single(candidates: Iterable[Entry]) -> Entry | None:
    found = list(candidates)
    return found[0] if len(found) == 1 else None
