"""Short metalinks around what a test is about, and what comes of them."""

from __future__ import annotations

from mountdl.descriptors import parse
from mountdl.descriptors.model import Descriptor, Entry

V4 = "urn:ietf:params:xml:ns:metalink"
V3 = "http://www.metalinker.org/"
URL = "<url>http://h.example/a</url>"


def v4(inside: str, name: str = "a.iso", around: str = "") -> Descriptor:
    """Read a document of version 4 with a file of *inside*; *around* stands before it."""
    return parse("x.meta4", f'<metalink xmlns="{V4}">{around}<file name="{name}">{inside}</file></metalink>'.encode())


def v3(inside: str = "", urls: str = URL, root: str = "", around: str = "", name: str = "a.iso") -> Descriptor:
    """Read a document of version 3 with a file of *inside* and *urls*; *root* are attributes, *around* stands before."""
    text = (
        f'<metalink version="3.0" xmlns="{V3}"{root}>{around}<files><file name="{name}">{inside}'
        f"<resources>{urls}</resources></file></files></metalink>"
    )
    return parse("x.metalink", text.encode())


def only(descriptor: Descriptor) -> Entry:
    """Return its one file."""
    (entry,) = descriptor.entries
    return entry


def codes(descriptor: Descriptor) -> list[str]:
    """Return the codes of what was dropped or is doubtful."""
    return [caution.code for caution in descriptor.cautions]


def urls(descriptor: Descriptor) -> list[str]:
    """Return the mirrors of its one file."""
    return [mirror.url for mirror in only(descriptor).mirrors]
