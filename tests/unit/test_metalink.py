"""Both versions of metalink, field by field: what is taken, what a defect costs, what is told."""

import pytest

from mountdl.descriptors import parse
from mountdl.descriptors.model import LOWEST_PRIORITY, Descriptor
from tests.support.metalinks import URL, V3, V4, codes, only, v3, v4

HASH = "<hash>{}</hash>"
H1, H2, H3 = ("01" * 20, "02" * 20, "03" * 20)


def v4_files(*files: tuple[str, str]) -> Descriptor:
    text = "".join(f'<file name="{name}">{inside}</file>' for name, inside in files)
    return parse("x.meta4", f'<metalink xmlns="{V4}">{text}</metalink>'.encode())


def pieces_of(descriptor: Descriptor) -> tuple[str, int, str] | None:
    pieces = only(descriptor).pieces
    return None if pieces is None else (pieces.algorithm, pieces.length, pieces.digests.hex())


def test_sizes():
    """The first sound size counts; two that differ leave it unknown."""
    assert only(v4("<size>0</size>" + URL)).size == 0
    assert only(v4("<size>007</size>" + URL)).size == 7
    assert only(v4("<size>7</size><size>7</size>" + URL)).size == 7
    found = v4("<size>7</size><size>8</size><size>7</size>" + URL)
    assert (only(found).size, codes(found)) == (None, ["conflicting-size"])


def test_two_values_for_one_algorithm_void_it():
    """Neither is taken, nor a third that repeats the first; other algorithms stay."""
    hashes = f"<hash type='sha-1'>{H1}</hash><hash type='SHA1'>{H2}</hash><hash type='sha-1'>{H1}</hash><hash type='md5'>{'ab' * 16}</hash>"
    found = v4(hashes + URL)
    assert (list(only(found).digests), codes(found)) == (["md5"], ["conflicting-hash"])


def test_hashes_in_upper_case_and_of_no_type():
    found = v4(f"<hash type='sha-256'>{'AB' * 32}</hash><hash>{'ab' * 32}</hash><hash type=''>x</hash>{URL}")
    assert only(found).digests == {"sha-256": bytes.fromhex("ab" * 32)}
    assert codes(found) == ["unknown-hash", "unknown-hash"]


def test_a_digest_with_blanks_inside_is_none():
    assert codes(v4(f"<hash type='sha-1'>{'ab ' * 20}</hash>{URL}")) == ["bad-hash"]


@pytest.mark.parametrize(
    ("attributes", "hashes", "code"),
    [
        ("length='4'", H1, "pieces-without-type"),
        ("type='' length='4'", H1, "pieces-without-type"),
        ("type='crc32' length='4'", "01020304", "pieces-unknown-type"),
        ("type='sha-1'", H1, "pieces-bad-length"),
        ("type='sha-1' length='0'", H1, "pieces-bad-length"),
        ("type='sha-1' length='-4'", H1, "pieces-bad-length"),
        ("type='sha-1' length='4k'", H1, "pieces-bad-length"),
        ("type='sha-1' length='4'", H1 + " " + H2[:-1], "pieces-bad-hash"),
        ("type='sha-1' length='4'", H1 + " " + "zz" * 20, "pieces-bad-hash"),
        ("type='sha-1' length='4'", H1 + " x", "pieces-bad-hash"),
        ("type='sha-1' length='4'", H1, "pieces-mismatch"),
        ("type='sha-1' length='4'", f"{H1} {H2} {H3}", "pieces-mismatch"),
        ("type='sha-1' length='4'", "", "pieces-mismatch"),
    ],
)
def test_piece_sets_that_are_dropped(attributes, hashes, code):
    """The set goes whole, the file stays."""
    inside = "".join(map(HASH.format, hashes.split()))
    found = v4(f"<size>7</size><pieces {attributes}>{inside}</pieces>{URL}")
    assert (pieces_of(found), codes(found)) == (None, [code])


def test_a_piece_set_of_unknown_size_is_kept():
    assert pieces_of(v4(f"<pieces type='sha1' length='4'>{HASH.format(H1)}</pieces>{URL}")) == ("sha-1", 4, H1)


def test_no_pieces_for_no_bytes():
    assert pieces_of(v4(f"<size>0</size><pieces type='sha-1' length='4'></pieces>{URL}")) == ("sha-1", 4, "")


def test_the_size_may_come_after_the_pieces():
    """The order of elements means nothing."""
    assert pieces_of(v4(f"{URL}<pieces type='sha-1' length='4'>{HASH.format(H1)}</pieces><size>4</size>")) == (
        "sha-1",
        4,
        H1,
    )


