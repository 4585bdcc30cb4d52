"""Descriptors: what tells mountdl of a file, its digests and its sources.

Law: any bytes become a `Descriptor` or a `DescriptorError`, nothing else, with bounded memory and time and
without touching the network. The content decides how it is read, the suffix of its name only what it was
meant to be.
"""

import codecs
import re

from mountdl.descriptors import document, magnet
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.preferences import prefer
from mountdl.errors import DescriptorError

__all__ = ["SUFFIXES", "parse", "prefer"]

SUFFIXES = frozenset({".metalink", ".meta4", ".magnet"})
"""Suffixes of the files that a mounted directory is searched for, in lower case."""

_GZIP = b"\x1f\x8b"
_LOOKED_AT = 1 << 16
_MAGNET_LINE = re.compile(rb"^\s*(?:stream-)?magnet:", re.IGNORECASE | re.MULTILINE)


def parse(name: str, data: bytes, *, base_url: str | None = None) -> Descriptor:
    """Return what the descriptor *data*, called *name*, says.

    Relative URLs in it are resolved against *base_url*. Raises DescriptorError and nothing else.
    """
    if data.startswith(_GZIP):
        raise DescriptorError("not-metalink", "the file is compressed; only plain descriptors are read")
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if _is_magnets(suffix, data):
        return magnet.parse(data)
    return document.parse(data, base_url)


def _is_magnets(suffix: str, data: bytes) -> bool:
    if _is_xml(data):
        return suffix == ".magnet" and b"metalink" not in data[:_LOOKED_AT]
    return suffix == ".magnet" or _MAGNET_LINE.search(data[:_LOOKED_AT]) is not None


def _is_xml(data: bytes) -> bool:
    start = data[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith((b"<", b"\xff\xfe<", b"\xfe\xff\0<"))
