"""Metalink/HTTP: what the fields of an answer say of a file."""

import base64
import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.descriptors import linkheader
from mountdl.descriptors.cautions import Cautions
from mountdl.descriptors.model import LOWEST_PRIORITY, Described, Descriptor, Duplicate, HeaderFindings
from mountdl.descriptors.report import describe
from mountdl.errors import DescriptorError

URL = "http://www.example.com/d/example.ext"
SHA256 = hashlib.sha256(b"x").digest()
DIGEST = ("Digest", f"SHA-256={base64.b64encode(SHA256).decode()}")


def find(*fields: tuple[str, str]) -> HeaderFindings:
    return linkheader.findings(fields, URL, Cautions())


def codes(*fields: tuple[str, str]) -> list[str]:
    cautions = Cautions()
    linkheader.findings(fields, URL, cautions)
    return [caution.code for caution in cautions.kept()]


def link(value: str) -> tuple[Duplicate, ...]:
    return find(DIGEST, ("Link", value)).duplicates


HEAD = f"""HTTP/1.1 302 Found
Date: Fri, 01 Jan 2021 00:00:00 GMT
Link: <http://www2.example.com/example.ext>; rel=duplicate; pri=2; geo=DE
Link: <ftp://ftp.example.com/example.ext>; rel=duplicate; pri=1; geo=gb; depth=1,
  <http://www3.example.com/example.ext>; rel="duplicate"; pref; pri=9
Link: </example.ext.meta4>; rel=describedby; type="application/metalink4+xml"
link: <example.ext.torrent>; rel=describedby; type="application/x-bittorrent"; name="example.ext"
Link: <example.ext.asc>; rel=describedby; type="application/pgp-signature"
DIGEST: {DIGEST[1]}, MD5={base64.b64encode(bytes(16)).decode()}

HTTP/1.1 200 OK
Link: <http://mirror.example/>; rel=duplicate
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_whole_head(newline):
    """The first head counts, also if it is a redirect; those behind it are of mirrors."""
    found = linkheader.parse(HEAD.replace("\n", newline).encode(), URL)
    assert json.loads(json.dumps(describe(found))) == {
        "kind": "headers",
        "digests": {"sha-256": SHA256.hex(), "md5": "00" * 16},
        "duplicates": [
            {
                "url": "http://www3.example.com/example.ext",
                "priority": 9,
                "location": None,
                "pref": True,
                "depth": None,
            },
            {"url": "ftp://ftp.example.com/example.ext", "priority": 1, "location": "gb", "pref": False, "depth": 1},
            {
                "url": "http://www2.example.com/example.ext",
                "priority": 2,
                "location": "de",
                "pref": False,
                "depth": None,
            },
        ],
        "describedby": [
            {"url": "http://www.example.com/example.ext.meta4", "type": "application/metalink4+xml"},
            {"url": "http://www.example.com/d/example.ext.torrent", "type": "application/x-bittorrent"},
            {"url": "http://www.example.com/d/example.ext.asc", "type": "application/pgp-signature"},
        ],
        "warnings": [],
    }
    (entry,) = found.entries
    assert (str(entry.path), entry.size, len(entry.mirrors)) == ("example.ext", None, 4)
    assert [ref.mediatype for ref in entry.swarms] == ["application/metalink4+xml", "torrent"]


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ("HTTP/1.1 200 OK\nContent-Length: 5", 5),
        ("HTTP/1.1 206 Partial Content\nContent-Length: 1\nContent-Range: bytes 0-0/7", 7),
        ("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-0/*", None),
        ("HTTP/1.1 302 Found\nContent-Length: 5", None),
        ("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Encoding: gzip", None),
        ("HTTP/1.1 100 Continue\n\nHTTP/2 200\nContent-Length: 6", 6),
        ("Content-Type: text/plain", None),
    ],
)
def test_size(head, size):
    assert linkheader.parse(head.encode(), URL).entries[0].size == size


@pytest.mark.parametrize(
    ("data", "url", "kind"),
    [
        (b"", URL, "empty"),
        (b"\r\n", URL, "empty"),
        (b"hello", URL, "not-well-formed"),
        (b"HTTP/1.1 200 OK\r\n\r\n", URL, "not-well-formed"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", URL, "not-well-formed"),
        (b"A: b", "x", "bad-link"),
        (b"A: b", "file:///x", "bad-link"),
        (b"A: " + b"b" * (1 << 20), URL, "too-large"),
    ],
)
def test_refusals(data, url, kind):
    with pytest.raises(DescriptorError) as caught:
        linkheader.parse(data, url)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "value",
    [
        "<http://a.example/x>;rel=duplicate",
        "<http://a.example/x> ; rel = duplicate",
        '<http://a.example/x>; REL="Duplicate"',
        '<http://a.example/x>; rel="nofollow duplicate"',
        "<http://a.example/x>; rel=duplicate; rel=other",
        '<http://a.example/x>; title="a, <b>; \\"c\\""; rel=duplicate',
        "<//a.example/x>; rel=duplicate",
        "rubbish, <http://a.example/x>; rel=duplicate",
        ", ,<http://a.example/x>; rel=duplicate,",
        "<http://a.example/x>;; rel=duplicate; =x",
        f"<http://a.example/x>; rel=duplicate; anchor={URL}",
        f'<{URL}>; rel=duplicate, <http://a.example/x>; rel="duplicate"',
    ],
)
def test_forms_of_links(value):
    """RFC 8288: several to a field, names without case, quoted or not, the first rel counts."""
    assert [each.url for each in link(value)] == ["http://a.example/x"]


@pytest.mark.parametrize(
    "value",
    [
        "<http://a.example/x>",
        "<http://a.example/x>; rel=other; rel=duplicate",
        "<http://a.example/x>; rel=duplicates",
        "<http://a.example/x; rel=duplicate",
        "http://a.example/x; rel=duplicate",
        "<file:///etc/passwd>; rel=duplicate",
        "<http://a.example/x>; rel=duplicate; anchor=http://other.example/",
        f"<{URL}>; rel=duplicate",
        '"<http://a.example/x>; rel=duplicate"',
    ],
)
def test_what_is_no_mirror(value):
    assert link(value) == ()


@pytest.mark.parametrize(
    ("given_value", "priority"),
    [("1", 1), ("999999", 999999), ("0", LOWEST_PRIORITY), ("1000000", LOWEST_PRIORITY), ("x", LOWEST_PRIORITY)],
)
def test_priorities(given_value, priority):
    assert link(f"<http://a.example/x>; rel=duplicate; pri={given_value}")[0].priority == priority


def test_preferred_mirrors_go_first():
    """They share entity tags; among them, and behind them, the priority decides."""
    value = ", ".join(
        f"<http://{n}.example/>; rel=duplicate; pri={p}{more}"
        for n, p, more in [("a", 1, ""), ("b", 5, "; pref"), ("c", 2, "; pref"), ("d", 3, "; geo=xyz")]
    )
    assert [each.url[7] for each in link(value)] == ["c", "b", "a", "d"]


def test_documents_without_a_type():
    assert find(("Link", "<x>; rel=describedby")).described_by == (Described("http://www.example.com/d/x", ""),)


SHA512 = hashlib.sha512(b"x").digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("fields", "digests"),
    [
        ([("Digest", f"sha-256={b64(SHA256)},SHA={b64(bytes(20))}")], {"sha-256": SHA256, "sha-1": bytes(20)}),
        (
            [("Digest", f"SHA-256={b64(SHA256)}"), ("Digest", f"sha-512={b64(SHA512)}")],
            {"sha-256": SHA256, "sha-512": SHA512},
        ),
        (
            [("Repr-Digest", f"sha-256=:{b64(SHA256)}:, sha-512=:{b64(SHA512)}:;x=1")],
            {"sha-256": SHA256, "sha-512": SHA512},
        ),
        ([("Repr-Digest", f"sha-256={b64(SHA256)}")], {}),
        ([("Content-Digest", f"sha-256=:{b64(SHA256)}:")], {}),
        ([("Want-Digest", "sha-256;q=1")], {}),
        ([("Digest", f"SHA-256={b64(SHA256)}"), ("Content-Encoding", "gzip")], {}),
        ([("Digest", f"SHA-256={b64(SHA256)}"), ("Content-Encoding", "identity")], {"sha-256": SHA256}),
        ([("Digest", f"id-sha-256={b64(SHA256)}"), ("Content-Encoding", "gzip")], {"sha-256": SHA256}),
        ([("Digest", f"SHA-256={b64(SHA256[:-1])}")], {}),
        ([("Digest", "SHA-256=%%%")], {}),
        ([("Digest", "UNIXsum=30637")], {}),
        ([("Digest", f"SHA-256={b64(SHA256)}"), ("Repr-Digest", f"sha-256=:{b64(SHA256)}:")], {"sha-256": SHA256}),
        (
            [
                ("Digest", f"SHA-256={b64(SHA256)}"),
                ("Repr-Digest", f"sha-256=:{b64(bytes(32))}:"),
                ("Digest", f"SHA-256={b64(SHA256)}"),
            ],
            {},
        ),
    ],
)
def test_digests(fields, digests):
    assert find(*fields).digests == digests


def test_two_digests_of_one_kind_are_told():
    assert codes(("Digest", f"SHA-256={b64(SHA256)}, SHA-256={b64(bytes(32))}")) == ["conflicting-hash"]


def test_quirk_32_mirrors_without_a_digest():
    """Mirrorbits names mirrors on a redirect and no digest: they are shown and not used."""
    found = linkheader.parse(
        b"HTTP/1.1 302 Found\r\nLink: <http://a.example/x>; rel=duplicate; pri=1; geo=fr\r\n\r\n", URL
    )
    assert [each["url"] for each in describe(found)["duplicates"]] == ["http://a.example/x"]
    assert [caution.code for caution in found.cautions] == ["no-digest"]
    assert [ref.url for ref in found.entries[0].mirrors] == [URL]


def test_quirk_33_base64_of_hexadecimal_digits():
    """So do the RFCs' own examples."""
    assert find(("Digest", f"SHA-256={b64(SHA256.hex().encode())}")).digests == {"sha-256": SHA256}


def test_bounded_time():
    started = time.process_time()
    for value in (
        "<" * 500_000,
        ",<a>;" * 100_000,
        '"' * 500_000,
        '<a>;b="' + "\\" * 500_000,
        "<a>" + ";" * 500_000,
        '"\\' * 300_000,
    ):
        find(("Link", value), ("Digest", value), ("Repr-Digest", value))
    assert time.process_time() - started < 10


PARTS = st.sampled_from(
    [
        "<http://a.example/>",
        "<",
        ">",
        '"',
        ";",
        ",",
        "rel=duplicate",
        "pri=1",
        "\\",
        " ",
        "=",
        "é",
        "geo=de",
        "\r\n",
        "Link: ",
        "Digest: SHA-256=",
        "\x00",
    ]
)


@given(
    st.one_of(st.lists(PARTS, max_size=15).map("".join), st.text(max_size=60)).map(
        lambda text: text.encode("latin-1", "replace")
    )
)
def test_any_head(data):
    try:
        found: Descriptor = linkheader.parse(b"Link: " + data, URL)
    except DescriptorError:
        return
    json.dumps(describe(found)).encode()
