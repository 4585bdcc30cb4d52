"""Files of magnet links to a descriptor. Pure.

Law: a bad parameter costs itself, a bad link costs itself; the file is refused only when no link is left.
A link to a swarm is described, not mounted, until its metadata is known; one with mirrors is a file.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from mountdl.descriptors import linktext, names, peers, topics, urls, values
from mountdl.descriptors.cautions import Cautions
from mountdl.descriptors.limits import MAX_GROUPS, MAX_LINK_WORK, MAX_LINKS, MAX_PEERS, MAX_TRACKERS, MAX_URLS_KEPT
from mountdl.descriptors.linktext import Parameter
from mountdl.descriptors.metalink import Files
from mountdl.descriptors.model import (
    METALINK3,
    METALINK4,
    TORRENT,
    UNVERIFYING,
    Descriptor,
    Entry,
    Magnet,
    MirrorRef,
    SwarmRef,
)
from mountdl.descriptors.thex import THEX
from mountdl.descriptors.topics import TopicRefused
from mountdl.errors import DescriptorError, ExitStatus

_TRACKERS = frozenset({"http", "https", "udp", "ws", "wss"})
_WEB = frozenset({"http", "https"})
_SEEDS = frozenset({"http", "https", "ftp"})
_N2R = "/uri-res/n2r"
_SIZES = ("xl", "sz", "fs")

_BEST, _LAST_RESORT = 1, 2

_T = TypeVar("_T")


class MagnetError(DescriptorError):
    """A magnet link, or a file of them, that can't be used."""

    exit_status = ExitStatus.BAD_MAGNET


def parse(data: bytes) -> Descriptor:
    """Return what the magnet links in *data* say. Raises MagnetError."""
    try:
        text = linktext.decoded(data)
    except DescriptorError as problem:
        raise MagnetError(problem.kind, str(problem)) from None
    cautions = Cautions()
    found: list[Magnet] = []
    first: MagnetError | None = None
    work = 0
    for place, link in enumerate(linktext.links(text), 1):
        if place > MAX_LINKS or len(found) > MAX_LINKS or work > MAX_LINK_WORK:
            cautions.add("too-many-links", f"the links from number {place} on are left out")
            break
        try:
            got = of_link(link, cautions)
        except MagnetError as problem:
            got = []
            first = first or problem
            cautions.add(problem.kind, f"link {place}: {problem}")
        found += got
        work += len(link) * max(1, len(got))
    if not found:
        raise first or MagnetError("not-a-magnet", "the file has no magnet link")
    return Descriptor("magnet", _entries(found, cautions), cautions.kept(), magnets=tuple(found))


def _entries(magnets: Iterable[Magnet], cautions: Cautions) -> tuple[Entry, ...]:
    files = Files(cautions)
    for each in magnets:
        if each.mirrored:
            cautions.file = each.name
            files.keep(each.name, _entry(each))
            cautions.file = None
    return files.kept()


def _entry(magnet: Magnet) -> Entry:
    named = {ref.url: mediatype for ref in magnet.sources if (mediatype := _metalink(ref.url, magnet.name))}
    swarms = [SwarmRef(url, mediatype, None, _BEST) for url, mediatype in named.items()]
    if "tth" in magnet.digests:
        swarms += [SwarmRef(ref.url, THEX, None, _LAST_RESORT) for ref in magnet.sources if _N2R in ref.url.lower()]
    if magnet.btih or magnet.btmh:
        swarms.append(SwarmRef(link_of(magnet), TORRENT, None, _LAST_RESORT))
    return Entry(
        path=PurePosixPath(magnet.name),
        size=magnet.size,
        digests=magnet.digests,
        mirrors=tuple(ref for ref in magnet.sources if ref.url not in named),
        swarms=tuple(swarms),
    )


def entry_of(magnet: Magnet) -> Entry:
    """Return what stands for *magnet* until its torrent is known: no size, and the places that lead to the torrent."""
    return replace(_entry(magnet), size=None, digests={}, mirrors=())


def selected(magnet: Magnet, descriptor: Descriptor) -> tuple[Entry, ...]:
    """Return the files of the torrent in *descriptor* that *magnet* selects (BEP 53), with the places it names."""
    torrent = descriptor.torrent
    if torrent is None:
        return ()
    wanted = None if magnet.select is None else set(magnet.select)
    link = link_of(magnet)
    found = tuple(
        replace(
            entry,
            mirrors=(*entry.mirrors, *_mirrors(magnet, entry, single=len(torrent.files) == 1)),
            swarms=(SwarmRef(link, TORRENT, str(entry.path), _LAST_RESORT),),
        )
        for file, entry in zip(torrent.files, descriptor.entries, strict=True)
        if wanted is None or file.index in wanted
    )
    return found or (selected(replace(magnet, select=None), descriptor) if wanted is not None else ())


