"""Torrents of both versions: what is read, what is refused, and the quirks seen in the wild."""

import hashlib
import json
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mountdl.content import Level, content_of
from mountdl.descriptors import bencode, limits, names, neighbours, parse, torrent
from mountdl.descriptors.model import Descriptor, PieceDigests
from mountdl.descriptors.report import describe, text_lines
from mountdl.digests.padded import Merkle
from mountdl.errors import DescriptorError, ExitStatus
from mountdl.extents import Extent
from mountdl.integrity import WholeCheck, hasher
from tests.support.torrents import BLOCK, encode, pieces, several, single, tidy, tree_root, version_2
from tests.support.torrents import torrent as made


def read(data: bytes) -> Descriptor:
    return parse("x.torrent", data)


def refusal(data: bytes) -> str:
    with pytest.raises(DescriptorError) as caught:
        read(data)
    assert caught.value.exit_status == ExitStatus.BAD_TORRENT
    return caught.value.kind


def files(data: bytes) -> list[tuple[str, int, int]]:
    found = read(data).torrent
    assert found is not None
    return [(str(file.path), file.size, file.offset) for file in found.files]


def codes(data: bytes) -> list[str]:
    return [caution.code for caution in read(data).cautions]


# Bencode


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"i0e", 0),
        (b"i-42e", -42),
        (b"0:", b""),
        (b"3:a:b", b"a:b"),
        (b"le", []),
        (b"li1e1:al0:ee", [1, b"a", [b""]]),
        (b"d1:ad1:bi1eee", {b"a": {b"b": 1}}),
        (b"d0:i1ee", {b"": 1}),
    ],
)
def test_bencode(data, value):
    found = bencode.decode(data)
    assert (found.value, found.loose) == (value, ())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i",
        b"ie",
        b"i-e",
        b"i1",
        b"i1.0e",
        b"i+1e",
        b"i 1e",
        b"i" + b"1" * 21 + b"e",
        b"5:abc",
        b"-1:a",
        b"1",
        b"x",
        b"l",
        b"d",
        b"e",
        b"le"[:1] + b"i1e",
    ]
    + [b"di1ei1ee", b"d1:ae", b"d1:a", b"dlei1ee", b"99999999999:a", b"9999999999:a", b"1_0:aaaaaaaaaa"],
)
def test_bencode_that_is_none(data):
    with pytest.raises(bencode.TorrentError) as caught:
        bencode.decode(data)
    assert caught.value.kind == "bad-bencode"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"d1:bi1e1:ai2ee", {b"b": 1, b"a": 2}),
        (b"d1:ai1e1:ai2ee", {b"a": 1}),
        (b"i03e", 3),
        (b"i-0e", 0),
        (b"03:abc", b"abc"),
        (b"i1ei2e", 1),
    ],
)
def test_bencode_that_is_loose(data, value):
    """Such files exist: they are read, the first of repeated keys counts, and it is told."""
    found = bencode.decode(data)
    assert found.value == value
    assert len(found.loose) == 1


def test_nesting_is_bounded():
    assert refusal(b"l" * 1_000_000) == "too-deep"
    assert refusal(b"d1:a" * 1_000_000) == "too-deep"
    inside = limits.MAX_BENCODE_DEPTH
    assert bencode.decode(b"l" * inside + b"e" * inside).loose == ()


def test_values_are_bounded(monkeypatch):
    monkeypatch.setattr(bencode, "MAX_BENCODE_VALUES", 10)
    assert refusal(b"l" + b"i1e" * 20 + b"e") == "limits"


VALUES = st.recursive(
    st.integers(-(10**19), 10**19) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_encoded_is_decoded(value):
    found = bencode.decode(encode(tidy(value)))
    assert (found.value, found.loose) == (value, ())


@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(st.sampled_from([b"d", b"l", b"e", b"i1e", b"1:a", b"4:info", b"i-0e", b"2:a"]), max_size=15).map(
            b"".join
        ),
    )
)
def test_any_bencode(data):
    """Whatever comes, there is a value or a refusal."""
    try:
        found = bencode.decode(data)
    except DescriptorError as error:
        refused = error
    else:
        refused = None
        encode(found.value)
    assert refused is None or refused.kind in {"bad-bencode", "too-deep"}


