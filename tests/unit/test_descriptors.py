"""Any bytes become a descriptor or a DescriptorError, and no name escapes."""

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.descriptors import SUFFIXES, parse
from mountdl.descriptors.model import LOWEST_PRIORITY, Descriptor
from mountdl.descriptors.report import describe, text_lines
from mountdl.errors import DescriptorError
from tests.fuzz.laws import KINDS

SEEDS = [
    b'<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
    b'<file name="a/b.bin"><size>10</size><hash type="sha-256">' + b"ab" * 32 + b"</hash>"
    b'<pieces type="sha-1" length="4"><hash>' + b"01" * 20 + b"</hash><hash>" + b"02" * 20 + b"</hash><hash>"
    b"</hash></pieces>"
    b'<url priority="1" location="de"> http://h.example/\xc3\xa9 </url>'
    b'<metaurl mediatype="torrent" name="b.bin">ftp://h.example/x.torrent</metaurl>'
    b'<signature mediatype="application/pgp-signature">text</signature></file></metalink>',
    b'<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" origin="http://h.example/o">'
    b'<files><file name="../x"><size>3</size><verification><hash type="md5">' + b"ab" * 16 + b"</hash>"
    b'<pieces length="2" type="sha1"><hash piece="1">'
    + b"01" * 20
    + b'</hash><hash piece="0">'
    + b"02" * 20
    + b"</hash>"
    b'</pieces><signature type="pgp" file="x.sig">t</signature></verification><resources maxconnections="1">'
    b'<url type="http" preference="90">http://h.example/a</url></resources></file></files></metalink>',
]


def look(name: str, data: bytes) -> Descriptor | None:
    """Parse as a mount would, and check what every descriptor must be."""
    try:
        found = parse(name, data)
    except DescriptorError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.kind in KINDS
        assert str(refused)
        return None
    json.dumps(describe(found)).encode()
    "\n".join(text_lines(found)).encode()
    for entry in found.entries:
        check_path(entry.path)
        assert entry.size is None or 0 <= entry.size < 1 << 63
        for ref in (*entry.mirrors, *entry.swarms):
            assert 1 <= ref.priority <= LOWEST_PRIORITY
        for mirror in entry.mirrors:
            assert mirror.url.isascii()
            assert mirror.url.isprintable()
            assert " " not in mirror.url
            assert mirror.url.partition("://")[0] in {"http", "https", "ftp", "ftps", "sftp"}
        assert entry.signature is None or "/" not in entry.signature.name
    paths = [entry.path for entry in found.entries]
    assert len(set(paths)) == len(paths)
    assert not any(parent in paths for path in paths for parent in path.parents)
    return found


def check_path(path: PurePosixPath) -> None:
    assert not path.is_absolute()
    assert path.parts
    for part in path.parts:
        assert part not in {"", ".", ".."}
        assert len(part.encode()) <= 255
        assert not any(ord(c) < 32 or ord(c) == 127 for c in part)


@given(st.binary(max_size=300), st.sampled_from(["a.meta4", "a.metalink", "a.bin", ""]))
def test_any_bytes(data, name):
    """Whatever bytes come, there is a descriptor or a DescriptorError."""
    look(name, data)


@settings(max_examples=300)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6), st.integers(0, 12)), max_size=4),
)
def test_damaged_documents(seed, damage):
    """A real document with pieces replaced never makes anything else either."""
    data = bytearray(seed)
    for at, put, cut in damage:
        data[at % len(data) : at % len(data) + cut] = put
    look("a.meta4", bytes(data))


def attribute(text: str) -> str:
    return "".join(f"&#{ord(c)};" if c in "\t\n\r" or c in "<&\"'" else c for c in text)


XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cn")).filter(lambda c: c >= " " or c in "\t\n\r")
)


@settings(max_examples=300)
@given(
    st.one_of(
        XML_TEXT,
        st.lists(st.sampled_from(["..", ".", "/", "a", "\\", "~", "\x7f", "b.c", " "]), max_size=6).map("".join),
    )
)
def test_no_name_escapes(name):
    """A name comes through as it stands or not at all."""
    document = (
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
        f'<file name="{attribute(name)}"><url>http://h.example/x</url></file></metalink>'
    )
    found = look("a.meta4", document.encode())
    if found is not None and found.entries:
        assert [name] == [str(entry.path) for entry in found.entries]


def test_truncated_documents():
    """A document that ends early is refused, even if some files were complete."""
    for seed in SEEDS:
        for stop in range(len(seed)):
            with pytest.raises(DescriptorError):
                parse("a.meta4", seed[:stop])


def test_watched_suffixes_are_lower_case():
    """The mount compares suffixes in lower case."""
    assert {".metalink", ".meta4"} <= SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
