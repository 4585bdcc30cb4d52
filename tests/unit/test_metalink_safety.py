"""What a hostile document can't do: declare entities, nest, escape, or cost more than its size."""

import time
import tracemalloc
from contextlib import suppress
from pyexpat import ExpatError, ParserCreate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.descriptors import limits, parse
from mountdl.descriptors.xmlreader import Shape, read
from mountdl.errors import DescriptorError

V4 = "urn:ietf:params:xml:ns:metalink"
URL = "<url>http://h.example/a</url>"
GOOD = f'<metalink xmlns="{V4}"><file name="é.iso">{URL}</file></metalink>'


def refusal(data: bytes | str, name: str = "x.meta4") -> str:
    with pytest.raises(DescriptorError) as caught:
        parse(name, data.encode() if isinstance(data, str) else data)
    return caught.value.kind


def codes(inside: str, name: str = "a") -> list[str]:
    data = f'<metalink xmlns="{V4}"><file name="{name}">{inside}</file></metalink>'
    return [caution.code for caution in parse("x", data.encode()).cautions]


@given(
    st.lists(
        st.binary(max_size=60).map(b"<".__add__) | st.integers(0, len(GOOD)).map(lambda stop: GOOD.encode()[:stop]),
        max_size=4,
    )
)
def test_nothing_stays_of_a_document(others: list[bytes]) -> None:
    """However those before it ended, a document reads as if it were the first one."""
    expected = parse("x.meta4", GOOD.encode())
    for data in others:
        with suppress(DescriptorError):
            parse("x.meta4", data)

    assert expected == parse("x.meta4", GOOD.encode())


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE metalink>",
        '<!DOCTYPE metalink SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE m [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]>',
        '<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>',
        "<?xml-stylesheet href='x'?><!-- c --><!DOCTYPE html>",
    ],
)
def test_every_doctype_is_refused(declaration):
    """Also where it comes after comments, and in UTF-16."""
    assert refusal(declaration + GOOD) == "forbidden-dtd"
    assert refusal((declaration + GOOD).encode("utf-16")) == "forbidden-dtd"


def test_entity_expansion_costs_nothing():
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    started = time.process_time()
    assert refusal(f'<!DOCTYPE m [<!ENTITY e0 "lol">{entities}]><m a="&e9;">&e9;</m>') == "forbidden-dtd"
    assert time.process_time() - started < 10


def test_undeclared_entities_are_not_well_formed():
    assert refusal(GOOD.replace("é.iso", "&nbsp;")) == "not-well-formed"
    assert refusal(GOOD.replace("http://", "&x;")) == "not-well-formed"


@pytest.mark.parametrize("tag", ["a", "file", f'metalink xmlns="{V4}"'])
def test_deep_nesting(tag):
    assert refusal(f"<metalink xmlns='{V4}'>" + f"<{tag}>" * 100_000) == "too-deep"
    assert refusal(f"<metalink xmlns='{V4}'><file name='a'><url>" + f"<{tag}>" * 100_000) == "too-deep"


def test_nesting_up_to_the_limit_is_read():
    deep = limits.MAX_DEPTH - 2
    assert codes("<x>" * deep + "</x>" * deep + URL) == []
    assert refusal(f'<metalink xmlns="{V4}"><file name="a">' + "<x>" * (deep + 1)) == "too-deep"


def test_too_large(monkeypatch):
    monkeypatch.setattr("mountdl.descriptors.xmlreader.MAX_DOCUMENT", 100)
    assert refusal(" " * 101) == "too-large"


@pytest.mark.parametrize("data", [b"", b"  \r\n", b"\xef\xbb\xbf"])
def test_empty(data):
    assert refusal(data) == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<",
        b"<a",
        b"<metalink>",
        b"\x00",
        b"<a>\x00</a>",
        b"<a/><b/>",
        b"<a>&#0;</a>",
        b"{}",
        b"<a x='1' x='2'/>",
    ],
)
def test_not_well_formed(data):
    assert refusal(data) in {"not-well-formed", "not-metalink"}