def test_the_strongest_set_with_the_shortest_pieces():
    def sets(*given: tuple[str, int]) -> str:
        width = {"sha-1": 20, "sha-256": 32, "md5": 16}
        return "".join(
            f"<pieces type='{kind}' length='{n}'>{HASH.format('ab' * width[kind]) * (8 // n)}</pieces>"
            for kind, n in given
        )

    found = pieces_of(v4("<size>8</size>" + sets(("md5", 1), ("sha-256", 8), ("sha-256", 4), ("sha-1", 2)) + URL))
    assert found == ("sha-256", 4, "ab" * 64)


def test_indexes_of_version_3():
    """They are data: all or none, each once, from 0 on without a gap, in any order."""

    def ordered(*indexes: str | None) -> str | None:
        text = "".join(
            f"<hash{'' if place is None else f' piece={place!r}'}>{value}</hash>"
            for place, value in zip(indexes, [H1, H2, H3], strict=True)
        )
        found = pieces_of(
            v3(f"<size>10</size><verification><pieces type='sha1' length='4'>{text}</pieces></verification>")
        )
        return None if found is None else found[2]

    assert ordered("0", "1", "2") == H1 + H2 + H3
    assert ordered("2", "0", "1") == H2 + H3 + H1
    assert ordered(None, None, None) == H1 + H2 + H3
    for bad in (
        ("0", "1", None),
        ("0", "1", "3"),
        ("0", "0", "1"),
        ("1", "2", "3"),
        ("0", "1", "-2"),
        ("0", "1", ""),
        ("x", "y", "z"),
    ):
        assert ordered(*bad) is None


def test_version_4_has_no_indexes():
    pieces = f"<pieces type='sha-1' length='4'><hash piece='1'>{H1}</hash><hash piece='0'>{H2}</hash></pieces>"
    assert pieces_of(v4(pieces + URL)) == ("sha-1", 4, H1 + H2)


def test_large_pieces_are_told():
    """Every first read would fetch a whole one."""
    large = f"<pieces type='sha-1' length='{64 << 20}'>{HASH.format(H1) * 2}</pieces>"
    assert codes(v4(large + URL)) == ["large-pieces"]
    whole = f"<size>{20 << 20}</size><pieces type='sha-1' length='{20 << 20}'>{HASH.format(H1)}</pieces>"
    assert codes(v4(whole + URL)) == ["large-pieces"]


def test_priorities():
    """1 to 999999, a lower number is better, none is the worst; ties keep their order."""
    given = ["3", None, "1", "0", "1000000", "x", "2", "1"]
    urls = "".join(
        f"<url{'' if p is None else f' priority={p!r}'}>http://h.example/{n}</url>" for n, p in enumerate(given)
    )
    found = v4(urls)
    assert [(int(ref.url[-1]), ref.priority) for ref in only(found).mirrors] == [
        (2, 1),
        (7, 1),
        (6, 2),
        (0, 3),
        (1, LOWEST_PRIORITY),
        (3, LOWEST_PRIORITY),
        (4, LOWEST_PRIORITY),
        (5, LOWEST_PRIORITY),
    ]
    assert codes(found) == ["bad-priority"] * 3


def test_preferences_that_are_no_numbers_rank_last():
    urls = "".join(f"<url preference='{p}'>http://h.example/{p}</url>" for p in ("x", "-3", "1", "100", "1_0"))
    assert [ref.url[17:] for ref in only(v3(urls=urls)).mirrors] == ["100", "1", "-3", "x", "1_0"]


def test_metaurls():
    """The MIME form is the short one; without a media type, or with a bad name, one is dropped."""
    given = (
        "<metaurl mediatype='application/X-BitTorrent'>http://h.example/1</metaurl>"
        "<metaurl mediatype='torrent' priority='2' name='d/a'>http://h.example/2</metaurl>"
        "<metaurl mediatype='application/metalink4+xml; charset=utf-8'>http://h.example/3</metaurl>"
        "<metaurl>http://h.example/4</metaurl>"
        "<metaurl mediatype='torrent' name='../a'>http://h.example/5</metaurl>"
        "<metaurl mediatype='torrent'></metaurl>"
    )
    found = v4(given)
    assert [(ref.url[-1], ref.mediatype, ref.name, ref.priority) for ref in only(found).swarms] == [
        ("2", "torrent", "d/a", 2),
        ("1", "torrent", None, LOWEST_PRIORITY),
        ("3", "application/metalink4+xml", None, LOWEST_PRIORITY),
    ]
    assert codes(found) == ["bad-mediatype", "unsafe-name", "bad-url"]


@pytest.mark.parametrize("mediatype", ["a&#10;b", "a b", "/", "a/b/c", "é"])
def test_media_types_that_are_none(mediatype):
    found = v4(
        f"{URL}<metaurl mediatype='{mediatype}'>http://h.example/1</metaurl><signature mediatype='{mediatype}'>x</signature>"
    )
    assert codes(found) == ["bad-mediatype", "bad-signature"]


