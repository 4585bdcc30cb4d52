"""Write descriptors of files that are known. Pure.

Law: what is written here is read back the same by `mountdl.descriptors.parse`, and the same input gives the
same bytes: no dates, no random order. Text comes in portions, so that a million pieces take no memory.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from mountdl.descriptors import bencode
from mountdl.descriptors.model import Entry, MirrorRef, PieceDigests
from mountdl.integrity import digest_length

_NAMES_3 = {"sha-1": "sha1", "sha-224": "sha224", "sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
# Topics of digests, in the order in which eMule's kin want to find them; the others in hexadecimal by name.
_TOPICS = {"ed2k": "ed2k", "sha-256": "sha256", "sha-1": "sha1", "tth": "tree:tiger", "aich": "aich", "md5": "md5"}
_BASE32 = frozenset({"sha-1", "tth", "aich"})
_SEEDS = ("http://", "https://", "ftp://")
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def metalink4(entries: Sequence[Entry], generator: str) -> Iterator[str]:
    """Yield a metalink of RFC 5854 for *entries*, whose sizes are known."""
    yield f'{_DECLARATION}<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n'
    yield f"  <generator>{escape(generator)}</generator>\n"
    for entry in entries:
        yield f"  <file name={quoteattr(str(entry.path))}>\n    <size>{entry.size}</size>\n"
        yield from _hashes(entry, "    ", {}, numbered=False)
        yield from _urls(entry, "    ", lambda ref: f'priority="{ref.priority}"')
        yield "  </file>\n"
    yield "</metalink>\n"


def metalink3(entries: Sequence[Entry], generator: str) -> Iterator[str]:
    """Yield a metalink of version 3.0 for *entries*, whose sizes are known."""
    yield f'{_DECLARATION}<metalink version="3.0" xmlns="http://www.metalinker.org/"'
    yield f" generator={quoteattr(generator)}>\n  <files>\n"
    for entry in entries:
        yield f"    <file name={quoteattr(str(entry.path))}>\n      <size>{entry.size}</size>\n      <verification>\n"
        yield from _hashes(entry, "        ", _NAMES_3, numbered=True)
        yield "      </verification>\n      <resources>\n"
        yield from _urls(entry, "        ", _rank_3)
        yield "      </resources>\n    </file>\n"
    yield "  </files>\n</metalink>\n"


def _hashes(entry: Entry, indent: str, names: Mapping[str, str], *, numbered: bool) -> Iterator[str]:
    """Yield what verifies *entry*, algorithms called by *names*, pieces *numbered* in an attribute."""
    for name, value in entry.digests.items():
        yield f'{indent}<hash type="{names.get(name, name)}">{value.hex()}</hash>\n'
    if entry.pieces is not None:
        kind = names.get(entry.pieces.algorithm, entry.pieces.algorithm)
        yield f'{indent}<pieces length="{entry.pieces.length}" type="{kind}">\n'
        for place, piece in enumerate(_each(entry.pieces)):
            number = f' piece="{place}"' if numbered else ""
            yield f"{indent}  <hash{number}>{piece}</hash>\n"
        yield f"{indent}</pieces>\n"


def _urls(entry: Entry, indent: str, rank: Callable[[MirrorRef], str]) -> Iterator[str]:
    for ref in entry.mirrors:
        location = f' location="{ref.location}"' if ref.location else ""
        yield f"{indent}<url {rank(ref)}{location}>{escape(ref.url)}</url>\n"


def _rank_3(ref: MirrorRef) -> str:
    return f'type="{ref.url.partition(":")[0]}" preference="{max(1, 101 - ref.priority)}"'


def magnets(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a line with a magnet link for each of *entries*; of its path only the last part is told.

    One with pieces is named by its torrent too (`torrent` of the same pieces), which is all that aria2 and
    libtorrent take; they read mirrors as web seeds ("ws"), others as sources ("as").
    """
    for entry in entries:
        parts = [
            f"xt=urn:{_TOPICS[name]}:{_topic(name, entry.digests[name])}" for name in _TOPICS if name in entry.digests
        ]
        # aMule takes a link only if size and name come right behind its own topic.
        parts[1:1] = [f"xl={entry.size}", f"dn={quote(entry.path.name, safe='')}", *_torrent_topic(entry)]
        parts += [f"as={quote(ref.url, safe='')}" for ref in entry.mirrors]
        if entry.pieces is not None:
            parts += [f"ws={quote(ref.url, safe='')}" for ref in entry.mirrors if ref.url.startswith(_SEEDS)]
        yield f"magnet:?{'&'.join(parts)}\n"


def _torrent_topic(entry: Entry) -> Iterator[str]:
    if entry.pieces is not None:
        name = entry.path.name
        info = bencode.encode(_info([Entry(PurePosixPath(name), entry.size)], name, entry.pieces))
        yield f"xt=urn:btih:{hashlib.sha1(info, usedforsecurity=False).hexdigest()}"


def torrent(entries: Sequence[Entry], name: str, pieces: PieceDigests, seeds: Sequence[str], generator: str) -> bytes:
    """Return a torrent of version 1.

    Its only file is called *name*, or all are in a folder of that name, which is the first part of each
    path. *pieces* are SHA-1 over all in order, *seeds* web seeds (BEP 19).
    """
    root: dict[bytes, bencode.Value] = {b"created by": generator.encode(), b"info": _info(entries, name, pieces)}
    if seeds:
        root[b"url-list"] = [seed.encode() for seed in seeds]
    return bencode.encode(root)


def _info(entries: Sequence[Entry], name: str, pieces: PieceDigests) -> dict[bytes, bencode.Value]:
    info: dict[bytes, bencode.Value] = {
        b"name": name.encode(),
        b"piece length": pieces.length,
        b"pieces": pieces.digests,
    }
    if len(entries) == 1 and entries[0].path.parts == (name,):
        info[b"length"] = entries[0].size or 0
    else:
        info[b"files"] = [
            {b"length": entry.size or 0, b"path": [part.encode() for part in entry.path.parts[1:]]} for entry in entries
        ]
    return info


def _each(pieces: PieceDigests) -> Iterator[str]:
    width = digest_length(pieces.algorithm)
    return (pieces.digests[at : at + width].hex() for at in range(0, len(pieces.digests), width))


def _topic(name: str, value: bytes) -> str:
    return base64.b32encode(value).decode().rstrip("=") if name in _BASE32 else value.hex()