@pytest.mark.parametrize("namespace", ["x", V4])
def test_undeclared_prefixes_are_not_well_formed(namespace):
    """libxml2 would drop the prefix and so turn a foreign attribute into ours."""
    assert refusal(f'<metalink xmlns="{V4}"><file p:name="a">{URL}</file></metalink>') == "not-well-formed"
    assert refusal(f'<metalink xmlns="{V4}"><p:file name="a">{URL}</p:file></metalink>') == "not-well-formed"
    assert refusal(f'<p:metalink xmlns:q="{namespace}"/>') in {"not-well-formed", "not-metalink"}


def test_attributes_of_other_namespaces_do_not_count():
    data = f'<metalink xmlns="{V4}" xmlns:m="{V4}"><file m:name="x" name="a"><url m:priority="1">http://h.example/</url></file></metalink>'
    (entry,) = parse("x", data.encode()).entries
    assert (str(entry.path), entry.mirrors[0].priority) == ("a", 999999)


@pytest.mark.parametrize("root", ["<html/>", "<rss version='2.0'/>", f"<x xmlns='{V4}'/>", "<metalink xmlns='urn:x'/>"])
def test_other_roots(root):
    assert refusal(root) == "not-metalink"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_unicode(encoding):
    (entry,) = parse("x", GOOD.encode(encoding)).entries
    assert str(entry.path) == "é.iso"


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ISO-8859-15", "windows-1252", "latin1", "koi8-r", "cp1251"])
def test_declared_single_byte_encodings(encoding):
    name = "é" if "é".encode(encoding, "ignore") else "й"
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + GOOD.replace("é", name)
    (entry,) = parse("x", text.encode(encoding)).entries
    assert str(entry.path) == f"{name}.iso"


@pytest.mark.parametrize(
    "encoding", ["Shift_JIS", "gb18030", "utf-7", "x-nonsense", "rot13", "unicode_escape", "utf-32", "cp1259"]
)
def test_other_encodings_are_refused(encoding):
    assert refusal(f'<?xml version="1.0" encoding="{encoding}"?>{GOOD}') == "unsupported-encoding"


@pytest.mark.parametrize(
    "data", [GOOD.encode("utf-32"), GOOD.encode("utf-16")[:-1], b"\xff\xfe<\x00\x00\xd8", GOOD.encode("latin-1")]
)
def test_text_that_is_not_in_its_encoding(data):
    assert refusal(data) in {"unsupported-encoding", "not-well-formed"}


@pytest.mark.parametrize(
    "number", ["1_000", "+5", "-5", "５", "٣", "1e3", "0x10", "5.0", "9" * 20, "9" * 5000, str(1 << 63), " ", "NaN"]
)
def test_numbers_that_only_python_reads(number):
    data = f'<metalink xmlns="{V4}"><file name="a"><size>{number}</size>{URL}</file></metalink>'
    found = parse("x", data.encode())
    assert found.entries[0].size is None
    assert [caution.code for caution in found.cautions] == ["bad-size"]


def test_absurd_sizes_are_only_numbers():
    huge = (1 << 63) - 1
    inside = f"<size>{huge}</size><pieces type='sha-1' length='{huge}'><hash>{'ab' * 20}</hash></pieces>{URL}"
    (entry,) = parse("x", f'<metalink xmlns="{V4}"><file name="a">{inside}</file></metalink>'.encode()).entries
    assert entry.size == huge
    assert entry.pieces is not None
    assert entry.pieces.count == 1