def test_magnets_come_out_printable():
    link = f"magnet:?xt=urn:btih:{'ab' * 20}&amp;dn=é b"
    assert only(v4(f"<metaurl mediatype='torrent'>{link}</metaurl>")).swarms[0].url.endswith("&dn=%C3%A9%20b")
    assert codes(v4(f"{URL}<metaurl mediatype='torrent'>{link}&#10;x</metaurl>")) == ["bad-url"]


def test_a_file_without_any_source_is_left_out():
    found = v4_files(("a", "<size>1</size>"), ("b", URL), ("c", "<url>rsync://h/x</url>"))
    assert [str(entry.path) for entry in found.entries] == ["b"]
    assert [(caution.code, caution.file) for caution in found.cautions] == [
        ("no-sources", "a"),
        ("scheme-rsync", "c"),
        ("no-sources", "c"),
    ]


def test_files_of_one_name():
    """Same size and digests: one file with the sources of both. Else the first stays as it is."""
    other = "<url>http://other.example/a</url>"
    joined = v4_files(("a", f"<size>1</size>{URL}"), ("a", f"<size>1</size>{URL}{other}"))
    assert [ref.url for ref in only(joined).mirrors] == ["http://h.example/a", "http://other.example/a"]
    for second in ("<size>2</size>", "", f"<size>1</size><hash type='md5'>{'cd' * 16}</hash>"):
        found = v4_files(("a", f"<size>1</size><hash type='md5'>{'ab' * 16}</hash>{URL}"), ("a", second + other))
        assert [ref.url for ref in only(found).mirrors] == ["http://h.example/a"]
        assert codes(found) == ["duplicate-name"]


def test_a_path_that_is_a_file_and_a_directory():
    assert [str(e.path) for e in v4_files(("a", URL), ("a/b", URL)).entries] == ["a"]
    assert [str(e.path) for e in v4_files(("a/b/c", URL), ("a/b", URL), ("a", URL), ("a/d", URL)).entries] == [
        "a/b/c",
        "a/d",
    ]
    assert codes(v4_files(("a/b", URL), ("a", URL))) == ["name-clash"]


def test_names_that_differ_only_in_case_or_composition_are_two():
    names = ["a", "A", "\u00e9", "e\u0301"]
    assert [str(e.path) for e in v4_files(*((name, URL) for name in names)).entries] == names


def test_a_file_without_a_name():
    found = parse("x", f'<metalink xmlns="{V4}"><file>{URL}</file></metalink>'.encode())
    assert (found.entries, codes(found)) == ((), ["missing-name"])


def test_names_as_long_as_they_may_be():
    assert len(v4(URL, "x" * 255).entries) == 1
    assert codes(v4(URL, "x" * 256)) == ["unsafe-name"]
    assert codes(v4(URL, "é" * 128)) == ["unsafe-name"]
    assert len(v4(URL, "/".join(["d"] * 64)).entries) == 1
    assert codes(v4(URL, "/".join(["d"] * 65))) == ["unsafe-name"]
    assert codes(v4(URL, "/".join(["d" * 250] * 17))) == ["unsafe-name"]


@pytest.mark.parametrize("name", ["a&#10;b", "a&#9;b", "a&#127;b", "a\x7f"])
def test_control_characters_in_a_name(name):
    assert codes(v4(URL, name)) == ["unsafe-name"]


def test_characters_that_nobody_sees_are_told():
    found = v4(URL, "a\u202egpj.exe")
    assert (str(only(found).path), codes(found)) == ("a\u202egpj.exe", ["invisible-characters"])


def test_origin_and_dates_of_version_4():
    found = v4(
        URL,
        around="<origin dynamic=' 1 '> http://h.example/o.meta4 </origin><published>2010-05-01T12:15:02Z</published>"
        "<updated>2010-05-01T14:15:02.5+02:00</updated>",
    )
    assert (found.origin, found.dynamic) == ("http://h.example/o.meta4", True)
    assert (found.published_ns, found.updated_ns) == (1272716102 * 10**9, 1272716102_500_000_000)


@pytest.mark.parametrize(
    "date",
    ["2010-05-01", "2010-05-01 12:15:02Z", "2010-05-01T12:15:02", "2010-13-01T12:15:02Z", "1910-05-01T12:15:02Z"],
)
def test_dates_that_are_none(date):
    found = v4(URL, around=f"<published>{date}</published>")
    assert (found.published_ns, codes(found)) == (None, ["bad-date"])


@pytest.mark.parametrize("origin", ["file:///x", "sftp://h/x", "x.meta4", "http://"])
def test_origins_that_are_none(origin):
    found = v4(URL, around=f"<origin dynamic='true'>{origin}</origin>")
    assert (found.origin, found.dynamic, codes(found)) == (None, False, ["bad-origin"])