def _mirrors(magnet: Magnet, entry: Entry, *, single: bool) -> list[MirrorRef]:
    """Return the mirrors of *entry*: web seeds as BEP 19 has them; others are of an only file."""
    urls_found = []
    for base in magnet.web_seeds:
        if single:
            urls_found.append(base + quote(entry.path.name, safe="") if base.endswith("/") else base)
        else:
            path = "/".join(quote(part, safe="") for part in entry.path.parts)
            urls_found.append(f"{base.removesuffix('/')}/{path}")
    if single:
        urls_found += [ref.url for ref in magnet.sources]
    known = {ref.url for ref in entry.mirrors}
    return [MirrorRef(url, _BEST) for url in dict.fromkeys(urls_found) if url not in known]


_METALINKS = {".meta4": METALINK4, ".metalink": METALINK3}


def _metalink(url: str, name: str) -> str | None:
    """Return the media type if *url* is that of a metalink about the file *name*, which is none itself."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return None if name.lower().endswith(suffix) else _METALINKS.get(suffix)


def of_link(link: str, cautions: Cautions) -> list[Magnet]:
    """Return what *link* names: one thing, or one for each of its groups. Raises MagnetError."""
    given = linktext.parameters(link, cautions)
    if given is None:
        raise MagnetError("not-a-magnet", "a link has no parameters")
    groups = list(dict.fromkeys(each.group for each in given if each.key == "xt"))
    if len(groups) < 2:
        return [_Reader(given, cautions).read()]
    found = []
    first: MagnetError | None = None
    if len(groups) > MAX_GROUPS:
        cautions.add("too-many-links", f"the groups of a link beyond {MAX_GROUPS} are left out")
    for group in groups[:MAX_GROUPS]:
        try:
            found.append(_Reader(_of_group(given, group), cautions).read())
        except MagnetError as problem:
            first = first or problem
            cautions.add(problem.kind, str(problem))
    if not found:
        raise first or MagnetError("no-usable-topic", "a link names nothing")
    return found


def _of_group(given: list[Parameter], group: int | None) -> list[Parameter]:
    """Return what applies to *group*: its own, what has no number, and trackers, which are only counted."""
    own = {each.key for each in given if each.group == group}
    return [
        each
        for each in given
        if each.group == group
        or (each.group is None and each.key != "xt" and not (each.key in {"dn", *_SIZES} and each.key in own))
        or each.key == "tr"
    ]


@dataclass(slots=True)
class _Reader:
    """One link's parameters, on their way into a `Magnet`."""

    given: list[Parameter]
    cautions: Cautions
    _bad_topic: TopicRefused | None = None
    _void: set[str] = field(default_factory=set)

    def read(self) -> Magnet:
        found = self._topics()
        torrent = bool(found.btih or found.btmh or found.public_key)
        size = self._size(whole=not torrent)
        sources = self._sources(found, torrent=torrent)
        self._check(found, sources, torrent=torrent)
        return replace(
            found,
            name=self._name(found, sources),
            size=size,
            trackers=self._addresses("tr", _TRACKERS, most=MAX_TRACKERS),
            web_seeds=self._addresses("ws", _SEEDS if torrent else urls.SCHEMES),
            sources=sources,
            torrent_urls=_unique(url for url in self._addresses("xs", _WEB, quiet=True) if _is_torrent(url)),
            peers=self._peers(),
            select=peers.selection(self._values("so"), self.cautions),
            salt=self._salt(),
        )

    def _values(self, key: str) -> list[str]:
        return [values.stripped(each.value) for each in self.given if each.key == key]

    def _topics(self) -> Magnet:
        btih: bytes | None = None
        btmh: bytes | None = None
        digests: dict[str, bytes] = {}
        for each in self.given:
            if each.key != "xt":
                continue
            try:
                said = topics.topic(each.value if not each.broken else "")
            except TopicRefused as refused:
                self._bad_topic = self._bad_topic or refused
                self.cautions.add(refused.kind, str(refused))
                continue
            if (said.btih and btih not in {None, said.btih}) or (said.btmh and btmh not in {None, said.btmh}):
                self.cautions.add("conflicting-topic", "a link names two torrents; the first is taken")
                continue
            btih, btmh = btih or said.btih, btmh or said.btmh
            for name, value in said.digests.items():
                self._add_digest(digests, name, value)
        return Magnet("", btih=btih, btmh=btmh, digests=digests, public_key=self._public_key())

    def _add_digest(self, digests: dict[str, bytes], name: str, value: bytes) -> None:
        if name in self._void:
            return
        if digests.setdefault(name, value) != value:
            del digests[name]
            self._void.add(name)
            self.cautions.add("conflicting-hash", f"two {name} hashes are given, so none is taken")

    def _public_key(self) -> bytes | None:
        for text in self._values("xs"):
            if text.lower().startswith("urn:btpk:"):
                key = values.hexadecimal(text[9:], 32)
                if key is not None:
                    return key
                self.cautions.add("bad-urn", "a public key is not 64 hexadecimal digits")
        return None

    def _salt(self) -> bytes | None:
        for text in self._values("s"):
            # BEP 46: at most 64 bytes.
            found = values.hexadecimal(text, len(text) // 2)
            if found and len(found) <= 64:
                return found
        return None

    def _peers(self) -> tuple[str, ...]:
        given = dict.fromkeys(self._values("x.pe"))
        found = _unique(filter(None, map(peers.address, given)))
        if any(peers.address(text) is None for text in given):
            self.cautions.add("bad-peer", "an address of a peer is not host:port")
        if len(found) > MAX_PEERS:
            self.cautions.add("too-many-peers", f"peers beyond {MAX_PEERS} are left out")
        return found[:MAX_PEERS]

    def _size(self, *, whole: bool) -> int | None:
        """Return the size; with *whole*, two that differ make the link contradict itself."""
        found: int | None = None
        for key in _SIZES:
            for text in self._values(key):
                value = values.number(text)
                if value is None:
                    self.cautions.add("bad-size", "a link's length is not a number")
                elif found is not None and value != found:
                    if whole:
                        raise MagnetError("conflict", "a link gives two lengths")
                    self.cautions.add("conflicting-size", "a link gives two lengths; the first is taken")
                else:
                    found = value
        return found

    def _check(self, found: Magnet, sources: tuple[MirrorRef, ...], *, torrent: bool) -> None:
        if torrent:
            return
        if not sources:
            if any(name not in UNVERIFYING for name in found.digests):
                raise MagnetError("no-sources", "a link names no place to fetch its file from")
            if self._void:
                raise MagnetError("conflict", "a link's topics contradict each other")
            if self._bad_topic is not None:
                raise MagnetError(self._bad_topic.kind, str(self._bad_topic))
            raise MagnetError("no-usable-topic", "a link has no topic that says what its bytes are")
        if all(name in UNVERIFYING for name in found.digests):
            self.cautions.add("unverified", "a link has no topic that can verify its file")

    def _addresses(
        self, key: str, schemes: frozenset[str], *, quiet: bool = False, most: int = MAX_URLS_KEPT
    ) -> tuple[str, ...]:
        """Return the first *most* URLs of parameter *key* that may be followed, each once."""
        given = (self._address(text, schemes, quiet=quiet) for text in dict.fromkeys(self._values(key)))
        found = _unique(islice(filter(None, given), most + 1))
        if len(found) > most and not quiet:
            self.cautions.add("too-many-urls", f"addresses of a link in {key} beyond {most} are left out")
        return found[:most]

    def _address(self, text: str, schemes: frozenset[str], *, quiet: bool = False) -> str | None:
        try:
            return urls.absolute(text, schemes=schemes)
        except urls.UrlRefused as refusal:
            if not quiet:
                self.cautions.add(refusal.code, str(refusal))
            return None

    def _sources(self, found: Magnet, *, torrent: bool) -> tuple[MirrorRef, ...]:
        """Return the mirrors: acceptable sources, exact ones last; web seeds where there is no torrent."""
        best = [*self._addresses("as", urls.SCHEMES)]
        if not torrent:
            best += self._addresses("ws", urls.SCHEMES, quiet=True)
        last = []
        for text in self._values("xs"):
            if text.lower().startswith("urn:"):
                continue
            url = self._address(text, urls.SCHEMES)
            if url is None or _is_torrent(url):
                continue
            if _N2R not in url.lower():
                last.append(url)
            elif _names_the_same(url, found):
                best.append(url)
            else:
                self.cautions.add("bad-source", "a source is asked for another topic than the link's")
        refs = [MirrorRef(url, _BEST) for url in _unique(best)]
        refs += [MirrorRef(url, _LAST_RESORT) for url in _unique(last) if url not in best]
        return tuple(refs[:MAX_URLS_KEPT])

    def _name(self, found: Magnet, sources: tuple[MirrorRef, ...]) -> str:
        labels: list[Callable[[], Iterable[str]]] = [
            lambda: self._values("dn"),
            lambda: (unquote(_last(ref.url)) for ref in sources if _N2R not in ref.url.lower()),
            lambda: (value.hex() for value in (found.btih, found.btmh, found.public_key) if value),
            lambda: (value.hex() for value in found.digests.values()),
        ]
        for label in (label for candidates in labels for label in candidates()):
            name = names.component(label)
            if name is not None:
                return name
        return "unnamed"


def _last(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _unique(given: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(given))


def _is_torrent(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in _WEB and parts.path.lower().endswith(".torrent")


def _names_the_same(url: str, found: Magnet) -> bool:
    """Say whether a URN resolver (RFC 2169) is asked for one of the link's own digests."""
    try:
        asked = topics.topic(unquote(urlsplit(url).query))
    except TopicRefused:
        return False
    return any(found.digests.get(name) == value for name, value in asked.digests.items())


def link_of(magnet: Magnet) -> str:
    """Return the shortest link to *magnet*'s swarm, built anew from what was understood."""
    parts = []
    if magnet.btih:
        parts.append(f"xt=urn:btih:{magnet.btih.hex()}")
    if magnet.btmh:
        parts.append(f"xt=urn:btmh:1220{magnet.btmh.hex()}")
    parts += [f"tr={quote(tracker, safe='')}" for tracker in magnet.trackers]
    parts += [f"xs={quote(url, safe='')}" for url in magnet.torrent_urls]
    parts += [f"x.pe={quote(peer, safe='')}" for peer in magnet.peers]
    return "magnet:?" + "&".join(parts)
