"""What a content is worth when it is opened: manifest, journal and disk laid side by side.

Pure: values in, values out. Law: nothing counts that the disk does not hold or that a discard may have
taken back; what is likely but not certain is doubted, to be hashed before it counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mountdl.extents import Extent, ExtentSet
from mountdl.store.journal import Kind, Reading, Record
from mountdl.store.manifest import Manifest


@dataclass(slots=True)
class Claims:
    """What is claimed of a content's bytes. *verified* is part of *written*; the other two stand apart."""

    written: ExtentSet = field(default_factory=ExtentSet)
    verified: ExtentSet = field(default_factory=ExtentSet)
    doubted: ExtentSet = field(default_factory=ExtentSet)
    discarded: ExtentSet = field(default_factory=ExtentSet)

    def doubt_all(self) -> None:
        """Turn every claim into a doubt."""
        for extent in self.written:
            self.doubted.add(extent)
        self.written = ExtentSet()
        self.verified = ExtentSet()


def weigh(manifest: Manifest | None, journal: Reading, fingerprint: str) -> Claims:
    """Return what manifest and journal claim together for a content with this chunk map."""
    claims = Claims()
    if manifest is not None:
        claims.written, claims.verified = manifest.written.copy(), manifest.verified.copy()
        if manifest.fingerprint != fingerprint:
            claims.doubt_all()
    replay(claims, journal.records, believed=journal.current)
    if journal.damaged:
        claims.doubt_all()
    return claims


def replay(claims: Claims, records: Iterable[Record], *, believed: bool) -> None:
    """Let *records* change *claims*, in order. What is not *believed* is only doubted, but for discards.

    What is believed counts as written, also where it was verified: only a manifest, which a run leaves
    behind in good order, makes bytes verified. After a kill they are hashed once more, not fetched.
    Doing it twice is as doing it once: a checkpoint may already hold what the first records say.
    """
    for kind, extent in records:
        if kind is Kind.DISCARDED:
            for extents in (claims.written, claims.verified, claims.doubted):
                extents.remove(extent)
            claims.discarded.add(extent)
            continue
        claims.discarded.remove(extent)
        if not believed:
            for part in list(claims.written.missing(extent)):
                claims.doubted.add(part)
            continue
        claims.written.add(extent)
        claims.doubted.remove(extent)


def reconcile(claims: Claims, allocated: ExtentSet | None, length: int, grain: int) -> None:
    """Hold *claims* against the disk: what it has *allocated* (None: it can't tell) of a file of *length* bytes.

    Claims in holes and beyond the end are dropped. Data that nobody claims is doubted, but for what is
    only the rest of an allocation unit of *grain* bytes that a claim begins or ends in.
    """
    present = allocated if allocated is not None else ExtentSet([Extent(0, length)])
    claims.written = common(claims.written, present)
    claims.verified = common(claims.verified, present)
    claims.doubted = common(claims.doubted, present)
    if allocated is None:
        return
    known = ExtentSet()
    for extents in (claims.written, claims.doubted, claims.discarded):
        for extent in extents:
            known.add(Extent(extent.start // grain * grain, -(-extent.stop // grain) * grain))
    for extent in allocated:
        for part in known.missing(extent):
            claims.doubted.add(part)


def whole_blocks(extent: Extent, there: ExtentSet, grain: int, size: int) -> Extent:
    """Return the blocks of *grain* bytes that held bytes of *extent* and hold none of *there*, in *size* bytes."""
    start = extent.start // grain * grain
    stop = min(-(-extent.stop // grain) * grain, size)
    if any(there.overlap(Extent(start, extent.start))):
        start += grain
    if any(there.overlap(Extent(extent.stop, stop))):
        stop = extent.stop // grain * grain
    return Extent(start, max(start, stop))


def common(one: ExtentSet, other: ExtentSet) -> ExtentSet:
    """Return the bytes in both sets."""
    both = ExtentSet()
    for extent in one:
        for part in other.overlap(extent):
            both.add(part)
    return both
