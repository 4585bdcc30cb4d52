"""Torrents of both versions and of both at once (BEP 3, 52, 47, 19) to a descriptor. Pure.

Law: the info-hash is the digest of the exact bytes found, never of a value written again. What is not
needed to find or check bytes is ignored where it is wrong.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import quote, unquote, urlsplit

from mountdl.descriptors import bencode, magnet, merkle, names, peers, torrentfiles, urls, values
from mountdl.descriptors.bencode import TorrentError, Value
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_PEERS, MAX_TORRENT, MAX_TRACKERS, MAX_URLS_DOCUMENT, MAX_URLS_KEPT
from mountdl.descriptors.model import (
    TORRENT,
    Descriptor,
    Entry,
    Magnet,
    MirrorRef,
    PieceDigests,
    SwarmRef,
    Torrent,
    TorrentFile,
)
from mountdl.descriptors.neighbours import Neighbourhood
from mountdl.descriptors.torrentfiles import RawFile
from mountdl.integrity import MERKLE, ZEROS

_SHA1 = 20
_LONGEST_PIECE = 512 << 20
_TRACKERS = frozenset({"http", "https", "udp", "ws", "wss"})
_SEEDS = frozenset({"http", "https", "ftp"})
_SWARM_PRIORITY = 2
_YEAR_10000 = 253402300800


def parse(data: bytes, *, bare: bool = False) -> Descriptor:
    """Return what the torrent in *data* says. Raises TorrentError.

    One that is *bare*, as peers send it, may lack the piece layers of version 2.
    """
    if len(data) > MAX_TORRENT:
        raise TorrentError("too-large", f"the torrent has more than {MAX_TORRENT} bytes")
    if not data:
        raise TorrentError("empty", "the torrent is empty")
    decoded = bencode.decode(data)
    root = decoded.value
    if not isinstance(root, dict):
        raise TorrentError("bad-torrent", "the torrent is no dictionary")
    info = root.get(b"info")
    link = root.get(b"magnet-uri")
    if info is None and isinstance(link, bytes):
        # libtorrent's resume files and some indexers: a torrent whose metadata is still to be had.
        return magnet.parse(link)
    if not isinstance(info, dict):
        raise TorrentError("missing-info", "the torrent has no info dictionary")
    cautions = Cautions()
    for what in decoded.loose:
        cautions.add("loose-bencode", f"the torrent has {what}")
    start, stop = decoded.spans[b"info"]
    reader = _Reader(root, info, data[start:stop], cautions)
    reader.bare = bare
    found = reader.read()
    created = _created(root.get(b"creation date"))
    # The decoded dictionaries of 100,000 files take 60 MB, which what comes now can use.
    del decoded, root, info
    reader.forget()
    return Descriptor("torrent", _entries(found, reader), cautions.kept(), published_ns=created, torrent=found)


def _created(seconds: Value | None) -> int | None:
    """Return the Unix time in nanoseconds of a creation date; None where it is none before the year 10000."""
    if not isinstance(seconds, int) or not 0 < seconds < _YEAR_10000:
        return None
    return seconds * 10**9


class _Reader:
    """One torrent's dictionaries on their way into a `Torrent`."""

    def __init__(
        self, root: Mapping[bytes, Value], info: Mapping[bytes, Value], raw: bytes, cautions: Cautions
    ) -> None:
        self._root = root
        self._info = info
        self._raw = raw
        self._cautions = cautions
        self.pieces: bytes | None = None
        self.total = 0
        self.single = False
        self.filled: set[int] = set()
        self.rows: list[RawFile] = []
        self.bare = False
        self._told: set[int] = set()

    def forget(self) -> None:
        """Let the dictionaries go; nothing is read any more."""
        self._root = self._info = {}

    def read(self) -> Torrent:
        name = torrentfiles.name_of(self._info)
        if name is None:
            raise TorrentError("missing-name", "the torrent has no name")
        one, two = self._versions()
        length = self._piece_length(two=two)
        files = self.rows = self._files(name, length, one=one, two=two)
        v1 = hashlib.sha1(self._raw, usedforsecurity=False).digest() if one else None
        v2 = hashlib.sha256(self._raw).digest() if two else None
        paths = torrentfiles.Paths(self._top(name, v1 or v2 or b""), self._cautions)
        return Torrent(
            info=self._raw,
            info_hash_v1=v1,
            info_hash_v2=v2,
            piece_length=length,
            piece_count=self._piece_count(files, length, one=one),
            files=self._kept(files, paths, name, length),
            trackers=self._trackers(),
            private=self._info.get(b"private") == 1,
            nodes=self._nodes(),
        )

    def _versions(self) -> tuple[bool, bool]:
        """Say which versions the info dictionary is of."""
        version = self._info.get(b"meta version", 1)
        if not isinstance(version, int) or version not in {1, 2}:
            raise TorrentError("unsupported-version", "the torrent is of a newer version")
        two = version == 2
        one = not two or b"pieces" in self._info or b"files" in self._info or b"length" in self._info
        return one, two

    def _piece_length(self, *, two: bool) -> int:
        length = self._info.get(b"piece length")
        if not isinstance(length, int) or not 1 <= length <= _LONGEST_PIECE:
            raise TorrentError("bad-piece-length", "the torrent has no usable piece length")
        if two and (length < merkle.BLOCK or length & (length - 1)):
            raise TorrentError("bad-piece-length", "a piece of version 2 is a power of two of at least 16 KiB")
        return length

    def _files(self, name: str, length: int, *, one: bool, two: bool) -> list[RawFile]:
        files = torrentfiles.version_1(self._info) if one else []
        if one:
            self.single = b"files" not in self._info
            self._check_pieces(files, length)
        if not two:
            return files
        tree = torrentfiles.version_2(self._info, length)
        if len(tree) == 1 and tree[0].parts == (name,):
            # BEP 52: a single file is in the tree under the torrent's own name.
            tree = [replace(tree[0], parts=())]
            self.single = True
        return torrentfiles.together(files, tree) if one else tree

    def _check_pieces(self, files: list[RawFile], length: int) -> None:
        pieces = self._info.get(b"pieces")
        if not isinstance(pieces, bytes):
            raise TorrentError("missing-pieces", "the torrent has no piece hashes")
        total = self.total = files[-1].offset + files[-1].size
        if len(pieces) != _SHA1 * -(-total // length):
            raise TorrentError(
                "pieces-mismatch", f"{len(pieces) / _SHA1:g} pieces of {length} bytes are not {total} bytes"
            )
        self.pieces = pieces

    def _piece_count(self, files: list[RawFile], length: int, *, one: bool) -> int:
        if one:
            return len(self.pieces or b"") // _SHA1
        return sum(-(-file.size // length) for file in files)

    def _top(self, name: str, info_hash: bytes) -> str:
        found = names.component(name)
        if found != name:
            self._cautions.add("unsafe-name", f"the torrent's name {quoted(name)} is changed")
        return found or info_hash.hex()

    def _kept(self, files: list[RawFile], paths: torrentfiles.Paths, name: str, length: int) -> tuple[TorrentFile, ...]:
        found = tuple(self._shown(files, paths, name, length))
        if not found:
            raise TorrentError("no-files", "the torrent has padding and links only")
        return found

    def _shown(self, files: list[RawFile], paths: torrentfiles.Paths, name: str, length: int) -> Iterable[TorrentFile]:
        seeds, plain = self._seeds()
        most = MAX_URLS_DOCUMENT // len(files)
        if len(seeds) > most:
            self._cautions.add("too-many-urls", f"web seeds beyond {most} are left out")
        for index, file in enumerate(files):
            if file.padding:
                continue
            behind = files[index + 1] if index + 1 < len(files) else None
            if behind is not None and behind.padding and behind.size == -(file.offset + file.size) % length:
                self.filled.add(index)
            if file.link:
                self._cautions.add("symlink", f"the link {quoted('/'.join(file.parts))} is left out")
                continue
            yield TorrentFile(
                paths.take(file.parts),
                file.size,
                file.offset,
                index,
                file.root,
                self._layer(file, length),
                (*self._seed_urls(seeds[:most], name, file), *plain),
            )

    def _layer(self, file: RawFile, length: int) -> bytes:
        """Return the piece layer of a version 2 file with several pieces. Raises TorrentError."""
        if file.root is None or file.size <= length:
            return b""
        layers = self._root.get(b"piece layers")
        layer = layers.get(file.root) if isinstance(layers, dict) else None
        if layer is None and self.bare:
            return b""
        if not isinstance(layer, bytes) or len(layer) != merkle.WIDTH * -(-file.size // length):
            raise TorrentError("bad-piece-layers", "the torrent lacks the piece layer of a file")
        if merkle.root_of_layer(layer, length) != file.root:
            raise TorrentError("bad-piece-layers", "a piece layer does not hash to its file's root")
        return layer

    def _trackers(self) -> tuple[tuple[str, ...], ...]:
        listed = self._root.get(b"announce-list")
        seen: set[str] = set()
        tiers = []
        for tier in listed if isinstance(listed, list) else []:
            found = self._followed(_texts(tier), _TRACKERS, seen)
            if found:
                tiers.append(found)
        if not tiers:
            found = self._followed(_texts(self._root.get(b"announce")), _TRACKERS, seen)
            tiers = [found] if found else []
        return tuple(tiers)

    def _followed(self, given: list[str], schemes: frozenset[str], seen: set[str]) -> tuple[str, ...]:
        """Return those of *given* that may be followed and are not in *seen*, and put them there."""
        found = []
        for text in given:
            if len(seen) >= (MAX_TRACKERS if schemes is _TRACKERS else MAX_URLS_KEPT):
                self._too_many(len(seen))
                break
            try:
                url = urls.absolute(text, schemes=schemes)
            except urls.UrlRefused as refusal:
                self._cautions.add(refusal.code, str(refusal))
                continue
            if url not in seen:
                seen.add(url)
                found.append(url)
        return tuple(found)

    def _too_many(self, most: int) -> None:
        if most not in self._told:
            self._told.add(most)
            self._cautions.add("too-many-urls", f"trackers or web seeds beyond {most} are left out")

    def _nodes(self) -> tuple[str, ...]:
        given = self._root.get(b"nodes")
        found = []
        for node in given[:MAX_PEERS] if isinstance(given, list) else []:
            if isinstance(node, list) and len(node) == 2 and isinstance(node[1], int):
                host = torrentfiles.text(node[0]) or ""
                found.append(peers.address(f"[{host}]:{node[1]}" if ":" in host else f"{host}:{node[1]}"))
        return tuple(dict.fromkeys(node for node in found if node))

    def _seeds(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the web seeds (BEP 19), and the plain addresses of a single file."""
        seen: set[str] = set()
        seeds = self._followed(_texts(self._root.get(b"url-list")), _SEEDS, seen)
        plain = self._followed(_texts(self._root.get(b"sources")), _SEEDS, seen) if self.single else ()
        for url in self._followed(_texts(self._root.get(b"httpseeds")), _SEEDS, seen):
            if self.single and _ends_with(url, torrentfiles.name_of(self._info) or ""):
                # Debian's torrents put the file's own addresses where BEP 17 wants scripts.
                plain += (url,)
            else:
                self._cautions.add("httpseed", "a seed of BEP 17 is not used")
        return seeds, plain

    def _seed_urls(self, seeds: tuple[str, ...], name: str, file: RawFile) -> tuple[str, ...]:
        if self.single:
            own = quote(name, safe="")
            return tuple(dict.fromkeys(base + own if base.endswith("/") else base for base in seeds))
        # BEP 19; libtorrent, transmission and aria2 add the slash where it is missing.
        path = "/".join(quote(part, safe="") for part in (name, *file.parts))
        return tuple(dict.fromkeys(f"{base}{'' if base.endswith('/') else '/'}{path}" for base in seeds))


def _ends_with(url: str, name: str) -> bool:
    return bool(name) and unquote(urlsplit(url).path).rpartition("/")[2] == name


def _texts(value: Value | None) -> list[str]:
    """Return the strings in a string or list of strings, stripped; nothing for anything else."""
    given = value if isinstance(value, list) else [value]
    found = (values.stripped(torrentfiles.text(each)) for each in given if isinstance(each, bytes))
    return [each for each in found if each]


def _entries(torrent: Torrent, reader: _Reader) -> tuple[Entry, ...]:
    link = magnet.link_of(
        Magnet(
            "",
            btih=torrent.info_hash_v1,
            btmh=torrent.info_hash_v2,
            trackers=tuple(tracker for tier in torrent.trackers for tracker in tier),
        )
    )
    urls = {file.index: file.urls for file in torrent.files}
    around = Neighbourhood(reader.rows, urls, torrent.piece_length)
    return tuple(
        Entry(
            path=file.path,
            size=file.size,
            digests=_digests(file),
            pieces=_pieces(file, torrent.piece_length, reader, around),
            mirrors=tuple(MirrorRef(url, 1) for url in file.urls),
            swarms=(SwarmRef(link, TORRENT, str(file.path), _SWARM_PRIORITY),),
        )
        for file in torrent.files
    )


def _digests(file: TorrentFile) -> dict[str, bytes]:
    """Return what the root of a file of version 2 is: of one block, its plain digest."""
    if file.root is None:
        return {}
    return {"sha-256" if file.size <= merkle.BLOCK else MERKLE: file.root}


def _pieces(file: TorrentFile, length: int, reader: _Reader, around: Neighbourhood) -> PieceDigests | None:
    """Return the digests of the pieces that *file* is in."""
    if file.layer:
        leaves = length // merkle.BLOCK
        return PieceDigests("sha-256" if leaves == 1 else f"{MERKLE}-{leaves}", length, file.layer)
    if file.root is not None and 0 < file.size <= length:
        return PieceDigests(MERKLE, length, file.root)
    if reader.pieces is None or not file.size:
        return None
    # Padding is known to be zeros; of what else shares a version 1 piece with a file, the file alone can't tell.
    filled = file.index in reader.filled
    lead, stop = file.offset % length, file.offset + file.size
    first, last = file.offset // length, -(-stop // length)
    algorithm = f"{ZEROS}-{length}" if filled else "sha-1"
    open_end = bool(stop % length) and stop != reader.total and not filled
    before = around.before(file.index) if lead and file.urls else ()
    after = around.after(file.index) if open_end and file.urls else ()
    return PieceDigests(algorithm, length, reader.pieces[first * _SHA1 : last * _SHA1], lead, open_end, before, after)
