"""Magnet links: files of them, their grammar, their topics, and the quirks seen in the wild."""

import base64
import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.descriptors import limits, linktext, magnet, parse, peers
from mountdl.descriptors.model import Descriptor, Magnet
from mountdl.descriptors.report import describe, text_lines
from mountdl.errors import DescriptorError, ExitStatus

HEX = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
HASH = bytes.fromhex(HEX)
BTIH = f"xt=urn:btih:{HEX}"
SHA1 = f"xt=urn:sha1:{base64.b32encode(HASH).decode()}"
SOURCE = "as=http://h.example/d/f.iso"


def read(text: str | bytes) -> Descriptor:
    return parse("x.magnet", text.encode() if isinstance(text, str) else text)


def one(query: str) -> Magnet:
    (found,) = read(f"magnet:?{query}").magnets
    return found


def codes(text: str) -> list[str]:
    return [caution.code for caution in read(text).cautions]


def refusal(text: str | bytes) -> str:
    with pytest.raises(DescriptorError) as caught:
        read(text)
    assert caught.value.exit_status == ExitStatus.BAD_MAGNET
    return caught.value.kind


# Files of links


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", " \n\n"])
def test_one_link(ending):
    assert read(f"magnet:?{BTIH}&dn=x{ending}").magnets == (Magnet("x", btih=HASH),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding):
    (found,) = read(f"magnet:?{BTIH}&dn=é".encode(encoding)).magnets
    assert found.name == "é"


def test_comments_blank_lines_and_several_links():
    text = f"# one\n; two\n// three\n\nmagnet:?{BTIH}&dn=a\n\nsee magnet:?{BTIH}&dn=b MAGNET:?{BTIH}&dn=c\n"
    assert [found.name for found in read(text).magnets] == ["a", "b", "c"]


def test_wrapped_lines_are_joined_without_a_blank():
    text = f"magnet:?{BTIH[:30]}\n  {BTIH[30:]}\r\n&dn=a\n# comment\nb\n\nnot a part"
    assert [(found.name, found.btih) for found in read(text).magnets] == [("ab", HASH)]


def test_links_in_markup():
    text = f"<a href=\"magnet:?{BTIH}&amp;dn=a\">x</a> 'magnet:?{BTIH}&dn=b' [y]magnet:?{BTIH}&dn=c"
    assert [found.name for found in read(text).magnets] == ["a", "b", "c"]


def test_bare_hashes_on_a_line():
    found = read(f"{HEX}\n{'ab' * 32}\n").magnets
    assert [(each.btih, each.btmh) for each in found] == [(HASH, None), (None, bytes.fromhex("ab" * 32))]


def test_stream_magnet():
    assert read(f"stream-magnet:?{BTIH}").magnets[0].btih == HASH


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("hello", "not-a-magnet"),
        ("magnet:", "not-a-magnet"),
        (f"magnet:{BTIH}", "not-a-magnet"),
        ("magnet:?", "no-usable-topic"),
        ("magnet:?kt=a+b", "no-usable-topic"),
        ("magnet:?dn=x&mt=urn:btih:" + HEX, "no-usable-topic"),
        ("magnet:?xt=urn:btih:abc", "bad-urn"),
        ("magnet:?xt=" + HEX, "bad-urn"),
        ("magnet:?xt=urn:btih:" + "0" * 40, "bad-urn"),
        ("magnet:?xt=urn:btih:%zz" + HEX[3:], "bad-urn"),
        ("magnet:?xt=urn:btih:" + "1" * 32, "bad-urn"),
        ("magnet:?xt=urn:btmh:1120" + "ab" * 32, "bad-urn"),
        ("magnet:?xt=urn:kzhash:" + "ab" * 36, "unsupported"),
        ("magnet:?xt=urn:crc32:01020304", "no-usable-topic"),
        (f"magnet:?{SHA1}", "no-sources"),
        (f"magnet:?{SHA1}&{SOURCE}&xl=1&xl=2", "conflict"),
        (b"magnet:?xt=\x00", "bad-encoding"),
        (b"\xff\xfem\x00\x00\xd8", "bad-encoding"),
    ],
)
def test_refusals(text, kind):
    assert refusal(text) == kind


