"""What descriptors say, as frozen values, whatever form they were written in.

Law: a value here holds only what survived checking: paths are safe, URLs are absolute with a scheme
that a transport exists for, digests have the length of their algorithm. What was dropped on the way
is a `Caution` with a stable code. "size unknown" (None), "size 0" and "size n" are three things.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mountdl.extents import Extent
from mountdl.integrity import digest_length

LOWEST_PRIORITY = 999999
"""RFC 5854 section 4.2.16.1: the priority of a URL that gives none; 1 is the best."""

TORRENT = "torrent"
"""What a `SwarmRef` calls what leads to a torrent, a magnet link too (RFC 5854 section 4.2.8.3)."""
METALINK3, METALINK4 = "application/metalink+xml", "application/metalink4+xml"
METALINKS = frozenset({METALINK3, METALINK4})
"""Media types of documents that describe a file as a descriptor does, and can be fetched as any file."""

UNVERIFYING = frozenset({"crc32", "adler32"})
"""Whole-file digests that are shown but never count as verification."""


@dataclass(frozen=True, slots=True)
class Caution:
    """Something a descriptor says that was dropped or is doubtful; *code* is stable, *file* names its entry."""

    code: str
    message: str
    file: str | None = None


@dataclass(frozen=True, slots=True)
class MirrorRef:
    """A URL of a full copy. *priority* 1..999999, 1 best; *location* is two lower-case letters."""

    url: str
    priority: int = LOWEST_PRIORITY
    location: str | None = None
    max_connections: int | None = None


@dataclass(frozen=True, slots=True)
class SwarmRef:
    """A torrent, magnet or other metadata that leads to the same bytes; *name* is a path inside it."""

    url: str
    mediatype: str
    name: str | None = None
    priority: int = LOWEST_PRIORITY


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What shares a piece with a file: the *extent* of another one of *size* bytes, at *urls*.

    Without *urls* it is padding: zeros.
    """

    size: int
    extent: Extent
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PieceDigests:
    """Raw digests of consecutive pieces of *length* bytes from the start, packed in one bytes object.

    In a torrent the first piece may begin *lead* bytes before the file, in another one, and with *open_end*
    the last goes on in the next: these digests are of the file only together with others, *before* and
    *after*, where all of them can be had.
    """

    algorithm: str
    length: int
    digests: bytes
    lead: int = 0
    open_end: bool = False
    before: tuple[Neighbour, ...] = ()
    after: tuple[Neighbour, ...] = ()

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self.digests) // digest_length(self.algorithm)


@dataclass(frozen=True, slots=True)
class Signature:
    """A detached signature of one file's bytes; *name* is the sidecar's file name ("x.iso.asc")."""

    mediatype: str
    text: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file a descriptor describes; mirrors and swarms are sorted best first.

    *digests* maps every whole-file algorithm that was given validly (also those too weak to verify)
    to the raw digest. *named*: what describes it says how it is called, and not only where it is.
    """

    path: PurePosixPath
    size: int | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict)
    pieces: PieceDigests | None = None
    mirrors: tuple[MirrorRef, ...] = ()
    swarms: tuple[SwarmRef, ...] = ()
    signature: Signature | None = None
    languages: tuple[str, ...] = ()
    os: tuple[str, ...] = ()
    version: str | None = None
    max_connections: int | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class Magnet:
    """A magnet link: topics that say what the bytes are, and places that may have them.

    *btih* and *btmh* are the raw info-hashes of the two versions of BitTorrent (*btmh* without the
    multihash prefix), *digests* what the other topics say of the whole file. *name* is safe as one part
    of a path. *sources* are mirrors of the file, *web_seeds* what the link calls so. *select* holds the
    indexes of the wanted files (BEP 53), None for all. *public_key* and *salt* lead to a torrent that
    changes (BEP 46).
    """

    name: str
    size: int | None = None
    btih: bytes | None = None
    btmh: bytes | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict)
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    sources: tuple[MirrorRef, ...] = ()
    torrent_urls: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    select: tuple[int, ...] | None = None
    public_key: bytes | None = None
    salt: bytes | None = None

    @property
    def verify(self) -> str:
        """What can be checked of the bytes: "pieces", the "whole", or "none"."""
        if self.btih or self.btmh or self.public_key:
            return "pieces"
        return "whole" if any(name not in UNVERIFYING for name in self.digests) else "none"

    @property
    def mirrored(self) -> bool:
        """Whether its mirrors alone make a file: with a torrent, only one that they can be checked by."""
        checked = self.size is not None or any(name not in UNVERIFYING for name in self.digests)
        return bool(self.sources) and (self.verify != "pieces" or checked)


@dataclass(frozen=True, slots=True)
class UriGroup:
    """URLs of one file, or a magnet link, as a list names them; *options* are name and value, in order."""

    urls: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A URL of a file that also says where a metalink for it is."""

    url: str
    metalink: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A mirror that a server names in a Link field (RFC 6249 section 3).

    *preferred* mirrors share the server's entity tags; *depth* is how many path segments are mirrored.
    """

    url: str
    priority: int = LOWEST_PRIORITY
    location: str | None = None
    preferred: bool = False
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A document about the file that a server names in a Link field: a metalink, torrent or signature."""

    url: str
    mediatype: str


@dataclass(frozen=True, slots=True)
class HeaderFindings:
    """What the fields of one answer say of the file: raw *digests*, *duplicates* best first."""

    digests: Mapping[str, bytes] = field(default_factory=dict)
    duplicates: tuple[Duplicate, ...] = ()
    described_by: tuple[Described, ...] = ()


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """One file of a torrent. *index* counts all of its files, padding too; *offset* is where its bytes begin.

    *root* is the Merkle root of its 16 KiB blocks and *layer* the packed roots of its pieces (version 2;
    without *layer* it has one piece). *urls* are its web seeds.
    """

    path: PurePosixPath
    size: int
    offset: int
    index: int
    root: bytes | None = None
    layer: bytes = b""
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Torrent:
    """A torrent without its padding. *info* is the info dictionary as found, which the info-hashes are of.

    *info_hash_v1* and *info_hash_v2* are raw; at least one is there. *trackers* are tiers.
    """

    info: bytes
    info_hash_v1: bytes | None
    info_hash_v2: bytes | None
    piece_length: int
    piece_count: int
    files: tuple[TorrentFile, ...]
    trackers: tuple[tuple[str, ...], ...] = ()
    private: bool = False
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A descriptor as parsed; dates are Unix time in nanoseconds.

    *kind* is "metalink3", "metalink4", "magnet", "torrent", "urilist", "link" or "headers". *entries* are the
    files whose names are known, with mirrors, swarms or both; *magnets* are the links as they stand, also
    those to swarms alone.
    """

    kind: str
    entries: tuple[Entry, ...]
    cautions: tuple[Caution, ...] = ()
    version: str | None = None
    origin: str | None = None
    dynamic: bool = False
    published_ns: int | None = None
    updated_ns: int | None = None
    magnets: tuple[Magnet, ...] = ()
    groups: tuple[UriGroup, ...] = ()
    link: Link | None = None
    headers: HeaderFindings | None = None
    torrent: Torrent | None = None
