"""What documents tell of an entry: added where it contradicts nothing."""

from __future__ import annotations

from pathlib import PurePosixPath as P

import pytest

from mountdl.descriptors import parse, plausible
from mountdl.descriptors.learned import Learned, completed, documents, poorer, renewed, taught
from mountdl.descriptors.model import METALINKS, Descriptor, Entry, MirrorRef, PieceDigests, SwarmRef
from mountdl.errors import DescriptorError
from tests.support import torrents

MIRROR, OTHER = MirrorRef("http://h/a", 2), MirrorRef("http://o/a", 1)
METALINK = SwarmRef("http://h/a.meta4", "application/metalink4+xml", None, 1)
PIECES = PieceDigests("sha-1", 4, bytes(40))
SHA1 = {"sha-1": bytes(20)}


def said(*entries: Entry) -> Descriptor:
    return Descriptor("metalink4", entries)


def refusal(entry: Entry, document: Descriptor, inside: str | None = None) -> str:
    with pytest.raises(DescriptorError) as caught:
        taught(entry, document, inside)
    return caught.value.kind


def test_a_document_adds_what_is_missing() -> None:
    """Size, digests, pieces and mirrors; what the descriptor says itself stays."""
    entry = Entry(P("a"), None, {"md5": bytes(16)}, mirrors=(MIRROR,), swarms=(METALINK,))
    document = said(Entry(P("other-name"), 8, SHA1, PIECES, (OTHER, MIRROR)))

    found = taught(entry, document, None)
    assert (found.path, found.size, found.pieces) == (P("a"), 8, PIECES)
    assert dict(found.digests) == {"md5": bytes(16), **SHA1}
    assert found.mirrors == (OTHER, MIRROR)
    assert completed(entry, Learned(8, found.digests, found.mirrors, PIECES, described=True)) == found


def test_a_document_that_contradicts_is_not_believed() -> None:
    """Another size or another digest of one algorithm: it is about another file."""
    entry = Entry(P("a"), 8, SHA1, mirrors=(MIRROR,))

    assert refusal(entry, said(Entry(P("a"), 9))) == "inconsistent"
    assert refusal(entry, said(Entry(P("a"), 8, {"sha-1": b"x" * 20}))) == "inconsistent"
    assert taught(entry, said(Entry(P("a"))), None) == entry


def test_the_file_is_found_among_several() -> None:
    """By its path in the document, with or without the top folder; by digest, name or size if that is of one alone."""
    files = [Entry(P("top/x"), 8, SHA1), Entry(P("top/y"), 9), Entry(P("top/z"), 9)]
    document = said(*files)

    assert taught(Entry(P("a")), document, "top/x").size == 8
    assert taught(Entry(P("a")), document, "y").size == 9
    assert taught(Entry(P("a"), digests=SHA1), document, None).size == 8
    assert taught(Entry(P("z")), document, None).size == 9
    assert taught(Entry(P("a"), 8), document, "gone").digests == SHA1
    assert refusal(Entry(P("a"), 9), document) == "no-files"
    assert refusal(Entry(P("z")), document, "gone") == "no-files"


def test_documents_are_followed_where_they_may_help() -> None:
    """Not where size, pieces and mirrors are there already; torrents are the swarms' affair."""
    torrent = SwarmRef("http://h/a.torrent", "torrent")
    whole = Entry(P("a"), 8, SHA1, PIECES, (MIRROR,), (METALINK, torrent))

    assert documents(whole) == ()
    for lacking in ({"size": None}, {"pieces": None}, {"mirrors": ()}):
        assert documents(Entry(**{**{n: getattr(whole, n) for n in Entry.__slots__}, **lacking})) == (METALINK,)
    assert METALINK.mediatype in METALINKS


@pytest.mark.parametrize(
    ("link", "mediatype"),
    [("http://h/a.iso.meta4", "application/metalink4+xml"), ("http://h/a.METALINK?x", "application/metalink+xml")],
)
def test_an_exact_source_of_a_magnet_may_be_a_metalink(link: str, mediatype: str) -> None:
    """It is no mirror then, but tells of some; `inspect` shows the link as it stands."""
    found = parse("x.magnet", f"magnet:?xt=urn:md5:{'00' * 16}&dn=a.iso&xs={link}&as=http://h/a.iso".encode())

    (entry,) = found.entries
    assert [ref.url for ref in entry.mirrors] == ["http://h/a.iso"]
    assert entry.swarms == (SwarmRef(link, mediatype, None, 1),)
    assert [ref.url for ref in found.magnets[0].sources] == ["http://h/a.iso", link]