def test_an_index_allocates_nothing():
    pieces = f"<pieces type='sha1' length='1'><hash piece='2000000000'>{'ab' * 20}</hash></pieces>"
    text = (
        "<metalink version='3.0' xmlns='http://www.metalinker.org/'><files><file name='a'>"
        f"<verification>{pieces}</verification><resources>{URL}</resources></file></files></metalink>"
    )
    tracemalloc.start()
    found = parse("x", text.encode())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert [caution.code for caution in found.cautions] == ["pieces-bad-index"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("rsync://h/x", "scheme-rsync"),
        ("file:///etc/passwd", "scheme-file"),
        ("FILE:/etc/passwd", "scheme-file"),
        ("data:,x", "scheme-data"),
        ("javascript:alert(1)", "scheme-javascript"),
        ("gopher://h/x", "scheme-gopher"),
        ("ed2k://|file|x|1|abc|/", "scheme-ed2k"),
        ("magnet:?xt=urn:btih:x", "scheme-magnet"),
        ("foo://h/x", "scheme-unknown"),
        ("/etc/passwd", "relative-url"),
        ("x.iso", "relative-url"),
        ("//h.example/x", "relative-url"),
        ("", "bad-url"),
        ("http://", "bad-url"),
        ("http:///x", "bad-url"),
        ("http:x", "bad-url"),
        ("http://[::1", "bad-url"),
        ("http://[zz]/", "bad-url"),
        ("http://h:0/", "bad-url"),
        ("http://h:99999/", "bad-url"),
        ("http://h:x/", "bad-url"),
        ("http://a b/", "bad-url"),
        ("http://h.example/a\nb", "bad-url"),
        ("http://h.example/" + "a" * 9000, "too-long"),
        ("http://h.example/" + "a" * 90000, "too-long"),
    ],
)
def test_urls_that_are_dropped(url, code):
    assert codes(URL + f"<url>{url}</url>") == [code]


@pytest.mark.parametrize("zone", ["%25lo", "%lo", "%25en1~x", "%25"])
@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "sftp"])
def test_a_zone_is_named_as_what_is_wrong(scheme, zone):
    """RFC 6874: which interface is meant only the machine knows that the URL was written on."""
    url = f"<url>{scheme}://[fe80::1{zone}]:8080/x</url>"
    found = parse("x", f'<metalink xmlns="{V4}"><file name="a">{URL}{url}</file></metalink>'.encode())
    [caution] = found.cautions
    assert caution.code == "bad-url"
    assert "network interface" in caution.message
    assert [ref.url for ref in found.entries[0].mirrors] == ["http://h.example/a"]


