"""What metalinks of both versions share: single fields, and the files of a document put together.

Law: a defect costs the smallest thing that holds it, and leaves a caution. A bad field leaves the file, a
bad file leaves the document; a value is never another one than the document's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from mountdl.descriptors import linktext, names, pieces, topics, urls, values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_FILES, MAX_URLS_DOCUMENT, MAX_URLS_KEPT
from mountdl.descriptors.model import Entry, MirrorRef, PieceDigests, SwarmRef
from mountdl.descriptors.topics import TopicRefused
from mountdl.errors import DescriptorError

if TYPE_CHECKING:
    # The files of a torrent or a list are gathered by `Files` too, without a reader of XML.
    from mountdl.descriptors.xmlreader import Node

_T = TypeVar("_T")
_ORIGINS = frozenset({"http", "https", "ftp"})


@dataclass(slots=True)
class Files:
    """The files of one document as they come; no two have one path, none is a directory of another."""

    cautions: Cautions
    seen: int = 0
    _entries: dict[str, Entry] = field(default_factory=dict)
    _directories: set[str] = field(default_factory=set)
    _urls: int = 0

    def take(self, node: Node, read: Callable[[Node, str], Entry | None]) -> None:
        """Read the `file` element *node* with *read*, which gets its name, and keep what comes of it."""
        self.seen += 1
        if self.seen > MAX_FILES:
            raise DescriptorError("limits", f"the document has more than {MAX_FILES} files")
        name = self._name(node)
        if name is not None:
            self.cautions.file = name
            entry = read(node, name)
            if entry is not None:
                self.keep(name, entry)
        self.cautions.file = None

    def entries(self) -> tuple[Entry, ...]:
        """Return all that were kept. Raises DescriptorError "no-files" if the document had none at all."""
        if not self.seen:
            raise DescriptorError("no-files", "the document describes no file")
        return self.kept()

    def kept(self) -> tuple[Entry, ...]:
        """Return all that were kept."""
        return tuple(self._entries.values())

    def _name(self, node: Node) -> str | None:
        name = node.attributes.get("name")
        if name is None:
            self.cautions.add("missing-name", "a file has no name")
            return None
        fault = names.fault(name)
        if fault is not None:
            self.cautions.add("unsafe-name", f"the name {quoted(name)} {fault}")
            return None
        return name

    def keep(self, name: str, entry: Entry) -> None:
        """Keep *entry*, whose safe name is *name*, or join it to the one that has that name already."""
        if names.invisible(name):
            self.cautions.add("invisible-characters", "the name has characters that nobody sees")
        first = self._entries.get(name)
        if first is not None:
            self._join(name, first, entry)
            return
        if not self.free(name):
            self.cautions.add("name-clash", "one path would be a file and a directory")
            return
        self._directories.update(names.directories(name))
        self._entries[name] = entry
        self._count(entry)

    def free(self, name: str) -> bool:
        """Say whether *name* is no file and no directory, and no file is above it."""
        return name not in self._entries and name not in self._directories and not self.shadowed(name)

    def shadowed(self, name: str) -> bool:
        """Say whether a directory that *name* is in would be a file."""
        return any(directory in self._entries for directory in names.directories(name))

    def _join(self, name: str, first: Entry, second: Entry) -> None:
        if not _same_bytes(first, second):
            self.cautions.add("duplicate-name", "another file of this name with other size or digests is left out")
            return
        self._count(second)
        known = {ref.url for ref in first.mirrors} | {ref.url for ref in first.swarms}
        mirrors = (*first.mirrors, *(ref for ref in second.mirrors if ref.url not in known))
        swarms = (*first.swarms, *(ref for ref in second.swarms if ref.url not in known))
        self._entries[name] = replace(
            first,
            mirrors=tuple(sorted(mirrors, key=_priority))[:MAX_URLS_KEPT],
            swarms=tuple(sorted(swarms, key=_priority))[:MAX_URLS_KEPT],
        )

    def _count(self, entry: Entry) -> None:
        self._urls += len(entry.mirrors) + len(entry.swarms)
        if self._urls > MAX_URLS_DOCUMENT:
            raise DescriptorError("limits", f"the document has more than {MAX_URLS_DOCUMENT} URLs")


def _same_bytes(one: Entry, other: Entry) -> bool:
    shared = one.digests.keys() & other.digests.keys()
    if one.size is None and not shared:
        return False
    return one.size == other.size and all(one.digests[name] == other.digests[name] for name in shared)


def _priority(ref: MirrorRef | SwarmRef) -> int:
    return ref.priority


def size(nodes: Sequence[Node], cautions: Cautions) -> int | None:
    """Return the size that the `size` elements give; None when they give none, or several."""
    found: int | None = None
    for node in nodes:
        value = values.number(node.text)
        if value is None:
            cautions.add("bad-size", f"the size {quoted(values.stripped(node.text))} is not a number")
        elif found is not None and value != found:
            cautions.add("conflicting-size", "two sizes are given, so none is taken")
            return None
        else:
            found = value
    return found


def digests(nodes: Sequence[Node], cautions: Cautions) -> dict[str, bytes]:
    """Return the whole-file digests that `hash` elements give, by algorithm, also those that verify nothing."""
    found: dict[str, bytes] = {}
    void: set[str] = set()
    for node in nodes:
        algorithm = values.algorithm(node.attributes.get("type"))
        if algorithm is None:
            cautions.add("unknown-hash", f"hash type {quoted(node.attributes.get('type', ''))} is not known")
            continue
        raw = values.digest(algorithm, node.text)
        if raw is None:
            cautions.add("bad-hash", f"the {algorithm} hash is not one")
        elif found.setdefault(algorithm, raw) != raw and algorithm not in void:
            void.add(algorithm)
            cautions.add("conflicting-hash", f"two {algorithm} hashes are given, so none is taken")
    for algorithm in void:
        del found[algorithm]
    return found


def piece_set(nodes: Sequence[Node], total: int | None, cautions: Cautions) -> PieceDigests | None:
    """Return the best sound set of the `pieces` elements for a file of *total* bytes (None: unknown)."""
    if not nodes:
        return None
    return pieces.best(node.pieces.finish(total, cautions) for node in nodes if node.pieces is not None)


def texts(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Return the texts that are not empty, each once, in the document's order."""
    found = [values.stripped(node.text) for node in nodes]
    return tuple(dict.fromkeys(text for text in found if text))