def test_a_magnet_to_a_metalink_itself() -> None:
    """Somebody may well mount a metalink as a file."""
    (entry,) = parse("x.magnet", f"magnet:?xt=urn:md5:{'00' * 16}&dn=a.meta4&xs=http://h/a.meta4".encode()).entries
    assert ([ref.url for ref in entry.mirrors], entry.swarms) == (["http://h/a.meta4"], ())


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("a.meta4", b"<?xml version='1.0'?><metalink xmlns=''>", True),
        ("a", b"<METALINK>", True),
        ("a.txt", b"# links\nmagnet:?xt=urn:x", True),
        ("a", torrents.torrent(torrents.single(b"x", 4, "a")), True),
        ("a.uris", b"# mirrors\nhttp://h/a", True),
        ("a.URIS", b"http://h/a", True),
        ("a.url", b"[InternetShortcut]\nURL=http://h/a", True),
        ("a", b"\xef\xbb\xbf[Desktop Entry]\n", True),
        ("a.txt", b"http://h/a\n", False),
        ("README", b"http://h/a\n", False),
        ("a.iso", bytes(100), False),
        ("a.uris", b"\0\1", False),
        ("a.html", b"<p>see antimagnet:?x", False),
        ("a.meta4", b"<html>", False),
        ("a", b"", False),
    ],
)
def test_what_may_be_a_descriptor(name: str, start: bytes, expected: bool) -> None:
    """By content; only lists by their names, for many a text begins with an address."""
    assert plausible(name, start) is expected


def from_origin(*entries: Entry) -> Descriptor:
    return Descriptor("metalink4", entries, origin="http://o/new", dynamic=False)


def test_an_origin_renews_what_it_describes() -> None:
    """Its mirrors, size and digests count from then on; where it is asked again stays as it was."""
    old = Descriptor("metalink3", (Entry(P("a"), 8, SHA1, PIECES, (MIRROR,)),), origin="http://o/old", dynamic=True)
    other = Entry(P("a"), 9, {"sha-1": b"x" * 20}, mirrors=(OTHER,))

    found = renewed(old, from_origin(other))
    assert (found.origin, found.dynamic, found.entries) == ("http://o/old", True, (other,))
    assert renewed(old, from_origin(Entry(P("moved"), 8, SHA1, mirrors=(OTHER,)))).entries[0].path == P("moved")


def test_an_origin_takes_no_verification_away() -> None:
    """Pieces and digests of the same bytes stay where it leaves them out."""
    digests = {**SHA1, "md5": bytes(16)}
    old = Descriptor("metalink4", (Entry(P("a"), 8, digests, PIECES, (MIRROR,)),), origin="http://o/o", dynamic=True)
    found = renewed(old, from_origin(Entry(P("a"), 8, SHA1, mirrors=(OTHER,)))).entries[0]
    assert (found.pieces, dict(found.digests), found.mirrors) == (PIECES, digests, (OTHER,))
    for changed in ({**SHA1, "md5": b"x" * 16}, {"md5": bytes(16)}, {"sha-1": b"x" * 20}):
        assert renewed(old, from_origin(Entry(P("a"), 8, changed, mirrors=(OTHER,)))).entries[0].pieces is None


@pytest.mark.parametrize(
    "fresh",
    [
        Descriptor("metalink4", ()),
        Descriptor("urilist", (Entry(P("a"), mirrors=(MIRROR,)),)),
        from_origin(Entry(P("b"), 9, {"sha-1": b"x" * 20}, mirrors=(MIRROR,))),
    ],
    ids=["empty", "a list", "another file"],
)
def test_an_unrelated_document_renews_nothing(fresh: Descriptor) -> None:
    """MirrorManager answers errors with an empty metalink, others with a page."""
    old = Descriptor("metalink4", (Entry(P("a"), 8, SHA1, PIECES, (MIRROR,)),), origin="http://o/o", dynamic=True)
    with pytest.raises(DescriptorError):
        renewed(old, fresh)


@pytest.mark.parametrize(
    ("fresh", "expected"),
    [
        (Learned(8), True),
        (Learned(8, SHA1), True),
        (Learned(8, {"md5": bytes(16)}), True),
        (Learned(9), False),
        (Learned(8, {"sha-1": b"x" * 20}), False),
        (Learned(8, described=True), False),
    ],
)
def test_an_answer_without_the_document_is_poorer(fresh: Learned, expected: bool) -> None:
    """Unless it tells of other bytes."""
    assert poorer(fresh, Learned(8, SHA1, pieces=PIECES, described=True)) is expected
    assert not poorer(fresh, Learned(8, SHA1))