# Version 1

DATA = b"0123456789"


def test_a_single_file():
    data = made(single(DATA), announce="http://t.example/a", created_by="x")
    found = read(data)
    info = encode(tidy(single(DATA)))
    assert describe(found) == {
        "kind": "torrent",
        "info_hash": {"v1": hashlib.sha1(info).hexdigest(), "v2": None},
        "files": [{"path": "a.bin", "size": 10, "offset": 0}],
        "piece_length": 4,
        "piece_count": 3,
        "trackers": [["http://t.example/a"]],
        "private": False,
        "webseed_urls": {},
        "warnings": [],
    }
    (entry,) = found.entries
    assert (str(entry.path), entry.size) == ("a.bin", 10)
    assert (entry.pieces.algorithm, entry.pieces.length, entry.pieces.digests) == ("sha-1", 4, pieces(DATA, 4))
    assert [ref.url for ref in entry.swarms] == [
        f"magnet:?xt=urn:btih:{hashlib.sha1(info).hexdigest()}&tr=http%3A%2F%2Ft.example%2Fa"
    ]


def test_several_files():
    data = made(several({"a": b"0123", "d/b": b"", "d/c": b"01234", "e": b"01"}))
    assert files(data) == [("top/a", 4, 0), ("top/d/b", 0, 4), ("top/d/c", 5, 4), ("top/e", 2, 9)]


def test_pieces_that_files_share():
    """A file has the digests of all pieces that it is in, and says where they are of its neighbours too."""
    found = {
        str(e.path): e.pieces
        for e in read(made(several({"a": b"0123", "b": b"01234", "c": b"012", "d": b"01234"}))).entries
    }
    assert found["top/a"].digests == pieces(b"0123", 4)
    row = pieces(b"012301234012" + b"01234", 4)
    assert found["top/b"] == PieceDigests("sha-1", 4, row[20:60], lead=0, open_end=True)  # nobody seeds: no neighbours
    assert found["top/c"] == PieceDigests("sha-1", 4, row[40:60], lead=1)
    assert (found["top/a"].open_end, found["top/d"].open_end) == (False, False)
    assert found["top/d"].digests == pieces(b"01234", 4)


def test_padding_is_hidden_and_moves_nothing():
    data = made(several({"a": b"012", ".pad/1": b"\0", "b": b"01", ".pad/2": b"\0\0"}))
    assert files(data) == [("top/a", 3, 0), ("top/b", 2, 4)]
    assert [file.index for file in read(data).torrent.files] == [0, 2]
    for entry, whole in zip(read(data).entries, (b"012\0", b"01\0\0"), strict=True):
        assert entry.pieces == PieceDigests("sha-1-zeros-4", 4, hashlib.sha1(whole).digest())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"pieces": None}, "missing-pieces"),
        ({"pieces": 5}, "missing-pieces"),
        ({"pieces": b"x" * 40}, "pieces-mismatch"),
        ({"pieces": b"x" * 61}, "pieces-mismatch"),
        ({"piece length": None}, "bad-piece-length"),
        ({"piece length": 0}, "bad-piece-length"),
        ({"piece length": -4}, "bad-piece-length"),
        ({"piece length": (512 << 20) + 1}, "bad-piece-length"),
        ({"piece length": b"4"}, "bad-piece-length"),
        ({"length": -1}, "bad-size"),
        ({"length": None}, "bad-size"),
        ({"length": 1 << 63}, "bad-size"),
        ({"name": None}, "missing-name"),
        ({"name": 5}, "missing-name"),
        ({"files": [{"length": 10, "path": ["a"]}]}, "inconsistent"),
        ({"length": None, "files": []}, "bad-torrent"),
        ({"length": None, "files": 5}, "bad-torrent"),
        ({"length": None, "files": [5]}, "bad-torrent"),
        ({"length": None, "files": [{"length": 10}]}, "bad-path"),
        ({"length": None, "files": [{"length": 10, "path": []}]}, "bad-path"),
        ({"length": None, "files": [{"length": 10, "path": "a"}]}, "bad-path"),
        ({"length": None, "files": [{"length": 10, "path": [1]}]}, "bad-path"),
        ({"length": None, "files": [{"path": ["a"]}]}, "bad-size"),
        ({"length": None, "files": [{"length": (1 << 63) - 1, "path": ["a"]}] * 2}, "bad-size"),
        ({"meta version": 3}, "unsupported-version"),
        ({"meta version": b"2"}, "unsupported-version"),
    ],
)
def test_refusals(change, kind):
    info = {key: value for key, value in {**single(DATA), **change}.items() if value is not None}
    assert refusal(made(info)) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"de", "missing-info"),
        (b"d4:infoi1ee", "missing-info"),
        (b"le", "bad-torrent"),
        (b"hello", "bad-bencode"),
    ],
)
def test_what_is_no_torrent(data, kind):
    assert refusal(data) == kind


