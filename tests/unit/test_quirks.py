"""Every quirk seen in the wild has a test named after it: `test_quirk_NN_...`, several numbers where one shows several."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mountdl.catalog.build import build
from mountdl.catalog.document import Document
from mountdl.catalog.tree import File, Inodes
from mountdl.descriptors import parse

TESTS = Path(__file__).parents[1]
QUIRKS = {
    1: "URLs padded with white space",
    2: "&amp; in a magnet served as plain text",
    3: "size and hashes of other versions nested in alternates",
    4: "url of publisher, license, changelog beside mirrors",
    5: "preferences over 100 and below 1",
    6: "size missing or empty",
    7: "pieces of type zsync first",
    8: "namespace without slash, with https, or none",
    9: "type that contradicts the scheme, or none",
    10: "protocol attribute, location in upper case, maxconnections 1 always",
    11: "an error answered as an empty metalink",
    12: "raw & and Latin-1 bytes",
    13: "-- in a comment",
    14: "urn:sha1 in hexadecimal",
    15: "a magnet as metaurl, or as url of type bittorrent",
    16: "bogus btih, right source",
    17: "HTML references inside a name",
    18: "an HTML page as tracker",
    19: "httpseeds with plain URLs",
    20: "url-list of several files without trailing slash",
    21: "unsorted info dictionary",
    22: "md5 with 31 digits beside a valid sha-1",
    23: "prose as md5",
    24: "names that are absolute, ./, ../, ~, hidden, > or |",
    25: "traversal by backslashes",
    26: "traversal in the file attribute of a signature",
    27: "padded text of a signature",
    28: "type attribute in version 4, no priority, relative metaurl",
    29: "one torrent for several files, one without metaurl between",
    30: "one torrent under two names",
    31: "a server that answers a metalink for the plain URL",
    32: "Link without Digest on a redirect",
    33: "digests that are base64 of hexadecimal digits",
    34: "dates of all sorts",
    35: "version and os at the document",
    36: "hash types that nobody else knows",
    37: "tree:tiger/ and /1024, ed2khash, base32 in lower case",
    38: "tr.N, XT, escaped xt, magnet:///",
    39: "so with inverted, huge and empty items",
    40: "pairs with two =",
    41: "name.utf-8 beside a name that is no text",
    42: "BitComet's padding by name",
    43: "equal preferences are the rule",
    44: "location codes that are none",
}


def named() -> set[int]:
    """Return the numbers in the names of all tests."""
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        for numbers in re.findall(r"def test_quirk((?:_\d+)+)_", path.read_text()):
            found |= {int(number) for number in numbers.strip("_").split("_")}
    return found


@pytest.mark.parametrize("number", QUIRKS, ids=QUIRKS.get)
def test_each_quirk_has_a_test(number: int) -> None:
    assert number in named()


def test_no_quirk_is_unknown() -> None:
    assert named() <= QUIRKS.keys()


def test_quirk_30_one_torrent_under_two_names() -> None:
    """Both names are shown; with one digest they are one content, whose torrent is there once."""
    file = (
        f'<file name="%s"><size>5</size><hash type="sha-256">{"ab" * 32}</hash>'
        '<metaurl mediatype="torrent">http://h/x.torrent</metaurl></file>'
    )
    text = f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">{file % "a"}{file % "b"}</metalink>'
    again = f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">{file % "c"}</metalink>'
    documents = [
        Document(name, 0, parse(name, data.encode())) for name, data in {"x.meta4": text, "y.meta4": again}.items()
    ]
    tree = build(documents, Inodes(), {}).tree

    assert sorted(node.name for node in tree.nodes() if isinstance(node, File)) == ["a", "b", "c"]
    [content] = tree.contents().values()
    assert [swarm.url for swarm in content.swarms] == ["http://h/x.torrent"]