def test_origin_of_version_3():
    assert v3(root=" type='dynamic' origin='http://h.example/o'").dynamic
    assert not v3(root=" type='static' origin='http://h.example/o'").dynamic
    assert not v3(root=" type='dynamic'").dynamic


def test_connections_of_version_3():
    text = (
        f'<metalink version="3.0" xmlns="{V3}"><files><file name="a"><resources maxconnections="{{}}">'
        f'<url maxconnections="2">http://h.example/</url></resources></file></files></metalink>'
    )
    found = only(parse("x", text.format(3).encode()))
    assert (found.max_connections, found.mirrors[0].max_connections) == (3, 2)
    assert only(parse("x", text.format("-1").encode())).max_connections is None


@pytest.mark.parametrize(
    ("mediatype", "text", "name"),
    [
        ("application/pgp-signature", "-----BEGIN PGP SIGNATURE-----\nx", "a.iso.asc"),
        ("application/pgp-signature", "x", "a.iso.sig"),
        ("Application/PKCS7-Signature", "x", "a.iso.p7s"),
        ("application/pkcs7-mime", "x", "a.iso.p7m"),
    ],
)
def test_signatures_have_a_name_beside_their_file(mediatype, text, name):
    found = only(v4(f"<signature mediatype='{mediatype}'>{text}</signature>{URL}", "d/a.iso")).signature
    assert found is not None
    assert (found.mediatype, found.text, found.name) == (mediatype.lower(), text + "\n", name)


def test_the_first_usable_signature_is_taken():
    given = "<signature>x</signature><signature mediatype='application/pgp-signature'> </signature><signature mediatype='application/pgp-signature'>y</signature>"
    found = v4(given + URL)
    assert (only(found).signature.text, codes(found)) == ("y\n", ["bad-signature", "bad-signature"])


def test_a_safe_signature_name_of_version_3_is_taken():
    found = only(v3("<verification><signature type='pgp' file='my.asc'>x</signature></verification>")).signature
    assert found is not None
    assert (found.mediatype, found.name) == ("application/pgp-signature", "my.asc")


def test_a_signature_is_not_named_like_its_file():
    assert (
        only(v3("<verification><signature type='pgp' file='a.iso'>x</signature></verification>")).signature.name
        == "a.iso.sig"
    )


def test_an_xml_signature_is_passed_over():
    signature = "<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'><file name='evil'><url>http://bad.example/</url></file></Signature>"
    found = v4(URL + signature, around=signature)
    assert [ref.url for ref in only(found).mirrors] == ["http://h.example/a"]


def test_the_bittorrent_block_of_version_3_is_passed_over():
    block = f"<bittorrent><file name='x'/><size>9</size><hash type='md5'>{'ab' * 16}</hash></bittorrent>"
    found = only(v3(block + "<size>4</size>"))
    assert (found.size, found.digests) == (4, {})


def test_urls_outside_of_resources_do_not_count():
    text = (
        f'<metalink version="3.0" xmlns="{V3}"><files>{URL}<file name="a">{URL}<resources/></file></files></metalink>'
    )
    assert codes(parse("x", text.encode())) == ["no-sources"]


def test_text_around_elements_inside():
    """The text of an element is its own, without that of elements in it."""
    found = v4("<url>http://h.example/<x>no</x>a<!-- c -->b<![CDATA[c]]></url>")
    assert [ref.url for ref in only(found).mirrors] == ["http://h.example/abc"]


def test_relative_urls_follow_the_base():
    text = (
        f'<metalink xmlns="{V4}"><file name="a"><url>../x</url><url>//o.example/y</url><url>/z</url></file></metalink>'
    )
    found = only(parse("x", text.encode(), base_url="https://h.example/d/e/f.meta4"))
    assert [ref.url for ref in found.mirrors] == ["https://h.example/d/x", "https://o.example/y", "https://h.example/z"]


@pytest.mark.parametrize("base", ["file:///etc/", "/etc/", "x", ""])
def test_a_base_leads_nowhere_else(base):
    """A base that is no address of a server gives none."""
    text = f'<metalink xmlns="{V4}"><file name="a"><url>passwd</url></file></metalink>'
    assert parse("x", text.encode(), base_url=base).entries == ()


def test_too_many_of_one_element():
    found = v4("<language>x</language>" * 1001 + URL)
    assert codes(found) == ["too-many-elements"]


def test_gzip_is_no_metalink():
    import gzip

    from mountdl.errors import DescriptorError

    with pytest.raises(DescriptorError) as caught:
        parse("a.meta4", gzip.compress(b"<metalink/>"))
    assert caught.value.kind == "not-metalink"