@pytest.mark.parametrize(
    ("given_url", "taken"),
    [
        ("HTTP://h.example/a", "http://h.example/a"),
        ("http://h.example/é b", "http://h.example/%C3%A9%20b"),
        ("http://h.example/%20%zz%C3", "http://h.example/%20%zz%C3"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://u:p@h.example:65535/x", "http://u:p@h.example:65535/x"),
        ("ftp://u@h.example/x;type=i", "ftp://u@h.example/x;type=i"),
        ("https://h.example/key?torrent", "https://h.example/key?torrent"),
        ("sftp://h/x", "sftp://h/x"),
        ("http://h", "http://h"),
    ],
)
def test_urls_that_are_taken(given_url, taken):
    data = f'<metalink xmlns="{V4}"><file name="a"><url>{given_url}</url></file></metalink>'
    assert [ref.url for ref in parse("x", data.encode()).entries[0].mirrors] == [taken]


def test_100_000_urls():
    """The best thousand are kept, the rest is counted."""
    urls = "".join(f"<url priority='{100_001 - n}'>http://h.example/{n}</url>" for n in range(100_000))
    data = f'<metalink xmlns="{V4}"><file name="a">{urls}</file></metalink>'.encode()
    started = time.process_time()
    found = parse("x", data)
    assert time.process_time() - started < 10
    assert len(found.entries[0].mirrors) == limits.MAX_URLS_KEPT
    assert found.entries[0].mirrors[0].url == "http://h.example/99999"
    assert [caution.code for caution in found.cautions] == ["too-many-urls"]


def test_too_many_attributes():
    """Refused before they are all held."""
    head = f'<metalink xmlns="{V4}"><file name="a" '
    assert refusal(head + " ".join(f'a{n}=">"' for n in range(300_000)) + "/></metalink>") == "limits"
    assert refusal(head + " ".join(f"xmlns:a{n}='x'" for n in range(300_000)) + "/></metalink>") == "limits"
    found = parse("x", (head + " ".join(f'a{n}="x"' for n in range(10_000)) + f">{URL}</file></metalink>").encode())
    assert len(found.entries) == 1


def test_too_many_elements(monkeypatch):
    monkeypatch.setattr("mountdl.descriptors.xmlreader.MAX_ELEMENTS", 5)
    assert refusal(f'<metalink xmlns="{V4}">' + "<x/>" * 5 + "</metalink>") == "limits"


def test_too_many_files(monkeypatch):
    monkeypatch.setattr("mountdl.descriptors.metalink.MAX_FILES", 3)
    assert refusal(f'<metalink xmlns="{V4}">' + "<file/>" * 4 + "</metalink>") == "limits"


def test_too_many_urls_in_all(monkeypatch):
    monkeypatch.setattr("mountdl.descriptors.metalink.MAX_URLS_DOCUMENT", 3)
    files = "".join(f"<file name='{n}'>{URL}</file>" for n in range(4))
    assert refusal(f'<metalink xmlns="{V4}">{files}</metalink>') == "limits"


def test_cautions_are_bounded():
    found = parse("x", f'<metalink xmlns="{V4}">{"<file/>" * 5000}</metalink>'.encode())
    assert len(found.cautions) == limits.MAX_CAUTIONS + 1
    assert found.cautions[-1].code == "more-warnings"


def test_text_beyond_its_limit_is_dropped():
    assert codes(f"<size>{'1' * 9000}</size>{URL}") == ["bad-size"]
    long = "x" * (limits.MAX_TEXT + 1)
    assert codes(f"<signature mediatype='application/pgp-signature'>{long}</signature>{URL}") == ["bad-signature"]


def test_unwanted_text_of_any_length_is_no_fault():
    assert codes(f"<description>{'x' * 12_000_000}</description>{URL}") == []


NAME = st.sampled_from(["a", "b", "p:a", "c"])
TEXT = st.lists(
    st.sampled_from(
        [
            "x",
            " ",
            "é",
            "&amp;",
            "&lt;",
            "&#38;",
            "&#x26;amp;",
            "<!-- c -->",
            "<?p i?>",
            "<![CDATA[<&]]>",
            "\n",
            "\r\n",
            "]]>",
            "&",
            "<",
            ">",
            "&q;",
        ]
    ),
    max_size=5,
).map("".join)


@st.composite
def elements(draw, depth=0):
    name = draw(NAME)
    attributes = "".join(
        f' {key}="{draw(TEXT)}"' for key in draw(st.lists(st.sampled_from(["k", "p:k", "q:k"]), max_size=2))
    )
    inside = draw(TEXT)
    if depth < 2:
        inside += "".join(draw(st.lists(elements(depth + 1), max_size=2))) + draw(TEXT)
    return f"<{name}{attributes}>{inside}</{name}>"


def expat(data: bytes) -> list[tuple[str, dict[str, str], str]] | None:
    """Read with CPython's own parser: (name, own attributes, own text) of each element; None if ill-formed."""
    parser = ParserCreate(namespace_separator=" ")
    found: list[tuple[str, dict[str, str], str]] = []
    stack: list[tuple[str, dict[str, str], list[str]]] = []

    def start(name, attributes):
        stack.append((name, {key: value for key, value in attributes.items() if " " not in key}, []))

    def end(_name):
        name, attributes, parts = stack.pop()
        found.append((name, attributes, "".join(parts)))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: stack[-1][2].append(text)
    try:
        parser.Parse(data, True)
    except ExpatError:
        return None
    return found


@settings(max_examples=300)
@given(elements())
def test_elements_are_read_as_another_parser_reads_them(element):
    """Names, own attributes and own text of the children, and whether the document is well-formed at all."""
    data = f'<r xmlns:p="urn:p">{element}</r>'.encode()
    leaves = {"a": Shape("a"), "b": Shape("b"), "c": Shape("c"), "{urn:p}a": Shape("p:a")}
    expected = expat(data)
    try:
        root = read(data, lambda _tag, _attributes: Shape("r", leaves), lambda _node: None)
    except DescriptorError as refused:
        got, kind = None, refused.kind
    else:
        ((name, (node,)),) = root.children.items()
        own = {key: value for key, value in node.attributes.items() if not key.startswith("{")}
        got, kind = (name.replace("p:", "urn:p "), own, node.text), None
    if expected is None:
        assert kind == "not-well-formed"
    else:
        assert got == expected[-2]
