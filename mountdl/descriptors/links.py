"""Addresses in the place of a path, and those that carry their metalink's: "URL#!metalink3!URL". Pure."""

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from mountdl.descriptors import names, urls
from mountdl.descriptors.model import METALINK3, Descriptor, Entry, Link, MirrorRef, SwarmRef
from mountdl.errors import DescriptorError

_MARK = "!metalink3!"
_SCHEMES = frozenset({"http", "https", "ftp"})
"""Schemes of what may stand behind the mark."""
_NO_NAME = "index.html"


def split(text: str) -> tuple[str, str | None]:
    """Return the address of the file and that of its metalink, None where *text* carries none.

    Only an absolute http, https or ftp URL counts behind the mark; any other fragment is dropped.
    Raises UrlRefused for the first part.
    """
    plain, _, fragment = text.partition("#")
    metalink: str | None = None
    if fragment.startswith(_MARK):
        try:
            metalink = urls.absolute(fragment[len(_MARK) :], schemes=_SCHEMES)
        except urls.UrlRefused:
            metalink = None
    return urls.absolute(plain), metalink


def parse(text: str) -> Descriptor:
    """Return the link that *text* is. Raises DescriptorError "bad-link"."""
    try:
        url, metalink = split(text)
    except urls.UrlRefused as refusal:
        raise DescriptorError("bad-link", f"this is no link to a file and its metalink: {refusal}") from None
    if metalink is None:
        raise DescriptorError("bad-link", "this link carries no address of a metalink")
    entry = Entry(PurePosixPath(name_of(url)), mirrors=(MirrorRef(url),), swarms=metadata(metalink), named=False)
    return Descriptor("link", (entry,), link=Link(url, metalink))


def name_of(url: str) -> str:
    """Return the name of the file at *url*, safe as one part of a path."""
    return names.component(unquote(urlsplit(url).path.rpartition("/")[2])) or _NO_NAME


def metadata(metalink: str | None) -> tuple[SwarmRef, ...]:
    """Return the reference to a link's metalink, better than any mirror."""
    return () if metalink is None else (SwarmRef(metalink, METALINK3, None, 1),)
