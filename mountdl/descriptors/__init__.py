"""Descriptors: what tells mountdl of a file, its digests and its sources.

Law: any bytes become a `Descriptor` or a `DescriptorError`, nothing else, with bounded memory and time and
without touching the network. The content decides how it is read, the suffix of its name only what it was
meant to be. What reads a form is loaded when the first of that form is read.
"""

import codecs
import re

from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.preferences import prefer
from mountdl.errors import DescriptorError

__all__ = ["SUFFIXES", "parse", "parse_headers", "parse_link", "plausible", "prefer"]

SUFFIXES = frozenset({".metalink", ".meta4", ".magnet", ".uris", ".url", ".desktop", ".torrent"})
"""Suffixes of the files that a mounted directory is searched for, in lower case.

Not ".txt": most of those are no lists of addresses. One that is named is read as a list.
"""

_LISTS = frozenset({".uris", ".txt"})
_SHORTCUTS = frozenset({".url", ".desktop"})
_XML = frozenset({".metalink", ".meta4"})
# What a page of a server, saved under such a name, is refused as.
_NO_XML = frozenset({".magnet", ".torrent"})
_GZIP = b"\x1f\x8b"
_LOOKED_AT = 1 << 16
_MAGNET_LINE = re.compile(rb"^\s*(?:stream-)?magnet:", re.IGNORECASE | re.MULTILINE)
_BENCODED = re.compile(rb"d(?:\d{1,3}:|e)")
_URL_LINE = re.compile(rb"^(?:https?|ftps?|sftp)://", re.IGNORECASE | re.MULTILINE)


def parse(name: str, data: bytes, *, base_url: str | None = None) -> Descriptor:
    """Return what the descriptor *data*, called *name*, says.

    Relative URLs in it are resolved against *base_url*. Raises DescriptorError and nothing else.
    """
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if _is_xml(data) and not (suffix in _NO_XML and b"metalink" not in data[:_LOOKED_AT]):
        return _metalink(data, base_url)
    if data.startswith(_GZIP):
        raise _compressed(suffix)
    if suffix == ".torrent" or _BENCODED.match(data):
        from mountdl.descriptors import torrent

        return torrent.parse(data)
    return _text(suffix, data, base_url)


def plausible(name: str, start: bytes) -> bool:
    """Say whether what is called *name* and begins with *start* may be a descriptor, and not a file to mount.

    For what a URL leads to: texts that nothing calls a list stay texts, though they begin with an address.
    """
    if _MARKS.search(start) is not None:
        return True
    from mountdl.descriptors import urilist

    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    return urilist.is_shortcut(start) or (suffix == ".uris" and b"\0" not in start)


_MARKS = re.compile(rb"<metalink|(?:^|[\s\"'>])magnet:\?|\Ad\d{1,2}:[a-z]", re.IGNORECASE)
"""What a descriptor shows near its start; a torrent is a bencoded dictionary (BEP 3)."""


def parse_headers(data: bytes, url: str) -> Descriptor:
    """Return what the head of an answer to a request for *url* says (RFC 6249). Raises DescriptorError."""
    from mountdl.descriptors import linkheader

    return linkheader.parse(data, url)


def parse_link(text: str) -> Descriptor:
    """Return what an address of the form `URL#!metalink3!URL` says. Raises DescriptorError "bad-link"."""
    from mountdl.descriptors import links

    return links.parse(text)


def _metalink(data: bytes, base_url: str | None) -> Descriptor:
    from mountdl.descriptors import document

    return document.parse(data, base_url)


def _compressed(suffix: str) -> DescriptorError:
    told = "the file is compressed; only plain descriptors are read"
    if suffix == ".magnet":
        from mountdl.descriptors.magnet import MagnetError

        return MagnetError("not-a-magnet", told)
    if suffix == ".torrent":
        from mountdl.descriptors.bencode import TorrentError

        return TorrentError("bad-torrent", told)
    return DescriptorError("not-metalink", told)


def _text(suffix: str, data: bytes, base_url: str | None) -> Descriptor:
    """Read what is no XML: by its suffix if that says enough, else by what it looks like."""
    from mountdl.descriptors import magnet, urilist

    if suffix in _SHORTCUTS or urilist.is_shortcut(data):
        return urilist.parse_shortcut(data)
    if suffix in _LISTS:
        return urilist.parse(data)
    start = data[:_LOOKED_AT]
    if suffix == ".magnet" or _MAGNET_LINE.search(start):
        return magnet.parse(data)
    if suffix not in _XML and _URL_LINE.search(start):
        return urilist.parse(data)
    return _metalink(data, base_url)


def _is_xml(data: bytes) -> bool:
    start = data[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith((b"<", b"\0<", b"\xff\xfe<", b"\xfe\xff\0<"))