def test_too_large(monkeypatch):
    monkeypatch.setattr(linktext, "MAX_LIST", 10)
    assert refusal("magnet:?" + BTIH) == "too-large"


def test_a_bad_link_costs_itself():
    found = read(f"magnet:?xt=urn:btih:x\nmagnet:?{BTIH}\nmagnet:?kt=x")
    assert len(found.magnets) == 1
    assert [caution.code for caution in found.cautions] == ["bad-urn", "bad-urn", "no-usable-topic"]


# Topics


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        HEX.upper(),
        base64.b32encode(HASH).decode(),
        base64.b32encode(HASH).decode().lower(),
        f"{HEX}#word",
        f"{HEX} ",
        HEX.replace("c1", "%631"),
    ],
)
def test_info_hashes(text):
    assert one(f"xt=urn:btih:{text}").btih == HASH


@pytest.mark.parametrize("prefix", ["urn:btih:", "URN:BTIH:", "urn%3Abtih%3A", "Urn:BtIh:"])
def test_namespaces_without_case(prefix):
    assert one(f"xt={prefix}{HEX}").btih == HASH


def test_hybrid():
    found = one(f"{BTIH}&xt=urn:btmh:1220{'AB' * 32}")
    assert (found.btih, found.btmh, found.verify) == (HASH, bytes.fromhex("ab" * 32), "pieces")


TREE = bytes(range(24))
TREE32 = base64.b32encode(TREE).decode().rstrip("=")


@pytest.mark.parametrize(
    ("topic", "digests"),
    [
        (f"urn:sha1:{base64.b32encode(HASH).decode()}", {"sha-1": HASH}),
        (f"urn:sha1:{HEX}", {"sha-1": HASH}),
        (f"urn:tree:tiger:{TREE32}", {"tth": TREE}),
        (f"urn:tree:tiger/:{TREE32.lower()}", {"tth": TREE}),
        (f"urn:tree:tiger/1024:{TREE32}", {"tth": TREE}),
        (f"urn:tree:tiger:{TREE.hex()}", {"tth": TREE}),
        (f"urn:bitprint:{base64.b32encode(HASH).decode()}.{TREE32}", {"sha-1": HASH, "tth": TREE}),
        (f"urn:md5:{'AB' * 16}", {"md5": bytes.fromhex("ab" * 16)}),
        (f"urn:sha256:{'ab' * 32}", {"sha-256": bytes.fromhex("ab" * 32)}),
        (f"urn:sha512:{'ab' * 64}", {"sha-512": bytes.fromhex("ab" * 64)}),
        (f"urn:ed2k:{'ab' * 16}", {"ed2k": bytes.fromhex("ab" * 16)}),
        (f"urn:ed2khash:{'ab' * 16}", {"ed2k": bytes.fromhex("ab" * 16)}),
        (f"urn:aich:{base64.b32encode(HASH).decode()}", {"aich": HASH}),
    ],
)
def test_topics_of_whole_files(topic, digests):
    found = one(f"xt={topic}&{SOURCE}&xl=5")
    assert (found.digests, found.verify) == (digests, "whole")


@pytest.mark.parametrize(("text", "value"), [("00000102", "00000102"), ("258", "00000102"), ("4294967295", "ffffffff")])
def test_crc32_is_shown_and_verifies_nothing(text, value):
    """Eight digits are hexadecimal (RHash), others decimal."""
    found = one(f"xt=urn:crc32:{text}&{SOURCE}")
    assert (found.digests["crc32"].hex(), found.verify) == (value, "none")
    assert codes(f"magnet:?xt=urn:crc32:{text}&{SOURCE}") == ["unverified"]


