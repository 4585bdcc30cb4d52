"""Metalink 3.0 (second edition) to a descriptor, normalised to what version 4 says. Pure.

Preferences (100 is best, 1 the default) become priorities (1 is best): 101 less the preference. URLs are
ordered by the preference as it stands, for real documents go beyond 100 (Ubuntu's 110, 120, 200).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

from mountdl.descriptors import metalink, signatures, values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_URL, MAX_URLS_READ
from mountdl.descriptors.model import TORRENT, Descriptor, Entry, MirrorRef, PieceDigests, Signature, SwarmRef
from mountdl.descriptors.xmlreader import Node, Shape

NAMESPACES = ("http://www.metalinker.org/", "http://www.metalinker.org", "https://www.metalinker.org/")
"""The right one, and those that real generators write instead."""

_SHORT = 4096
_TORRENT_TYPES = {"bittorrent", "torrent"}
_BEST, _WORST = 100, 1
_LOWEST = -(1 << 63)


@lru_cache(maxsize=8)
def shape(namespace: str) -> Shape:
    """Return the shape of a document whose elements are in *namespace* ("" for none)."""

    def of(*shapes: Shape) -> Mapping[str, Shape]:
        prefix = f"{{{namespace}}}" if namespace else ""
        return {prefix + each.name: each for each in shapes}

    described = (
        Shape("version", text_limit=_SHORT),
        Shape("language", text_limit=_SHORT),
        Shape("os", text_limit=_SHORT),
    )
    verification = Shape(
        "verification",
        of(
            Shape("hash", text_limit=_SHORT),
            Shape("pieces", of(Shape("hash", text_limit=_SHORT)), pieces="indexed"),
            Shape("signature"),
        ),
    )
    resources = Shape("resources", of(Shape("url", text_limit=MAX_URL + 1024, most=MAX_URLS_READ)))
    file = Shape("file", of(Shape("size", text_limit=_SHORT), *described, verification, resources), emitted=True)
    return Shape("metalink", of(Shape("files", of(file)), *described))


def entry(node: Node, name: str, base: str | None, cautions: Cautions) -> Entry | None:
    """Return what the `file` element *node* describes; relative URLs are resolved against *base*."""
    metalink.count_repeats(node, cautions)
    size = metalink.size(node.all("size"), cautions)
    verification = node.all("verification")
    mirrors, swarms = _sources(node, name, base, cautions)
    found = Entry(
        path=metalink.path_of(name),
        size=size,
        digests=metalink.digests([each for part in verification for each in part.all("hash")], cautions),
        pieces=_pieces(verification, size, cautions),
        mirrors=mirrors,
        swarms=swarms,
        signature=_signature(verification, name, cautions),
        languages=metalink.texts(node.all("language")),
        os=metalink.texts(node.all("os")),
        version=metalink.text(node.all("version")),
        max_connections=_max_connections(node, cautions),
    )
    return metalink.finished(found, cautions)


def descriptor(root: Node, entries: tuple[Entry, ...], cautions: Cautions) -> Descriptor:
    """Return the descriptor of *entries*; what they leave open is inherited from the *root*."""
    version = metalink.text(root.all("version"))
    languages = metalink.texts(root.all("language"))
    systems = metalink.texts(root.all("os"))
    if version or languages or systems:
        entries = tuple(
            replace(
                each,
                version=each.version or version,
                languages=each.languages or languages,
                os=each.os or systems,
            )
            for each in entries
        )
    place = metalink.origin(root.attributes.get("origin"), cautions)
    return Descriptor(
        kind="metalink3",
        entries=entries,
        version=values.stripped(root.attributes.get("version")) or "3.0",
        origin=place,
        dynamic=place is not None and values.stripped(root.attributes.get("type")).lower() == "dynamic",
        published_ns=_date(root, "pubdate", cautions),
        updated_ns=_date(root, "refreshdate", cautions),
        cautions=cautions.kept(),
    )


def _date(root: Node, name: str, cautions: Cautions) -> int | None:
    given = values.stripped(root.attributes.get(name))
    found = values.loose_date(given) if given else None
    if given and found is None:
        cautions.add("bad-date", f"{name} {quoted(given)} is not a date")
    return found


def _pieces(verification: list[Node], size: int | None, cautions: Cautions) -> PieceDigests | None:
    return metalink.piece_set([each for part in verification for each in part.all("pieces")], size, cautions)


def _max_connections(node: Node, cautions: Cautions) -> int | None:
    found = [metalink.max_connections(each, cautions) for each in node.all("resources")]
    return min((limit for limit in found if limit is not None), default=None)


def _preference(node: Node, cautions: Cautions) -> int:
    given = node.attributes.get("preference")
    if given is None:
        return _WORST
    found = values.signed(given)
    if found is None:
        cautions.add("bad-preference", f"the preference {quoted(given)} is not a number")
        return _LOWEST
    return found


def _priority(preference: int) -> int:
    return _BEST + 1 - min(max(preference, _WORST), _BEST)


def _sources(
    node: Node, name: str, base: str | None, cautions: Cautions
) -> tuple[tuple[MirrorRef, ...], tuple[SwarmRef, ...]]:
    mirrors: list[tuple[int, MirrorRef]] = []
    swarms: list[tuple[int, SwarmRef]] = []
    for resources in node.all("resources"):
        metalink.count_repeats(resources, cautions)
        for each in resources.all("url"):
            preference = _preference(each, cautions)
            found = _source(each, name, _priority(preference), base, cautions)
            if isinstance(found, MirrorRef):
                mirrors.append((preference, found))
            elif found is not None:
                swarms.append((preference, found))
    # Stable, so that equal preferences, which are the rule, stay in the document's order.
    mirrors.sort(key=lambda pair: -pair[0])
    swarms.sort(key=lambda pair: -pair[0])
    return (
        metalink.best_urls([ref for _, ref in mirrors], cautions),
        metalink.best_urls([ref for _, ref in swarms], cautions),
    )


def _source(node: Node, name: str, priority: int, base: str | None, cautions: Cautions) -> MirrorRef | SwarmRef | None:
    """Classify a `url`: its scheme first, then @type, then how it ends."""
    link = values.stripped(node.text)
    if link[:7].lower() == "magnet:":
        url = metalink.magnet(link, cautions)
        return None if url is None else SwarmRef(url, TORRENT, None, priority)
    url = metalink.followed(node, base, cautions)
    if url is None:
        return None
    if _leads_to_torrent(node, url, name):
        return SwarmRef(url, TORRENT, None, priority)
    location = metalink.location(node, cautions)
    return MirrorRef(url, priority, location, metalink.max_connections(node, cautions))


def _leads_to_torrent(node: Node, url: str, name: str) -> bool:
    kind = values.stripped(node.attributes.get("type")).lower()
    if kind:
        return kind in _TORRENT_TYPES
    if ".torrent" not in url or name.endswith(".torrent"):
        return False
    return urlsplit(url).path.endswith(".torrent")


def _signature(verification: list[Node], name: str, cautions: Cautions) -> Signature | None:
    for part in verification:
        for each in part.all("signature"):
            kind = values.stripped(each.attributes.get("type")).lower()
            hint = each.attributes.get("file")
            found = signatures.signature(signatures.PGP, each.text, name, hint) if kind in {"", "pgp"} else None
            if found is not None:
                if hint and found.name != hint:
                    cautions.add("unsafe-name", f"the signature's file name {quoted(hint)} is not taken")
                return found
            cautions.add("bad-signature", "a signature is empty or of an unknown type")
    return None
