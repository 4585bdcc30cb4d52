"""Descriptors: what tells mountdl of a file, its digests and its sources.

Law: any bytes become a `Descriptor` or a `DescriptorError`, nothing else, with bounded memory and time and
without touching the network. The content decides how it is read, the suffix of its name only what it was
meant to be.
"""

from mountdl.descriptors import document
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.preferences import prefer
from mountdl.errors import DescriptorError

__all__ = ["SUFFIXES", "parse", "prefer"]

SUFFIXES = frozenset({".metalink", ".meta4"})
"""Suffixes of the files that a mounted directory is searched for, in lower case."""

_GZIP = b"\x1f\x8b"


def parse(name: str, data: bytes, *, base_url: str | None = None) -> Descriptor:
    """Return what the descriptor *data*, called *name*, says.

    Relative URLs in it are resolved against *base_url*. Raises DescriptorError and nothing else.
    """
    del name
    if data.startswith(_GZIP):
        raise DescriptorError("not-metalink", "the file is compressed; only plain descriptors are read")
    return document.parse(data, base_url)