def test_two_info_hashes():
    other = "ab" * 20
    text = f"magnet:?{BTIH}&xt=urn:btih:{other}"
    assert (read(text).magnets[0].btih, codes(text)) == (HASH, ["conflicting-topic"])


def test_two_digests_of_one_kind():
    text = f"magnet:?{SHA1}&xt=urn:sha1:{'ab' * 20}&xt=urn:md5:{'ab' * 16}&{SOURCE}"
    assert (list(read(text).magnets[0].digests), codes(text)) == (["md5"], ["conflicting-hash"])


def test_a_bad_topic_beside_a_good_one():
    text = f"magnet:?xt=urn:btih:123&{BTIH}"
    assert (read(text).magnets[0].btih, codes(text)) == (HASH, ["bad-urn"])


def test_a_key_instead_of_a_topic():
    """BEP 46: a torrent that changes."""
    found = one(f"xs=urn:btpk:{'ab' * 32}&s=6e")
    assert (found.public_key, found.salt, found.verify) == (bytes.fromhex("ab" * 32), b"n", "pieces")
    assert refusal("magnet:?xs=urn:btpk:abcd") == "no-usable-topic"


# Parameters


def test_names():
    """A label, never a path."""
    for given_name, taken in {
        "a+b%2Bc": "a b+c",
        "..%2F..%2Fetc": ".._.._etc",
        "a%5Cb%0Ac": "a_b_c",
        "%FF": "\ufffd",
        "a%zz": "a%zz",
        "x" * 300: "x" * 255,
        "é" * 200: "é" * 127,
        "..": HEX,
        "": HEX,
        "a=b": "a=b",
        "a#b": "a#b",
    }.items():
        assert one(f"{BTIH}&dn={given_name}").name == taken


def test_names_from_sources():
    assert one(f"{SHA1}&as=http://h.example/d/a%20b.iso?q").name == "a b.iso"
    assert one(f"{SHA1}&as=http://h.example/").name == HEX


def test_sizes():
    assert one(f"{BTIH}&xl=10").size == 10
    assert one(f"{BTIH}&sz=10").size == 10
    assert one(f"{BTIH}&xl=-1").size is None
    assert one(f"{BTIH}&xl=5&xl=6").size == 5
    assert one(f"{BTIH}").size is None


def test_trackers():
    """Each its own tier, in order, once; what is none is dropped."""
    given_ones = [
        "udp://a.example:80",
        "http://b.example/x%3Fy",
        " wss://c.example",
        "udp://a.example:80",
        "ftp://d.example",
        "udp://",
        "e",
    ]
    query = "&".join(f"tr.{n}={text}" for n, text in enumerate(given_ones))
    assert one(f"{BTIH}&{query}").trackers == ("udp://a.example:80", "http://b.example/x?y", "wss://c.example")


def test_sources_of_a_file():
    """Acceptable sources and web seeds first, exact ones last; a resolver only for the link's own topic."""
    sha1 = base64.b32encode(HASH).decode()
    text = (
        f"magnet:?{SHA1}&xs=http://last.example/f&xs=http://n.example/uri-res/N2R?urn:sha1:{sha1}"
        f"&xs=http://n.example/uri-res/N2R?urn:sha1:{'A' * 32}&as=ftp://a.example/f&ws=https://w.example/f"
        "&xs=dchub://d.example&xs=http://t.example/x.torrent&as=file:///etc/passwd&as=http://a.example/c++/f"
    )
    (found,) = read(text).magnets
    assert [(ref.url, ref.priority) for ref in found.sources] == [
        ("ftp://a.example/f", 1),
        ("http://a.example/c++/f", 1),
        ("https://w.example/f", 1),
        (f"http://n.example/uri-res/N2R?urn:sha1:{sha1}", 1),
        ("http://last.example/f", 2),
    ]
    assert found.torrent_urls == ("http://t.example/x.torrent",)
    assert sorted(codes(text)) == ["bad-source", "scheme-file", "scheme-unknown"]