def test_too_large(monkeypatch):
    monkeypatch.setattr(torrent, "MAX_TORRENT", 10)
    assert refusal(made(single(DATA))) == "too-large"


def test_padding_and_links_alone_are_no_files():
    """The mount would show nothing of it, without a word."""
    for attributes in ("p", "l"):
        info = {"name": "top", "piece length": BLOCK, "pieces": bytes(20)}
        info["files"] = [{"length": 5, "path": ["x"], "attr": attributes}]
        assert refusal(encode({"info": info})) == "no-files"


def test_trackers_and_seeds_beyond_what_is_kept_are_told():
    root = {"info": single(b"12345"), "announce-list": [[f"udp://h{n}.example:1"] for n in range(300)]}
    root["url-list"] = [f"http://h{n}.example/" for n in range(1500)]
    assert codes(encode(tidy(root))) == ["too-many-urls", "too-many-urls"]


def test_a_page_of_a_server_saved_as_a_torrent():
    """What it was meant to be decides what it is refused as."""
    assert refusal(b"<!DOCTYPE html><html>log in</html>") == "bad-bencode"
    assert refusal(b"\x1f\x8b" + bytes(20)) == "bad-torrent"


def test_too_many_files(monkeypatch):
    monkeypatch.setattr("mountdl.descriptors.torrentfiles.MAX_FILES", 2)
    assert refusal(made(several({"a": b"", "b": b"", "c": b""}))) == "limits"


def test_names_are_made_safe():
    """They may be rewritten, for a file is known by its index."""
    given_files = {"../../etc/passwd": b"", "a\\b": b"", "x\ny": b"", "d//e": b"", "./f": b""}
    assert [path for path, _, _ in files(made(several(given_files, name="/top")))] == [
        "_top/_/_/etc/passwd",
        "_top/a_b",
        "_top/x_y",
        "_top/d/_/e",
        "_top/_/f",
    ]


def test_a_name_that_is_nothing():
    """Then the info-hash stands for it."""
    for name in ("", "..", "."):
        data = made(single(DATA, name=name))
        assert files(data)[0][0] == read(data).torrent.info_hash_v1.hex()


def test_paths_that_are_there_already():
    given_files = [("a", 1), ("a", 2), ("A", 3), ("d/x", 4), ("d", 5), ("a/y", 6)]
    info = {
        "name": "t",
        "piece length": 64,
        "pieces": b"x" * 20,
        "files": [{"length": size, "path": path.split("/")} for path, size in given_files],
    }
    found = files(made(info))
    assert [size for _, size, _ in found] == [1, 2, 3, 4, 5, 6]
    paths = [path for path, _, _ in found]
    assert paths[:5] == ["t/a", "t/a (2)", "t/A", "t/d/x", "t/d (2)"]
    assert len(set(paths)) == 6


def test_long_paths():
    info = several({"/".join(["d" * 200] * 30): b"", "/".join(["e"] * 90): b"", "f" * 300: b""})
    for path, _, _ in files(made(info)):
        assert names.fault(path) is None


def test_a_name_that_is_too_long_keeps_its_suffix():
    """A film is known by it; 85 letters of many scripts are 255 bytes already. Others stay as they are."""
    info = several(
        {"\u65e5" * 100 + ".mkv": b"0", "\u65e5" * 100 + ".srt": b"1", "a .txt": b"2", "." + "x" * 300: b"3"}
    )
    cut = "\u65e5" * 83
    assert [f"top/{cut}.mkv", f"top/{cut}.srt", "top/a .txt", "top/." + "x" * 254] == [
        path for path, _, _ in files(made(info))
    ]


