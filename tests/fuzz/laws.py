"""What holds for every parser, whatever bytes it gets.

Each target takes bytes and returns nothing; it raises where a law is broken. A fuzzer (`harness`) and the tests
that replay the corpus use the same ones.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from mountdl.content import content_of
from mountdl.descriptors import linkheader, links, magnet, parse, parse_headers, torrent, urilist
from mountdl.descriptors.document import parse as parse_metalink
from mountdl.descriptors.model import Descriptor, Entry
from mountdl.descriptors.names import fault
from mountdl.descriptors.preferences import prefer
from mountdl.descriptors.report import describe, text_lines
from mountdl.descriptors.urls import SCHEMES
from mountdl.errors import DescriptorError
from mountdl.integrity import digest_length
from mountdl.settings import PreferenceSettings
from mountdl.sources.ftp import wire

KINDS = frozenset(
    {
        "empty",
        "not-well-formed",
        "unsupported-encoding",
        "forbidden-dtd",
        "too-deep",
        "too-large",
        "limits",
        "not-metalink",
        "no-files",
        "not-a-magnet",
        "no-usable-topic",
        "bad-urn",
        "no-sources",
        "conflict",
        "unsupported",
        "bad-encoding",
        "bad-link",
        "bad-torrent",
        "bad-bencode",
        "missing-info",
        "missing-name",
        "missing-pieces",
        "pieces-mismatch",
        "bad-piece-length",
        "bad-piece-layers",
        "bad-size",
        "bad-path",
        "unsafe-path",
        "duplicate-path",
        "inconsistent",
        "unsupported-version",
    }
)
"""The kinds of errors that the interface names."""

PREFERENCES = PreferenceSettings(locations=("de",), languages=("en",), os=("Linux",), version="1", protocol="https")
BASE = "http://base.example/dir/x"


def judged(read: Callable[[], Descriptor]) -> None:
    """Assert that *read* ends in a sound descriptor or in an error of a known kind."""
    try:
        found = read()
    except DescriptorError as error:
        refusal = error
    else:
        sound(found)
        return
    assert refusal.kind in KINDS, refusal.kind
    assert str(refusal)
    assert str(refusal).isprintable()


def sound(found: Descriptor) -> None:
    """Assert what every descriptor promises."""
    told = describe(found)
    assert json.loads(json.dumps(told)) == told
    assert all(line.isprintable() for line in text_lines(found))
    for caution in found.cautions:
        assert caution.code
        assert caution.message.isprintable()
    paths = [entry.path for entry in found.entries]
    assert len(set(paths)) == len(paths)
    for entry in found.entries:
        sound_entry(entry)
    prefer(found, PREFERENCES)


def sound_entry(entry: Entry) -> None:
    """Assert that nothing of *entry* leads astray and that it makes a content."""
    assert fault(str(entry.path)) is None
    assert ".." not in PurePosixPath(entry.path).parts
    assert entry.size is None or 0 <= entry.size < 1 << 63
    for ref in entry.mirrors:
        parts = urlsplit(ref.url)
        assert parts.scheme in SCHEMES
        assert parts.hostname
        assert ref.url.isascii()
        assert ref.url.isprintable()
        assert 1 <= ref.priority <= 999999
    assert [ref.priority for ref in entry.mirrors] == sorted(ref.priority for ref in entry.mirrors)
    pieces = entry.pieces
    if pieces is not None:
        assert pieces.length > 0
        assert len(pieces.digests) % digest_length(pieces.algorithm) == 0
    if entry.size is not None:
        assert content_of(entry, entry.size).size == entry.size


def metalink_target(data: bytes) -> None:
    """Judge metalinks of both versions."""
    judged(lambda: parse_metalink(data, None))
    judged(lambda: parse_metalink(data, BASE))


def inside_target(data: bytes) -> None:
    """Judge what stands in the file element of a metalink: a fuzzer seldom finds the way there by itself."""
    four = b'<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a"><url>http://h/a</url>%s</file></metalink>'
    three = b'<metalink version="3.0"><files><file name="a">%s<resources><url>http://h/a</url></resources></file></files></metalink>'
    judged(lambda: parse_metalink(four % data, BASE))
    judged(lambda: parse_metalink(three % data, BASE))


def magnet_target(data: bytes) -> None:
    """Judge a file of links, and one link's parameters."""
    judged(lambda: magnet.parse(data))
    judged(lambda: magnet.parse(b"magnet:?" + data))


def torrent_target(data: bytes) -> None:
    """Judge a torrent, and an info dictionary."""
    judged(lambda: torrent.parse(data))
    judged(lambda: torrent.parse(b"d4:info%se" % data))


def urilist_target(data: bytes) -> None:
    """Judge lists and shortcuts."""
    judged(lambda: urilist.parse(data))
    judged(lambda: urilist.parse_shortcut(b"[InternetShortcut]\nURL=" + data))


def headers_target(data: bytes) -> None:
    """Judge heads, and the value of a Link field."""
    judged(lambda: parse_headers(data, BASE))
    judged(lambda: linkheader.parse(b"HTTP/1.1 200 OK\r\nLink: " + data, BASE))


def any_target(data: bytes) -> None:
    """Judge whatever a folder holds: the first byte chooses the suffix; and addresses with a metalink's."""
    suffixes = ("", ".meta4", ".magnet", ".torrent", ".uris", ".url", ".txt", ".desktop")
    suffix = suffixes[data[0] % len(suffixes)] if data else ""
    judged(lambda: parse(f"x{suffix}", data[1:], base_url=BASE))
    judged(lambda: links.parse(data.decode("utf-8", "replace")))


def ftp_target(data: bytes) -> None:
    """Judge what an FTP server says, as it comes and byte by byte: the same replies, or the same refusal."""
    at_once, in_bits = ftp_replies([data]), ftp_replies([data[at : at + 1] for at in range(len(data))])
    assert at_once == in_bits
    for reply in at_once[0]:
        assert 100 <= reply.code < 600
        assert reply.text.isprintable()
        assert len(reply.text) <= 120
        assert (wire.size_of(reply) or 0) >= 0
        wire.modified_of(reply)
        assert all(feature == feature.upper() for feature in wire.features_of(reply))
        for port_of in (wire.extended_port, wire.passive_port):
            with contextlib.suppress(wire.WireError):
                assert 0 < port_of(reply) < 65536


def ftp_replies(parts: list[bytes]) -> tuple[list[wire.Reply], str]:
    """Return the replies in *parts*, and why there are no more."""
    parser, found = wire.ReplyParser(), list[wire.Reply]()
    for part in parts:
        parser.feed(part)
        try:
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
        except wire.WireError as error:
            return found, str(error)
    return found, ""


TARGETS: dict[str, Callable[[bytes], None]] = {
    "metalink": metalink_target,
    "inside": inside_target,
    "magnet": magnet_target,
    "torrent": torrent_target,
    "urilist": urilist_target,
    "headers": headers_target,
    "any": any_target,
    "ftp": ftp_target,
}