def test_a_file_of_mirrors_is_an_entry():
    (entry,) = read(f"magnet:?{SHA1}&{SOURCE}&xl=5&dn=f").entries
    assert (str(entry.path), entry.size, entry.digests) == ("f", 5, {"sha-1": HASH})
    assert [ref.url for ref in entry.mirrors] == ["http://h.example/d/f.iso"]
    assert entry.swarms == ()


def test_a_swarm_with_mirrors_is_an_entry_with_both():
    (entry,) = read(f"magnet:?{BTIH}&xt=urn:md5:{'ab' * 16}&{SOURCE}&tr=udp://t.example:1").entries
    (swarm,) = entry.swarms
    assert swarm.url == f"magnet:?xt=urn:btih:{HEX}&tr=udp%3A%2F%2Ft.example%3A1"
    assert one(swarm.url.removeprefix("magnet:?")).trackers == ("udp://t.example:1",)


def test_a_swarm_alone_is_no_entry_yet():
    assert read(f"magnet:?{BTIH}").entries == ()
    assert read(f"magnet:?{BTIH}&{SOURCE}").entries == ()
    assert len(read(f"magnet:?{BTIH}&{SOURCE}&xl=4").entries) == 1


def test_web_seeds_of_a_torrent():
    found = one(f"{BTIH}&ws=http://w.example/d/&ws.1=gopher://g.example&ws.2=http://v.example/")
    assert (found.web_seeds, found.sources) == (("http://w.example/d/", "http://v.example/"), ())


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("1.2.3.4:80", "1.2.3.4:80"),
        ("[::1]:080", "[::1]:80"),
        ("host.example:65535", "host.example:65535"),
        ("1.2.3.4:0", None),
        ("1.2.3.4:65536", None),
        ("1.2.3.4", None),
        ("[zz]:80", None),
        ("[::1::]:80", None),
        ("a b:80", None),
        (":80", None),
    ],
)
def test_peers(text, taken):
    assert peers.address(text) == taken


def test_groups_of_files():
    """Each number is a file; what has none applies to all."""
    text = (
        f"magnet:?xt.1=urn:sha1:{'A' * 32}&dn.1=a&xl.1=1&as.1=http://h.example/1"
        f"&xt.2=urn:sha1:{'B' * 32}&dn.2=b&xl.2=2&as.2=http://h.example/2&as=http://h.example/both"
    )
    found = read(text).magnets
    assert [(each.name, each.size, [ref.url[-1:] for ref in each.sources]) for each in found] == [
        ("a", 1, ["1", "h"]),
        ("b", 2, ["2", "h"]),
    ]


def test_two_numbered_torrents():
    found = read(
        f"magnet:?xt.1=urn:btih:{HEX}&xt.2=urn:btih:{'ab' * 20}&tr.1=udp://a.example:1&tr.2=udp://b.example:1"
    ).magnets
    assert [each.btih.hex() for each in found] == [HEX, "ab" * 20]
    assert all(len(each.trackers) == 2 for each in found)


def test_a_single_number_is_only_numbering():
    assert one(f"xt.1=urn:btih:{HEX}&dn=x&tr.5=udp://a.example:1").trackers == ("udp://a.example:1",)


def test_bounded_time():
    """Long lists, many groups, selections and references cost no more than their length."""
    started = time.process_time()
    read(f"magnet:?{BTIH}&so=" + ",".join(["0-99999"] * 50_000))
    read(f"magnet:?{BTIH}&dn=a&" + "amp;" * 1_000_000)
    read("\n".join(f"magnet:?{BTIH}" for _ in range(20_000)))
    groups = (
        "&".join(f"xt.{n}=urn:btih:{n + 1:040x}" for n in range(2000))
        + "&"
        + "&".join(f"tr=udp://h{n}.example:1" for n in range(2000))
    )
    read("\n".join(f"magnet:?{groups}" for _ in range(40)))
    read(f"magnet:?{BTIH}" + "&" * 3_000_000 + "tr=x")
    assert time.process_time() - started < 40  # 3.5 here