def test_symbolic_links_are_left_out():
    info = {
        **several({"a": b"0123"}),
        "files": [{"length": 4, "path": ["a"]}, {"length": 0, "path": ["l"], "attr": "l", "symlink path": ["..", "x"]}],
    }
    data = made(info)
    assert (files(data), codes(data)) == ([("top/a", 4, 0)], ["symlink"])


def test_trackers():
    """Tiers in their order; the list wins if it yields any."""
    tiers = [
        [" http://a.example/ ", "udp://b.example:1"],
        ["ftp://c.example/", 5],
        "http://d.example/",
        [],
        ["http://a.example/"],
    ]
    data = made(single(DATA), announce="http://z.example/", announce_list=tiers)
    assert read(data).torrent.trackers == (("http://a.example/", "udp://b.example:1"), ("http://d.example/",))
    assert read(made(single(DATA), announce="http://z.example/", announce_list=[[""]])).torrent.trackers == (
        ("http://z.example/",),
    )


def test_private_and_nodes():
    found = read(made(single(DATA, private=1), nodes=[["h.example", 1], ["::1", 2], ["h", 0], 5, ["h"]])).torrent
    assert (found.private, found.nodes) == (True, ("h.example:1", "[::1]:2"))


@pytest.mark.parametrize(
    ("seeds", "urls"),
    [
        ("http://w.example/d/", ["http://w.example/d/a%20b%23%C3%A9.bin"]),
        (["http://w.example/x.bin"], ["http://w.example/x.bin"]),
        (
            ["http://w.example/x", "http://w.example/x", " http://v.example/y ", ""],
            ["http://w.example/x", "http://v.example/y"],
        ),
        (["gopher://w.example/", "file:///etc/", 5, {}], []),
        (7, []),
    ],
)
def test_web_seeds_of_a_single_file(seeds, urls):
    found = read(made(single(DATA, name="a b#é.bin"), url_list=seeds))
    assert list(found.torrent.files[0].urls) == urls
    assert [ref.url for ref in found.entries[0].mirrors] == urls


def test_plain_sources():
    """MirrorBrain and MirrorCache add mirrors that know nothing of torrents."""
    assert read(made(single(DATA), sources=["http://m.example/a.bin"])).torrent.files[0].urls == (
        "http://m.example/a.bin",
    )


# Version 2 and both


BIG = bytes(range(256)) * 300  # 76800 bytes: five blocks


