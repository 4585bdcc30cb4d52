"""What an earlier run left of a content, and what of it has to be hashed before it counts."""

from mountdl.content import Content, Level
from mountdl.extents import Extent, ExtentSet
from mountdl.store.stored import Stored


def inherit(content: Content, stored: Stored) -> ExtentSet:
    """Return what of whole chunks is on disk and not known to be sound; what nobody could judge goes."""
    there = stored.written.copy()
    for extent in stored.doubted:
        there.add(extent)
    if content.level is not Level.CHUNK:
        _inherit_unjudged(content, stored, there)
    doubt = ExtentSet()
    for extent in there:
        doubt.add(content.chunk_map.within(extent))
    for extent in stored.verified:
        doubt.remove(extent)
    return doubt


def _inherit_unjudged(content: Content, stored: Stored, there: ExtentSet) -> None:
    """Where chunks have no digests, doubtful bytes count only if all are here and can be judged as a whole."""
    if content.level is Level.WHOLE and there.total == content.size:
        stored.trust(Extent(0, content.size))
        return
    for extent in list(stored.doubted):
        for part in outside(extent, content.chunk_map.sure):
            stored.discard(part)


def outside(extent: Extent, inner: Extent) -> list[Extent]:
    """Return the parts of *extent* that are not in *inner*."""
    return list(ExtentSet([inner]).missing(extent))