def test_too_many_links(monkeypatch):
    monkeypatch.setattr(magnet, "MAX_LINKS", 3)
    found = read("\n".join(f"magnet:?{BTIH}" for _ in range(9)))
    assert (len(found.magnets), [caution.code for caution in found.cautions]) == (3, ["too-many-links"])


def test_limits_of_a_link():
    found = one(BTIH + "".join(f"&tr=udp://h{n}.example:1&x.pe=h{n}:1&ws=http://h{n}.example/" for n in range(1500)))
    assert (len(found.trackers), len(found.peers)) == (limits.MAX_TRACKERS, limits.MAX_PEERS)
    assert len(found.web_seeds) == limits.MAX_URLS_KEPT


def test_what_is_left_out_of_a_link_is_told():
    many = "".join(f"&tr=udp://h{n}.example:1&x.pe=h{n}:1&ws=http://h{n}.example/" for n in range(1500))
    assert codes(f"magnet:?{BTIH}{many}") == ["too-many-urls", "too-many-urls", "too-many-peers"]
    assert codes(f"magnet:?{BTIH}" + "&x.y=1" * limits.MAX_PARAMETERS) == ["too-many-parameters"]
    assert codes(f"magnet:?{BTIH}&x.pe=h:70000&x.pe=h:1&x.pe=nobody") == ["bad-peer"]
    assert codes(f"magnet:?{BTIH}&so=0,,3-1,x") == ["bad-selection", "bad-selection"]


def test_addresses_in_other_encodings_stay_what_they_are():
    """A percent escape that is no UTF-8, or such a byte itself, would else become the address of another file."""
    found = one(f"{SHA1}&as=http://h.example/caf%E9.iso&dn=caf%E9")
    assert ([ref.url for ref in found.sources], found.name) == (["http://h.example/caf%E9.iso"], "caf\ufffd")
    found = one(f"{SHA1}&as=http%3A%2F%2Fh.example%2Fcaf%25E9%20%C3%A9.iso")
    assert [ref.url for ref in found.sources] == ["http://h.example/caf%E9%20%C3%A9.iso"]
    (found,) = read(f"magnet:?{SHA1}&as=http://h.example/caf\xe9.iso".encode("latin-1")).magnets
    assert [ref.url for ref in found.sources] == ["http://h.example/caf%E9.iso"]
    started = time.process_time()
    assert refusal(b"\xff" * limits.MAX_LIST) == "not-a-magnet"
    assert refusal(f"magnet:?{SHA1}&as=" + "%FF" * 1_000_000) == "no-sources"
    assert time.process_time() - started < 10  # 0.9 here


def test_a_resolver_names_no_file():
    """What asks for a hash ends in N2R, whatever file it leads to."""
    digest = base64.b32encode(HASH).decode()
    assert one(f"{SHA1}&xs=http://n.example/uri-res/N2R?urn:sha1:{digest}").name == HEX


# The quirks, by the number in their list


def test_quirk_02_escaped_ampersands_in_plain_text():
    """MirrorBrain and MirrorCache serve &amp; as text/plain."""
    for escaped in ("&amp;", "&amp;amp;", "&#38;", "&#x26;", "&AMP;"):
        found = one(f"{BTIH}&dn=a&tr=udp://t.example:1&xl=3".replace("&", escaped))
        assert (found.name, found.trackers, found.size) == ("a", ("udp://t.example:1",), 3)
    assert one(f"{BTIH}&dn=a%26amp%3Bb").name == "a&amp;b"


def test_quirk_14_sha1_in_hexadecimal():
    assert one(f"xt=urn:sha1:{HEX}&{SOURCE}").digests == {"sha-1": HASH}


def test_quirk_16_a_swarm_that_is_not_there_and_a_right_source():
    """MirrorCache's info-hash names no torrent; md5, size and source are right, so the file is readable."""
    (entry,) = read(f"magnet:?xl=7&dn=f&{BTIH}&xt=urn:md5:{'ab' * 16}&{SOURCE}&tr=http://t.example/").entries
    assert (entry.size, list(entry.digests), len(entry.mirrors)) == (7, ["md5"], 1)