def text(nodes: Iterable[Node]) -> str | None:
    """Return the first text that is not empty, or None."""
    return next(iter(texts(nodes)), None)


def location(node: Node, cautions: Cautions) -> str | None:
    """Return the two letters of @location in lower case, or None."""
    given = node.attributes.get("location")
    if given is None:
        return None
    found = values.country(given)
    if found is None and values.stripped(given):
        cautions.add("bad-location", f"the location {quoted(given)} is not two letters")
    return found


def max_connections(node: Node, cautions: Cautions) -> int | None:
    """Return @maxconnections, or None."""
    given = node.attributes.get("maxconnections")
    if given is None:
        return None
    found = values.positive(given)
    if found is None:
        cautions.add("bad-maxconnections", f"maxconnections {quoted(given)} is not a positive number")
    return found


def followed(node: Node, base: str | None, cautions: Cautions) -> str | None:
    """Return the text of *node* as an absolute URL, or None with a caution."""
    try:
        return urls.absolute(node.text, base)
    except urls.UrlRefused as refusal:
        cautions.add(refusal.code, str(refusal))
        return None


def magnet(link: str, cautions: Cautions) -> str | None:
    """Return *link* if it is a magnet that leads to a torrent, or None with a caution."""
    if not _leads_to_torrent(link):
        cautions.add("magnet-without-topic", "a magnet link names no torrent")
        return None
    try:
        return urls.printable(link)
    except urls.UrlRefused as refusal:
        cautions.add(refusal.code, str(refusal))
        return None


def _leads_to_torrent(link: str) -> bool:
    for each in linktext.parameters(link, Cautions()) or ():
        if each.key == "xt" and not each.broken:
            with suppress(TopicRefused):
                found = topics.topic(each.value)
                if found.btih or found.btmh:
                    return True
    return False


def safe_inside(name: str, cautions: Cautions) -> bool:
    """Say whether a metaurl's @name is safe as a path inside what it leads to; else note it."""
    fault = names.fault(name)
    if fault is not None:
        cautions.add("unsafe-name", f"the name {quoted(name)} inside a metaurl {fault}")
    return fault is None


def origin(given: str | None, cautions: Cautions) -> str | None:
    """Return where the document says that it was published, if that is a place it may be fetched from."""
    if not values.stripped(given):
        return None
    try:
        return urls.absolute(given, schemes=_ORIGINS)
    except urls.UrlRefused as refusal:
        cautions.add("bad-origin", f"the origin is ignored: {refusal}")
        return None


def best_urls(refs: list[_T], cautions: Cautions) -> tuple[_T, ...]:
    """Return the first `MAX_URLS_KEPT` of *refs*, telling of the others."""
    over = len(refs) - MAX_URLS_KEPT
    if over > 0:
        cautions.add("too-many-urls", f"{over} URLs beyond the best {MAX_URLS_KEPT} are left out")
    return tuple(refs[:MAX_URLS_KEPT])


def finished(entry: Entry, cautions: Cautions) -> Entry | None:
    """Return *entry* if its bytes can come from anywhere, or None with a caution."""
    if not entry.mirrors and not entry.swarms:
        cautions.add("no-sources", "nothing is left to fetch it from")
        return None
    return entry


def path_of(name: str) -> PurePosixPath:
    """Return the path that a safe *name* is."""
    return PurePosixPath(name)


def count_repeats(node: Node, cautions: Cautions) -> None:
    """Note children that the reader left out because there were too many."""
    if node.dropped:
        cautions.add("too-many-elements", f"{node.dropped} elements beyond what is read of one kind are left out")