@pytest.mark.parametrize("length", [BLOCK, 2 * BLOCK, 4 * BLOCK])
def test_version_2(length):
    """Each file begins a piece; layers belong to files of several pieces."""
    root = version_2({"a": b"x", "d/b": BIG, "e": b""}, length)
    data = encode(tidy(root))
    found = read(data).torrent
    assert files(data) == [
        ("top/a", 1, 0),
        ("top/d/b", len(BIG), length),
        ("top/e", 0, -(-(length + len(BIG)) // length) * length),
    ]
    assert found.info_hash_v2 == hashlib.sha256(encode(tidy(root["info"]))).digest()
    assert found.info_hash_v1 is None
    assert found.piece_count == 1 + -(-len(BIG) // length)
    assert [len(file.layer) // 32 for file in found.files] == [0, -(-len(BIG) // length), 0]


def test_version_2_digests():
    """A file of one block is known by its root; one in pieces of a block by its layer."""
    entries = read(encode(tidy(version_2({"a": b"x", "b": BIG})))).entries
    assert entries[0].digests == {"sha-256": hashlib.sha256(b"x").digest()}
    expected = b"".join(hashlib.sha256(BIG[at : at + BLOCK]).digest() for at in range(0, len(BIG), BLOCK))
    assert (entries[1].pieces.algorithm, entries[1].pieces.length, entries[1].pieces.digests) == (
        "sha-256",
        BLOCK,
        expected,
    )


def test_version_2_of_a_single_file():
    assert files(encode(tidy(version_2({"x.bin": BIG}, name="x.bin")))) == [("x.bin", len(BIG), 0)]


def damaged(change):
    root = version_2({"a": b"x", "b": BIG})
    change(root)
    return encode(tidy(root))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda root: root.pop("piece layers"), "bad-piece-layers"),
        (lambda root: root["piece layers"].clear(), "bad-piece-layers"),
        (
            lambda root: root["piece layers"].update({key: bytes(160) for key in root["piece layers"]}),
            "bad-piece-layers",
        ),
        (
            lambda root: root["piece layers"].update({key: value[:-32] for key, value in root["piece layers"].items()}),
            "bad-piece-layers",
        ),
        (lambda root: root["info"].update({"piece length": 3 * BLOCK}), "bad-piece-length"),
        (lambda root: root["info"].update({"piece length": BLOCK // 2}), "bad-piece-length"),
        (lambda root: root["info"].pop("file tree"), "bad-torrent"),
        (lambda root: root["info"].update({"file tree": {}}), "bad-torrent"),
        (lambda root: root["info"].update({"file tree": {"a": {}}}), "no-files"),
        (lambda root: root["info"].update({"file tree": {"a": 5}}), "bad-torrent"),
        (lambda root: root["info"].update({"file tree": {"": {"length": 0}}}), "bad-torrent"),
        (lambda root: root["info"].update({"file tree": {"a": {"": {"length": 5}}}}), "missing-pieces"),
        (lambda root: root["info"].update({"file tree": {"a": {"": {}}}}), "bad-size"),
        (lambda root: root["info"].update({"file tree": {"a": {"": {"length": 0}, "b": {}}}}), "bad-torrent"),
        (lambda root: root["info"].update({"meta version": 9}), "unsupported-version"),
    ],
)
def test_version_2_refusals(change, kind):
    assert refusal(damaged(change)) == kind


def hybrid(first: dict[str, bytes], second: dict[str, bytes]) -> bytes:
    root = version_2(second)
    root["info"] = {**several(first, BLOCK), **root["info"]}
    return encode(tidy(root))


def test_both_versions():
    pad = bytes(BLOCK - 1)
    data = hybrid({"a": b"x", ".pad/1": pad, "b": BIG, "c": b""}, {"a": b"x", "b": BIG, "c": b""})
    found = read(data).torrent
    assert files(data) == [("top/a", 1, 0), ("top/b", len(BIG), BLOCK), ("top/c", 0, BLOCK + len(BIG))]
    assert [file.index for file in found.files] == [0, 2, 3]
    assert len(found.files[1].layer) == 5 * 32
    assert found.info_hash_v1 is not None
    assert found.info_hash_v2 is not None


@pytest.mark.parametrize(
    "second",
    [{"a": b"x"}, {"a": b"y", "c": BIG}, {"a": b"xx", "b": BIG}],
)
def test_versions_that_differ(second):
    assert refusal(hybrid({"a": b"x", ".pad/1": bytes(BLOCK - 1), "b": BIG}, second)) == "inconsistent"


def test_versions_that_are_not_aligned():
    assert refusal(hybrid({"a": b"x", "b": BIG}, {"a": b"x", "b": BIG})) == "inconsistent"


@given(st.integers(1, 40), st.sampled_from([1, 2, 4, 8]))
def test_roots_of_layers(count, blocks):
    """As a full tree of all leaves has them."""
    from mountdl.descriptors import merkle

    leaves = [hashlib.sha256(bytes([n])).digest() for n in range(count)]
    layer = b"".join(tree_root(leaves[at : at + blocks], blocks) for at in range(0, count, blocks))
    whole = blocks
    while whole < count:
        whole *= 2
    assert merkle.root_of_layer(layer, blocks * BLOCK) == tree_root(leaves, whole)


def test_a_magnet_in_place_of_the_info_dictionary():
    found = read(encode({"magnet-uri": f"magnet:?xt=urn:btih:{'ab' * 20}"}))
    assert (found.kind, found.magnets[0].btih.hex()) == ("magnet", "ab" * 20)


def test_the_date_of_creation():
    assert read(made(single(DATA), **{"creation date": 5})).published_ns == 5 * 10**9
    for date in (-1, 0, 1 << 62, "x"):
        assert read(made(single(DATA), **{"creation date": date})).published_ns is None


def test_characters_that_nobody_sees():
    assert codes(made(single(DATA, name="a\u202egpj.exe"))) == ["invisible-characters"]


def test_lines_for_people():
    lines = list(text_lines(read(made(single(DATA), announce="http://t.example/", url_list="http://w.example/"))))
    assert "pieces: 3 of 4 bytes" in lines
    assert "tracker: http://t.example/ (tier 0)" in lines
    assert "  url: http://w.example/a.bin (priority 1)" in lines


# The quirks, by the number in their list


def test_quirk_19_plain_addresses_as_seeds_of_bep_17():
    """Debian's torrents: used where they end in the file's name."""
    data = made(single(DATA), httpseeds=["http://h.example/d/a.bin", "http://h.example/seed.php"])
    assert read(data).torrent.files[0].urls == ("http://h.example/d/a.bin",)
    assert codes(data) == ["httpseed"]
    assert codes(made(several({"a": b"0123"}), httpseeds=["http://h.example/a"])) == ["httpseed"]


def test_quirk_20_seeds_of_several_files_without_a_slash():
    found = read(
        made(several({"a b": b"0123", "d/c%": b""}, name="t#"), url_list=["http://w.example/x", "http://v.example/y/"])
    ).torrent
    assert [file.urls for file in found.files] == [
        ("http://w.example/x/t%23/a%20b", "http://v.example/y/t%23/a%20b"),
        ("http://w.example/x/t%23/d/c%25", "http://v.example/y/t%23/d/c%25"),
    ]


def test_quirk_21_the_info_hash_is_of_the_bytes_found():
    """Keys out of order, repeated, zeros in front: never written anew."""
    info = b"d4:name5:a.bin6:lengthi010e12:piece lengthi4e6:pieces60:" + pieces(DATA, 4) + b"4:name1:be"
    data = b"d4:info" + info + b"8:announce0:e rubbish"
    found = read(data)
    assert found.torrent.info == info
    assert found.torrent.info_hash_v1 == hashlib.sha1(info).digest()
    assert str(found.entries[0].path) == "a.bin"
    assert [caution.code for caution in found.cautions] == ["loose-bencode"] * 3


def test_quirk_41_utf8_variants_of_names():
    info = {
        "name": b"\xff",
        "name.utf-8": "é",
        "piece length": 4,
        "pieces": b"",
        "files": [{"length": 0, "path": [b"\xfe"], "path.utf-8": ["ü"]}],
    }
    assert files(made(info)) == [("é/ü", 0, 0)]
    del info["name.utf-8"]
    assert files(made(info)) == [("\ufffd/ü", 0, 0)]


def test_quirk_42_padding_by_name():
    info = several({"a": b"012", "_____padding_file_0_if you see this_____": b"\0", "b": b"01"})
    assert files(made(info)) == [("top/a", 3, 0), ("top/b", 2, 4)]


# Kinds, limits, laws, another reader


def test_a_torrent_is_known_by_its_content():
    assert parse("x", made(single(DATA))).kind == "torrent"


def test_bounded_time():
    """Many files, many seeds, many roots."""
    started = time.process_time()
    listed = [{"length": 0, "path": ["d" * 50] * 20 + ["x"]}] * 4_000
    read(
        made(
            {"name": "t", "piece length": 4, "pieces": b"", "files": listed},
            url_list=[f"http://h{n}.example/" for n in range(1000)],
        )
    )
    read(made({"name": "t", "piece length": 4, "pieces": b"", "files": [{"length": 0, "path": ["x"]}] * 12_500}))
    read(made({"name": "t", "length": 1 << 40, "piece length": 1 << 20, "pieces": b"x" * 20 * (1 << 20)}))
    assert time.process_time() - started < 50  # 4 here


KEYS = st.sampled_from(
    [
        "info",
        "name",
        "length",
        "files",
        "path",
        "pieces",
        "piece length",
        "meta version",
        "file tree",
        "attr",
        "",
        "announce",
        "url-list",
    ]
)
ANY = st.recursive(
    st.sampled_from([0, 1, 2, 4, -1, 1 << 62, "a", "..", "", b"x" * 20, "http://h.example/", "p", 16384]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    st.dictionaries(KEYS, ANY, max_size=5),
    st.sampled_from([single(DATA), several({"a": b"012", "d/b": b"01"}), version_2({"a": b"x"})["info"]]),
)
def test_any_torrent(change, info):
    """A sound torrent with anything put into it is read safely or refused."""
    data = made(
        {**info, **change}, **{key.replace("-", "_"): value for key, value in change.items() if key and key != "info"}
    )
    try:
        found = read(data)
    except DescriptorError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.kind
        return
    json.dumps(describe(found)).encode()
    assert all(line.isprintable() for line in text_lines(found))
    paths = [str(entry.path) for entry in found.entries]
    assert [names.fault(path) for path in paths] == [None] * len(paths)
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize(
    "data",
    [
        made(single(DATA, name="é.bin"), url_list=["http://w.example/d/"]),
        made(several({"a b": b"0123", "d/c": b"01234"}, BLOCK)),
        encode(tidy(version_2({"a": b"x", "d/b": BIG}, 2 * BLOCK))),
        hybrid({"a": b"x", ".pad/1": bytes(BLOCK - 1), "b": BIG}, {"a": b"x", "b": BIG}),
    ],
)
def test_as_libtorrent_reads_it(data):
    """Info-hashes, sizes and paths of another reader."""
    lt = pytest.importorskip("libtorrent")
    other = lt.torrent_info(lt.bdecode(data))
    found = read(data).torrent
    hashes = other.info_hashes()
    assert (found.info_hash_v1 or bytes(20)) == hashes.v1.to_bytes()
    assert (found.info_hash_v2 or bytes(32)) == hashes.v2.to_bytes()
    storage = other.layout()
    shown = [
        (storage.file_path(n), storage.file_size(n), storage.file_offset(n))
        for n in range(storage.num_files())
        if not storage.file_flags(n) & lt.file_storage.flag_pad_file
    ]
    assert files(data) == shown


SIZES = st.lists(st.integers(0, 150_000), min_size=1, max_size=4)


def padded(contents, length):
    """Return *contents* with padding behind each but the last, as programs align files (BEP 47)."""
    found = {}
    for number, (name, data) in enumerate(contents.items()):
        found[name] = data
        if number + 1 < len(contents) and -len(data) % length:
            found[f".pad/{number}"] = bytes(-len(data) % length)
    return found


def judged(chunk_map, data, chance):
    """Hold each chunk against its part of *data*, and against one with another byte."""
    for index in range(chunk_map.count):
        extent = chunk_map.judged(index)
        part = bytearray(data[extent.start : extent.stop])
        assert chunk_map.matches(index, part)
        if part:
            part[chance.draw(st.integers(0, len(part) - 1))] ^= 1
            assert not chunk_map.matches(index, part)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.sampled_from([1000, BLOCK, 4 * BLOCK]), st.data())
def test_files_in_a_row_are_verified_by_the_pieces_that_are_theirs(sizes, length, chance):
    """Without padding: all but less than a piece at either end; two files that differ only there are two contents."""
    contents = {f"f{number}": bytes([number + 1]) * size for number, size in enumerate(sizes)}
    found = read(encode({"info": several(contents, length)}))
    offset, total = 0, sum(sizes)
    for entry in found.entries:
        data = contents[entry.path.name]
        content = content_of(entry, len(data))
        first = -offset % length
        last = len(data) if offset + len(data) == total else (offset + len(data)) // length * length - offset
        offset += len(data)
        if not data:
            continue
        assert content.chunk_map.sure == (Extent(first, last) if first < last else Extent(0, 0))
        assert content.level is (Level.CHUNK if (first, last) == (0, len(data)) else Level.NONE)
        judged(content.chunk_map, data, chance)
    keys = [content_of(entry, entry.size).key for entry in found.entries if entry.size]
    assert len(set(keys)) == len(keys)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.sampled_from([BLOCK, 4 * BLOCK]), st.sampled_from(["1", "2", "both"]), st.data())
def test_aligned_files_are_verified_by_their_own_pieces(sizes, length, version, chance):
    """Of every version: each chunk of a file that begins a piece is judged, and any other byte is found out."""
    contents = {f"f{number}": bytes([number + 1]) * size for number, size in enumerate(sizes)}
    if version == "1":
        root = {"info": several(padded(contents, length), length)}
    else:
        root = version_2(contents, length)
        if version == "both":
            root["info"] = {**root["info"], **several(padded(contents, length), length)}
    for entry in read(encode(tidy(root))).entries:
        data = contents[entry.path.name]
        content = content_of(entry, len(data))
        if not data:
            continue
        assert content.level is Level.CHUNK
        judged(content.chunk_map, data, chance)
        if content.digest is not None:
            check = WholeCheck(content.digest, len(data))
            check.update(data)
            assert check.verified


def test_a_tree_of_any_portions_and_sizes():
    """As the slow and plain way has it, over every shape of tree."""
    for size in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, *(n * BLOCK - 5 for n in range(2, 18))):
        data = bytes(range(251)) * (size // 251 + 1)
        data = data[:size]
        leaves = [hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, size, BLOCK)]
        for asked in (None, 16, 32):
            made = Merkle(asked)
            for at in range(0, size, 10_007):
                made.update(data[at : at + 10_007])
                made.digest()
            count = max(asked or 1, 1 << max(len(leaves) - 1, 0).bit_length())
            assert made.digest() == tree_root(leaves, count), (size, asked)


def served(urls, contents):
    """Return what neighbours' URLs lead to."""
    base = "http://w/top/"
    assert all(url.startswith(base) for url in urls)
    return contents[urls[0].removeprefix(base)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 30), st.data())
def test_neighbours_complete_the_pieces_that_files_share(sizes, length, chance):
    """With the neighbours' bytes, and zeros for padding, each end hashes to its digest; with another byte it does not."""
    names_of = [chance.draw(st.sampled_from(["f", ".pad/"])) + str(number) for number in range(len(sizes))]
    assume(any(name.startswith("f") for name in names_of))
    contents = {
        name: (bytes(size) if name.startswith(".") else bytes([number + 1]) * size)
        for number, (name, size) in enumerate(zip(names_of, sizes, strict=True))
    }
    found = read(encode(tidy({"info": several(contents, length), "url-list": "http://w/"})))
    for entry in found.entries:
        data = contents[entry.path.name]
        content = content_of(entry, len(data))
        sure = content.chunk_map.sure
        ends = {offset for border in content.borders for offset in range(border.own.start, border.own.stop)}
        assert ends == set(range(len(data))) - set(range(sure.start, sure.stop))
        for border in content.borders:
            parts = [
                served(each.urls, contents)[each.extent.start : each.extent.stop]
                if each.urls
                else bytes(each.extent.length)
                for each in (*border.before, *border.after)
            ]
            middle = len(border.before)
            own = bytearray(data[border.own.start : border.own.stop])
            for wrong in (False, True):
                if wrong:
                    own[chance.draw(st.integers(0, len(own) - 1))] ^= 1
                check = hasher(border.digest.algorithm)
                for part in (*parts[:middle], own, *parts[middle:]):
                    check.update(part)
                assert (check.digest() == border.digest.value) is not wrong


def test_neighbours_are_bounded(monkeypatch):
    """Of very many small files in one piece none is judged; nor where a neighbour has no URL, or pieces are too long."""
    contents = {f"f{number:03}": b"x" for number in range(100)}
    found = read(encode(tidy({"info": several(contents, 100), "url-list": "http://w/"})))
    assert all(content_of(entry, 1).borders == () for entry in found.entries)
    few = {"a": b"x" * 5, "b": b"y" * 5}
    assert all(
        content_of(e, 5).borders for e in read(encode(tidy({"info": several(few, 4), "url-list": "http://w/"}))).entries
    )
    monkeypatch.setattr(neighbours, "MAX_SHARED_PIECE", 3)
    for root in ({"info": several(few, 4)}, {"info": several(few, 4), "url-list": "http://w/"}):
        assert all(content_of(entry, 5).borders == () for entry in read(encode(tidy(root))).entries)


def test_many_files_with_seeds_stay_within_bounds():
    """25,000 files that share pieces, each with its seeds: time and memory as without."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    info = {
        "name": "top",
        "piece length": 16384,
        "files": [{"length": 3000, "path": [f"f{n}"]} for n in range(25_000)],
    }
    info["pieces"] = bytes(20 * -(-3000 * 25_000 // 16384))
    data = encode(tidy({"info": info, "url-list": ["http://one/", "http://two/"]}))
    start = time.process_time()
    found = read(data)
    assert len(found.entries) == 25_000
    assert time.process_time() - start < 40  # 3 here
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
