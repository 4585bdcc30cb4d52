"""Metalink 4 (RFC 5854) to a descriptor. Pure; what is checked how is in `metalink`."""

from collections.abc import Mapping

from mountdl.descriptors import metalink, signatures, values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_URL, MAX_URLS_READ
from mountdl.descriptors.model import LOWEST_PRIORITY, TORRENT, Descriptor, Entry, MirrorRef, Signature, SwarmRef
from mountdl.descriptors.xmlreader import Node, Shape

NAMESPACE = "urn:ietf:params:xml:ns:metalink"
ROOT = f"{{{NAMESPACE}}}metalink"

_BITTORRENT = "application/x-bittorrent"


def _of(*shapes: Shape) -> Mapping[str, Shape]:
    return {f"{{{NAMESPACE}}}{shape.name}": shape for shape in shapes}


_SHORT = 4096
_URL = Shape("url", text_limit=MAX_URL + 1024, most=MAX_URLS_READ)
_FILE = Shape(
    "file",
    _of(
        Shape("size", text_limit=_SHORT),
        Shape("hash", text_limit=_SHORT),
        Shape("pieces", _of(Shape("hash", text_limit=_SHORT)), pieces="plain"),
        _URL,
        Shape("metaurl", text_limit=MAX_URL + 1024, most=MAX_URLS_READ),
        Shape("signature"),
        Shape("language", text_limit=_SHORT),
        Shape("os", text_limit=_SHORT),
        Shape("version", text_limit=_SHORT),
    ),
    emitted=True,
)
SHAPE = Shape(
    "metalink",
    _of(
        _FILE,
        Shape("origin", text_limit=MAX_URL),
        Shape("published", text_limit=_SHORT),
        Shape("updated", text_limit=_SHORT),
    ),
)


def entry(node: Node, name: str, base: str | None, cautions: Cautions) -> Entry | None:
    """Return what the `file` element *node* describes; relative URLs are resolved against *base*."""
    metalink.count_repeats(node, cautions)
    size = metalink.size(node.all("size"), cautions)
    found = Entry(
        path=metalink.path_of(name),
        size=size,
        digests=metalink.digests(node.all("hash"), cautions),
        pieces=metalink.piece_set(node.all("pieces"), size, cautions),
        mirrors=_mirrors(node, base, cautions),
        swarms=_swarms(node, base, cautions),
        signature=_signature(node, name, cautions),
        languages=metalink.texts(node.all("language")),
        os=metalink.texts(node.all("os")),
        version=metalink.text(node.all("version")),
    )
    return metalink.finished(found, cautions)


def descriptor(root: Node, entries: tuple[Entry, ...], cautions: Cautions) -> Descriptor:
    """Return the descriptor of *entries* with what its *root* says of all."""
    origins = root.all("origin")
    place = metalink.origin(origins[0].text, cautions) if origins else None
    return Descriptor(
        kind="metalink4",
        entries=entries,
        version="4.0",
        origin=place,
        dynamic=place is not None and values.truth(origins[0].attributes.get("dynamic")),
        published_ns=_date(root, "published", cautions),
        updated_ns=_date(root, "updated", cautions),
        cautions=cautions.kept(),
    )


def _date(root: Node, name: str, cautions: Cautions) -> int | None:
    given = metalink.text(root.all(name))
    found = values.date(given)
    if given and found is None:
        cautions.add("bad-date", f"{name} {quoted(given)} is not an RFC 3339 date")
    return found


def _priority(node: Node, cautions: Cautions) -> int:
    # RFC 5854 section 4.2.16.1: 1 to 999999, a lower number is preferred, absent ranks last.
    given = node.attributes.get("priority")
    if given is None:
        return LOWEST_PRIORITY
    found = values.positive(given)
    if found is None or found > LOWEST_PRIORITY:
        cautions.add("bad-priority", f"the priority {quoted(given)} is not 1 to {LOWEST_PRIORITY}")
        return LOWEST_PRIORITY
    return found


def _mirrors(node: Node, base: str | None, cautions: Cautions) -> tuple[MirrorRef, ...]:
    found = []
    for each in node.all("url"):
        url = metalink.followed(each, base, cautions)
        if url is not None:
            location = metalink.location(each, cautions)
            found.append(MirrorRef(url, _priority(each, cautions), location))
    found.sort(key=_rank)
    return metalink.best_urls(found, cautions)


def _rank(ref: MirrorRef | SwarmRef) -> int:
    return ref.priority


def _swarms(node: Node, base: str | None, cautions: Cautions) -> tuple[SwarmRef, ...]:
    found = []
    for each in node.all("metaurl"):
        ref = _swarm(each, base, cautions)
        if ref is not None:
            found.append(ref)
    found.sort(key=_rank)
    return metalink.best_urls(found, cautions)


def _swarm(node: Node, base: str | None, cautions: Cautions) -> SwarmRef | None:
    mediatype = values.mediatype(node.attributes.get("mediatype"))
    if mediatype is None:
        cautions.add("bad-mediatype", "a metaurl does not say its media type")
        return None
    if mediatype == _BITTORRENT:
        mediatype = TORRENT
    inside = node.attributes.get("name")
    if inside is not None and not metalink.safe_inside(inside, cautions):
        return None
    link = values.stripped(node.text)
    is_magnet = link[:7].lower() == "magnet:"
    url = metalink.magnet(link, cautions) if is_magnet else metalink.followed(node, base, cautions)
    return None if url is None else SwarmRef(url, mediatype, inside, _priority(node, cautions))


def _signature(node: Node, name: str, cautions: Cautions) -> Signature | None:
    for each in node.all("signature"):
        mediatype = values.mediatype(each.attributes.get("mediatype"))
        found = signatures.signature(mediatype, each.text, name) if mediatype else None
        if found is not None:
            return found
        cautions.add("bad-signature", "a signature is empty or does not say its media type")
    return None