def test_quirk_17_html_references_in_a_name():
    assert one(f"{BTIH}&dn=It&#039;s&tr=udp://t.example:1").name == "It&#039;s"
    assert one(f"{BTIH}&dn=It%26%23039%3Bs").name == "It&#039;s"


def test_quirk_18_a_page_as_tracker():
    found = one(f"{BTIH}&tr=%3C!DOCTYPE%20html%3E%0A%3Chtml%3E&tr=udp://t.example:1")
    assert found.trackers == ("udp://t.example:1",)


def test_quirk_37_tiger_trees_with_leaf_sizes_and_ed2khash():
    assert one(f"xt=urn:tree:tiger/1024:{TREE32.lower()}&xt=urn:ed2khash:{'ab' * 16}&{SOURCE}").digests == {
        "tth": TREE,
        "ed2k": bytes.fromhex("ab" * 16),
    }


@pytest.mark.parametrize(
    "link",
    [
        f"magnet:?XT=urn:btih:{HEX}",
        f"magnet:?x%74=urn%3abtih%3a{HEX}",
        f"magnet:///?{BTIH}",
        f"magnet://?{BTIH}",
        f"MAGNET:?{BTIH}",
        f"magnet:?&&{BTIH}&",
    ],
)
def test_quirk_38_odd_spellings(link):
    assert read(link).magnets[0].btih == HASH


def test_quirk_38_numbered_trackers():
    assert one(f"{BTIH}&tr.0=udp://0.example:1&tr.1=udp://1.example:1").trackers == (
        "udp://0.example:1",
        "udp://1.example:1",
    )


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("0,2,4-6", (0, 2, 4, 5, 6)),
        ("4-4,3", (3, 4)),
        ("1-3,2-5,2", (1, 2, 3, 4, 5)),
        ("6-4", None),
        ("", None),
        (",,", None),
        ("-1", None),
        ("1-", None),
        ("a", None),
        ("6-4,1", (1,)),
        ("99999999999999999999", None),
        ("0-99999999", None),
        ("1-2-3", None),
        ("+1", None),
    ],
)
def test_quirk_39_selections(text, selected):
    assert one(f"{BTIH}&so={text}").select == selected


def test_quirk_39_several_selections_are_united():
    assert one(f"{BTIH}&so=1&so=3,1").select == (1, 3)


def test_quirk_40_values_with_equals_signs():
    assert one(f"{BTIH}&tr=http://t.example/a?b=c&dn=x=y").trackers == ("http://t.example/a?b=c",)


# Laws


KEYS = st.sampled_from(
    ["xt", "dn", "xl", "tr", "ws", "as", "xs", "so", "x.pe", "s", "kt", "xt.1", "xt.2", "as.1", "%78t", "", "mt"]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            f"urn:btih:{HEX}",
            f"urn:sha1:{HEX}",
            "urn:btih:",
            "http://h.example/f",
            "udp://h:1",
            "0-3",
            "5",
            "%00",
            "../x",
            "é",
            "%ff",
        ]
    ),
    st.text(max_size=10),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=8), st.sampled_from(["&", "&amp;", "\n&", " "]))
def test_any_parameters(pairs, separator):
    """Whatever is in a link, there is a description that can be shown, or a refusal."""
    text = "magnet:?" + separator.join(f"{key}={value}" for key, value in pairs)
    try:
        found = read(text)
    except DescriptorError:
        return
    json.dumps(describe(found)).encode()
    assert all(line.isprintable() for line in text_lines(found))
    for each in found.magnets:
        assert "/" not in each.name
        assert each.name not in {"", ".", ".."}
        assert each.btih or each.btmh or each.public_key or each.sources
    for entry in found.entries:
        assert entry.mirrors


@given(st.binary(max_size=200))
def test_any_bytes(data):
    with contextlib.suppress(DescriptorError):
        read(b"magnet:?" + data)
